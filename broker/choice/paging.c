/* paging.c - the best of at most 128 sets, with a handicap for change */
#include "paging.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

static bool fits(const struct paging *p, uint32_t set)
{
    uint64_t left = p->memory;
    for (int i = 0; p->memory && i < p->n; i++)
        if (set >> i & 1) {
            if (p->bytes[i] > left)
                return false;
            left -= p->bytes[i];
        }
    return true;
}

void paging_init(struct paging *p, const uint64_t *bytes, int n, uint64_t memory)
{
    memset(p, 0, sizeof *p);
    p->n = n;
    p->memory = memory;
    memcpy(p->bytes, bytes, (size_t)n * sizeof *bytes);
    p->wanted = 1;
    p->dwell_s = PAGING_LEAST_S;
    for (int i = 1; i < n; i++)
        if (fits(p, p->wanted | 1u << i))
            p->wanted |= 1u << i;
}

static void fade(struct paging *p, uint64_t now)
{
    double s = now > p->counted_ns ? (double)(now - p->counted_ns) / NS_PER_S : 0;
    for (int i = 0; i < p->n; i++)
        p->use[i] *= exp2(-s / PAGING_HALF_S);
    p->counted_ns = now > p->counted_ns ? now : p->counted_ns;
}

void paging_wished(struct paging *p, uint64_t now, uint32_t mask)
{
    fade(p, now);
    for (int i = 0; i < p->n; i++)
        p->use[i] += mask >> i & 1;
}

static double used(const struct paging *p, uint32_t set)
{
    double sum = 0;
    for (int i = 1; i < p->n; i++)
        sum += set >> i & 1 ? p->use[i] : 0;
    return sum;
}

/* Are those there that were to be loaded? */
static void look(struct paging *p, double s, uint32_t loaded)
{
    uint32_t missing = p->wanted & ~loaded;

    if (!missing) {
        p->dwell_s = fmin(PAGING_MOST_S, fmax(PAGING_LEAST_S, PAGING_COST * s));
    } else if (s > PAGING_PATIENCE_S) {
        for (int i = 0; i < p->n; i++)
            p->use[i] *= !(missing >> i & 1);
        p->dwell_s = PAGING_MOST_S;
    }
    p->changes = missing && s <= PAGING_PATIENCE_S;
}

static uint32_t best_of(const struct paging *p)
{
    uint32_t best = p->wanted;

    for (uint32_t set = 1; set < 1u << p->n; set += 2)
        if (fits(p, set) && used(p, set) > used(p, best))
            best = set;
    return best;
}

uint32_t paging_wants(struct paging *p, uint64_t now, uint32_t loaded)
{
    double s;
    uint32_t best;

    if (!p->changed_ns)
        p->changed_ns = now;
    s = now > p->changed_ns ? (double)(now - p->changed_ns) / NS_PER_S : 0;
    if (p->changes)
        look(p, s, loaded);
    if (p->changes || s < p->dwell_s)
        return p->wanted;
    fade(p, now);
    best = best_of(p);
    if (used(p, best) > PAGING_GAIN * used(p, p->wanted) + 1) {
        p->wanted = best;
        p->changed_ns = now;
        p->changes = true;
    }
    return p->wanted;
}
