/* down.c - `freezeline down` */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/address.h"
#include "deploy/hosts/slurm_job.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/command.h"
#include "fleet.h"
#include "deploy/supervise/supervisor_launch.h"
#include "deploy/process/running.h"
#include "slurm_up.h"
#include "up_hosts.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"

#define ASK_MS 1000

static const struct usage usage = {
    .command = "down",
    .summary = "Stops the pipeline: drains it, ends its processes, removes its sockets.",
    .notes = "Only processes that `up` started are ended, known by pid and start time. Caches, logs and\n"
             "Redis data stay.\n\n"
             "example:\n"
             "  freezeline down -c P.yaml\n",
};

/* Nothing was there to stop; does the pipeline serve all the same? */
static int check_silence(const struct pipeline *p, struct error *e)
{
    struct status_reply *s = calloc(1, sizeof *s);
    char where[MESSAGE_NAME_BYTES + 32] = "";
    int rc = FL_OK, living = 1;

    if (s && (pipeline_brokers(p) > 1 || !address_reach(p->broker.requests, ASK_MS, NULL)) &&
        !running_ask(p, ASK_MS, s, NULL)) {
        for (int i = 0; i < s->n_processes; i++)
            living += strcmp(s->process[i].state, "dead") != 0;
        if (s->pid)
            snprintf(where, sizeof where, ", pid %llu on %s", (unsigned long long)s->pid, s->host);
        rc = error_set(
            e, FL_UNAVAILABLE,
            "nothing that `freezeline up` started here runs, but %d process%s of the pipeline serve%s "
            "(broker "
            "at %s%s): started by hand or on other machines, to be ended there; `freezeline status` lists "
            "them",
            living, living == 1 ? "" : "es", living == 1 ? "s" : "", p->broker.requests, where);
    }
    free(s);
    return rc;
}

/* Wherever it runs: on hosts, in a job that waits or starts, here. */
static int stop(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e)
{
    char job[SLURM_ID_BYTES];
    bool submitted = slurm_submitted(p, job);
    int rc = submitted && !fleet_there(p) ? FL_OK : down_wherever(p, how, ended, e);

    if (!rc && submitted && !(rc = slurm_down(p, job, *ended, e)))
        *ended = true;
    return rc;
}

/* A rollout that was killed leaves the pipeline that it tried. */
static void stop_rollout(const struct pipeline *p)
{
    char path[STATE_PATH_BYTES];
    struct pipeline_arguments where = {.path = path};
    struct pipeline *beside = NULL;
    struct error e = {FL_OK, ""};
    bool ended;

    if (state_path(path, p, NULL, "rollout/pipeline.yaml") || access(path, F_OK))
        return;
    if (arguments_load(&beside, &where, &e) || down_wherever(beside, &(struct launch_end){0}, &ended, &e))
        fprintf(stderr, "freezeline down: %s: %s\n", path, e.text);
    pipeline_free(beside);
}

int command_down(int argc, char **argv, struct error *e)
{
    struct pipeline_arguments where = {0};
    struct pipeline *p = NULL;
    struct launch_end how = {.drain_s = 10, .call_off = true};
    bool json = false, ended = false;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(where),
        OPTION_INT("drain", how.drain_s, "S", "wait up to S seconds for requests in flight (10)", 0, 3600),
        ARGUMENTS_JSON(json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (rc)
        return rc;
    interrupt_catch();
    if (!(rc = running_load(&p, &where, e)))
        rc = stop(p, &how, &ended, e);
    if (!rc)
        stop_rollout(p);
    if (!rc && !ended && p->here < 0)
        rc = check_silence(p, e);
    pipeline_free(p);
    if (rc)
        return rc;
    if (json)
        return report_print(json_pack("{s:b}", "stopped", ended), e);
    puts(ended ? "stopped" : "nothing was running");
    return FL_OK;
}
