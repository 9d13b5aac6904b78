/* supervisor.c - the loop: signals, orders, deaths, readiness */
#include "supervisor.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "system/signals.h"
#include "adoption.h"
#include "deploy/process/claim.h"
#include "conduct.h"
#include "crew.h"
#include "supervisor_launch.h"
#include "supervisor_lease.h"
#include "deploy/tool/state.h"
#include "deploy/process/leftovers.h"
#include "orders.h"
#include "pager.h"
#include "deploy/process/process.h"
#include "readiness.h"
#include "deploy/process/word.h"

#define LOCK_WAIT_MS 500
#define TICK_MS      50

struct supervisor {
    struct serving serving;
    struct crew crew;
    struct readiness *readiness;
    struct orders *orders;
    struct conduct conduct;
    struct pager pager;
    int signals, lock; /* descriptors; lock: claim.h */
    bool lost;         /* run/lock is not ours any more: nothing there is to be touched */
    bool stop;
    bool adopts, told;  /* adopts: an earlier supervisor's processes (adoption.h); told: that all is ready */
    uint64_t looked_ns; /* at the broker's word on who is silent */
    struct supervisor_lease lease;
};

static const struct status_reply *said(const struct supervisor *s)
{
    uint64_t asked_ns;
    return readiness_status(s->readiness, &asked_ns);
}

/* ---- what comes ---- */

/* SIGHUP is passed on: services open their logs again, cache services read their caches again. */
static void hang_up(struct supervisor *s)
{
    log_reopen();
    log_info("SIGHUP: passed on, so that logs are opened again and built caches read again");
    crew_signal(&s->crew, SIGHUP);
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo it;

    while (read(s->signals, &it, sizeof it) == (ssize_t)sizeof it) {
        if (it.ssi_signo == SIGHUP)
            hang_up(s);
        s->stop = s->stop || it.ssi_signo == SIGTERM || it.ssi_signo == SIGINT;
    }
}

static void take_orders(struct supervisor *s)
{
    struct order o;
    int from;

    while (orders_next(s->orders, &o, &from))
        if (o.kind == ORDER_STOP)
            s->stop = true;
        else
            conduct_order(&s->conduct, &o, from, said(s));
}

static void wait_a_tick(const struct supervisor *s)
{
    struct pollfd fd[ORDERS_MOST + 2] = {{.fd = s->signals, .events = POLLIN}};
    int n = 1 + orders_poll(s->orders, fd + 1);
    poll(fd, (nfds_t)n, TICK_MS);
}

/* ---- what is looked at ---- */

/* Another number of workers, or another input: what is ready means something else. */
static void renew_readiness(struct supervisor *s)
{
    struct readiness *fresh;
    struct error e;

    s->conduct.changed = false;
    if (readiness_new(&fresh, s->serving.pipeline, &e)) {
        log_error("%s", e.text);
        return;
    }
    readiness_free(s->readiness);
    s->readiness = fresh;
    malloc_trim(0);
}

static void look(struct supervisor *s)
{
    uint64_t asked_ns;
    bool ready;

    if (conduct_busy(&s->conduct))
        readiness_hurry(s->readiness);
    ready = readiness_check(s->readiness);
    readiness_status(s->readiness, &asked_ns);
    if (asked_ns != s->looked_ns) {
        s->looked_ns = asked_ns;
        if (s->crew.ready && s->serving.pipeline->broker.hung_after_ms)
            crew_end_hung(&s->crew, said(s), asked_ns);
        conduct_turn(&s->conduct, said(s), clock_ns());
        if (s->told)
            pager_turn(&s->pager, &s->serving, said(s), clock_ns());
    }
    if (s->conduct.changed)
        renew_readiness(s);
    if (ready && !s->told && crew_is_asked(&s->crew, said(s))) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        s->crew.ready = s->told = true;
        word_leave(s->serving.pipeline, "ready", pid);
        log_info("ready");
    }
}

static int check_lock(struct supervisor *s, struct error *e)
{
    if (claim_holds(s->lock, s->serving.pipeline))
        return FL_OK;
    s->lost = true;
    return error_set(
        e, FL_STALE,
        "%s/run/lock was removed or replaced: nobody could find this pipeline any more, so it stops",
        s->serving.pipeline->state);
}

static int tend(struct supervisor *s, struct error *e)
{
    int rc = FL_OK;

    for (int i = 0; !s->adopts && !rc && i < s->crew.n; i++)
        if ((rc = crew_start(&s->crew, i, e)))
            word_leave(s->serving.pipeline, "failed", s->crew.child[i].role.name);
    while (!rc && !s->stop) {
        wait_a_tick(s);
        take_signals(s);
        if ((rc = crew_reap(&s->crew, e)) || (rc = check_lock(s, e)))
            break;
        take_orders(s);
        crew_start_due(&s->crew);
        crew_look_after_redis(&s->crew);
        look(s);
        if (supervisor_lease_over(&s->lease, s->serving.pipeline, clock_ns())) {
            log_warn("nobody renews the lease of this pipeline any more: it ends");
            s->stop = true;
        }
    }
    return rc;
}

/* Takes over the lock that `up` handed on, or takes it; writes its pid file; opens what children hold. */
static int claim(struct supervisor *s, const struct pipeline *p, const struct argument_list *sets, int lock,
                 struct error *e)
{
    char path[STATE_PATH_BYTES];
    struct process self;
    bool own = lock < 0;
    int rc, left;

    if ((rc = state_path(path, p, e, "run")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, p, e, "logs")) || (rc = state_make(path, e)))
        return rc;
    if (lock < 0 && (rc = claim_take(&lock, p, LOCK_WAIT_MS, e)))
        return rc;
    s->lock = lock;
    if (!claim_holds(lock, p))
        return error_set(e, FL_USAGE, "--lock %d: that is not %s/run/lock, locked: leave --lock out", lock,
                         p->state);
    fcntl(lock, F_SETFD, FD_CLOEXEC); /* its alone: children that outlive it must not hold it */
    s->adopts = adoption_possible(&s->serving, p, sets);
    if ((own && !s->adopts && (rc = leftovers_end(p, &left, e))) ||
        (rc = claim_open_alive(&s->crew.alive, p, e)))
        return rc;
    if (!process_find(&self, getpid()))
        return error_set(e, FL_IO, "cannot read /proc/self/stat");
    return pid_file_save(p, "supervisor", &self, e);
}

static int make_children(struct supervisor *s, struct error *e)
{
    struct role role[ROLES_MAX];
    int n = 0, rc = roles_list_here(s->serving.pipeline, role, &n, e);

    for (int i = 0; !rc && i < n; i++)
        rc = crew_add(&s->crew, &role[i], e);
    s->crew.ready = s->adopts;
    if (!rc && s->adopts)
        log_info("%d processes of an earlier supervisor go on", adoption_take(&s->crew));
    return rc;
}

/* Blocked, to be read from a descriptor; children begin with none blocked (process_spawn). SIGHUP is ignored
 * by children until they handle it. */
/* OpenBLAS has threads before main begins, which block nothing: what one of them gets goes to the main
 * thread, where it waits to be read. */
static void pass_on(int number)
{
    syscall(SYS_tgkill, getpid(), getpid(), number);
}

static int open_signals(struct supervisor *s, struct error *e)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? error_set(e, FL_IO, "no descriptor for signals") : FL_OK;
}

static int open_all(struct supervisor *s, const struct pipeline *p, const struct pipeline_arguments *a,
                    struct error *e)
{
    int rc = s->adopts ? FL_OK : serving_take(&s->serving, p, p->path, &a->sets, e);

    if (rc || (!s->adopts && (rc = serving_commit(&s->serving, e))))
        return rc;
    s->crew.serving = &s->serving;
    s->conduct = (struct conduct){.crew = &s->crew, .serving = &s->serving, .by = -1};
    if ((rc = orders_open(&s->orders, p, e)) || (rc = make_children(s, e)) ||
        (rc = readiness_new(&s->readiness, s->serving.pipeline, e)))
        return rc;
    s->conduct.orders = s->orders;
    malloc_trim(0); /* the model was here for its shape */
    return FL_OK;
}

static void stop_all(struct supervisor *s, const struct pipeline *p)
{
    pager_end(&s->pager);
    if (s->crew.serving) {
        if (s->orders)
            conduct_end(&s->conduct);
        crew_stop(&s->crew, s->lost);
    }
    orders_close(s->orders, s->lost);
    if (!s->lost)
        leftovers_remove_own(s->serving.pipeline ? s->serving.pipeline : p);
    log_info("stopped");
}

int supervisor_run(const struct pipeline *p, const struct pipeline_arguments *a, int lock, int drain_s,
                   struct error *e)
{
    struct supervisor *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* for what it starts, too: Redis cannot see to that itself */
    if (drain_s)
        setenv(SIGNALS_TENDED, "1", 1); /* for the children */
    s->lock = s->crew.alive = s->signals = -1;
    if (!(rc = open_signals(s, e)) && !(rc = claim(s, p, &a->sets, lock, e))) {
        if (!(rc = open_all(s, p, a, e)))
            rc = tend(s, e);
        if (!rc && s->crew.ready)
            launch_drain(s->serving.pipeline, &(struct launch_end){.drain_s = drain_s}, NULL);
        stop_all(s, p);
    }
    readiness_free(s->readiness);
    serving_free(&s->serving);
    if (s->signals >= 0)
        close(s->signals);
    if (s->crew.alive >= 0)
        close(s->crew.alive);
    if (s->lock >= 0)
        close(s->lock); /* last: from here on another may start */
    free(s);
    return rc;
}
