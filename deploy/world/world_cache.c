/* world_cache.c - a cache service around its brain, as cache_service/service/service.c is
 *
 * What keeps caches and learns (the keeper) is the user's: it gives a service its first snapshot, swaps
 * others in, and takes its updates.
 */
#include "world_parts.h"

#include <stdlib.h>

/* Its connections: to each broker's control, then to each one's results. */

struct cache_service_body {
    struct world *w;
    struct process *p;
    struct cache_brain *brain;
};

/* ---- what the brain calls ---- */

static int send_verdict(void *arg, const struct peer *to, const struct message *m)
{
    struct cache_service_body *b = arg;
    return wire_reply(b->w, b->p, to, m, NULL);
}

static int send_result(void *arg, const struct message *m)
{
    struct cache_service_body *b = arg;
    int brokers = pipeline_brokers(b->w->spec.pipeline), broker = request_broker(m->result.request);
    return broker < brokers ? wire_send(b->w, b->p, b->p->first + brokers + broker, 0, m, NULL) : FL_PROTOCOL;
}

static int send_control(void *arg, int broker, const struct message *m)
{
    struct cache_service_body *b = arg;
    return wire_send(b->w, b->p, b->p->first + broker, 0, m, NULL);
}

static int look(void *arg, const struct snapshot *s, const struct lookup *in, const float *descriptors,
                struct cache_verdict *found)
{
    struct cache_service_body *b = arg;
    const struct world_user *u = &b->w->spec.user;
    return u->look(u->arg, &b->p->who, s, in, descriptors, found);
}

static void take_update(void *arg, struct update *update)
{
    struct cache_service_body *b = arg;
    const struct world_user *u = &b->w->spec.user;
    if (u->update)
        u->update(u->arg, &b->p->who, update);
    else
        update_free(update);
}

static void reload(void *arg)
{
    (void)arg; /* there is no other build in this world unless its user swaps one in */
}

static void keeper(void *arg, struct heartbeat *h)
{
    (void)arg, (void)h;
}

static uint64_t moment(void *arg)
{
    const struct cache_service_body *b = arg;
    return world_host_now(b->w, b->p) + (uint64_t)b->p->spent;
}

/* ---- the body ---- */

static int cache_start(struct world *w, struct process *p, struct error *e)
{
    struct cache_service_body *b = calloc(1, sizeof *b);
    const struct cache_io io = {b,           send_verdict, send_result, send_control, look,
                                take_update, reload,       keeper,      moment};
    struct cache_setup s = {.pipeline = w->spec.pipeline};
    struct snapshot *first = NULL;
    int rc;

    if (!b)
        return error_set(e, FL_NOMEM, "no memory for a cache service");
    b->w = w;
    b->p = p;
    world_introduce(w, p, &s.hello);
    w->spec.user.cache(w->spec.user.arg, &p->who, &s, &first);
    if ((rc = cache_brain_new(&b->brain, &s, &io, e))) {
        snapshot_free(first);
        free(b);
        return rc;
    }
    snapshot_free(cache_brain_swap(b->brain, first));
    p->brain = b;
    return FL_OK;
}

static void cache_end(struct world *w, struct process *p)
{
    struct cache_service_body *b = p->brain;
    (void)w;
    cache_brain_free(b->brain);
    free(b);
}

static void cache_ask_to_end(struct world *w, struct process *p)
{
    struct cache_service_body *b = p->brain;
    p->asked++;
    cache_brain_goodbye(b->brain);
    world_wake(w, process_index(w, p));
}

static void cache_message(struct world *w, struct process *p, enum world_port port, const struct packet *k,
                          const struct message *m, zmq_msg_t *payload)
{
    struct cache_service_body *b = p->brain;
    uint64_t now = world_host_now(w, p);
    struct cache_arrival came = {world_clock(w, p->who.host, k->came_at), now};
    struct peer from;
    if (port != WORLD_LOOKUPS) {
        cache_brain_control(b->brain, broker_at(w, k), m, now);
        return;
    }
    wire_peer(k, &from);
    cache_brain_lookup(b->brain, &from, m, zmq_msg_data(payload), &came, now);
}

static uint64_t cache_tick(struct world *w, struct process *p)
{
    struct cache_service_body *b = p->brain;
    return cache_brain_tick(b->brain, world_host_now(w, p));
}

/* It ends when it was asked to, and what it has said has left. */
static bool cache_go_on(struct world *w, struct process *p)
{
    struct cache_service_body *b = p->brain;
    if (p->asked || cache_brain_sent_away(b->brain))
        world_gone(w, process_index(w, p), true);
    return false;
}

struct cache_brain *world_cache_brain(const struct world *w, int process)
{
    struct cache_service_body *b = w->process[process].brain;
    return b ? b->brain : NULL;
}

const struct body world_cache_body = {.start = cache_start,
                                      .end = cache_end,
                                      .ask_to_end = cache_ask_to_end,
                                      .message = cache_message,
                                      .tick = cache_tick,
                                      .go_on = cache_go_on};
