/* freezeline_stage.c - main of freezeline-stage: options, pipeline file, new, run, free */
#include <stdio.h>

#include "base/log.h"
#include "system/signals.h"
#include "config/startup.h"
#include "stages/exec/exec.h"
#include "worker.h"

static const char usage[] =
    "usage: freezeline-stage -c PIPELINE.yaml --stage N [--replica N] [--set KEY=VALUE]...\n"
    "\n"
    "Serves one replica of one stage of a pipeline. SIGTERM ends it politely, SIGHUP opens the log again.\n"
    "      --stage N        which stage, from 0\n"
    "      --replica N      which of its replicas, from 0 (default 0)\n"
    "      --after PID      load, then wait for that process to end, and take its place (see `freezeline "
    "restart`)\n";

enum { STAGE, REPLICA, AFTER };

static int serve(struct stage_worker **w, const struct pipeline *p, const struct startup_number *number,
                 struct error *e)
{
    char doubt[ERROR_TEXT_BYTES];
    int rc;

    if (*pipeline_units_doubt(p, doubt, sizeof doubt))
        log_warn("%s", doubt);
    rc = stage_worker_new(w, p, number[STAGE].value, number[REPLICA].value, number[AFTER].value, e);
    return rc ? rc : stage_worker_run(*w, &signals_stop, e);
}

int main(int argc, char **argv)
{
    struct startup start = {.program = "freezeline-stage",
                            .usage = usage,
                            .party = PARTY_WORKER,
                            .number = {[STAGE] = {"stage", 1000, -1},
                                       [REPLICA] = {"replica", 1000, 0},
                                       [AFTER] = {"after", 1 << 30, 0}}};
    struct pipeline *p = NULL;
    struct stage_worker *w = NULL;
    struct error e = {FL_OK, ""};
    char role[32];
    int rc;

    engine_start(argv);
    if ((rc = startup_options(&start, argc, argv)) >= 0)
        return rc;
    snprintf(role, sizeof role, "stage%d.%d", start.number[STAGE].value, start.number[REPLICA].value);
    if ((rc = startup_pipeline(&start, role, &p, &e)) || (rc = serve(&w, p, start.number, &e)))
        log_error("%s", e.text);
    else
        log_info("stopping");
    stage_worker_free(w);
    pipeline_free(p);
    return error_exit_status(rc);
}
