/* world_stage.c - a stage worker around its brain, as stages/worker/worker.c is */
#include "world_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "index/verdicts.h"

#define ROUNDS 8 /* in one moment: one that wants more sleeps for a moment */

/* Its connections: to each broker's control, to each one's results, to each replica of the next stage; the
 * last one, where there is a cache, asks it. */

struct stage_body {
    struct world *w;
    struct process *p;
    struct stage_brain *brain;
    int n_next;
    bool asks;
    struct snapshot *near;  /* that it looks up in itself; NULL: none */
    uint64_t jobs_empty_ns; /* no job waited in the inbox then */
    int n_brokers;
    int failure; /* of the segment that is being computed */
    int rounds;  /* in one moment */
};

/* ---- what the brain calls ---- */

static int send_over(struct stage_body *b, int connection, const struct message *m, zmq_msg_t *payload)
{
    return wire_send(b->w, b->p, b->p->first + connection, 0, m, payload);
}

static int send_control(void *arg, int broker, const struct message *m)
{
    return send_over(arg, broker, m, NULL);
}

static int send_result(void *arg, const struct message *m, zmq_msg_t *payload)
{
    struct stage_body *b = arg;
    int broker = request_broker(m->result.request);
    return broker < b->n_brokers ? send_over(b, b->n_brokers + broker, m, payload) : FL_PROTOCOL;
}

static int send_next(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    struct stage_body *b = arg;
    return send_over(b, 2 * b->n_brokers + replica, m, payload);
}

static int send_lookup(void *arg, const struct message *m, zmq_msg_t *payload)
{
    struct stage_body *b = arg;
    return b->asks ? send_over(b, 2 * b->n_brokers + b->n_next, m, payload) : FL_UNAVAILABLE;
}

static int look(void *arg, const struct lookup *in, const float *descriptors, uint64_t broker_now,
                struct verdict *out)
{
    const struct stage_body *b = arg;
    const struct world_user *u = &b->w->spec.user;
    struct cache_verdict found[MESSAGE_MAX_BATCH];
    double ns = u->look_ns ? u->look_ns(u->arg, &b->p->who, in) : 0;
    int rc = u->look(u->arg, &b->p->who, b->near, in, descriptors, found);
    struct cache_info i = cache_info(b->near->cache[in->exit]);
    b->p->spent += ns;
    b->p->owes += ns;
    if (!rc)
        verdicts_fill(out, in, found, &i.levels, i.epoch, broker_now);
    return rc;
}

static uint32_t reaches(void *arg)
{
    const struct stage_body *b = arg;
    uint32_t mask = 0;
    for (int i = 0; i < b->n_next; i++)
        if (wire_takes(b->w, b->p->first + 2 * b->n_brokers + i, 0))
            mask |= 1u << i;
    return mask;
}

static bool connected(void *arg, int broker)
{
    const struct stage_body *b = arg;
    return wire_takes(b->w, b->p->first + broker, 0);
}

static uint64_t moment(void *arg)
{
    const struct stage_body *b = arg;
    return world_host_now(b->w, b->p) + (uint64_t)b->p->spent;
}

/* ---- the body ---- */

static int stage_start(struct world *w, struct process *p, struct error *e)
{
    const struct pipeline *c = w->spec.pipeline;
    struct stage_body *b = calloc(1, sizeof *b);
    struct stage_setup *s = calloc(1, sizeof *s);
    struct stage_io io = {b,         send_control, send_result, send_next, send_lookup, reaches,
                          connected, moment,       NULL,        NULL,      look,        NULL};
    struct stage_engine engine = {0};
    int rc = FL_NOMEM;

    if (b && s) {
        b->w = w;
        b->p = p;
        b->asks = c->cache.n_endpoints > 0;
        b->n_brokers = pipeline_brokers(c);
        b->n_next = p->n - 2 * b->n_brokers - b->asks;
        s->pipeline = c;
        world_introduce(w, p, &s->self);
        w->spec.user.stage(w->spec.user.arg, &p->who, s, &engine);
        rc = stage_brain_new(&b->brain, s, &io, &engine);
    }
    free(s);
    p->brain = b;
    if (!rc)
        return FL_OK;
    free(b);
    return error_set(e, FL_NOMEM, "no memory for a stage worker");
}

static void stage_end(struct world *w, struct process *p)
{
    struct stage_body *b = p->brain;
    (void)w;
    stage_brain_free(b->brain);
    snapshot_free(b->near);
    free(b);
}

static void stage_ask_to_end(struct world *w, struct process *p)
{
    struct stage_body *b = p->brain;
    stage_brain_stop(b->brain, ++p->asked);
    p->dirty = true;
    world_wake(w, process_index(w, p));
}

static bool stage_reads(struct world *w, struct process *p, enum world_port port)
{
    struct stage_body *b = p->brain;
    (void)w;
    return port != WORLD_JOBS || stage_brain_room(b->brain) > 0;
}

static void stage_message(struct world *w, struct process *p, enum world_port port, const struct packet *k,
                          const struct message *m, zmq_msg_t *payload)
{
    struct stage_body *b = p->brain;
    uint64_t now = world_host_now(w, p), came = world_clock(w, p->who.host, k->came_at);
    if (port == WORLD_JOBS)
        stage_brain_job(b->brain, m, payload, came > b->jobs_empty_ns ? came : b->jobs_empty_ns, now, now);
    else if (port == WORLD_LOOKUPS)
        stage_brain_verdict(b->brain, m, now);
    else
        stage_brain_control(b->brain, broker_at(w, k), m, now);
    if (p->work == WORK_COMPUTE && !stage_brain_needs(b->brain)) {
        body_interrupt(w, p);
        stage_brain_computed(b->brain, FL_CANCELLED, "", now);
    }
}

static void hold(struct world *w, struct process *p, struct snapshot *s)
{
    struct stage_body *b = p->brain;
    uint32_t exits = 0;
    snapshot_free(b->near);
    b->near = snapshot_retain(s);
    for (int i = 0; i < s->manifest.n_exits; i++)
        exits |= (uint32_t)(s->cache[i] != NULL) << i;
    stage_brain_holds(b->brain, snapshot_epoch(s), exits, world_host_now(w, p));
}

/* The caches of its service, where that is on the same host and shares them. */
static void look_for_caches(struct world *w, struct process *p)
{
    const struct stage_body *b = p->brain;
    int cache = w->spec.pipeline->stage[p->who.stage].replica[p->who.replica].cache;
    for (int which = 0; b->asks && w->spec.near && which < 2; which++) {
        int of = world_cache(w, cache, which);
        const struct world_process *who = world_process(w, of);
        const struct snapshot *s = who->lives ? cache_brain_snapshot(world_cache_brain(w, of)) : NULL;
        if (!s || who->host != p->who.host)
            continue;
        if (s != b->near)
            hold(w, p, (struct snapshot *)(uintptr_t)s);
        stage_brain_cache_lives(b->brain, world_host_now(w, p));
        return;
    }
}

static uint64_t stage_tick(struct world *w, struct process *p)
{
    struct stage_body *b = p->brain;
    look_for_caches(w, p);
    if (p->linked)
        stage_brain_look(b->brain);
    p->linked = false;
    return stage_brain_tick(b->brain, world_host_now(w, p));
}

static void compute(struct world *w, struct process *p, const struct stage_wish *wish)
{
    struct stage_body *b = p->brain;
    double ns;
    b->failure = FL_OK;
    ns = w->spec.user.compute(w->spec.user.arg, &p->who, wish->segment, wish->n, &b->failure);
    body_compute(w, p, ns, w->spec.pipeline->stage[p->who.stage].threads);
}

static bool stage_go_on(struct world *w, struct process *p)
{
    struct stage_body *b = p->brain;
    struct stage_wish wish;
    if (!p->inbox[WORLD_JOBS].n)
        b->jobs_empty_ns = world_host_now(w, p);
    p->spent = 0;
    wish = stage_brain_next(b->brain, world_host_now(w, p));
    switch (wish.what) {
    case STAGE_COMPUTE:
        compute(w, p, &wish);
        break;
    case STAGE_END:
        stage_brain_goodbye(b->brain);
        world_gone(w, process_index(w, p), true);
        return false;
    default:
        if (wish.until_ns <= world_host_now(w, p) && b->rounds++ < ROUNDS) {
            p->dirty = true; /* it has handed out a batch: the next one */
            return true;
        }
        b->rounds = 0;
        body_wake_at(w, p, wish.until_ns);
    }
    return p->outbox.n > 0 || p->dirty;
}

static void stage_computed(struct world *w, struct process *p)
{
    struct stage_body *b = p->brain;
    p->dirty = true;
    p->spent = 0;
    stage_brain_computed(b->brain, b->failure, "planned by whoever made this world", world_host_now(w, p));
}

static void stage_takes_place(struct world *w, struct process *p)
{
    struct stage_body *b = p->brain;
    (void)w;
    p->dirty = true;
    stage_brain_ready(b->brain);
}

const struct stage_brain *world_stage_brain(const struct world *w, int process)
{
    const struct process *p = &w->process[process];
    return p->who.lives && p->who.role == ROLE_STAGE ? ((const struct stage_body *)p->brain)->brain : NULL;
}

const struct body world_stage_body = {.start = stage_start,
                                      .end = stage_end,
                                      .ask_to_end = stage_ask_to_end,
                                      .reads = stage_reads,
                                      .message = stage_message,
                                      .tick = stage_tick,
                                      .go_on = stage_go_on,
                                      .computed = stage_computed,
                                      .takes_place = stage_takes_place};
