/* router.c - the way of a request through the stages */
#include "router.h"

#include "base/clock.h"

#include "trust.h"

enum rank { RANK_TRIAL, RANK_GOOD, RANK_AVOIDED, RANK_ASIDE };

static enum rank rank_of(const struct member *m, bool avoided, uint64_t now)
{
    if (trust_is_aside(m))
        return trust_wants_trial(m, now) && !avoided ? RANK_TRIAL : RANK_ASIDE;
    return avoided ? RANK_AVOIDED : RANK_GOOD;
}

#define PACE_SHARE 8   /* a new time is an eighth of the average; a half where it is less than half of it, */
#define PACE_LESS  2   /* since a worker that was slow is asked seldom */
#define LOOK_AGAIN 256 /* requests that pass a slow worker over before it gets one */
#define SLOW       4   /* so many times the quickest one's time; less is luck where requests differ */
#define SMALL_NS \
    NS_PER_MS /* added to both: a pause of a thread is no slowness, where layers take microseconds */

static uint64_t quickest_ns(const struct registry *r, int stage, uint16_t able)
{
    uint64_t least = 0;
    for (int i = 0; i < registry_replicas(r, stage); i++) {
        uint64_t pace = able >> i & 1 ? registry_worker(r, stage, i)->pace_ns : 0;
        if (pace && (!least || pace < least))
            least = pace;
    }
    return least;
}

/* What a request would wait for there, this one included: what this broker sent, and what the worker says
 * that others did, as often as it takes longer than the quickest, where it is slow. */
static uint64_t load(const struct member *m, uint64_t quickest)
{
    uint64_t times = 1;
    if (quickest && m->passed_over < LOOK_AGAIN)
        times = (m->pace_ns + SMALL_NS) / (quickest + SMALL_NS);
    return (1ull + m->outstanding + m->last.others) * (times < SLOW ? 1 : times);
}

/* The best of `able`, which has at least one. */
static int choose(const struct registry *r, int stage, uint16_t able, uint16_t avoid, unsigned turn,
                  uint64_t now)
{
    int n = registry_replicas(r, stage), best = -1;
    enum rank best_rank = RANK_ASIDE;
    uint64_t least = 0, quickest = quickest_ns(r, stage, able);
    for (int k = 0; k < n; k++) {
        int i = (int)((turn + (unsigned)k) % (unsigned)n);
        const struct member *m = registry_worker(r, stage, i);
        enum rank rank = rank_of(m, avoid >> i & 1, now);
        if (!(able >> i & 1))
            continue;
        if (best < 0 || rank < best_rank || (rank == best_rank && load(m, quickest) < least)) {
            best = i;
            least = load(m, quickest);
            best_rank = rank;
        }
    }
    return best;
}

int router_choose(const struct registry *r, const uint16_t *avoid, uint16_t full, unsigned turn, uint64_t now,
                  uint8_t *route)
{
    uint16_t reach[PIPELINE_MAX_STAGES], able;
    int missing = trust_reach(r, full, now, reach), n_stages = registry_stages(r);
    if (missing >= 0)
        return missing;
    able = reach[0];
    for (int s = 0; s < n_stages; s++) {
        route[s] = (uint8_t)choose(r, s, able, avoid ? avoid[s] : 0, turn, now);
        if (s + 1 < n_stages)
            able = trust_links(r, s, route[s], now) & reach[s + 1];
    }
    return -1;
}

void router_sent(struct registry *r, const uint8_t *route)
{
    for (int s = 0; s < registry_stages(r); s++)
        for (int i = 0; i < registry_replicas(r, s); i++) {
            struct member *m = registry_worker(r, s, i);
            m->passed_over = i == route[s] ? 0 : m->passed_over + (m->passed_over < LOOK_AGAIN);
        }
}

/* The way from a worker counts for it: one that answers late is slow, however quickly it computes. */
void router_learn(struct registry *r, const struct trace *t, uint64_t return_ns, uint64_t took_ns)
{
    for (int i = 0; i < t->n; i++) {
        const struct stage_time *here = &t->stage[i];
        struct member *m = registry_worker(r, (int)here->stage, (int)here->replica);
        uint64_t onward = i + 1 < t->n ? here[1].wire_ns : return_ns;
        uint64_t ns = here->compute_ns < took_ns ? here->compute_ns : took_ns, share;
        ns += onward < took_ns - ns ? onward : took_ns - ns;
        share = ns < m->pace_ns / 2 ? PACE_LESS : PACE_SHARE;
        m->pace_ns = m->pace_ns ? m->pace_ns - m->pace_ns / share + ns / share : ns;
    }
}
