/* freezeline_cache.c - main of freezeline-cache: options, pipeline file, new, run, free */
#include <stdio.h>

#include "system/blas.h"
#include "base/log.h"
#include "system/signals.h"
#include "config/startup.h"
#include "service.h"
#include "wire/accept.h"

#define CONNECTIONS 256 /* of workers of this host, the broker and Redis, at most */
#define THREADS     8   /* libzmq's two, the keeper's, and some to spare */

static const char usage[] =
    "usage: freezeline-cache -c PIPELINE.yaml [--index I] [--set KEY=VALUE]...\n"
    "\n"
    "Answers the look-ups of this host's stage workers from the caches of the exits, and keeps the caches\n"
    "up to date (Redis). SIGHUP reads the built caches again and opens the log again; SIGTERM ends it.\n"
    "      --index I        which of cache.endpoints this one is (default 0)\n";

int main(int argc, char **argv)
{
    struct startup start = {.program = "freezeline-cache",
                            .usage = usage,
                            .party = PARTY_CACHE,
                            .number = {{"index", PIPELINE_MAX_CACHES, 0}}};
    struct pipeline *p = NULL;
    struct service *s = NULL;
    struct error e = {0};
    char role[32];
    int rc, index;

    blas_start(argv);
    if ((rc = startup_options(&start, argc, argv)) >= 0)
        return rc;
    index = start.number[0].value;
    snprintf(role, sizeof role, "cache%d", index);
    if ((rc = startup_pipeline(&start, role, &p, &e)) ||
        (rc = accept_prepare(CONNECTIONS, NULL, THREADS, &e)) || (rc = service_new(&s, p, index, &e)) ||
        (rc = service_run(s, &signals_stop, &signals_hang_ups, &e)))
        log_error("%s", e.text);
    service_free(s);
    pipeline_free(p);
    return error_exit_status(rc);
}
