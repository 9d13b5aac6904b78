/* router.c - the way of a request through the stages */
#include "router.h"

#include "trust.h"

enum rank { RANK_TRIAL, RANK_GOOD, RANK_AVOIDED, RANK_ASIDE };

static enum rank rank_of(const struct member *m, bool avoided, uint64_t now)
{
    if (trust_is_aside(m))
        return trust_wants_trial(m, now) && !avoided ? RANK_TRIAL : RANK_ASIDE;
    return avoided ? RANK_AVOIDED : RANK_GOOD;
}

/* What it has to do, as far as is known: what this broker sent, and what the worker says that others did. */
static uint32_t load(const struct member *m)
{
    return m->outstanding + m->last.others;
}

/* The best of `able`, which has at least one. */
static int choose(const struct registry *r, int stage, uint16_t able, uint16_t avoid, unsigned turn,
                  uint64_t now)
{
    int n = registry_replicas(r, stage), best = -1;
    enum rank best_rank = RANK_ASIDE;
    uint32_t least = 0;
    for (int k = 0; k < n; k++) {
        int i = (int)((turn + (unsigned)k) % (unsigned)n);
        const struct member *m = registry_worker(r, stage, i);
        enum rank rank = rank_of(m, avoid >> i & 1, now);
        if (!(able >> i & 1))
            continue;
        if (best < 0 || rank < best_rank || (rank == best_rank && load(m) < least)) {
            best = i;
            least = load(m);
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
