/* up_hosts.c - ship, check, start, watch; the same steps on all hosts at once */
#include "up_hosts.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/endpoint.h"
#include "deploy/hosts/slurm_job.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/state.h"
#include "fleet.h"
#include "fleet_files.h"
#include "host_side.h"
#include "deploy/process/running.h"
#include "deploy/process/serving.h"
#include "deploy/process/word.h"

#define ASK_MS      1000
#define CHECK_MS    60000
#define WATCH_S     "10"
#define WATCH_MS    60000
#define DOWN_MS     60000
#define WORDS_BYTES 300
#define SLURM_DRAIN_S \
    "10" /* scancel asks all supervisors at once to end; KillWait is 30 s where nobody set it */

struct starting {
    struct fleet fleet;
    const struct up_hosts *up;
    uint64_t until_ns;
    atomic_bool failed;                            /* on some host: the others need not be waited for */
    char waiting[PIPELINE_MAX_HOSTS][WORDS_BYTES]; /* what each host said last */
};

static int check(struct transport *t, int host, void *arg, struct error *e)
{
    static const char *const words[] = {"supervise", "--check", NULL};
    (void)t;
    return fleet_ask(&((struct starting *)arg)->fleet, host, words, CHECK_MS, NULL, 0, e);
}

static int start(struct transport *t, int host, void *arg, struct error *e)
{
    struct starting *s = arg;
    char log[1200], name[1200], lease[16];
    const char *words[8] = {"supervise", "--log", name};
    int n = 3;
    struct fleet_words w;

    snprintf(log, sizeof log, "%s/state/logs/supervisor.out", s->fleet.folder[host]);
    snprintf(name, sizeof name, "%s/state/logs/supervisor.log", s->fleet.folder[host]);
    snprintf(lease, sizeof lease, "%d", s->up->lease_s);
    if (s->fleet.job) {
        words[n++] = "--drain";
        words[n++] = SLURM_DRAIN_S;
    }
    if (s->up->lease_s) {
        words[n++] = "--lease";
        words[n++] = lease;
    }
    fleet_words(&w, &s->fleet, host, words);
    return transport_start(t, host, w.argv, log, e);
}

static int watch(struct transport *t, int host, void *arg, struct error *e)
{
    static const char *const words[] = {"supervise", "--watch", WATCH_S, NULL};
    struct starting *s = arg;
    char *said = s->waiting[host], before[WORDS_BYTES] = "";
    int rc;

    (void)t;
    for (;;) {
        if ((rc = fleet_ask(&s->fleet, host, words, WATCH_MS, said, sizeof before, e)) ||
            !strcmp(said, "ready"))
            break;
        if (strcmp(said, before))
            fprintf(stderr, "%s: %s\n", s->fleet.host[host].name, said);
        strcpy(before, said);
        if (interrupt_seen())
            rc = error_set(e, FL_CANCELLED, "stopped before the pipeline was ready");
        else if (clock_ns() > s->until_ns)
            rc = error_set(e, FL_DEADLINE, "not ready after %d s: host %s: %s", s->up->timeout_s,
                           s->fleet.host[host].name, said);
        if (rc || s->failed)
            break;
    }
    if (rc)
        s->failed = true;
    return rc;
}

static int stop(struct transport *t, int host, void *arg, struct error *e)
{
    static const char *const words[] = {"down", "--drain", "0", NULL};
    (void)t;
    return fleet_ask(arg, host, words, DOWN_MS, NULL, 0, e);
}

/* Everything that was started ends again, also what could not say that it was. */
static void stop_all(struct fleet *f, const struct pipeline *p)
{
    struct error why;

    interrupt_catch(); /* the signal that called it off must not call off this */
    if (transport_each(f->transport, stop, f, &why))
        fprintf(stderr, "not everything could be stopped: %s; `freezeline down -c %s` tries again\n",
                why.text, p->path);
    else
        fleet_forget(p);
}

/* Commands that ask or change it find its processes by these copies, not by a file that is edited meanwhile.
 */
static int keep_copies(const struct pipeline *p, const struct argument_list *sets, struct error *e)
{
    struct serving copy;
    int rc = serving_take(&copy, p, p->path, sets, e);

    if (!rc && !(rc = serving_commit(&copy, e)))
        rc = fleet_note_placed(p, e);
    serving_free(&copy);
    return rc;
}

static int run_all(struct starting *s, struct error *e)
{
    struct transport *t = s->fleet.transport;
    const struct pipeline *p = s->up->pipeline;
    int rc;

    if ((rc = transport_each(t, check, s, e)) || (rc = fleet_save(&s->fleet, p, e)) ||
        (rc = keep_copies(p, &s->up->arguments->sets, e)))
        return rc;
    if ((rc = transport_each(t, start, s, e)) || (rc = transport_each(t, watch, s, e))) {
        stop_all(&s->fleet, p);
        error_wrap(e, (enum fl_code)rc, "everything is stopped again");
    }
    return rc;
}

/* Steps of a job end with it. */
static bool job_ended(const struct fleet *f)
{
    char state[SLURM_STATE_BYTES];
    int rc = f->job ? slurm_job_state(f->job, state, NULL) : FL_INTERNAL;

    return rc == FL_NOT_FOUND || (!rc && strcmp(state, "RUNNING") && strcmp(state, "SUSPENDED"));
}

/* Nothing of it can run any more: its job has ended, or is the one that we are in, begun anew. */
static bool is_over(const struct fleet *f)
{
    return f->job && ((slurm_job_here() && !strcmp(f->job, slurm_job_here())) || job_ended(f));
}

/* One that was started on other hosts than those of now would be lost. */
static int check_earlier(const struct up_hosts *u, const struct fleet *old, const struct fleet *now,
                         struct error *e)
{
    for (int i = 0; !is_over(old) && i < old->n; i++)
        if (strcmp(old->on, now->on) || fleet_host(now, old->host[i].name) < 0)
            return error_set(
                e, FL_UNAVAILABLE,
                "it was started on host %s, by %s, and not stopped: `freezeline down -c %s` first",
                old->host[i].name, old->on, u->pipeline->path);
    return FL_OK;
}

/* ---- supervisors that died ---- */

static int look(struct transport *t, int host, void *arg, struct error *e)
{
    static const char *const words[] = {"supervise", "--watch", "0", NULL};
    struct starting *s = arg;
    (void)t;
    return fleet_ask(&s->fleet, host, words, CHECK_MS, s->waiting[host], sizeof s->waiting[0], e);
}

static bool is_gone(const struct starting *s, int host)
{
    return !strncmp(s->waiting[host], HOST_SIDE_GONE, strlen(HOST_SIDE_GONE));
}

static int start_gone(struct transport *t, int host, void *arg, struct error *e)
{
    return is_gone(arg, host) ? start(t, host, arg, e) : FL_OK;
}

/* It serves: nothing is brought there, but hosts whose supervisor died get another, which takes over. */
static int revive(struct starting *s, struct error *e)
{
    const struct pipeline *p = s->up->pipeline;
    int rc, gone = 0;

    if ((rc = fleet_open(&s->fleet, e)) || (rc = transport_each(s->fleet.transport, look, s, e)))
        return rc;
    for (int i = 0; i < s->fleet.n; i++)
        if (is_gone(s, i) && ++gone)
            fprintf(stderr,
                    strstr(s->waiting[i], HOST_SIDE_SERVES)
                        ? "%s: its supervisor died: a new one takes over what it left serving\n"
                        : "%s: nothing of it runs there any more: it starts anew\n",
                    s->fleet.host[i].name);
    if (!gone)
        return error_set(e, FL_UNAVAILABLE, "it is up already on %d hosts; `freezeline down -c %s` stops it",
                         s->fleet.n, p->path);
    if (!(rc = transport_each(s->fleet.transport, start_gone, s, e)))
        rc = transport_each(s->fleet.transport, watch, s, e);
    return rc;
}

static int check_redis(const struct pipeline *p, struct error *e)
{
    if (p->redis.managed && p->security.mode == SECURITY_CURVE && !p->redis.password_file)
        return error_set(e, FL_CONFIG,
                         "redis.managed with security: curve: hosts reach it over the network, so it wants "
                         "redis.password_file");
    return FL_OK;
}

static bool is_loopback(const char *address)
{
    char endpoint[300];

    snprintf(endpoint, sizeof endpoint,
             strchr(address, ':') && *address != '[' ? "tcp://[%s]:1" : "tcp://%s:1", address);
    return endpoint_is_loopback(endpoint);
}

/* Where others are elsewhere, nobody reaches a host at an address that each machine has for itself. */
static int check_addresses(const struct pipeline *p, struct error *e)
{
    int own = -1, n = 0;

    for (int i = 0; i < p->n_hosts; i++)
        if (is_loopback(p->host[i].address)) {
            own = i;
            n++;
        }
    if (!n || n == p->n_hosts)
        return FL_OK;
    return error_set(e, FL_CONFIG,
                     "hosts.%d.address: %s is each machine's own: give the address by which the other hosts "
                     "reach host %s",
                     own, p->host[own].address, p->host[own].name);
}

int up_hosts(const struct up_hosts *u, struct error *e)
{
    static struct status_reply said; /* large */
    struct starting s = {.up = u, .until_ns = clock_ns() + (uint64_t)u->timeout_s * NS_PER_S};
    struct fleet old;
    char path[STATE_PATH_BYTES];
    int rc, lock = -1;

    if ((rc = state_path(path, u->pipeline, e, "run")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, u->pipeline, e, "logs")) || (rc = state_make(path, e)) ||
        (rc = check_redis(u->pipeline, e)) || (rc = check_addresses(u->pipeline, e)) ||
        (rc = fleet_lock(&lock, u->pipeline, e)))
        return rc;
    rc = fleet_load(&old, u->pipeline, e);
    if (!rc && !running_ask(u->pipeline, ASK_MS, &said, NULL)) {
        s.fleet = old;
        rc = revive(&s, e);
    } else if (!rc || rc == FL_NOT_FOUND) {
        if (!(rc = fleet_new(&s.fleet, u->pipeline, u->on, u->job, e)) &&
            !(rc = check_earlier(u, &old, &s.fleet, e)) && !(rc = fleet_open(&s.fleet, e)) &&
            !(rc = fleet_ship(&s.fleet, u->pipeline, FLEET_ALL, NULL, e)))
            rc = run_all(&s, e);
        fleet_close(&old);
    }
    fleet_close(&s.fleet);
    close(lock);
    return rc;
}

/* A job ends by itself when its steps have, and takes a command with it that has stopped its host already. */
static bool job_ends(const struct fleet *f)
{
    for (int i = 0; f->job && i < 50; i++, usleep(100000))
        if (job_ended(f))
            return true;
    return false;
}

int down_hosts(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e)
{
    struct fleet f;
    int rc, lock = -1;

    *ended = false;
    if ((rc = fleet_load(&f, p, e)))
        return rc;
    if (job_ended(&f)) {
        fleet_forget(p);
        fleet_close(&f);
        return FL_OK;
    }
    if (!(rc = fleet_lock(&lock, p, e)) && !(rc = launch_drain(p, how, e)) &&
        !(rc = fleet_open_some(&f, e)) &&
        (!(rc = transport_each(f.transport, stop, &f, e)) || job_ends(&f))) {
        rc = FL_OK;
        fleet_forget(p);
        word_remove(p, "arguments");
        *ended = true;
    }
    fleet_close(&f);
    if (lock >= 0)
        close(lock);
    return rc;
}

int down_wherever(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e)
{
    return fleet_there(p) ? down_hosts(p, how, ended, e) : launch_down(p, how, ended, e);
}
