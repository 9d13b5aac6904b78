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
    p->loaded = 1;
    for (int i = 1; i < n; i++)
        if (fits(p, p->loaded | 1u << i))
            p->loaded |= 1u << i;
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

uint32_t paging_wants(struct paging *p, uint64_t now)
{
    uint32_t best = p->loaded;
    if (!p->changed_ns)
        p->changed_ns = now;
    if (now < p->changed_ns || (double)(now - p->changed_ns) < PAGING_DWELL_S * NS_PER_S)
        return p->loaded;
    fade(p, now);
    for (uint32_t set = 1; set < 1u << p->n; set += 2)
        if (fits(p, set) && used(p, set) > used(p, best))
            best = set;
    if (used(p, best) > PAGING_GAIN * used(p, p->loaded) + 1) {
        p->loaded = best;
        p->changed_ns = now;
    }
    return p->loaded;
}
