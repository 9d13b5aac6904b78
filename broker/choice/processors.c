/* processors.c - running means of the load, and a bound that follows a quantile */
#include "processors.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

/* Of the processors: who waits though so few of them are used waits for something else. */
#define LEAST       0.05
#define STEP        0.03 /* of the bound, for one request that waits too long */
#define ALL_CHEAP   0.8
#define WINDOW_S    0.5 /* at least; and so many requests of the dearest variant, up to the longest: */
#define WINDOW_OF   64
#define WINDOW_MOST 8.0
#define DOUBLES_S   60.0 /* the bound, where few requests come to raise it */

void processors_init(struct processors *p, const double *cost, int n, double cpus)
{
    double dearest = 0;

    memset(p, 0, sizeof *p);
    p->n = n;
    memcpy(p->cost, cost, (size_t)n * sizeof *cost);
    for (int i = 0; i < n; i++)
        dearest = fmax(dearest, cost[i]);
    p->cheapest = dearest;
    for (int i = 0; i < n; i++)
        p->cheapest = fmin(p->cheapest, cost[i]);
    p->least = LEAST * fmax(1, cpus);
    p->most = p->bound = cpus > 0 ? PROCESSORS_SHARE * cpus : INFINITY;
    p->window_s = fmin(WINDOW_MOST, fmax(WINDOW_S, WINDOW_OF * dearest / fmax(1, cpus)));
}

static double since(const struct processors *p, uint64_t now)
{
    return now > p->at_ns ? (double)(now - p->at_ns) / NS_PER_S : 0;
}

static void move_on(struct processors *p, uint64_t now)
{
    double s = since(p, now), left = exp(-s / p->window_s);

    p->rate *= left;
    p->used *= left;
    p->bound = fmin(p->most, p->bound * exp2(s / DOUBLES_S));
    p->at_ns = now > p->at_ns ? now : p->at_ns;
}

void processors_came(struct processors *p, uint64_t now)
{
    move_on(p, now);
    p->rate += 1 / p->window_s;
}

void processors_asked(struct processors *p, uint64_t now, double cost)
{
    move_on(p, now);
    p->used += cost / p->window_s;
}

/* Below this the bound says nothing: the cheapest one is all that there is. */
static double least(const struct processors *p)
{
    return fmax(p->least, ALL_CHEAP * p->rate * p->cheapest);
}

void processors_did(struct processors *p, uint64_t now, bool strained)
{
    move_on(p, now);
    if (strained)
        p->bound = fmax(least(p), fmin(p->bound, p->used) * (1 - STEP));
    else
        p->bound = fmin(p->most, p->bound * (1 + STEP * PROCESSORS_STRAINED));
}

double processors_level(const struct processors *p, uint64_t now)
{
    double rate = p->rate * exp(-since(p, now) / p->window_s), bound = p->bound;
    int cheapest = 0;

    for (int i = 0; i < p->n; i++) {
        double from = rate * p->cost[cheapest], to = rate * p->cost[i];
        if (from <= bound)
            break;
        if (to <= bound) /* between the two; they stand side by side, but for dearer ones */
            return i - (bound - to) / (from - to);
        cheapest = to < from ? i : cheapest;
    }
    return cheapest;
}
