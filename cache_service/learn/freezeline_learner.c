/* freezeline_learner.c - main of freezeline-learner: options, pipeline file, new, run, free */
#include <stdio.h>

#include "system/background.h"
#include "system/blas.h"
#include "base/log.h"
#include "system/signals.h"
#include "config/startup.h"
#include "learner_process.h"

static const char usage[] =
    "usage: freezeline-learner -c PIPELINE.yaml [--index I] [--set KEY=VALUE]...\n"
    "\n"
    "Teaches the caches of a pipeline under a promise (cache.threshold: risk) from its live traffic, which "
    "it\n"
    "reads from Redis, and lets them serve once they are certified. It runs at the lowest priority, on any\n"
    "host; of several one works, and another takes over when it ends. SIGHUP opens its log again.\n"
    "      --index I        which of several learners this one is (default 0)\n";

int main(int argc, char **argv)
{
    struct startup start = {.program = "freezeline-learner",
                            .usage = usage,
                            .party = PARTY_LEARNER,
                            .number = {{"index", PIPELINE_MAX_CACHES, 0}}};
    struct pipeline *p = NULL;
    struct learner_process *l = NULL;
    struct error e = {0};
    char role[32];
    int rc;

    blas_start(argv);
    if ((rc = startup_options(&start, argc, argv)) >= 0)
        return rc;
    background_enter();
    snprintf(role, sizeof role, "learner%d", start.number[0].value);
    if ((rc = startup_pipeline(&start, role, &p, &e)) ||
        (rc = learner_process_new(&l, p, start.number[0].value, &e)) ||
        (rc = learner_process_run(l, &signals_stop, &e)))
        log_error("%s", e.text);
    learner_process_free(l);
    pipeline_free(p);
    return error_exit_status(rc);
}
