/* router.c - least outstanding replica of each stage */
#include "router.h"

static int choose(const struct registry *r, int stage, uint16_t avoid, uint16_t never, unsigned turn,
                  uint64_t now)
{
    int n = r->n_replicas[stage], best = -1;
    bool best_avoided = false;
    for (int k = 0; k < n; k++) {
        int i = (int)((turn + (unsigned)k) % (unsigned)n);
        const struct worker *w = &r->stage[stage][i];
        bool avoided = avoid >> i & 1;
        if (!worker_ready(w) || w->suspect_until_ns > now || (never >> i & 1))
            continue;
        if (best < 0 || (best_avoided && !avoided) ||
            (best_avoided == avoided && w->outstanding < r->stage[stage][best].outstanding)) {
            best = i;
            best_avoided = avoided;
        }
    }
    return best;
}

int router_choose(const struct registry *r, const uint16_t *avoid, uint16_t full, unsigned turn, uint64_t now,
                  uint8_t *route)
{
    for (int s = 0; s < r->n_stages; s++) {
        int i = choose(r, s, avoid ? avoid[s] : 0, s == 0 ? full : 0, turn, now);
        if (i < 0)
            return s;
        route[s] = (uint8_t)i;
    }
    return -1;
}
