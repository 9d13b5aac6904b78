/* slurm_up.c - the nodes of an allocation as hosts; a job that is submitted, watched and ended */
#include "slurm_up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "batch.h"
#include "deploy/hosts/host_file.h"
#include "deploy/hosts/slurm_job.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/state.h"
#include "deploy/process/failure.h"
#include "named_hosts.h"
#include "deploy/process/word.h"

#define LOOK_MS    200
#define ASK_NS     (2 * NS_PER_S) /* between questions to slurmctld */
#define STEPS_S    25             /* less than the 30 s of KillWait where nobody set it */
#define END_S      120
#define SHOW_LINES 20

int slurm_hosts(struct pipeline_arguments *a, char **text, struct error *e)
{
    struct slurm_nodes *nodes = malloc(sizeof *nodes);
    struct host_file *f = calloc(1, sizeof *f);
    int rc = nodes && f ? slurm_nodes_here(nodes, e) : error_set(e, FL_NOMEM, "no memory");

    for (int i = 0; !rc && i < nodes->n && i < HOST_FILE_MAX; i++) {
        snprintf(f->line[i].name, sizeof f->line[i].name, "%s", nodes->name[i]);
        f->line[i].slots = nodes->cpus[i];
        f->n++;
    }
    if (!rc)
        rc = named_hosts_in_order(a, f, text, e);
    free(f);
    free(nodes);
    return rc;
}

/* It may still serve, or come to. */
static bool lives(const char *state)
{
    return !strcmp(state, "PENDING") || !strcmp(state, "CONFIGURING") || !strcmp(state, "RUNNING") ||
           !strcmp(state, "REQUEUED") || !strcmp(state, "SUSPENDED");
}

/* One of which Slurm says nothing now, as it is busy, is not forgotten. */
bool slurm_submitted(const struct pipeline *p, char *job)
{
    char state[SLURM_STATE_BYTES];
    int rc;

    if (!word_read(p, "job", job, SLURM_ID_BYTES) || slurm_id_check(job, NULL))
        return false;
    rc = slurm_job_state(job, state, NULL);
    return rc ? rc != FL_NOT_FOUND : lives(state);
}

void slurm_say_ready(const struct pipeline *p)
{
    if (slurm_job_here())
        word_leave(p, "job-ready", slurm_job_here());
}

bool slurm_steps_over(void)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    return pid < 0;
}

bool slurm_wait_for_steps(void)
{
    uint64_t until = clock_ns() + STEPS_S * NS_PER_S;

    while (!slurm_steps_over() && clock_ns() < until)
        usleep(LOOK_MS * 1000);
    return slurm_steps_over();
}

void slurm_say_unready(const struct pipeline *p)
{
    word_remove(p, "job-ready");
}

static int submit(const struct pipeline *p, const struct pipeline_arguments *a, char *job, struct error *e)
{
    char *script = NULL, *none[] = {NULL};
    size_t size;
    FILE *to = open_memstream(&script, &size);
    int rc = to ? batch_script(to, p, a, e) : error_set(e, FL_NOMEM, "no memory");

    if (to && fclose(to) && !rc)
        rc = error_set(e, FL_NOMEM, "no memory");
    if (!rc && !(rc = slurm_submit(job, none, script, e))) {
        word_remove(p, "job-ready");
        word_leave(p, "job", job);
    }
    free(script);
    return rc;
}

static bool says_ready(const struct pipeline *p, const char *job)
{
    char said[SLURM_ID_BYTES];
    return word_read(p, "job-ready", said, sizeof said) && !strcmp(said, job);
}

static int gone(const struct pipeline *p, const char *job, const char *state, struct error *e)
{
    char log[STATE_PATH_BYTES];

    word_remove(p, "job");
    if (!state_path(log, p, NULL, "logs/slurm-%s.log", job))
        failure_tail(log, SHOW_LINES, "  ", stderr);
    return error_set(e, FL_UNAVAILABLE,
                     "Slurm's job %s ended (%s) before the pipeline was ready; its log is %s", job, state,
                     log);
}

/* Waits until the job serves. Time in the queue does not count. */
static int follow(const struct pipeline *p, const char *job, int timeout_s, struct error *e)
{
    uint64_t asked_ns = 0, until_ns = 0, now;
    char state[SLURM_STATE_BYTES] = "", before[SLURM_STATE_BYTES];

    while (!says_ready(p, job)) {
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "stopped before the pipeline was ready");
        if ((now = clock_ns()) - asked_ns > ASK_NS) {
            asked_ns = now;
            memcpy(before, state, sizeof before);
            if (slurm_job_state(job, state, NULL) == FL_NOT_FOUND)
                return gone(p, job, "and is forgotten", e);
            if (strcmp(before, state))
                fprintf(stderr, "Slurm's job %s is %s\n", job, state);
            if (!until_ns && !strcmp(state, "RUNNING"))
                until_ns = now + (uint64_t)timeout_s * NS_PER_S;
            if (state[0] && !lives(state)) /* "": it could not be asked yet */
                return gone(p, job, state, e);
        }
        if (until_ns && now > until_ns)
            return error_set(e, FL_DEADLINE, "not ready %d s after Slurm's job %s began", timeout_s, job);
        usleep(LOOK_MS * 1000);
    }
    return FL_OK;
}

int slurm_up(const struct pipeline *p, const struct pipeline_arguments *a, int timeout_s, struct error *e)
{
    char job[SLURM_ID_BYTES], path[STATE_PATH_BYTES];
    int rc;

    if ((rc = state_path(path, p, e, "run")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, p, e, "logs")) || (rc = state_make(path, e)))
        return rc;
    if (slurm_submitted(p, job))
        return error_set(e, FL_UNAVAILABLE,
                         "it is up already, as Slurm's job %s; `freezeline down -c %s` stops it", job,
                         p->path);
    if ((rc = submit(p, a, job, e)) || !(rc = follow(p, job, timeout_s, e)))
        return rc;
    if (word_there(p, "job")) {
        interrupt_catch(); /* the signal that called it off must not call off this */
        if (slurm_down(p, job, false, NULL))
            fprintf(stderr, "Slurm's job %s could not be ended: scancel %s\n", job, job);
        else
            error_wrap(e, (enum fl_code)rc, "the job is ended again");
    }
    return rc;
}

int slurm_down(const struct pipeline *p, const char *job, bool ended, struct error *e)
{
    uint64_t until = clock_ns() + END_S * NS_PER_S;
    char now[SLURM_ID_BYTES];
    int rc = ended ? FL_OK : slurm_cancel(job, says_ready(p, job), e);

    while (!rc && slurm_submitted(p, now) && !strcmp(now, job)) {
        if (clock_ns() > until)
            return error_set(e, FL_DEADLINE, "Slurm's job %s has not ended after %d s: scancel %s", job,
                             END_S, job);
        usleep(LOOK_MS * 1000);
    }
    if (!rc) {
        word_remove(p, "job");
        word_remove(p, "job-ready");
    }
    return rc;
}
