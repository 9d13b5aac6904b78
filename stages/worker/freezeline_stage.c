/* freezeline_stage.c - main of freezeline-stage */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/version.h"
#include "stages/exec/exec.h"
#include "worker.h"

#define MAX_SETS 64

struct options {
    const char *config, *log;
    const char *sets[MAX_SETS];
    int n_sets, stage, replica, after;
};

static const char usage[] =
    "usage: freezeline-stage -c PIPELINE.yaml --stage N [--replica N] [--set KEY=VALUE]...\n"
    "\n"
    "Serves one replica of one stage of a pipeline. SIGTERM ends it politely, SIGHUP opens the log again.\n"
    "  -c, --config FILE    the pipeline file\n"
    "      --stage N        which stage, from 0\n"
    "      --replica N      which of its replicas, from 0 (default 0)\n"
    "      --set KEY=VALUE  override any key of the file\n"
    "      --after PID      load, then wait for that process to end, and take its place (see `freezeline "
    "reload`)\n"
    "      --log FILE       log there (bounded, see `logs` in the file), not to stderr\n"
    "      --version        which Freezeline this is\n"
    "  -h, --help           this text\n";

static bool parse_number(const char *text, long below, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);
    *out = (int)n;
    return *text && !*end && n >= 0 && n < below;
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"stage", required_argument, NULL, 't'},
                                            {"replica", required_argument, NULL, 'r'},
                                            {"set", required_argument, NULL, 's'},
                                            {"log", required_argument, NULL, 'l'},
                                            {"after", required_argument, NULL, 'a'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int c;
    o->stage = -1;
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        bool ok = true;
        if (c == 'c')
            o->config = optarg;
        else if (c == 'l')
            o->log = optarg;
        else if (c == 't')
            ok = parse_number(optarg, 1000, &o->stage);
        else if (c == 'r')
            ok = parse_number(optarg, 1000, &o->replica);
        else if (c == 'a')
            ok = parse_number(optarg, 1 << 30, &o->after);
        else if (c == 's' && o->n_sets < MAX_SETS)
            o->sets[o->n_sets++] = optarg;
        else if (c == 'v') {
            version_print("freezeline-stage");
            exit(0);
        } else if (c == 'h') {
            fputs(usage, stdout);
            exit(0);
        } else
            ok = false;
        if (!ok)
            return FL_USAGE;
    }
    return o->config && o->stage >= 0 && optind == argc ? FL_OK : FL_USAGE;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct pipeline *p = NULL;
    struct stage_worker *w = NULL;
    struct error e = {FL_OK, ""};
    char limits[160], role[32], doubt[ERROR_TEXT_BYTES];
    int rc;

    engine_start(argv);
    if (parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    snprintf(role, sizeof role, "stage%d.%d", o.stage, o.replica);
    log_open(role, "info");
    signals_catch();
    limits_raise();
    if ((rc = pipeline_load(&p, o.config, o.sets, o.n_sets, &e)) == FL_OK) {
        log_open(role, p->log_level);
        if (!o.log || !(rc = log_to(o.log, p->logs.max_mb, p->logs.keep, &e))) {
            if (*pipeline_units_doubt(p, doubt, sizeof doubt))
                log_warn("%s", doubt);
            log_info("may use %s", limits_text(limits, sizeof limits));
            if ((rc = stage_worker_new(&w, p, o.stage, o.replica, o.after, &e)) == FL_OK)
                rc = stage_worker_run(w, &signals_stop, &e);
        }
        if (!rc)
            log_info("stopping");
    }
    if (rc)
        log_error("%s", e.text);
    stage_worker_free(w);
    pipeline_free(p);
    return error_exit_status(rc);
}
