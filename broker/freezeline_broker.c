/* freezeline_broker.c - main of freezeline-broker */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/version.h"
#include "broker.h"

#define MAX_SETS 64

static const char usage[] =
    "usage: freezeline-broker -c PIPELINE.yaml [--set KEY=VALUE]...\n"
    "\n"
    "Admits requests, routes them through the stage workers, answers them. SIGTERM ends it, SIGHUP opens the "
    "log again.\n"
    "  -c, --config FILE    the pipeline file\n"
    "      --set KEY=VALUE  override any key of the file\n"
    "      --log FILE       log there (bounded, see `logs` in the file), not to stderr\n"
    "      --version        which Freezeline this is\n"
    "  -h, --help           this text\n";

static int parse(int argc, char **argv, const char **config, const char **log, const char **sets, int *n_sets)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
        {"version", no_argument, NULL, 'v'},      {"log", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {0}};
    int c;
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (c == 'c')
            *config = optarg;
        else if (c == 'l')
            *log = optarg;
        else if (c == 's' && *n_sets < MAX_SETS)
            sets[(*n_sets)++] = optarg;
        else if (c == 'v') {
            version_print("freezeline-broker");
            exit(0);
        } else if (c == 'h') {
            fputs(usage, stdout);
            exit(0);
        } else
            return FL_USAGE;
    }
    return *config && optind == argc ? FL_OK : FL_USAGE;
}

int main(int argc, char **argv)
{
    const char *config = NULL, *log = NULL, *sets[MAX_SETS];
    struct pipeline *p = NULL;
    struct broker *b = NULL;
    struct error e = {FL_OK, ""};
    char limits[160];
    int n_sets = 0, rc;

    if (parse(argc, argv, &config, &log, sets, &n_sets)) {
        fputs(usage, stderr);
        return 2;
    }
    log_open("broker", "info");
    signals_catch();
    limits_raise();
    if ((rc = pipeline_load(&p, config, sets, n_sets, &e)) == FL_OK) {
        log_open("broker", p->log_level);
        if (!log || !(rc = log_to(log, p->logs.max_mb, p->logs.keep, &e)))
            rc = broker_new(&b, p, &e);
    }
    if (rc) {
        log_error("%s", e.text);
    } else {
        log_info("may use %s", limits_text(limits, sizeof limits));
        log_info("ready: %d stages, requests on %s, control on %s, results on %s, "
                 "at most %d requests in flight, 1 thread, no numeric kernels",
                 p->n_stages, p->broker.requests, p->broker.control, p->broker.results,
                 p->broker.max_requests);
        broker_run(b, &signals_stop);
        log_info("stopping");
    }
    broker_free(b);
    pipeline_free(p);
    return error_exit_status(rc);
}
