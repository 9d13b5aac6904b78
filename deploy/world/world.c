/* world.c - hosts and processes: setting up, births and deaths, the loop */
#include "world_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CONNECT_NS                                                                          \
    (100 * NS_PER_US) /* from a socket's making until it is connected, when someone listens \
                       */

/* ---- setting up ---- */

static int check(const struct world_spec *s, struct error *e)
{
    const struct pipeline *p = s->pipeline;
    bool there = true;
    if (s->n_hosts < 1 || s->n_hosts > WORLD_MAX_HOSTS || s->n_clients < 1 ||
        s->n_clients > WORLD_MAX_CLIENTS)
        return error_set(e, FL_VALUE, "a world has 1 to %d hosts and 1 to %d clients", WORLD_MAX_HOSTS,
                         WORLD_MAX_CLIENTS);
    for (int i = 0; i < pipeline_brokers(p); i++)
        there &= s->broker_host[i] >= 0 && s->broker_host[i] < s->n_hosts;
    for (int i = 0; i < s->n_clients; i++)
        there &= s->client_host[i] >= 0 && s->client_host[i] < s->n_hosts;
    for (int k = 0; k < p->n_stages; k++)
        for (int i = 0; i < p->stage[k].n_replicas; i++)
            there &= s->stage_host[k][i] >= 0 && s->stage_host[k][i] < s->n_hosts;
    for (int i = 0; i < p->cache.n_endpoints; i++)
        there &= s->cache_host[i] >= 0 && s->cache_host[i] < s->n_hosts;
    return there ? FL_OK : error_set(e, FL_VALUE, "a process stands on a host that is not in the world");
}

static bool grow(void *array, int *have, int need, size_t size)
{
    void **at = array, *more;
    if (need <= *have)
        return true;
    if (!(more = realloc(*at, (size_t)need * size)))
        return false;
    *at = more;
    *have = need;
    return true;
}

/* How many processes, endpoints and connections there are at most. */
static void count(const struct world_spec *s, int *processes, int *endpoints, int *connections)
{
    const struct pipeline *p = s->pipeline;
    int workers = p->cache.n_endpoints, brokers = pipeline_brokers(p);
    *connections = brokers * (2 * s->n_clients + p->stage[0].n_replicas + PLACES * 2 * p->cache.n_endpoints);
    for (int k = 0; k < p->n_stages; k++) {
        workers += p->stage[k].n_replicas;
        *connections += PLACES * p->stage[k].n_replicas *
                        (1 + 2 * brokers + (k + 1 < p->n_stages ? p->stage[k + 1].n_replicas : 0));
    }
    *endpoints = DOORS * brokers + workers;
    *processes = s->n_clients + brokers + 1 + PLACES * workers;
    *connections += *endpoints;
}

static bool reserve(struct world *w, const struct world_spec *s)
{
    int processes, endpoints, connections, threads = 2 * w->max_processes, woken = w->max_processes;
    int ready = threads;
    count(s, &processes, &endpoints, &connections);
    return grow(&w->thread, &threads, 2 * processes, sizeof *w->thread) &&
           grow(&w->ready, &ready, 2 * processes, sizeof *w->ready) &&
           grow(&w->woken, &woken, processes, sizeof *w->woken) &&
           grow(&w->process, &w->max_processes, processes, sizeof *w->process) &&
           grow(&w->heap_space, &w->max_heap, 2 * processes * s->n_hosts, sizeof *w->heap_space) &&
           grow(&w->endpoint, &w->max_endpoints, endpoints, sizeof *w->endpoint) &&
           grow(&w->connection, &w->max_connections, connections, sizeof *w->connection) &&
           grow(&w->cores, &w->max_hosts, s->n_hosts, sizeof *w->cores);
}

static int add_process(struct world *w, enum message_role role, int stage, int replica, int host, int place)
{
    const struct list none = {NONE, NONE, 0};
    int i = w->n_processes++;
    struct process *p = &w->process[i];
    memset(p, 0, sizeof *p);
    p->who =
        (struct world_process){.index = i, .role = role, .stage = stage, .replica = replica, .host = host};
    p->place = place;
    p->outbox = none;
    for (int k = 0; k < WORLD_PORTS; k++)
        p->inbox[k] = none;
    for (int k = 0; k < 2; k++)
        w->thread[2 * i + k] = (struct thread){.host = host, .slot = NONE, .moving = none};
    return i;
}

static int add_endpoint(struct world *w, enum world_port port, int stage, int replica)
{
    w->endpoint[w->n_endpoints] = (struct endpoint){port, stage, replica, NONE};
    return w->n_endpoints++;
}

static void add_endpoints(struct world *w)
{
    const struct pipeline *p = w->spec.pipeline;
    for (int i = 0; i < pipeline_brokers(p); i++)
        for (int port = WORLD_CLIENTS; port <= WORLD_RESULTS; port++)
            add_endpoint(w, (enum world_port)port, 0, i);
    for (int k = 0; k < p->n_stages; k++) {
        w->first_jobs[k] = w->n_endpoints;
        for (int i = 0; i < p->stage[k].n_replicas; i++)
            add_endpoint(w, WORLD_JOBS, k, i);
    }
    w->first_lookups = w->n_endpoints;
    for (int i = 0; i < p->cache.n_endpoints; i++)
        add_endpoint(w, WORLD_LOOKUPS, 0, i);
}

static void add_processes(struct world *w)
{
    const struct world_spec *s = &w->spec;
    const struct pipeline *p = s->pipeline;
    for (int i = 0; i < s->n_clients; i++)
        add_process(w, ROLE_CLIENT, 0, i, s->client_host[i], NONE);
    for (int i = 0; i < pipeline_brokers(p); i++)
        add_process(w, ROLE_BROKER, 0, i, s->broker_host[i], NONE);
    for (int k = 0; k < p->n_stages; k++) {
        w->first_stage[k] = w->n_processes;
        for (int i = 0; i < PLACES * p->stage[k].n_replicas; i++)
            add_process(w, ROLE_STAGE, k, i / PLACES, s->stage_host[k][i / PLACES],
                        w->first_jobs[k] + i / PLACES);
    }
    w->first_cache = w->n_processes;
    for (int i = 0; i < PLACES * p->cache.n_endpoints; i++)
        add_process(w, ROLE_CACHE, 0, i / PLACES, s->cache_host[i / PLACES], w->first_lookups + i / PLACES);
    add_process(w, ROLE_CLIENT, 0, WORLD_NOBODY, s->client_host[0], NONE);
}

/* The sockets that each process connects, in the order in which the bodies know them. */
static void add_connections(struct world *w)
{
    const struct pipeline *p = w->spec.pipeline;
    for (int i = 0; i < w->n_processes; i++) {
        struct process *x = &w->process[i];
        int stage = x->who.stage;
        x->first = w->n_connections;
        if (x->who.role == ROLE_BROKER) {
            for (int k = 0; k < p->stage[0].n_replicas; k++)
                wire_new_connection(w, WORLD_JOBS, i, w->first_jobs[0] + k);
        } else if (x->who.role == ROLE_CLIENT && x->who.replica == WORLD_NOBODY) {
            for (int k = 0; k < w->n_endpoints; k++)
                wire_new_connection(w, w->endpoint[k].port, i, k);
        } else {
            enum world_port other = x->who.role == ROLE_CLIENT ? WORLD_CLIENTS : WORLD_RESULTS;
            for (int k = 0; k < pipeline_brokers(p); k++)
                wire_new_connection(w, WORLD_CONTROL, i, world_door(k, WORLD_CONTROL));
            for (int k = 0; k < pipeline_brokers(p); k++)
                wire_new_connection(w, other, i, world_door(k, other));
        }
        for (int k = 0;
             x->who.role == ROLE_STAGE && stage + 1 < p->n_stages && k < p->stage[stage + 1].n_replicas; k++)
            wire_new_connection(w, WORLD_JOBS, i, w->first_jobs[stage + 1] + k);
        if (x->who.role == ROLE_STAGE && p->cache.n_endpoints)
            wire_new_connection(w, WORLD_LOOKUPS, i,
                                w->first_lookups + p->stage[stage].replica[x->who.replica].cache);
        x->n = w->n_connections - x->first;
    }
}

static void clear(struct world *w)
{
    w->clearing = true;
    for (int i = 0; i < w->n_processes; i++)
        if (w->process[i].who.lives)
            world_gone(w, i, false);
    w->clearing = false;
    for (int i = 0; i < w->n_connections; i++)
        wire_forget(w, i);
    w->n_processes = w->n_connections = w->n_endpoints = 0;
    w->n_ready = w->n_woken = w->first_ready = w->first_woken = 0;
    w->events.n = 0;
    w->events.order = 0;
    w->now = w->steps = w->pids = 0;
    w->failed = false;
}

int world_reset(struct world *w, const struct world_spec *s, struct error *e)
{
    int rc = check(s, e), processes = 0, endpoints, connections;
    if (rc)
        return rc;
    clear(w);
    if (!reserve(w, s))
        return error_set(e, FL_NOMEM, "no memory for a world of %d hosts", s->n_hosts);
    w->spec = *s;
    shuffle_seed(&w->random, s->seed, 0);
    count(s, &processes, &endpoints, &connections);
    for (int i = 0; i < s->n_hosts; i++)
        w->cores[i] = (struct cores){.spec = &s->host[i],
                                     .heap = w->heap_space + (size_t)i * 2 * (size_t)processes,
                                     .waiting = {NONE, NONE, 0},
                                     .event_at = NEVER};
    add_endpoints(w);
    add_processes(w);
    add_connections(w);
    for (int i = 0; i < s->n_clients; i++)
        world_start(w, i, e);
    return world_start(w, w->n_processes - 1, e);
}

int world_new(struct world **out, const struct world_spec *s, struct error *e)
{
    struct world *w = calloc(1, sizeof *w);
    int rc;
    if (!w)
        return error_set(e, FL_NOMEM, "no memory for a world");
    w->free_packet = NONE;
    if ((rc = world_reset(w, s, e))) {
        world_free(w);
        return rc;
    }
    *out = w;
    return FL_OK;
}

void world_free(struct world *w)
{
    if (!w)
        return;
    clear(w);
    for (int i = 0; i < w->max_packets; i++)
        free(w->packet[i].data);
    free(w->packet);
    free(w->process);
    free(w->thread);
    free(w->connection);
    free(w->endpoint);
    free(w->cores);
    free(w->heap_space);
    free(w->ready);
    free(w->woken);
    free(w->events.heap);
    free(w);
}

/* ---- who is who ---- */

int world_processes(const struct world *w)
{
    return w->n_processes;
}

const struct world_process *world_process(const struct world *w, int process)
{
    return &w->process[process].who;
}

int world_client(const struct world *w, int client)
{
    return client == WORLD_NOBODY ? w->n_processes - 1 : client;
}

int world_broker(const struct world *w, int broker)
{
    return w->spec.n_clients + broker;
}

int world_stage(const struct world *w, int stage, int replica, int which)
{
    return w->first_stage[stage] + PLACES * replica + which;
}

int world_cache(const struct world *w, int cache, int which)
{
    return w->first_cache + PLACES * cache + which;
}

uint64_t world_clock(const struct world *w, int host, uint64_t at)
{
    return at + w->spec.host[host].clock_ns;
}

uint64_t world_host_now(const struct world *w, const struct process *p)
{
    return world_clock(w, p->who.host, w->now);
}

/* Hosts whose clocks agree count as one machine. */
char *world_boot_id(const struct world *w, int host, char *buf, size_t size)
{
    snprintf(buf, size, "boot-%llu", (unsigned long long)w->spec.host[host].clock_ns);
    return buf;
}

void world_introduce(const struct world *w, const struct process *p, struct hello *h)
{
    *h = (struct hello){.role = p->who.role,
                        .stage = (uint32_t)p->who.stage,
                        .replica = (uint32_t)p->who.replica,
                        .incarnation = p->who.incarnation,
                        .pid = p->pid,
                        .ready = !p->waits};
    snprintf(h->host, sizeof h->host, "host%d", p->who.host);
    world_boot_id(w, p->who.host, h->boot_id, sizeof h->boot_id);
}

/* ---- births and deaths ---- */

static bool must_bind(const struct process *p)
{
    return p->who.role == ROLE_BROKER || p->place != NONE;
}

static void bind_all(struct world *w, int process)
{
    const struct process *p = &w->process[process];
    if (p->place != NONE)
        wire_bind(w, process, p->place);
    for (int port = WORLD_CLIENTS; p->who.role == ROLE_BROKER && port <= WORLD_RESULTS; port++)
        wire_bind(w, process, world_door(p->who.replica, (enum world_port)port));
}

int world_start(struct world *w, int process, struct error *e)
{
    struct process *p = &w->process[process];
    int holder = p->place == NONE ? NONE : w->endpoint[p->place].process, rc;
    if (p->who.lives)
        return FL_OK;
    if (holder != NONE && p->who.role == ROLE_CACHE)
        return error_set(e, FL_CONFIG, "cache %d: another process holds the endpoint", p->who.replica);
    p->who.lives = true;
    p->who.life++;
    p->who.incarnation = (uint64_t)shuffle_u32(&w->random) << 32 | shuffle_u32(&w->random) | 1;
    p->pid = ++w->pids;
    p->waits = holder != NONE;
    p->stalled_until = 0;
    p->wake_at = p->armed_at = NEVER;
    p->spent = p->debt = p->owes = 0;
    p->work = WORK_NOTHING;
    p->dirty = true;
    if ((rc = body_of(p)->start(w, p, e))) {
        p->who.lives = false;
        return rc;
    }
    if (must_bind(p) && !p->waits)
        bind_all(w, process);
    for (int i = 0; i < p->n; i++)
        wire_begin(w, p->first + i, CONNECT_NS);
    world_wake(w, process);
    return FL_OK;
}

/* Who waits for the place takes it. */
static void pass_on(struct world *w, const struct process *p)
{
    for (int i = 0; i < w->n_processes && p->place != NONE; i++) {
        struct process *heir = &w->process[i];
        if (heir->place != p->place || !heir->who.lives || !heir->waits)
            continue;
        heir->waits = false;
        bind_all(w, i);
        if (body_of(heir)->takes_place)
            body_of(heir)->takes_place(w, heir);
        world_wake(w, i);
    }
}

void world_gone(struct world *w, int process, bool politely)
{
    struct process *p = &w->process[process];
    bool held = !p->waits;
    p->who.lives = false;
    for (int i = 0; i < 2; i++)
        cpu_stop(w, 2 * process + i);
    wire_gone(w, process, politely);
    if (p->work == WORK_MESSAGE)
        wire_free(w, p->in_hand);
    p->work = WORK_NOTHING;
    body_of(p)->end(w, p);
    p->brain = NULL;
    if (held)
        pass_on(w, p);
    if (w->spec.user.ended && !w->clearing)
        w->spec.user.ended(w->spec.user.arg, &p->who);
}

void world_kill(struct world *w, int process)
{
    if (w->process[process].who.lives)
        world_gone(w, process, false);
}

void world_end(struct world *w, int process)
{
    struct process *p = &w->process[process];
    if (p->who.lives && body_of(p)->ask_to_end)
        body_of(p)->ask_to_end(w, p);
}

void world_stall(struct world *w, int process, uint64_t until)
{
    struct process *p = &w->process[process];
    p->stalled_until = until;
    world_schedule(w, until, EVENT_WAKE, process, p->who.life);
}

/* ---- messages from outside ---- */

static int endpoint_of(const struct world *w, enum world_port port, int stage, int replica)
{
    return port == WORLD_JOBS      ? w->first_jobs[stage] + replica
           : port == WORLD_LOOKUPS ? w->first_lookups + replica
                                   : world_door(replica, port);
}

int world_queued(const struct world *w, enum world_port port, int stage, int replica)
{
    int endpoint = endpoint_of(w, port, stage, replica), most = 0;
    for (int i = 0; i < w->n_connections; i++) {
        const struct connection *c = &w->connection[i];
        int n = c->way[0].flying.n + c->way[0].waiting.n + (c->up ? c->way[0].unread : 0);
        if (c->endpoint == endpoint && n > most)
            most = n;
    }
    return most;
}

int world_send(struct world *w, int from, enum world_port port, int stage, int replica,
               const struct message *m, zmq_msg_t *payload)
{
    int process = world_client(w, from), endpoint = endpoint_of(w, port, stage, replica), rc;
    struct process *p = &w->process[process];
    for (int i = p->first; i < p->first + p->n; i++)
        if (w->connection[i].endpoint == endpoint) {
            rc = wire_send(w, p, i, 0, m, payload);
            world_wake(w, process);
            return rc;
        }
    return FL_UNAVAILABLE;
}

bool world_takes(const struct world *w, int from, enum world_port port, int stage, int replica)
{
    int endpoint = endpoint_of(w, port, stage, replica);
    const struct process *p = &w->process[world_client(w, from)];
    for (int i = p->first; i < p->first + p->n; i++)
        if (w->connection[i].endpoint == endpoint)
            return wire_takes(w, i, 0);
    return false;
}

/* ---- running ---- */

void world_schedule(struct world *w, uint64_t at, enum event_kind kind, int what, uint32_t version)
{
    if (events_push(&w->events, at, kind, what, version))
        w->failed = true;
}

void world_at(struct world *w, uint64_t at, int what, uint32_t value)
{
    world_schedule(w, at > w->now ? at : w->now, EVENT_USER, what, value);
}

uint64_t world_now(const struct world *w)
{
    return w->now;
}

uint64_t world_steps(const struct world *w)
{
    return w->steps;
}

void world_wake(struct world *w, int process)
{
    struct process *p = &w->process[process];
    if (p->woken || !p->who.lives)
        return;
    p->woken = true;
    w->woken[(w->first_woken + w->n_woken++) % w->n_processes] = process;
}

static void on_wake(struct world *w, int process, uint32_t life)
{
    struct process *p = &w->process[process];
    if (p->who.life != life)
        return;
    if (w->now >= p->armed_at)
        p->armed_at = NEVER;
    world_wake(w, process);
}

static void handle(struct world *w, const struct event *v)
{
    switch ((enum event_kind)v->kind) {
    case EVENT_USER:
        if (w->spec.user.event)
            w->spec.user.event(w->spec.user.arg, v->what, v->version);
        break;
    case EVENT_HOST:
        cpu_on_host(w, v->what, v->version);
        break;
    case EVENT_TURN:
        cpu_on_turn(w, v->what, v->version);
        break;
    case EVENT_THREAD:
        cpu_on_thread(w, v->what, v->version);
        break;
    case EVENT_DELIVER:
        wire_arrive(w, v->what, v->version);
        break;
    case EVENT_WAKE:
        on_wake(w, v->what, v->version);
        break;
    case EVENT_CONNECT:
        wire_try(w, v->what, v->version);
        break;
    }
}

static void thread_done(struct world *w, int thread)
{
    struct thread *t = &w->thread[thread];
    t->queued = false;
    if (!t->done)
        return; /* it was stopped in this very moment */
    t->done = false;
    if (thread % 2)
        wire_moved(w, thread);
    else
        body_thread_done(w, thread / 2);
}

/* Threads that are done and processes that have something to do, until all rest. */
static void settle(struct world *w)
{
    while (w->n_ready || w->n_woken) {
        if (w->n_ready) {
            int thread = w->ready[w->first_ready];
            w->first_ready = (w->first_ready + 1) % (2 * w->n_processes);
            w->n_ready--;
            thread_done(w, thread);
        } else {
            int process = w->woken[w->first_woken];
            w->first_woken = (w->first_woken + 1) % w->n_processes;
            w->n_woken--;
            w->process[process].woken = false;
            body_run(w, process);
        }
    }
}

bool world_step(struct world *w)
{
    struct event v;
    settle(w); /* what was done from outside */
    if (w->failed || (w->spec.max_steps && w->steps >= w->spec.max_steps) || !events_pop(&w->events, &v))
        return false;
    w->now = v.at;
    w->steps++;
    handle(w, &v);
    settle(w);
    return !w->failed;
}

bool world_run(struct world *w, uint64_t until)
{
    settle(w);
    while (w->events.n && w->events.heap[0].at <= until)
        if (!world_step(w))
            return false;
    if (until > w->now)
        w->now = until;
    return !w->failed;
}
