/* choice_budget.c - the most accurate variant that answers in time, and that the processors have room for */
#include "choice_inside.h"

#include <math.h>

#include "base/clock.h"

#define CPU_BURST_S 1.0 /* the processor time of so long may be used at once */

/* The cheapest one may always be used: it is what there is. */
static bool has_cpu(const struct choice *c, int v)
{
    if (!(c->budget.cpu_seconds_per_second > 0))
        return true;
    for (int i = 0; i < c->n; i++)
        if (c->variant[i].cpu_s < c->variant[v].cpu_s)
            return c->cpu_s >= c->variant[v].cpu_s;
    return true;
}

void choice_cpu_comes(struct choice *c, uint64_t now)
{
    double most = c->budget.cpu_seconds_per_second * CPU_BURST_S;
    double s = now > c->cpu_ns ? (double)(now - c->cpu_ns) / NS_PER_S : 0;
    c->cpu_s = fmin(most, c->cpu_s + c->budget.cpu_seconds_per_second * s);
    c->cpu_ns = now > c->cpu_ns ? now : c->cpu_ns;
}

void choice_cpu_goes(struct choice *c, uint64_t now, int v)
{
    double most = c->budget.cpu_seconds_per_second * CPU_BURST_S;
    c->cpu_s = fmax(-most, c->cpu_s - c->variant[v].cpu_s);
    processors_asked(&c->processors, now, choice_cpu_of(c, v));
}

/* How many of the most accurate variants this request passes over: the level, its fraction spread evenly. */
static int passes_over(struct choice *c, uint64_t now)
{
    double level = processors_level(&c->processors, now), whole = floor(level);
    c->between += level - whole;
    if (c->between >= 1) {
        c->between -= 1;
        whole += 1;
    }
    return (int)whole;
}

int choice_pick(struct choice *c, uint64_t now, uint32_t ready, const struct choice_load *load,
                const struct choice_course *x, int from, bool any)
{
    int fits = -1, quickest = -1, passed = -1, best = -1;
    for (int rank = 0; rank < c->n; rank++) {
        int v = c->rank.by_quality[rank];
        if (!(ready >> v & 1))
            continue;
        best = best < 0 ? v : best;
        if (!choice_permits(c, now, v, x))
            continue;
        if (rank < from) {
            passed = v;
            continue;
        }
        if (quickest < 0 || choice_expects(c, now, v, load) < choice_expects(c, now, quickest, load))
            quickest = v;
        if (!choice_in_time(c, now, v, load, x))
            continue;
        fits = v;
        if (has_cpu(c, v))
            break;
    }
    if (fits >= 0 || quickest >= 0 || !any)
        return fits >= 0 ? fits : quickest;
    return passed >= 0 ? passed : best;
}

uint32_t choice_begin_by_budget(struct choice *c, uint64_t now, const struct choice_load *load,
                                struct choice_course *x)
{
    uint32_t ready = choice_ready(c, load), all = (1u << c->n) - 1;
    int from = passes_over(c, now), v = choice_pick(c, now, ready, load, x, from, true);
    int wish = ready == all ? v : choice_pick(c, now, all, load, x, from, true);

    paging_wished(&c->paging, now, 1u << wish);
    if (v < 0)
        return 0;
    if (choice_strained(c, v, x, choice_expects(c, now, v, load)))
        processors_did(&c->processors, now, true);
    return 1u << v;
}
