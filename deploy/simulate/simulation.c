/* simulation.c - the load, counting, the result */
#include "simulation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "simulation_parts.h"

#define START_NS        (500 * NS_PER_MS) /* everybody knows everybody by then */
#define CLOSED_PAUSE_NS NS_PER_MS         /* a closed loop's client waits so long after a refusal */
#define LEAST_TURN_US   100               /* shorter turns are sharing, and would take long to play */
#define AGAIN_NS        NS_PER_MS         /* until a client whose socket is full tries again */

/* ---- requests ---- */

static void count_area(struct simulating *g)
{
    uint64_t now = world_now(g->world);
    if (g->counting && !g->is_over)
        g->area += (double)g->in_system * (double)(now - g->area_since);
    g->area_since = now;
}

/* Of the request with that number, or the one that was there before it. */
static struct request_slot *slot_of(const struct simulating *g, uint64_t id)
{
    return &g->slot[id % g->n_slots];
}

/* The client knows how it ended, or will never know. */
static void finish(struct simulating *g, struct request_slot *r, bool answered)
{
    count_area(g);
    g->in_system--;
    r->open = false;
    if (g->s->rate <= 0)
        world_at(g->world, world_now(g->world) + (answered ? 0 : CLOSED_PAUSE_NS), EVENT_ARRIVAL, 0);
}

void simulation_lose(struct simulating *g)
{
    g->unsent = g->next_id;
    for (uint64_t i = 0; i < g->n_slots && g->in_system; i++)
        if (g->slot[i].open) {
            g->result->lost++;
            finish(g, &g->slot[i], false);
        }
}

static void note_times(struct simulating *g, const struct answer *a)
{
    if (a->exit >= 0 && a->trace.n && !g->is_over)
        g->result->stage[a->trace.n - 1].hits++;
    for (int i = 0; i < a->trace.n && !g->is_over; i++) {
        const struct stage_time *t = &a->trace.stage[i];
        g->passed[i]++;
        g->result->stage[i].queue_ns += (double)t->queue_ns;
        g->result->stage[i].service_ns += (double)(t->compute_ns + t->lookup_ns + t->serialise_ns);
    }
}

static void on_answer(void *arg, int client, int broker, const struct message *m, zmq_msg_t *payload)
{
    struct simulating *g = arg;
    struct simulation_result *out = g->result;
    const struct answer *a = &m->answer;
    struct request_slot *r = slot_of(g, a->id);

    (void)client, (void)broker, (void)payload;
    if (m->type != MESSAGE_ANSWER || !r->open || r->id != a->id)
        return; /* it was given up */
    out->retried += a->attempts > 1 ? a->attempts - 1 : 0;
    out->answered += a->error == FL_OK;
    out->refused += a->error == FL_OVERLOADED;
    out->expired += a->error == FL_DEADLINE;
    out->failed += a->error && a->error != FL_OVERLOADED && a->error != FL_DEADLINE;
    if (a->error == FL_OK) {
        g->answers += g->counting && !g->is_over;
        note_times(g, a);
    }
    if (a->error == FL_OK && r->counted) {
        out->by_exit[a->exit < 0 ? g->spec.pipeline->n_exits : a->exit]++;
        histogram_record(&out->latency, world_now(g->world) - r->due);
    }
    finish(g, r, a->error == FL_OK);
}

/* FL_AGAIN: its socket is full. */
static int send_request(struct simulating *g, uint64_t id)
{
    struct message *m = &g->out;
    zmq_msg_t payload;
    int rc;
    m->type = MESSAGE_REQUEST;
    m->request =
        (struct request){.id = id,
                         .input = network_payload(g, &payload, g->s->stage[0].bytes),
                         .sent_ns = world_clock(g->world, g->s->world.client_host[0], world_now(g->world)),
                         .clock = g->clock};
    if ((rc = world_send(g->world, 0, WORLD_CLIENTS, 0, 0, m, &payload)))
        zmq_msg_close(&payload);
    return rc;
}

/* In the order in which they came. */
static void send_unsent(struct simulating *g)
{
    for (; g->unsent < g->next_id && !g->failed; g->unsent++) {
        const struct request_slot *r = slot_of(g, g->unsent);
        int rc = r->open && r->id == g->unsent ? send_request(g, g->unsent) : FL_OK;
        if (rc == FL_AGAIN) {
            world_at(g->world, world_now(g->world) + AGAIN_NS, EVENT_AGAIN, 0);
            return;
        }
        g->failed = rc;
    }
}

static void watch(struct simulating *g, bool watches)
{
    if (g->watching != watches)
        world_busy(g->world, g->s->world.client_host[0], watches ? 1 : -1);
    g->watching = watches;
}

static void expect_arrival(struct simulating *g)
{
    double mean = 1e9 / g->s->rate, ns = g->s->even ? mean : shuffle_exponential(&g->arrivals, mean);
    uint64_t due = world_now(g->world) + (uint64_t)llround(ns);
    double watch_ns = g->s->client_is_outside ? 0 : 1e3 * g->s->measured->cost.client_watch;
    if (watch_ns > 0)
        world_at(g->world, due - (uint64_t)fmin(ns, watch_ns), EVENT_WATCH, 0);
    world_at(g->world, due, EVENT_ARRIVAL, 0);
}

static void arrive(struct simulating *g)
{
    bool waits = g->unsent < g->next_id;
    if ((uint64_t)g->in_system == g->n_slots) {
        g->failed = FL_TOO_LARGE;
        return;
    }
    while (slot_of(g, g->next_id)->open)
        g->next_id++;
    count_area(g);
    *slot_of(g, g->next_id) = (struct request_slot){.id = g->next_id,
                                                    .due = world_now(g->world),
                                                    .open = true,
                                                    .counted = g->result->arrived++ >= g->s->warm_up};
    g->next_id++;
    g->in_system++;
    if (!waits)
        send_unsent(g);
    if (g->s->rate > 0)
        expect_arrival(g);
}

/* ---- counting ---- */

/* Core time and bytes so far, times `sign`: taken off at the beginning, added at the end. */
static void add_use(struct simulating *g, double sign)
{
    struct simulation_result *out = g->result;
    for (int i = 0; i < out->n_processes; i++) {
        double busy, io;
        world_used(g->world, out->process[i].who.index, &busy, &io);
        out->process[i].busy += sign * busy;
        out->process[i].io_busy += sign * io;
    }
    for (int i = 0; i < g->spec.n_hosts; i++) {
        struct world_traffic t = world_traffic(g->world, i);
        out->link[i].cores += sign * t.busy_ns;
        out->link[i].out_bytes += sign * t.out_bytes;
        out->link[i].in_bytes += sign * t.in_bytes;
    }
}

static void start_counting(struct simulating *g)
{
    add_use(g, -1);
    memset(g->result->stage, 0, sizeof g->result->stage);
    memset(g->passed, 0, sizeof g->passed);
    g->counting = true;
    g->counted_from = g->area_since = world_now(g->world);
    g->area = 0;
    g->answers = 0;
}

static void to_shares(struct simulating *g, double ns)
{
    struct simulation_result *out = g->result;
    for (int i = 0; i < out->n_processes; i++) {
        out->process[i].busy = fmax(0, out->process[i].busy / ns);
        out->process[i].io_busy = fmax(0, out->process[i].io_busy / ns);
    }
    for (int i = 0; i < g->spec.n_hosts; i++) {
        struct simulation_link *l = &out->link[i];
        double most = g->spec.host[i].bytes_per_ns * ns;
        l->cores /= ns;
        l->out = most > 0 ? l->out_bytes / most : 0;
        l->in = most > 0 ? l->in_bytes / most : 0;
        l->out_bytes *= 1e9 / ns;
        l->in_bytes *= 1e9 / ns;
    }
    for (int i = 0; i < g->spec.pipeline->n_stages; i++) {
        out->stage[i].queue_ns /= fmax(1, (double)g->passed[i]);
        out->stage[i].service_ns /= fmax(1, (double)g->passed[i]);
    }
}

/* The counted time ends with the last arrival; what is under way then still counts as a latency. */
static void stop_counting(struct simulating *g)
{
    double ns = fmax(1, (double)(world_now(g->world) - g->counted_from));
    count_area(g);
    g->is_over = true;
    g->result->throughput = (double)g->answers / ns * 1e9;
    g->result->in_system = g->area / ns;
    add_use(g, 1);
    to_shares(g, ns);
}

/* ---- running ---- */

static void on_event(void *arg, int what, uint32_t value)
{
    struct simulating *g = arg;
    switch (what) {
    case EVENT_ARRIVAL:
        watch(g, false);
        if (g->result->arrived >= g->s->requests)
            break;
        if (!g->counting && g->result->arrived >= g->s->warm_up)
            start_counting(g);
        arrive(g);
        if (g->result->arrived >= g->s->requests)
            stop_counting(g);
        break;
    case EVENT_WATCH:
        watch(g, true);
        break;
    case EVENT_AGAIN:
        send_unsent(g);
        break;
    default:
        failures_event(g, (enum simulation_event)what, (int)value);
    }
}

static void run(struct simulating *g)
{
    const struct simulation *s = g->s;
    uint64_t most = (uint64_t)g->spec.pipeline->broker.deadline_ms * 4 * NS_PER_MS, last = 0;
    if (s->rate > 0)
        expect_arrival(g);
    for (int i = 0; s->rate <= 0 && i < s->closed; i++)
        world_at(g->world, START_NS, EVENT_ARRIVAL, 0);
    failures_start(g);
    while (!g->failed && (g->in_system || g->result->arrived < s->requests)) {
        if (!world_step(g->world))
            g->failed = FL_NOMEM;
        if (g->result->arrived < s->requests)
            last = world_now(g->world);
        else if (world_now(g->world) > last + most)
            simulation_lose(g); /* what became of them nobody will say */
    }
    g->result->events = (int64_t)world_steps(g->world);
}

/* ---- setting up ---- */

static void add_process(struct simulating *g, int process)
{
    g->result->process[g->result->n_processes++].who = *world_process(g->world, process);
}

/* All that serve; each place's second process never comes. */
static int start_all(struct simulating *g, struct error *e)
{
    const struct pipeline *p = g->spec.pipeline;
    int rc = FL_OK;
    add_process(g, world_client(g->world, 0));
    add_process(g, world_broker(g->world, 0));
    for (int i = 0; i < p->cache.n_endpoints; i++)
        add_process(g, world_cache(g->world, i, 0));
    for (int k = 0; k < p->n_stages; k++)
        for (int i = 0; i < p->stage[k].n_replicas; i++)
            add_process(g, world_stage(g->world, k, i, 0));
    for (int i = 0; i < g->result->n_processes && !rc; i++)
        rc = world_start(g->world, g->result->process[i].who.index, e);
    if (!rc && !world_run(g->world, START_NS))
        rc = error_set(e, FL_NOMEM, "no memory for the processes");
    return rc;
}

static double longest(const struct simulation *s)
{
    double most = fmax(8, s->measured->answer_bytes);
    for (int i = 0; i < s->pipeline.n_stages; i++)
        most = fmax(most, s->stage[i].bytes);
    for (int i = 0; i < s->pipeline.n_exits; i++)
        most = fmax(most, MESSAGE_MAX_BATCH * fmax(sizeof(float), s->exit[i].bytes));
    return most;
}

static int set_up(struct simulating *g, struct error *e)
{
    const struct simulation *s = g->s;
    const struct measured_costs *c = &s->measured->cost;
    char boot[MESSAGE_NAME_BYTES];
    int rc;

    g->spec = s->world;
    g->spec.pipeline = &s->pipeline;
    g->spec.host = s->host;
    g->spec.costs = (struct world_costs){.io_ns = c->io * 1e3,
                                         .io_byte_ns = c->io_kilobyte,
                                         .switch_ns = c->thread_switch * 1e3,
                                         .turn_ns = c->turn < LEAST_TURN_US ? 0 : c->turn * 1e3,
                                         .header_bytes = MEASURED_ENVELOPE_BYTES};
    g->spec.user = (struct world_user){.arg = g, .event = on_event, .answer = on_answer};
    network_user(&g->spec.user);
    if ((rc = world_new(&g->world, &g->spec, e)))
        return rc;
    g->n_slots = (uint64_t)(s->requests < SIMULATION_MAX_IN_SYSTEM ? s->requests : SIMULATION_MAX_IN_SYSTEM);
    g->slot = calloc(g->n_slots, sizeof *g->slot);
    g->zeros = calloc(1, (size_t)longest(s) + 1);
    g->result = calloc(1, sizeof *g->result);
    if (!g->slot || !g->zeros || !g->result)
        return error_set(e, FL_NOMEM, "no memory for %lld requests", (long long)s->requests);
    g->clock = clock_id(world_boot_id(g->world, s->world.client_host[0], boot, sizeof boot));
    /* Apart, so that another cluster meets the same arrivals. */
    shuffle_seed(&g->arrivals, s->world.seed, 0);
    shuffle_seed(&g->times, s->world.seed, 1);
    shuffle_seed(&g->failures, s->world.seed, 2);
    return start_all(g, e);
}

int simulation_run(struct simulation_result **out, const struct simulation *s, struct error *e)
{
    struct simulating *g = calloc(1, sizeof *g);
    enum log_level level = log_threshold;
    int rc;

    *out = NULL;
    if (!g)
        return error_set(e, FL_NOMEM, "no memory");
    g->s = s;
    log_threshold = LOG_LEVEL_ERROR + 1; /* what brains say of virtual processes */
    if (!(rc = set_up(g, e))) {
        run(g);
        rc = g->failed;
    }
    log_threshold = level;
    if (rc == FL_TOO_LARGE)
        error_set(e, rc, "more than %d requests wait: the rate is far above what this pipeline can do",
                  SIMULATION_MAX_IN_SYSTEM);
    else if (g->failed)
        error_set(e, rc, "no memory for what is under way");
    if (rc)
        free(g->result);
    else
        *out = g->result;
    world_free(g->world);
    free(g->slot);
    free(g->zeros);
    free(g);
    return rc;
}
