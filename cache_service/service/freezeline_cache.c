/* freezeline_cache.c - main of the cache service: arguments, config, new, run, free */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/blas.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/pipeline.h"
#include "base/version.h"
#include "service.h"
#include "wire/accept.h"

#define MAX_SETS    256
#define CONNECTIONS 256 /* of workers of this host, the broker and Redis, at most */
#define THREADS     8   /* libzmq's two, the keeper's, and some to spare */

static const char usage[] =
    "usage: freezeline-cache -c PIPELINE.yaml [--index I] [--set KEY=VALUE]...\n"
    "\n"
    "Answers the look-ups of this host's stage workers from the caches of the exits, and keeps the caches\n"
    "up to date (Redis). SIGHUP reads the built caches again and opens the log again;\n"
    "SIGTERM ends it.\n"
    "\n"
    "  -c, --config FILE    the pipeline\n"
    "      --index I        which of cache.endpoints this one is (default 0)\n"
    "      --set KEY=VALUE  override a key of the file\n"
    "      --log FILE       log there (bounded, see `logs` in the file), not to stderr\n"
    "      --version        which Freezeline this is\n"
    "  -h, --help           this text\n";

struct arguments {
    const char *config, *log;
    int index;
    const char *set[MAX_SETS];
    int n_sets;
};

static int signal_pipe[2];

/* Async-signal-safe: one byte to the loop. */
static void on_signal(int signal)
{
    int saved = errno;
    if (signal == SIGHUP)
        log_reopen();
    ssize_t n = write(signal_pipe[1], signal == SIGHUP ? "r" : "q", 1);
    (void)n;
    errno = saved;
}

static int catch_signals(struct error *e)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (pipe2(signal_pipe, O_NONBLOCK | O_CLOEXEC))
        return error_set(e, FL_IO, "no pipe for signals: %s", strerror(errno));
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* hiredis writes to a Redis that is gone */
    return FL_OK;
}

/* < 0: go on; else the exit status. */
static int parse_arguments(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"index", required_argument, NULL, 'i'},
        {"set", required_argument, NULL, 's'},    {"log", required_argument, NULL, 'l'},
        {"set", required_argument, NULL, 's'},    {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    char *end;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (option == 'v') {
            version_print("freezeline-cache");
            return 0;
        }
        if (option == 'c')
            a->config = optarg;
        else if (option == 'l')
            a->log = optarg;
        else if (option == 's' && a->n_sets < MAX_SETS)
            a->set[a->n_sets++] = optarg;
        else if (option == 'i') {
            long index = strtol(optarg, &end, 10);
            a->index = (int)index;
            if (!*optarg || *end || index < 0 || index >= PIPELINE_MAX_CACHES) {
                fprintf(stderr, "freezeline-cache: --index %s: a number from 0 to %d is due\n", optarg,
                        PIPELINE_MAX_CACHES - 1);
                return 2;
            }
        } else
            return 2;
    }
    if (!a->config || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    return -1;
}

/* Says what the process may use of its host; refuses to start where libraries would abort. */
static int check_limits(struct error *e)
{
    char text[160];
    int rc = accept_bound(limits_files(), CONNECTIONS, NULL, e);

    log_info("may use %s", limits_text(text, sizeof text));
    return rc || (rc = limits_check_space(e)) ? rc : limits_check_threads(THREADS, e);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct pipeline *p = NULL;
    struct service *s = NULL;
    struct error e = {0};
    int rc;

    blas_start(argv);
    if ((rc = parse_arguments(&arguments, argc, argv)) >= 0)
        return rc;
    if ((rc = pipeline_load(&p, arguments.config, arguments.set, arguments.n_sets, &e))) {
        fprintf(stderr, "freezeline-cache: %s\n", e.text);
        return error_exit_status(rc);
    }
    char role[32];
    snprintf(role, sizeof role, "cache%d", arguments.index);
    log_open(role, p->log_level);
    limits_raise();
    if (!(rc = catch_signals(&e)) &&
        (!arguments.log || !(rc = log_to(arguments.log, p->logs.max_mb, p->logs.keep, &e))) &&
        !(rc = check_limits(&e)) && !(rc = service_new(&s, p, arguments.index, &e)))
        rc = service_run(s, signal_pipe[0], &e);
    if (rc)
        log_error("%s", e.text);
    service_free(s);
    pipeline_free(p);
    return error_exit_status(rc);
}
