/* checks.c - what must hold of the brains, looked at from outside */
#include "checks.h"

#include "base/clock.h"

#define WAITS_MS      40 /* for a worker, where one is there; and .. */
#define WAIT_MESSAGES 8  /* .. so many times what a message takes: others are in front */

static void check_workers(const struct checks *c, const struct dispatch *d)
{
    uint32_t through[PIPELINE_MAX_STAGES][PIPELINE_MAX_REPLICAS] = {{0}};
    for (int i = 0; i < requests_slots(d->requests); i++) {
        const struct request_entry *e = requests_slot(d->requests, i);
        for (int s = 0; e && s < e->n_route; s++)
            through[s][e->route[s]]++;
    }
    for (int s = 0; s < c->pipeline->n_stages; s++)
        for (int i = 0; i < c->pipeline->stage[s].n_replicas; i++) {
            uint32_t counted = registry_worker(d->registry, s, i)->outstanding;
            if (counted != through[s][i])
                ledger_finds(c->ledger, world_now(c->world), "outstanding is wrong",
                             "stage %d replica %d: %u counted, %u there", s, i, counted, through[s][i]);
        }
}

/* Where another way is open, nothing waits long for a worker. */
static void check_waiting(const struct checks *c, const struct dispatch *d, int broker)
{
    const struct request_entry *e = requests_first(d->requests, REQUESTS_WAITING);
    uint64_t time = world_clock(c->world, c->story->setting.host_of_broker[broker], world_now(c->world)),
             since, most = WAITS_MS * NS_PER_MS;
    most += WAIT_MESSAGES * (c->story->setting.spike_us + c->story->setting.beside_us) * NS_PER_US;
    if (!e)
        return;
    since = e->sent_ns > e->received_ns ? e->sent_ns : e->received_ns;
    since = e->not_before_ns > since ? e->not_before_ns : since;
    if (time > since + most)
        ledger_finds(c->ledger, world_now(c->world), "it waits though another way is open",
                     "request %llu for %.3f ms", (unsigned long long)e->client_id,
                     (double)(time - since) / 1e6);
}

void checks_broker(const struct checks *c, int broker)
{
    const struct dispatch *d = world_dispatch(c->world, broker);
    if (c->story->gentle && c->found)
        check_waiting(c, d, broker);
    check_workers(c, d);
    if (requests_count(d->requests) > c->pipeline->broker.max_requests ||
        (double)requests_bytes(d->requests) > c->pipeline->broker.max_memory_mb * 1024 * 1024)
        ledger_finds(c->ledger, world_now(c->world), "more is admitted than the file allows",
                     "%d requests, %zu bytes", requests_count(d->requests), requests_bytes(d->requests));
    for (int i = 0; c->honest && i < c->pipeline->stage[0].n_replicas; i++) {
        int known = requests_listed(d->requests, REQUESTS_FIRST + i), batch = c->pipeline->stage[0].max_batch;
        if (known > 2 * batch || world_queued(c->world, WORLD_JOBS, 0, i) > 4 * batch)
            ledger_finds(c->ledger, world_now(c->world), "stage 0's queue is not bounded",
                         "%d requests wait in front of replica %d, whose batch is %d", known, i, batch);
    }
}

/* An audit is under way, done or given up. All else is quiet, so a shadow waits only for one that is lost. */
static void check_audits(const struct checks *c, const struct dispatch *d)
{
    unsigned under_way = 0;
    int audits = 0, open = 0;
    for (int i = 0; i < requests_slots(d->requests); i++) {
        const struct request_entry *e = requests_slot(d->requests, i);
        audits += e && e->audit;
        under_way |= e && e->original && e->n_route ? 1u << e->route[0] : 0;
    }
    for (uint64_t i = d->line.first; i < d->line.next; i++)
        open += !d->line.place[i % AUDIT_LINE_MOST].over;
    if (audits != open || under_way != d->shadowed)
        ledger_finds(c->ledger, world_now(c->world), "counted wrongly",
                     "%d audits, %d are there; shadows at %#x, they are at %#x", open, audits, d->shadowed,
                     under_way);
    if (requests_first(d->requests, REQUESTS_SHADOWS) && !under_way)
        ledger_finds(c->ledger, world_now(c->world), "an audit never runs again", "%d wait",
                     requests_listed(d->requests, REQUESTS_SHADOWS));
}

/* What a cache service counts is no more than what it gave away. */
static void check_caches(const struct checks *c)
{
    for (int i = 0; i < world_processes(c->world); i++) {
        const struct world_process *w = world_process(c->world, i);
        uint64_t given = 0, audits;
        if (w->role != ROLE_CACHE || !w->lives)
            continue;
        audits = cache_brain_counters(world_cache_brain(c->world, i)).lookups.audits;
        for (int k = 0; k < c->ledger->n_updates; k++)
            given += c->ledger->update[k].incarnation == w->incarnation;
        if (audits > given)
            ledger_finds(c->ledger, world_now(c->world), "counted wrongly",
                         "cache service %d counts %llu audits and gave %llu updates away", w->replica,
                         (unsigned long long)audits, (unsigned long long)given);
    }
}

void checks_end(const struct checks *c, int broker)
{
    const struct dispatch *d = world_dispatch(c->world, broker);
    checks_broker(c, broker);
    check_caches(c);
    if (requests_count(d->requests))
        ledger_finds(c->ledger, world_now(c->world), "a request stays in the broker", "%d are left",
                     requests_count(d->requests));
    check_audits(c, d);
}
