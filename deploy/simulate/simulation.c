/* simulation.c - checks what is to be simulated, sets it up, runs event after event, sums up */
#include "simulation_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- checking ---- */

static int bad(struct error *e, const char *what, double value)
{
    return error_set(e, FL_VALUE, "cannot simulate: %s is %g", what, value);
}

static bool is_time(double ns)
{
    return isfinite(ns) && ns >= 0 && ns <= 1e18;
}

static bool is_host(const struct simulation *s, int host)
{
    return host >= 0 && host < s->n_hosts;
}

static bool are_times(const struct simulation_times *t)
{
    for (int i = 0; i < t->n; i++)
        if (!is_time(t->ns[i]))
            return false;
    return true;
}

static int check_hosts(const struct simulation *s, struct error *e)
{
    if (s->n_hosts < 1 || s->n_hosts > SIMULATION_MAX_HOSTS)
        return bad(e, "the number of hosts", s->n_hosts);
    for (int i = 0; i < s->n_hosts; i++) {
        const struct simulation_host *h = &s->host[i];
        if (h->cores < 1)
            return bad(e, "a host's number of cores", h->cores);
        if (!(h->speed > 0 && isfinite(h->speed)) || !(h->all_busy > 0 && isfinite(h->all_busy)))
            return bad(e, "a host's speed", h->speed);
        if (!is_time(h->latency_ns) || !is_time(h->mtbf_ns) || !is_time(h->repair_ns) ||
            !(h->bytes_per_ns >= 0 && isfinite(h->bytes_per_ns)))
            return bad(e, "the number of a host whose time or bandwidth makes no sense", i);
    }
    if (!is_host(s, s->broker_host) || !is_host(s, s->client_host))
        return bad(e, "the broker's or the client's host", s->broker_host);
    for (int i = 0; i < s->n_caches; i++)
        if (!is_host(s, s->cache_host[i]))
            return bad(e, "the host of a cache service", s->cache_host[i]);
    return FL_OK;
}

static int check_stage(const struct simulation *s, const struct simulation_stage *t, struct error *e)
{
    if (t->n_replicas < 1 || t->n_replicas > SIMULATION_MAX_REPLICAS)
        return bad(e, "a stage's number of replicas", t->n_replicas);
    if (t->max_batch < 1 || t->max_batch > SIMULATION_MAX_BATCH)
        return bad(e, "a stage's largest batch", t->max_batch);
    if (t->n_segments < 1 || t->n_segments > PIPELINE_MAX_EXITS + 1 || t->threads < 1)
        return bad(e, "a stage's number of segments", t->n_segments);
    for (int i = 0; i < t->n_replicas; i++)
        if (!is_host(s, t->place[i].host) || t->place[i].cache >= s->n_caches)
            return bad(e, "the place of a replica", t->place[i].host);
    for (int i = 0; i < t->n_segments; i++) {
        if (t->segment[i].exit >= s->n_exits)
            return bad(e, "the exit of a segment", t->segment[i].exit);
        for (int b = 1; b <= t->max_batch; b++)
            if (t->segment[i].compute[b].n < 1 || !are_times(&t->segment[i].compute[b]))
                return bad(e, "a segment's times are missing or wrong at batch", b);
    }
    return is_time(t->bytes) ? FL_OK : bad(e, "the bytes of a stage's input", t->bytes);
}

static int check_costs(const struct simulation *s, struct error *e)
{
    const struct simulation_costs *c = &s->costs;
    const double times[] = {c->client_send_ns,   c->client_receive_ns,
                            c->client_watch_ns,  c->broker_request_ns,
                            c->broker_result_ns, c->stage_receive_ns,
                            c->stage_send_ns,    c->stage_byte_ns,
                            c->stage_lookup_ns,  c->stage_verdict_ns,
                            c->cache_ns,         c->io_ns,
                            c->io_byte_ns,       c->switch_ns,
                            c->cold_share,       c->crowd_share,
                            c->mtbf_ns,          c->restart_ns,
                            c->detect_ns,        s->answer_bytes,
                            s->header_bytes,     s->wait_ns};
    double sum = 0;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (!is_time(times[i]))
            return bad(e, "a cost", times[i]);
    if (!are_times(&c->wake))
        return bad(e, "a time to wake up", NAN);
    for (int i = 0; i < s->n_exits; i++) {
        const struct simulation_exit *x = &s->exit[i];
        if (!is_time(x->bytes) || !is_time(x->descriptor_ns) || !is_time(x->lookup_ns) ||
            !is_time(x->lookup_row_ns) || !(x->share >= 0 && x->share <= 1))
            return bad(e, "the number of an exit whose share or times make no sense", i);
        sum += x->share;
    }
    return sum <= 1 + 1e-9 ? FL_OK : bad(e, "the sum of the exits' shares", sum);
}

static int check(const struct simulation *s, struct error *e)
{
    int rc;
    if (s->n_stages < 1 || s->n_stages > PIPELINE_MAX_STAGES || s->n_exits < 0 ||
        s->n_exits > PIPELINE_MAX_EXITS)
        return bad(e, "the number of stages or exits", s->n_stages);
    if ((rc = check_hosts(s, e)) || (rc = check_costs(s, e)))
        return rc;
    for (int i = 0; i < s->n_stages; i++)
        if ((rc = check_stage(s, &s->stage[i], e)))
            return rc;
    if (s->max_requests < 1 || s->batches < 0 || !is_time(s->target_ns) || s->retries < 0)
        return bad(e, "a limit of the broker", s->max_requests);
    if (!(s->deadline_ns >= 1) || !is_time(s->deadline_ns))
        return bad(e, "the deadline", s->deadline_ns);
    if (!(s->rate >= 0 && s->rate <= 1e9) || (s->rate <= 0 && s->closed < 1))
        return bad(e, "the rate", s->rate);
    if (s->requests < 1 || s->warm_up < 0 || s->warm_up >= s->requests)
        return bad(e, "the number of requests", (double)s->requests);
    return FL_OK;
}

/* ---- setting up ---- */

void state_schedule(struct state *s, uint64_t at, enum event_kind kind, int what, uint32_t version)
{
    if (events_push(&s->events, at, kind, what, version))
        s->failed = error_set(s->error, FL_NOMEM, "no memory for more events");
}

static int pool_grow(struct state *s, struct pool *p, void **items, size_t size)
{
    int more = p->capacity ? 2 * p->capacity : 256;
    void *grown;
    if (more > SIMULATION_MAX_IN_SYSTEM)
        return s->failed =
                   error_set(s->error, FL_TOO_LARGE,
                             "more than %d requests or messages wait: the rate is far above what this "
                             "pipeline can do",
                             SIMULATION_MAX_IN_SYSTEM);
    if (!(grown = realloc(*items, size * (size_t)more)))
        return s->failed = error_set(s->error, FL_NOMEM, "no memory for more requests");
    memset((char *)grown + size * (size_t)p->capacity, 0, size * (size_t)(more - p->capacity));
    *items = grown;
    p->capacity = more;
    return FL_OK;
}

int pool_take(struct state *s, struct pool *p, void **items, size_t size, size_t next)
{
    int i = p->free;
    if (i != NONE) {
        p->free = *(int *)((char *)*items + (size_t)i * size + next);
        return i;
    }
    if (p->n == p->capacity && pool_grow(s, p, items, size))
        return NONE;
    return p->n++;
}

static void set_process(struct state *s, int i, enum simulation_role role, int stage, int replica, int host)
{
    s->process[i] = (struct process){.role = role, .stage = stage, .replica = replica, .host = host};
    for (int t = 2 * i; t < 2 * i + 2; t++)
        s->thread[t] = (struct thread){.host = host,
                                       .process = i,
                                       .slot = NONE,
                                       .in_hand = NONE,
                                       .first = NONE,
                                       .last = NONE,
                                       .width = 1};
}

static void set_processes(struct state *s)
{
    const struct simulation *c = s->s;
    set_process(s, CLIENT_PROCESS, SIMULATION_CLIENT, 0, 0, c->client_host);
    set_process(s, BROKER_PROCESS, SIMULATION_BROKER, 0, 0, c->broker_host);
    for (int i = 0; i < c->n_caches; i++)
        set_process(s, FIRST_CACHE + i, SIMULATION_CACHE, 0, i, c->cache_host[i]);
    for (int k = 0, i = 0; k < c->n_stages; k++)
        for (int r = 0; r < c->stage[k].n_replicas; r++, i++) {
            int cache = c->stage[k].place[r].cache;
            set_process(s, worker_process(s, i), SIMULATION_STAGE, k, r, c->stage[k].place[r].host);
            s->worker[i] = (struct worker){.stage = k,
                                           .replica = r,
                                           .process = worker_process(s, i),
                                           .cache = cache < 0 ? NONE : FIRST_CACHE + cache,
                                           .first = NONE,
                                           .last = NONE};
        }
}

/* Each host's heap has room for the threads of all its processes. */
static void set_cores(struct state *s)
{
    int *room = s->heap_space;
    for (int i = 0; i < s->s->n_hosts; i++) {
        s->cores[i] = (struct cores){.spec = &s->s->host[i], .heap = room, .event_at = UINT64_MAX};
        for (int k = 0; k < s->n_processes; k++)
            room += 2 * (s->process[k].host == i);
    }
}

static int set_up(struct state *s, const struct simulation *c)
{
    for (int i = 0; i < c->n_stages; i++) {
        s->first_worker[i] = s->n_workers;
        s->n_workers += c->stage[i].n_replicas;
    }
    s->n_processes = FIRST_CACHE + c->n_caches + s->n_workers;
    s->n_threads = 2 * s->n_processes;
    s->process = calloc((size_t)s->n_processes, sizeof *s->process);
    s->thread = calloc((size_t)s->n_threads, sizeof *s->thread);
    s->ready = calloc((size_t)s->n_threads, sizeof *s->ready);
    s->heap_space = calloc((size_t)s->n_threads, sizeof *s->heap_space);
    s->cores = calloc((size_t)c->n_hosts, sizeof *s->cores);
    s->worker = calloc((size_t)s->n_workers, sizeof *s->worker);
    s->result = calloc(1, sizeof *s->result);
    if (!s->process || !s->thread || !s->ready || !s->heap_space || !s->cores || !s->worker || !s->result)
        return error_set(s->error, FL_NOMEM, "no memory for %d processes", s->n_processes);
    s->result->process = calloc((size_t)s->n_processes, sizeof *s->result->process);
    s->result->link = calloc((size_t)c->n_hosts, sizeof *s->result->link);
    if (!s->result->process || !s->result->link)
        return error_set(s->error, FL_NOMEM, "no memory for %d processes", s->n_processes);
    admission_init(&s->admission, (uint64_t)c->target_ns);
    broker_find_room(s);
    s->parcels.free = s->lookups.free = s->requests.free = NONE;
    s->oldest = s->newest = s->first_waiting = s->last_waiting = NONE;
    /* Apart, so that another cluster meets the same arrivals and the same hits. */
    s->arrivals.state = c->seed;
    s->exits.state = c->seed ^ 0x5851f42d4c957f2du;
    s->times.state = c->seed ^ 0x14057b7ef767814fu;
    s->failures.state = c->seed ^ 0x2545f4914f6cdd1du;
    set_processes(s);
    set_cores(s);
    return FL_OK;
}

static void tear_down(struct state *s)
{
    free(s->process);
    free(s->thread);
    free(s->ready);
    free(s->heap_space);
    free(s->cores);
    free(s->worker);
    free(s->parcel);
    free(s->lookup);
    free(s->request);
    free(s->events.heap);
}

/* ---- counting ---- */

static void start_counting(struct state *s)
{
    cpu_settle(s);
    for (int i = 0; i < s->n_threads; i++)
        s->thread[i].used = 0;
    for (int i = 0; i < s->s->n_hosts; i++)
        s->cores[i].busy = s->cores[i].out_bytes = s->cores[i].in_bytes = 0;
    memset(s->result->stage, 0, sizeof s->result->stage);
    s->counting = true;
    s->counted_from = s->area_since = s->now;
    s->area = 0;
    s->answers = 0;
}

static void sum_up_hosts(struct state *s, double ns)
{
    for (int i = 0; i < s->s->n_hosts; i++) {
        const struct cores *c = &s->cores[i];
        double most = c->spec->bytes_per_ns * ns;
        s->result->link[i] = (struct simulation_link){.cores = c->busy / ns,
                                                      .out = most > 0 ? c->out_bytes / most : 0,
                                                      .in = most > 0 ? c->in_bytes / most : 0,
                                                      .out_bytes = c->out_bytes / ns * 1e9,
                                                      .in_bytes = c->in_bytes / ns * 1e9};
    }
}

static void sum_up_processes(struct state *s, double ns)
{
    for (int i = 0; i < s->n_processes; i++) {
        const struct process *p = &s->process[i];
        s->result->process[i] =
            (struct simulation_process){.role = p->role,
                                        .stage = p->stage,
                                        .replica = p->replica,
                                        .host = p->host,
                                        .busy = fmax(0, s->thread[main_thread(i)].used / ns),
                                        .io_busy = fmax(0, s->thread[io_thread(i)].used / ns)};
    }
}

/* The counted time ends with the last arrival; what is under way then still counts as a latency. */
static void stop_counting(struct state *s)
{
    struct simulation_result *out = s->result;
    double ns = (double)(s->now - s->counted_from);
    cpu_settle(s);
    s->closed_window = true;
    ns = ns > 0 ? ns : 1;
    s->area += (double)s->in_system * (double)(s->now - s->area_since);
    out->seconds = ns / 1e9;
    out->throughput = (double)s->answers / ns * 1e9;
    out->in_system = s->area / ns;
    for (int i = 0; i < s->s->n_stages; i++)
        if (out->stage[i].entered) {
            out->stage[i].queue_ns /= (double)out->stage[i].entered;
            out->stage[i].service_ns /= (double)out->stage[i].entered;
        }
    out->n_processes = s->n_processes;
    out->n_hosts = s->s->n_hosts;
    sum_up_hosts(s, ns);
    sum_up_processes(s, ns);
}

/* ---- running ---- */

static void on_arrival(struct state *s)
{
    if (!s->counting && s->result->arrived >= s->s->warm_up)
        start_counting(s);
    client_arrival(s);
    if (s->counting && !s->closed_window && s->result->arrived >= s->s->requests)
        stop_counting(s);
}

static void handle(struct state *s, const struct event *v)
{
    switch ((enum event_kind)v->kind) {
    case EVENT_ARRIVAL:
        on_arrival(s);
        break;
    case EVENT_WATCH:
        client_watch(s);
        break;
    case EVENT_HOST:
        cpu_on_event(s, v->what, v->version);
        break;
    case EVENT_DELIVER:
        wire_arrive(s, v->what);
        break;
    case EVENT_PATIENCE:
        worker_patience(s, v->what, v->version);
        break;
    case EVENT_DEADLINE:
        broker_on_deadline(s);
        break;
    case EVENT_FAIL:
        failures_fail(s, v->what);
        break;
    case EVENT_REPAIR:
        failures_repair(s, v->what);
        break;
    case EVENT_DETECT:
        failures_detect(s, v->what, v->version);
        break;
    }
}

static void run(struct state *s)
{
    struct event v;
    client_start(s);
    failures_start(s);
    while (!s->failed && (s->in_system || s->result->arrived < s->s->requests) &&
           events_pop(&s->events, &v)) {
        s->now = v.at;
        s->result->events++;
        handle(s, &v);
        while (s->n_ready) {
            int thread = s->ready[s->first_ready];
            s->first_ready = (s->first_ready + 1) % s->n_threads;
            s->n_ready--;
            wire_thread_done(s, thread);
        }
    }
}

int simulation_run(struct simulation_result **out, const struct simulation *c, struct error *e)
{
    struct state s = {.s = c, .error = e};
    int rc = check(c, e);

    *out = NULL;
    if (rc)
        return rc;
    if (!(rc = set_up(&s, c))) {
        run(&s);
        rc = s.failed;
    }
    if (rc)
        simulation_result_free(s.result);
    else
        *out = s.result;
    tear_down(&s);
    return rc;
}

void simulation_result_free(struct simulation_result *r)
{
    if (!r)
        return;
    free(r->process);
    free(r->link);
    free(r);
}
