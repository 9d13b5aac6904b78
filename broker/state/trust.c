/* trust.c - rests of links and workers; who can be reached */
#include "trust.h"

#include <string.h>

#define MS               (1000ull * 1000)
#define REST_FIRST_NS    (100 * MS)
#define LINK_REST_LAST   (1000 * MS)
#define WORKER_REST_LAST (5000 * MS)

bool rest_lasts(const struct rest *rest, uint64_t now)
{
    return rest->until_ns > now;
}

/* Failures during a rest belong to requests that were sent before it: they do not make it longer. */
static void begin(struct rest *rest, uint64_t last_ns, uint64_t now)
{
    if (rest_lasts(rest, now))
        return;
    if (!rest->for_ns || now - rest->until_ns > 2 * last_ns)
        rest->for_ns = REST_FIRST_NS;
    else
        rest->for_ns = rest->for_ns * 2 < last_ns ? rest->for_ns * 2 : last_ns;
    rest->until_ns = now + rest->for_ns;
}

void rest_begin(struct rest *rest, uint64_t now)
{
    begin(rest, WORKER_REST_LAST, now);
}

void trust_link_failed(struct registry *r, int stage, int from, int to, uint64_t now)
{
    struct member *m = registry_worker(r, stage, to);
    int agree = 0;

    begin(&m->link[from], LINK_REST_LAST, now);
    for (int i = 0; i < registry_replicas(r, stage - 1); i++)
        agree += rest_lasts(&m->link[i], now);
    if (agree > 1)
        begin(&m->unreached, LINK_REST_LAST, now);
}

void trust_link_silent(struct registry *r, int stage, int from, int to, uint64_t now)
{
    uint16_t others = (uint16_t)(trust_links(r, stage - 1, from, now) & ~(1u << to));

    for (int i = 0; i < registry_replicas(r, stage); i++)
        if ((others >> i & 1) && member_ready(registry_worker(r, stage, i))) {
            begin(&registry_worker(r, stage, to)->link[from], LINK_REST_LAST, now);
            return;
        }
}

bool trust_is_aside(const struct member *m)
{
    return m->aside.for_ns != 0;
}

bool trust_speaks_against(uint32_t error)
{
    return error != FL_DEADLINE && error != FL_OVERLOADED && error != FL_CANCELLED;
}

bool trust_worker_failed(struct member *m, uint64_t now)
{
    bool before = trust_is_aside(m);
    m->failures += m->failures < TRUST_FAILURES;
    if (m->failures < TRUST_FAILURES)
        return false;
    rest_begin(&m->aside, now);
    return !before;
}

void trust_succeeded(struct registry *r, const struct trace *t)
{
    for (int i = 0; i < t->n; i++) {
        const struct stage_time *here = &t->stage[i], *before = i ? here - 1 : NULL;
        struct member *m = registry_worker(r, (int)here->stage, (int)here->replica);
        m->failures = 0;
        m->aside = m->unreached = (struct rest){0};
        if (before && before->stage + 1 == here->stage)
            m->link[before->replica] = (struct rest){0};
    }
}

bool trust_wants_trial(const struct member *m, uint64_t now)
{
    return trust_is_aside(m) && !rest_lasts(&m->aside, now) && !m->trial;
}

uint16_t trust_links(const struct registry *r, int stage, int from, uint64_t now)
{
    uint16_t links = member_reaches(registry_worker(r, stage, from));
    for (int i = 0; i < registry_replicas(r, stage + 1); i++)
        if (rest_lasts(&registry_worker(r, stage + 1, i)->link[from], now))
            links &= (uint16_t) ~(1u << i);
    return links;
}

static uint16_t takers(const struct registry *r, int stage, uint64_t now)
{
    uint16_t mask = 0;
    for (int i = 0; i < registry_replicas(r, stage); i++) {
        const struct member *m = registry_worker(r, stage, i);
        if (member_ready(m) && !rest_lasts(&m->unreached, now))
            mask |= (uint16_t)(1u << i);
    }
    return mask;
}

int trust_reach(const struct registry *r, uint16_t full, uint64_t now, uint16_t reach[PIPELINE_MAX_STAGES])
{
    int missing = -1, last = registry_stages(r) - 1;
    for (int s = last; s >= 0; s--) {
        uint16_t all = (uint16_t)(takers(r, s, now) & (s ? 0xffff : ~full));
        reach[s] = all;
        for (int i = 0; s < last && missing < 0 && i < registry_replicas(r, s); i++)
            if ((all >> i & 1) && !(trust_links(r, s, i, now) & reach[s + 1]))
                reach[s] &= (uint16_t) ~(1u << i);
        if (!all || (missing < 0 && !reach[s]))
            missing = s;
    }
    return missing;
}

bool trust_ready(const struct registry *r)
{
    uint16_t reach[PIPELINE_MAX_STAGES];
    return trust_reach(r, 0, UINT64_MAX, reach) < 0;
}
