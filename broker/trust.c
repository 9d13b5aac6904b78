/* trust.c - rests of links and workers; who can be reached */
#include "trust.h"

#include <string.h>

#define MS               (1000ull * 1000)
#define REST_FIRST_NS    (100 * MS)
#define LINK_REST_LAST   (1000 * MS)
#define WORKER_REST_LAST (5000 * MS)

static bool rests(const struct rest *rest, uint64_t now)
{
    return rest->until_ns > now;
}

/* Trouble during a rest is the same trouble, told by another request. */
static void begin(struct rest *rest, uint64_t last_ns, uint64_t now)
{
    if (rests(rest, now))
        return;
    if (!rest->for_ns || now - rest->until_ns > 2 * last_ns)
        rest->for_ns = REST_FIRST_NS;
    else
        rest->for_ns = rest->for_ns * 2 < last_ns ? rest->for_ns * 2 : last_ns;
    rest->until_ns = now + rest->for_ns;
}

void trust_link_failed(struct registry *r, int stage, int from, int to, uint64_t now)
{
    int agree = 0;
    begin(&r->link[stage][from][to], LINK_REST_LAST, now);
    if (r->link[stage][from][to].until_ns > r->links_rest_until_ns)
        r->links_rest_until_ns = r->link[stage][from][to].until_ns;
    for (int i = 0; i < r->n_replicas[stage - 1]; i++)
        agree += rests(&r->link[stage][i][to], now);
    if (agree > 1)
        begin(&r->stage[stage][to].unreached, LINK_REST_LAST, now);
}

bool trust_is_aside(const struct worker *w)
{
    return w->aside.for_ns != 0;
}

bool trust_speaks_against(uint32_t error)
{
    return error != FL_DEADLINE && error != FL_OVERLOADED && error != FL_CANCELLED;
}

bool trust_worker_failed(struct worker *w, uint64_t now)
{
    bool before = trust_is_aside(w);
    w->failures += w->failures < TRUST_FAILURES;
    if (w->failures < TRUST_FAILURES)
        return false;
    begin(&w->aside, WORKER_REST_LAST, now);
    return !before;
}

void trust_succeeded(struct registry *r, const struct trace *t)
{
    for (int i = 0; i < t->n; i++) {
        const struct stage_time *here = &t->stage[i], *before = i ? here - 1 : NULL;
        struct worker *w = &r->stage[here->stage][here->replica];
        w->failures = 0;
        w->aside = w->unreached = (struct rest){0};
        if (before && before->stage + 1 == here->stage)
            r->link[here->stage][before->replica][here->replica] = (struct rest){0};
    }
}

bool trust_wants_trial(const struct worker *w, uint64_t now)
{
    return trust_is_aside(w) && !rests(&w->aside, now) && !w->trial;
}

uint16_t trust_links(const struct registry *r, int stage, int from, uint64_t now)
{
    uint16_t links = worker_reaches(&r->stage[stage][from]);
    if (r->links_rest_until_ns <= now)
        return links;
    for (int i = 0; i < r->n_replicas[stage + 1]; i++)
        if (rests(&r->link[stage + 1][from][i], now))
            links &= (uint16_t) ~(1u << i);
    return links;
}

static uint16_t takers(const struct registry *r, int stage, uint64_t now)
{
    uint16_t mask = 0;
    for (int i = 0; i < r->n_replicas[stage]; i++)
        if (worker_ready(&r->stage[stage][i]) && !rests(&r->stage[stage][i].unreached, now))
            mask |= (uint16_t)(1u << i);
    return mask;
}

int trust_reach(const struct registry *r, uint16_t full, uint64_t now, uint16_t reach[PIPELINE_MAX_STAGES])
{
    int missing = -1;
    for (int s = r->n_stages - 1; s >= 0; s--) {
        uint16_t all = (uint16_t)(takers(r, s, now) & (s ? 0xffff : ~full));
        reach[s] = all;
        for (int i = 0; s + 1 < r->n_stages && missing < 0 && i < r->n_replicas[s]; i++)
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
