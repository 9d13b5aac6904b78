/* simulation_failures.c - processes and hosts die at random times and come back
 *
 * Every stage worker, cache service and the broker fails on its own; a host takes its processes along, and
 * nobody hears that they are gone until connections time out. The client never fails.
 */
#include "simulation_parts.h"

#include "base/clock.h"

/* `who`: of the result's processes, or n_processes + host. */
static const struct simulation_failing *fate(const struct simulating *g, int who)
{
    int n = g->result->n_processes;
    return who < n ? &g->s->failing : &g->s->host_failing[who - n];
}

static void expect(struct simulating *g, int who)
{
    double mtbf = fate(g, who)->mtbf_ns;
    if (mtbf > 0)
        world_at(g->world, world_now(g->world) + (uint64_t)shuffle_exponential(&g->failures, mtbf),
                 EVENT_FAIL, (uint32_t)who);
}

void failures_start(struct simulating *g)
{
    int n = g->result->n_processes;
    for (int i = 1; i < n; i++)
        expect(g, i);
    for (int i = 0; i < g->spec.n_hosts; i++)
        if (i != g->s->world.client_host[0])
            expect(g, n + i);
}

static void strike(struct simulating *g, int i)
{
    if (g->result->process[i].who.role == ROLE_BROKER && world_dispatch(g->world, 0))
        simulation_lose(g);
    world_kill(g->world, g->result->process[i].who.index);
}

static void revive(struct simulating *g, int i)
{
    struct error e;
    if (!g->down[g->result->process[i].who.host] && !g->failed)
        g->failed = world_start(g->world, g->result->process[i].who.index, &e);
}

static void fall_silent(struct simulating *g, int i)
{
    world_stall(g->world, g->result->process[i].who.index, UINT64_MAX);
}

static void each_of(struct simulating *g, int who, void (*fn)(struct simulating *g, int process))
{
    int n = g->result->n_processes;
    for (int i = 1; i < n; i++)
        if (who == i || who == n + g->result->process[i].who.host)
            fn(g, i);
}

void failures_event(struct simulating *g, enum simulation_event what, int who)
{
    int host = who - g->result->n_processes;
    uint64_t now = world_now(g->world), back = now + (uint64_t)fate(g, who)->repair_ns;
    uint64_t missed = now + (uint64_t)g->spec.pipeline->broker.dead_after_ms * NS_PER_MS;

    if (host >= 0)
        g->down[host] = what != EVENT_REPAIR;
    if (what == EVENT_FAIL) {
        each_of(g, who, host >= 0 ? fall_silent : strike);
        if (host >= 0)
            world_at(g->world, missed < back ? missed : back, EVENT_BURY, (uint32_t)who);
        world_at(g->world, back, EVENT_REPAIR, (uint32_t)who);
    } else if (what == EVENT_BURY) {
        each_of(g, who, strike);
    } else {
        each_of(g, who, revive);
        expect(g, who);
    }
}
