/* watch.c - a thread that looks at the processes of a pipeline
 *
 * The lock covers everything in struct watch that both threads touch. The broker is asked without it.
 */
#include "watch.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/limits.h"
#include "client/client.h"
#include "deploy/tool/energy.h"
#include "deploy/tool/report.h"
#include "deploy/process/roles.h"
#include "deploy/process/word.h"

#define WATCH_PERIOD_NS NS_PER_S
#define WATCH_ASK_MS    1000
#define WATCH_EVENTS    256

struct watched {
    char name[32];
    uint32_t role, stage, replica;
    char host[MESSAGE_NAME_BYTES], state[32];
    uint64_t pid, incarnation, epoch, resident_bytes;
    double last_s, cpu_s; /* CPU time of this pid when last looked at; since counting began, over all pids */
    bool cpu_known;
};

struct watch_event {
    double t;
    char text[96];
};

struct watch {
    const struct pipeline *pipeline;
    struct client *client;
    struct status_reply *reply;
    char host[MESSAGE_NAME_BYTES];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, begin, stop; /* begin, stop: asked for */
    uint64_t begin_ns;         /* 0: does not count yet */
    struct energy energy;
    bool silent; /* the broker did not answer when it was last asked */
    uint64_t broker_started_ns;
    uint8_t plan[DIGEST_BYTES]; /* that the stage workers serve; zeros: not heard yet */
    bool reloaded;              /* it became another while it counted */
    int n, n_events;
    struct watched process[STATUS_MAX_PROCESSES + 1];
    struct watch_event event[WATCH_EVENTS];
};

static void happened(struct watch *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void happened(struct watch *w, const char *format, ...)
{
    struct watch_event *event = &w->event[w->n_events];
    va_list args;

    if (!w->begin_ns || w->n_events == WATCH_EVENTS)
        return;
    event->t = (double)(clock_ns() - w->begin_ns) / NS_PER_S;
    va_start(args, format);
    vsnprintf(event->text, sizeof event->text, format, args);
    va_end(args);
    w->n_events++;
}

/* Reads /proc. `fresh`: this process replaced another one while we watched, so all of its CPU time counts. */
static void look_at(struct watch *w, struct watched *p, bool fresh)
{
    uint64_t bytes;
    double now;

    if (strcmp(p->host, w->host) || !p->pid || !process_cpu_s((pid_t)p->pid, &now))
        return;
    if (w->begin_ns && (fresh || p->cpu_known))
        p->cpu_s += now - (fresh ? 0 : p->last_s);
    p->last_s = now;
    p->cpu_known = true;
    if ((bytes = limits_resident_bytes(p->pid)) > p->resident_bytes)
        p->resident_bytes = bytes;
}

static struct watched *find(struct watch *w, const char *name)
{
    for (int i = 0; i < w->n; i++)
        if (!strcmp(w->process[i].name, name))
            return &w->process[i];
    if (w->n == STATUS_MAX_PROCESSES + 1)
        return NULL;
    memset(&w->process[w->n], 0, sizeof w->process[w->n]);
    snprintf(w->process[w->n].name, sizeof w->process[w->n].name, "%s", name);
    return &w->process[w->n++];
}

static void note_worker(struct watch *w, const struct process_status *s)
{
    char name[32];
    struct watched *p = find(w, roles_name(s, name, sizeof name));
    bool fresh;

    if (!p)
        return;
    if (p->incarnation && p->incarnation != s->incarnation)
        happened(w, "%s began anew", p->name);
    else if (*p->state && strcmp(p->state, s->state))
        happened(w, "%s is %s, was %s", p->name, s->state, p->state);
    if (p->epoch && s->last.epoch > p->epoch && s->role == ROLE_CACHE)
        happened(w, "%s serves epoch %llu", p->name, (unsigned long long)s->last.epoch);
    fresh = p->pid && p->pid != s->pid;
    p->role = s->role;
    p->stage = s->stage;
    p->replica = s->replica;
    p->pid = s->pid;
    p->incarnation = s->incarnation;
    p->epoch = s->last.epoch;
    snprintf(p->host, sizeof p->host, "%s", s->host);
    snprintf(p->state, sizeof p->state, "%s", s->state);
    if (s->last.resident_bytes > p->resident_bytes)
        p->resident_bytes = s->last.resident_bytes;
    look_at(w, p, fresh);
}

/* All stage workers that take requests serve one plan. */
static void note_plan(struct watch *w)
{
    static const uint8_t none[DIGEST_BYTES];

    for (int i = 0; i < w->reply->n_processes; i++) {
        const struct process_status *s = &w->reply->process[i];
        if (s->role != ROLE_STAGE || strcmp(s->state, "ready") || !memcmp(s->plan, w->plan, sizeof w->plan))
            continue;
        if (memcmp(w->plan, none, sizeof none) && w->begin_ns) {
            happened(w, "a reload moved the stages on to another plan");
            w->reloaded = true;
        }
        memcpy(w->plan, s->plan, sizeof w->plan);
        return;
    }
}

/* The broker is not in its own list; `up` left its pid. */
static void note_broker(struct watch *w, bool answered)
{
    struct watched *p = find(w, "broker");
    struct process process;
    bool fresh;

    if (!p)
        return;
    p->role = ROLE_BROKER;
    if (answered && w->broker_started_ns && w->broker_started_ns != w->reply->started_ns)
        happened(w, "the broker began anew");
    if (answered)
        w->broker_started_ns = w->reply->started_ns;
    if (pid_file_load(w->pipeline, "broker", &process) || !process_alive(&process))
        return;
    snprintf(p->host, sizeof p->host, "%s", w->host);
    fresh = p->pid && p->pid != (uint64_t)process.pid;
    p->pid = (uint64_t)process.pid;
    look_at(w, p, fresh);
}

static void look(struct watch *w)
{
    bool answered = !client_status(w->client, WATCH_ASK_MS, w->reply, NULL);

    pthread_mutex_lock(&w->lock);
    if (w->silent != !answered) {
        w->silent = !answered;
        happened(w, answered ? "the broker answers again" : "the broker does not answer");
    }
    note_broker(w, answered);
    if (answered)
        note_plan(w);
    for (int i = 0; answered && i < w->reply->n_processes; i++)
        note_worker(w, &w->reply->process[i]);
    for (int i = 0; !answered && i < w->n; i++) /* /proc still tells */
        if (w->process[i].role != ROLE_BROKER)
            look_at(w, &w->process[i], false);
    energy_read(&w->energy);
    pthread_mutex_unlock(&w->lock);
}

/* Waits for the next look; takes notice of what was asked for. True to go on. */
static bool pause_until_next(struct watch *w)
{
    struct timespec until;
    uint64_t at = clock_ns() + WATCH_PERIOD_NS;
    bool go_on;

    until.tv_sec = (time_t)(at / NS_PER_S);
    until.tv_nsec = (long)(at % NS_PER_S);
    pthread_mutex_lock(&w->lock);
    while (!w->begin && !w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
        ;
    if (w->begin) { /* what was used until now does not count */
        for (int i = 0; i < w->n; i++)
            look_at(w, &w->process[i], false);
        energy_read(&w->energy);
        w->energy.joules = 0;
        w->begin_ns = clock_ns();
        w->begin = false;
    }
    go_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

static void *watch_thread(void *arg)
{
    struct watch *w = arg;

    do
        look(w);
    while (pause_until_next(w));
    look(w);
    return NULL;
}

int watch_start(struct watch **out, const struct pipeline *p, struct error *e)
{
    struct watch *w = *out = calloc(1, sizeof *w);
    pthread_condattr_t monotonic;
    int rc;

    if (!w || !(w->reply = calloc(1, sizeof *w->reply))) {
        free(w);
        *out = NULL;
        return error_set(e, FL_NOMEM, "no memory to watch processes");
    }
    w->pipeline = p;
    gethostname(w->host, sizeof w->host - 1);
    energy_open(&w->energy, ENERGY_ROOT);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = client_new(&w->client, p, e);
    if (!rc && pthread_create(&w->thread, NULL, watch_thread, w))
        rc = error_set(e, FL_NOMEM, "cannot start a thread to watch processes");
    w->running = !rc;
    if (rc) {
        watch_free(w);
        *out = NULL;
    }
    return rc;
}

static void ask_for(struct watch *w, bool *what)
{
    pthread_mutex_lock(&w->lock);
    *what = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void watch_begin(struct watch *w)
{
    if (w)
        ask_for(w, &w->begin);
}

void watch_stop(struct watch *w)
{
    if (!w || !w->running)
        return;
    ask_for(w, &w->stop);
    pthread_join(w->thread, NULL);
    w->running = false;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    watch_stop(w);
    client_free(w->client);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->reply);
    free(w);
}

json_t *watch_processes(const struct watch *w)
{
    static const char *const roles[] = {"", "broker", "stage", "cache", "client"};
    json_t *a = json_array();

    for (int i = 0; i < w->n; i++) {
        const struct watched *p = &w->process[i];
        bool stage = p->role == ROLE_STAGE;
        json_array_append_new(
            a, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "role", roles[p->role <= 4 ? p->role : 0],
                         "stage", stage ? json_integer(p->stage) : json_null(), "replica",
                         p->role != ROLE_BROKER ? json_integer(p->replica) : json_null(), "host",
                         *p->host ? json_string(p->host) : json_null(), "pid",
                         p->pid ? json_integer((json_int_t)p->pid) : json_null(), "resident_bytes",
                         p->resident_bytes ? json_integer((json_int_t)p->resident_bytes) : json_null(),
                         "cpu_seconds", p->cpu_known ? report_rounded(p->cpu_s, 3) : json_null()));
    }
    return a;
}

json_t *watch_events(const struct watch *w)
{
    json_t *a = json_array();

    for (int i = 0; i < w->n_events; i++)
        json_array_append_new(
            a, json_pack("{s:o, s:s}", "t", report_rounded(w->event[i].t, 3), "text", w->event[i].text));
    return a;
}

double watch_cpu_s(const struct watch *w)
{
    double sum = 0;

    for (int i = 0; i < w->n; i++)
        sum += w->process[i].cpu_known ? w->process[i].cpu_s : NAN;
    return w->n ? sum : NAN;
}

bool watch_saw_reload(struct watch *w)
{
    bool reloaded;
    pthread_mutex_lock(&w->lock);
    reloaded = w->reloaded;
    pthread_mutex_unlock(&w->lock);
    return reloaded;
}

double watch_joules(const struct watch *w)
{
    return w->energy.n ? w->energy.joules : NAN;
}
