/* supervisor_launch.c - spawning the supervisor, waiting, stopping */
#include "supervisor_launch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "adoption.h"
#include "deploy/process/claim.h"
#include "client/client.h"
#include "deploy/process/failure.h"
#include "deploy/tool/interrupt.h"
#include "deploy/process/roles.h"
#include "deploy/process/running.h"
#include "deploy/tool/state.h"
#include "deploy/process/leftovers.h"
#include "deploy/process/word.h"

#define POLL_US 20000
#define END_MS  20000 /* the supervisor's own bound on its children is half of this */
#define LOCK_MS 500   /* looking at who holds the lock takes it for a moment */
#define SAY_NS  (10 * NS_PER_S)
#define BUSY_MS 5000 /* until whoever starts or stops it this moment has said who it is, or is done */

#define MISSING_BYTES 280

static bool is_ready(const struct pipeline *p)
{
    return word_there(p, "ready");
}

/* By the word of this supervisor, not of one before. */
static bool says_ready(const struct pipeline *p, const struct process *supervisor)
{
    char pid[16];
    return word_read(p, "ready", pid, sizeof pid) && atoi(pid) == (int)supervisor->pid;
}

int launch_say_holder(const struct pipeline *p, struct error *e)
{
    struct process who;

    switch (claim_look(p, &who)) {
    case CLAIM_HERE:
        return error_set(e, FL_UNAVAILABLE,
                         "it is %s already (supervisor pid %d); `freezeline down -c %s` stops it",
                         is_ready(p) ? "up" : "starting", (int)who.pid, p->path);
    case CLAIM_ELSEWHERE:
        return error_set(
            e, FL_UNAVAILABLE,
            "it is up in another container or on another host (supervisor pid %d on %s); nothing of "
            "it was touched: run this there, or give this one another --set state=DIR",
            (int)who.pid, who.host);
    default:
        return error_set(e, FL_UNAVAILABLE,
                         "another `freezeline up` or `down` is at work on it: %s/run/lock is "
                         "held",
                         p->state);
    }
}

static int rotate_logs(const struct pipeline *p, struct error *e)
{
    struct role role[ROLES_MAX];
    char path[STATE_PATH_BYTES];
    int n, rc;

    if ((rc = roles_list(p, role, &n, e)))
        return rc;
    for (int i = 0; i <= n; i++) {
        const char *name = i < n ? role[i].name : "supervisor";
        if ((rc = state_path(path, p, e, "logs/%s.log", name)))
            return rc;
        if (!access(path, F_OK))
            log_shift(path, p->logs.keep);
    }
    return FL_OK;
}

static int spawn_supervisor(const struct pipeline *p, const struct pipeline_arguments *a, int lock,
                            struct process *out, struct error *e)
{
    char *argv[2 * ARGUMENTS_MAX_LIST + 10], fd[16], log[STATE_PATH_BYTES], self[PROCESS_SELF_BYTES];
    int n = 0, rc = state_path(log, p, e, "logs/supervisor.log");

    if (rc || (rc = process_self(self, e)))
        return rc;
    argv[n++] = self;
    argv[n++] = "supervise";
    snprintf(fd, sizeof fd, "%d", PROCESS_INHERITED_FD);
    argv[n++] = "--lock";
    argv[n++] = fd;
    argv[n++] = "--log";
    argv[n++] = log;
    argv[n++] = "-c";
    argv[n++] = p->path;
    if (p->here >= 0) {
        argv[n++] = "--host";
        argv[n++] = p->host[p->here].name;
    }
    for (int i = 0; i < a->sets.n; i++) {
        argv[n++] = "--set";
        argv[n++] = (char *)(uintptr_t)a->sets.item[i];
    }
    argv[n] = NULL;
    return process_spawn(out, argv, log, lock, e);
}

static void find_missing(const struct pipeline *p, char missing[MISSING_BYTES])
{
    failure_name_missing(p, missing, MISSING_BYTES);
    if (!missing[0])
        snprintf(missing, MISSING_BYTES, "no request has run through");
}

/* Every ten seconds, where it has changed. */
static void say_missing(const struct pipeline *p, uint64_t *next_ns, char missing[MISSING_BYTES])
{
    char before[MISSING_BYTES];

    if (clock_ns() < *next_ns)
        return;
    memcpy(before, missing, sizeof before);
    find_missing(p, missing);
    if (strcmp(missing, before))
        fprintf(stderr, "waiting: %s\n", missing);
    *next_ns = clock_ns() + SAY_NS;
}

/* What was taken over goes on, and its supervisor stays. */
static int not_yet(const struct pipeline *p, const char *missing, struct error *e)
{
    return interrupt_seen()
               ? error_set(e, FL_CANCELLED, "its new supervisor goes on; it was not ready yet")
               : error_set(e, FL_DEADLINE,
                           "its new supervisor goes on, but not all is ready: %s; the logs are in %s/logs",
                           missing, p->state);
}

static int wait_ready(const struct pipeline *p, const struct process *supervisor, bool adopted, int timeout_s,
                      struct error *e)
{
    uint64_t until = clock_ns() + (uint64_t)timeout_s * NS_PER_S, say_ns = clock_ns() + SAY_NS;
    char missing[MISSING_BYTES] = "";
    bool ended;

    while (!says_ready(p, supervisor)) {
        if (waitpid(supervisor->pid, NULL, WNOHANG) == supervisor->pid)
            return failure_explain(p, e);
        if (interrupt_seen() || clock_ns() > until) {
            if (!interrupt_seen())
                find_missing(p, missing);
            if (adopted)
                return not_yet(p, missing, e);
            launch_down(p, &(struct launch_end){0}, &ended, NULL);
            waitpid(supervisor->pid, NULL, 0);
            if (interrupt_seen())
                return error_set(e, FL_CANCELLED, "stopped before the pipeline was ready");
            return error_set(e, FL_DEADLINE,
                             "not ready after %d s: %s; everything is stopped again; the logs are in %s/logs",
                             timeout_s, missing, p->state);
        }
        say_missing(p, &say_ns, missing);
        usleep(POLL_US);
    }
    return FL_OK;
}

/* With run/lock held: the new supervisor gets the lock, and takes over what an earlier one left, or that
 * goes. */
static int start(const struct pipeline *p, const struct pipeline_arguments *a, int lock, bool *adopted,
                 struct process *supervisor, struct error *e)
{
    struct serving now;
    int left, rc;

    if ((*adopted = adoption_possible(&now, p, &a->sets))) {
        serving_free(&now);
        fprintf(stderr, "an earlier supervisor died: a new one takes over what it left serving\n");
        return spawn_supervisor(p, a, lock, supervisor, e);
    }
    if ((rc = leftovers_end(p, &left, e)))
        return rc;
    if (left)
        fprintf(stderr, "ended %d process%s that an earlier run left behind\n", left, left == 1 ? "" : "es");
    if ((rc = rotate_logs(p, e)) || (rc = running_remember(p, a, e)))
        return rc;
    return spawn_supervisor(p, a, lock, supervisor, e);
}

int launch_up(const struct pipeline *p, const struct pipeline_arguments *a, int timeout_s,
              struct process *supervisor, struct error *e)
{
    char path[STATE_PATH_BYTES];
    bool adopted;
    int rc, lock;

    if ((rc = state_path(path, p, e, "logs")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, p, e, "run")) || (rc = state_make(path, e)))
        return rc;
    if ((rc = claim_take(&lock, p, LOCK_MS, e)) == FL_UNAVAILABLE)
        return launch_say_holder(p, e);
    if (rc)
        return rc;
    rc = start(p, a, lock, &adopted, supervisor, e);
    close(lock); /* the supervisor has it now */
    return rc ? rc : wait_ready(p, supervisor, adopted, timeout_s, e);
}

int launch_drain(const struct pipeline *p, const struct launch_end *how, struct error *e)
{
    uint64_t until = clock_ns() + (uint64_t)how->drain_s * NS_PER_S;
    struct status_reply s = {.in_flight = 1};
    struct client *c;
    int rc = FL_OK, silent = 0; /* questions in a row without an answer: nobody is there to be drained */

    if (how->drain_s <= 0 || client_new(&c, p, NULL))
        return FL_OK;
    while (s.in_flight && silent < 2 && clock_ns() < until && !interrupt_seen()) {
        silent = client_drain(c, DRAIN_LEASE_MS, DRAIN_LEASE_MS / 2, &s, NULL) ? silent + 1 : 0;
        if (!silent && s.in_flight)
            usleep(POLL_US);
    }
    if (s.in_flight && interrupt_seen() && how->call_off) {
        client_undrain(c, DRAIN_LEASE_MS, NULL);
        rc = error_set(e, FL_CANCELLED,
                       "interrupted with %llu requests in flight: nothing is stopped, requests are "
                       "taken again",
                       (unsigned long long)s.in_flight);
    } else if (s.in_flight && !silent) {
        fprintf(stderr, "not drained in %d s; stopping all the same\n", how->drain_s);
    }
    client_free(c);
    return rc;
}

static int stop(const struct pipeline *p, const struct process *supervisor, const struct launch_end *how,
                struct error *e)
{
    int rc = is_ready(p) ? launch_drain(p, how, e) : FL_OK;

    if (rc)
        return rc;
    process_signal(supervisor, SIGTERM);
    if (!process_wait_gone(supervisor, END_MS)) {
        process_signal(supervisor, SIGKILL);
        process_wait_gone(supervisor, END_MS);
    }
    if (process_alive(supervisor))
        return error_set(e, FL_INTERNAL, "the supervisor (pid %d) does not end: is it another user's?",
                         (int)supervisor->pid);
    return FL_OK;
}

/* Takes the lock; whoever has it is stopped where that can be done from here. */
static int take_over(int *lock, const struct pipeline *p, const struct launch_end *how, bool *stopped,
                     struct error *e)
{
    uint64_t until = clock_ns() + BUSY_MS * NS_PER_MS;
    struct process supervisor;
    int rc;

    while ((rc = claim_take(lock, p, 0, e)) == FL_UNAVAILABLE) {
        enum claim_holder holder = claim_look(p, &supervisor);
        if (holder == CLAIM_HERE) {
            if ((rc = stop(p, &supervisor, how, e)))
                return rc;
            *stopped = true;
        } else if (holder == CLAIM_ELSEWHERE || clock_ns() > until) {
            return launch_say_holder(p, e);
        }
        usleep(POLL_US);
    }
    return rc;
}

int launch_down(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e)
{
    int left, lock, rc;

    *ended = false;
    rc = take_over(&lock, p, how, ended, e);
    if (rc)
        return rc == FL_NOT_FOUND ? FL_OK : rc;
    if (!*ended && is_ready(p) && claim_anyone_alive(p)) /* their supervisor died */
        rc = launch_drain(p, how, e);
    if (!rc && !(rc = leftovers_end(p, &left, e)))
        *ended = *ended || left > 0;
    close(lock);
    return rc;
}
