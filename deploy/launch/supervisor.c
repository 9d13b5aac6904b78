/* supervisor.c - children: start, watch, restart, stop */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "claim.h"
#include "hang.h"
#include "heirs.h"
#include "deploy/model/model_shape.h"
#include "process.h"
#include "readiness.h"
#include "roles.h"
#include "leftovers.h"
#include "word.h"
#include "deploy/tool/state.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS  5000
#define STEADY_NS        (30 * NS_PER_S) /* alive for so long: the next death is the first in a row again */
#define STOP_MS          5000
#define LOCK_WAIT_MS     500
#define STARTED_NS       (5 * NS_PER_S) /* Redis has made its socket by then */
#define TICK_MS          50

struct child {
    struct role role;
    struct process process;
    bool running;
    int backoff_ms;
    uint64_t started_ns, next_ns; /* next_ns: when to start it again */
    struct hang hang;
};

struct supervisor {
    const struct pipeline *pipeline;
    const struct pipeline_arguments *arguments;
    struct child child[ROLES_MAX];
    int n;
    struct readiness *readiness;
    int lock, alive; /* claim.h; children inherit `alive` */
    bool ready;      /* has been, once */
    struct heirs heirs;
    struct pipeline *reloaded; /* owned: `pipeline` since a reload */
    bool lost;                 /* run/lock is not ours any more: nothing there is to be touched */
    uint64_t looked_ns;        /* at the broker's word on who is silent */
};

static int start(struct supervisor *s, struct child *c, struct error *e)
{
    struct role_command *command = malloc(sizeof *command);
    char log[STATE_PATH_BYTES];
    int rc;

    if (!command)
        return error_set(e, FL_NOMEM, "no memory to start %s", c->role.name);
    if (!(rc = roles_command(command, &c->role, s->pipeline, s->arguments, e)) &&
        !(rc = state_path(log, s->pipeline, e, "logs/%s.log", c->role.name)) &&
        !(rc = process_spawn(&c->process, command->argv, log, s->alive, e))) {
        c->running = true;
        c->started_ns = clock_ns();
        log_info("%s started, pid %d", c->role.name, (int)c->process.pid);
        rc = pid_file_save(s->pipeline, c->role.name, &c->process, e);
    }
    free(command);
    return rc;
}

static void describe_exit(int status, char *buf, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(buf, size, "was ended by signal %d (%s%s)", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 WTERMSIG(status) == SIGKILL ? ": by hand, or by the kernel for want of memory" : "");
    else
        snprintf(buf, size, "ended with status %d", WEXITSTATUS(status));
}

static struct child *child_of(struct supervisor *s, pid_t pid)
{
    for (int i = 0; i < s->n; i++)
        if (s->child[i].running && s->child[i].process.pid == pid)
            return &s->child[i];
    return NULL;
}

static void note_death(struct supervisor *s, struct child *c, const char *how)
{
    uint64_t now = clock_ns();

    c->running = false;
    pid_file_remove(s->pipeline, c->role.name);
    c->backoff_ms = !c->backoff_ms || now - c->started_ns > STEADY_NS ? BACKOFF_FIRST_MS : 2 * c->backoff_ms;
    if (c->backoff_ms > BACKOFF_LAST_MS)
        c->backoff_ms = BACKOFF_LAST_MS;
    c->next_ns = now + (uint64_t)c->backoff_ms * NS_PER_MS;
    log_warn("%s %s; starts again in %d ms", c->role.name, how, c->backoff_ms);
}

/* True when the child that ended has an heir, which is the child now. */
static bool inherit(struct supervisor *s, struct child *c)
{
    if (!heirs_take(&s->heirs, (int)(c - s->child), &c->process))
        return false;
    c->running = true;
    c->backoff_ms = 0;
    c->started_ns = clock_ns();
    log_info("%s goes on as pid %d", c->role.name, (int)c->process.pid);
    pid_file_save(s->pipeline, c->role.name, &c->process, NULL);
    return true;
}

/* Reaps what ended. Before the pipeline was ready a death is the end of the start. */
static int reap(struct supervisor *s, struct error *e)
{
    int status, rc = FL_OK;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = child_of(s, pid);
        char how[128];
        describe_exit(status, how, sizeof how);
        if (!c) {
            heirs_lost(&s->heirs, s->pipeline, pid, how);
            continue;
        }
        if (inherit(s, c))
            continue;
        note_death(s, c, how);
        if (s->ready || rc || c->role.kind == ROLE_KIND_LEARNER) /* serving needs no learner */
            continue;
        word_leave(s->pipeline, "failed", c->role.name);
        rc = error_set(e, FL_UNAVAILABLE, "%s %s before the pipeline was ready", c->role.name, how);
    }
    return rc;
}

static void restart_due(struct supervisor *s)
{
    uint64_t now = clock_ns();
    struct error e;

    for (int i = 0; i < s->n; i++) {
        struct child *c = &s->child[i];
        if (c->running || now < c->next_ns)
            continue;
        if (start(s, c, &e)) {
            log_error("%s", e.text);
            c->next_ns = now + BACKOFF_LAST_MS * NS_PER_MS;
        }
    }
}

/* Is the child silent, by the broker's word? The broker itself is when it gives none. */
static bool is_silent(const struct child *c, const struct status_reply *said)
{
    const struct process_status *told;

    if (c->role.kind == ROLE_KIND_BROKER)
        return !said->started_ns;
    told = roles_told(said, c->role.name);
    return told && !strcmp(told->state, "dead") && (pid_t)told->pid == c->process.pid;
}

/* Kills what lives and says nothing; it is started again like what died. The broker calls a worker dead only
 * after dead_after_ms, so that much is over when the count begins. */
static void end_hung(struct supervisor *s)
{
    const struct broker_config *b = &s->pipeline->broker;
    uint64_t now, limit = (uint64_t)(b->hung_after_ms - b->dead_after_ms) * NS_PER_MS;
    const struct status_reply *said = readiness_status(s->readiness, &now);

    if (!s->ready || !b->hung_after_ms || now == s->looked_ns)
        return;
    s->looked_ns = now;
    for (int i = 0; i < s->n; i++) {
        struct child *c = &s->child[i];
        bool broker = c->role.kind == ROLE_KIND_BROKER;
        if (c->role.kind == ROLE_KIND_REDIS || !c->running ||
            !hang_look(&c->hang, c->process.pid, is_silent(c, said), now, broker ? 2 * limit : limit))
            continue;
        log_error("%s (pid %d) lives but has said nothing for %d ms (broker.hung_after_ms): it is killed",
                  c->role.name, (int)c->process.pid, broker ? 2 * b->hung_after_ms : b->hung_after_ms);
        process_signal(&c->process, SIGKILL);
        c->hang.looked_ns = 0;
    }
}

static void end_kind(struct supervisor *s, bool redis)
{
    uint64_t until = clock_ns() + STOP_MS * NS_PER_MS;

    for (int i = 0; i < s->n; i++)
        if (s->child[i].running && (s->child[i].role.kind == ROLE_KIND_REDIS) == redis)
            if (process_signal(&s->child[i].process, SIGTERM))
                process_signal(&s->child[i].process, SIGCONT); /* one that is stopped goes on, to end */
    for (int i = 0; i < s->n; i++) {
        struct child *c = &s->child[i];
        uint64_t now = clock_ns();
        if (!c->running || (c->role.kind == ROLE_KIND_REDIS) != redis)
            continue;
        if (!process_wait_gone(&c->process, now < until ? (int)((until - now) / NS_PER_MS) : 0)) {
            log_warn("%s did not end in %d ms and is killed", c->role.name, STOP_MS);
            process_signal(&c->process, SIGKILL);
        }
        waitpid(c->process.pid, NULL, 0);
        c->running = false;
        if (!s->lost)
            pid_file_remove(s->pipeline, c->role.name);
    }
}

/* Redis goes last: cache services write to it until their end. */
static void stop_all(struct supervisor *s)
{
    end_kind(s, false);
    end_kind(s, true);
    if (!s->lost)
        leftovers_remove_own(s->pipeline);
    log_info("stopped");
}

/* SIGHUP is passed on: services open their logs again, cache services read their caches again. */
static void hang_up(struct supervisor *s)
{
    log_reopen();
    log_info("SIGHUP: passed on, so that logs are opened again and built caches read again");
    for (int i = 0; i < s->n; i++)
        if (s->child[i].running)
            process_signal(&s->child[i].process, SIGHUP);
}

static void begin_reload(struct supervisor *s)
{
    struct heirs_place place[ROLES_MAX];

    for (int i = 0; i < s->n; i++)
        place[i] = (struct heirs_place){&s->child[i].role, s->child[i].running ? &s->child[i].process : NULL};
    if (s->ready)
        heirs_begin(&s->heirs, s->pipeline, s->arguments, place, s->n, s->alive);
    else
        heirs_fail(&s->heirs, s->pipeline, "-", "the pipeline is not ready yet");
}

/* When all run from the reloaded file, that file is the one to tend. */
static void take_reloaded(struct supervisor *s)
{
    struct pipeline *p = heirs_done(&s->heirs, s->pipeline, clock_ns());
    struct role role[ROLES_MAX];
    struct readiness *fresh;
    struct error e;
    int n;

    if (!p)
        return;
    if (!readiness_new(&fresh, p, &e)) {
        readiness_free(s->readiness);
        s->readiness = fresh;
        malloc_trim(0);
    }
    roles_list_here(p, role, &n, NULL);
    for (int i = 0; i < n && i < s->n; i++)
        s->child[i].role = role[i];
    pipeline_free(s->reloaded);
    s->pipeline = s->reloaded = p;
}

/* Waits a tick for a signal; true when it is one that ends us. */
static bool asked_to_stop(struct supervisor *s, const sigset_t *signals)
{
    struct timespec tick = {0, TICK_MS * 1000000l};
    int got = sigtimedwait(signals, NULL, &tick);

    if (got == SIGHUP)
        hang_up(s);
    if (got == SIGUSR1)
        begin_reload(s);
    if (got == SIGUSR2 && s->heirs.pipeline)
        heirs_fail(&s->heirs, s->pipeline, "-", "called off");
    return got == SIGTERM || got == SIGINT;
}

/* The other processes make their sockets again themselves; Redis has to be started again. */
static void keep_redis_socket(struct supervisor *s)
{
    const char *endpoint = s->pipeline->redis.endpoint;

    for (int i = 0; s->ready && i < s->n; i++) {
        struct child *c = &s->child[i];
        if (c->role.kind != ROLE_KIND_REDIS || !c->running || clock_ns() < c->started_ns + STARTED_NS ||
            !access(endpoint + strlen("unix:"), F_OK))
            continue;
        log_error("the socket %s was removed: Redis is started again; who removes files there?", endpoint);
        process_signal(&c->process, SIGTERM);
        c->started_ns = clock_ns();
    }
}

/* Without the lock another `up` could start the pipeline a second time. */
static int check_lock(struct supervisor *s, struct error *e)
{
    if (claim_holds(s->lock, s->pipeline))
        return FL_OK;
    s->lost = true;
    return error_set(
        e, FL_STALE,
        "%s/run/lock was removed or replaced: nobody could find this pipeline any more, so it stops",
        s->pipeline->state);
}

/* Services bound their logs themselves; Redis does not. */
static void bound_logs(struct supervisor *s)
{
    char path[STATE_PATH_BYTES];
    struct stat st;

    for (int i = 0; i < s->n; i++)
        if (s->child[i].role.kind == ROLE_KIND_REDIS &&
            !state_path(path, s->pipeline, NULL, "logs/%s.log", s->child[i].role.name) && !stat(path, &st) &&
            (double)st.st_size > s->pipeline->logs.max_mb * 1024 * 1024)
            log_shift(path, s->pipeline->logs.keep);
}

static int tend(struct supervisor *s, const sigset_t *signals, struct error *e)
{
    int rc = FL_OK;

    for (int i = 0; !rc && i < s->n; i++) {
        rc = start(s, &s->child[i], e);
        if (rc)
            word_leave(s->pipeline, "failed", s->child[i].role.name);
    }
    while (!rc && !asked_to_stop(s, signals)) {
        bool ready;
        if ((rc = reap(s, e)) || (rc = check_lock(s, e)))
            break;
        restart_due(s);
        take_reloaded(s);
        bound_logs(s);
        keep_redis_socket(s);
        ready = readiness_check(s->readiness);
        end_hung(s);
        if (ready && !s->ready) {
            s->ready = true;
            word_leave(s->pipeline, "ready", "ready");
            log_info("ready");
        }
    }
    return rc;
}

/* Takes over the lock that `up` handed on, or takes it; writes its pid file; opens what children hold. */
static int claim(struct supervisor *s, int lock, struct error *e)
{
    const struct pipeline *p = s->pipeline;
    char path[STATE_PATH_BYTES];
    struct process self;
    int rc, left;

    if ((rc = state_path(path, p, e, "run")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, p, e, "logs")) || (rc = state_make(path, e)))
        return rc;
    if (lock < 0 && ((rc = claim_take(&lock, p, LOCK_WAIT_MS, e)) || (rc = leftovers_end(p, &left, e))))
        return rc;
    s->lock = lock;
    if (!claim_holds(lock, p))
        return error_set(e, FL_USAGE, "--lock %d: that is not %s/run/lock, locked: leave --lock out", lock,
                         p->state);
    fcntl(lock, F_SETFD, FD_CLOEXEC); /* its alone: children that outlive it must not hold it */
    if ((rc = claim_open_alive(&s->alive, p, e)))
        return rc;
    if (!process_find(&self, getpid()))
        return error_set(e, FL_IO, "cannot read /proc/self/stat");
    return pid_file_save(p, "supervisor", &self, e);
}

static int make_children(struct supervisor *s, struct error *e)
{
    struct role role[ROLES_MAX];
    int rc = roles_list_here(s->pipeline, role, &s->n, e);

    if (rc)
        s->n = 0;
    for (int i = 0; i < s->n; i++)
        s->child[i].role = role[i];
    return rc;
}

int supervisor_run(const struct pipeline *p, const struct pipeline_arguments *a, int lock, struct error *e)
{
    struct supervisor *s = calloc(1, sizeof *s);
    sigset_t signals;
    int rc;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory");
    s->pipeline = p;
    s->arguments = a;
    s->lock = s->alive = -1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1); /* heirs.h */
    sigaddset(&signals, SIGUSR2);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGHUP,
           SIG_IGN); /* taken from the mask all the same; children begin with it, until they handle it */
    if (!(rc = claim(s, lock, e))) {
        if (!(rc = make_children(s, e)) && !(rc = readiness_new(&s->readiness, p, e))) {
            malloc_trim(0); /* the model was here for its shape */
            rc = tend(s, &signals, e);
        }
        heirs_end(&s->heirs, STOP_MS);
        stop_all(s);
    }
    readiness_free(s->readiness);
    pipeline_free(s->reloaded);
    if (s->alive >= 0)
        close(s->alive);
    if (s->lock >= 0)
        close(s->lock); /* last: from here on another may start */
    free(s);
    return rc;
}
