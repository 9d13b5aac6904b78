/* gap_bound.c - an exact test of a paired difference */
#include "gap_bound.h"

#include <math.h>

#include "numbers/binomial.h"

#define WIDE     12   /* standard deviations beyond which a binomial's mass is not summed up but added */
#define HALVINGS 12   /* of the interval of the nuisance, at most */
#define LARGEST  1e12 /* points that are asked for at most */

/* P(won >= k of m) while m grows by one: the tail, and the mass just below it. */
struct tail {
    double p, m, k, at_least, below;
};

static struct tail tail_at(double m, double k, double p)
{
    return (struct tail){p, m, k, binomial_tail(m, k, p), binomial_mass(m, k - 1, p)};
}

/* To m + 1 and to k or k + 1. */
static void tail_step(struct tail *t, double k)
{
    t->at_least += t->p * t->below;
    t->m++;
    t->below *= t->m / (t->m - t->k + 1) * (1 - t->p);
    if (k > t->k) {
        double mass = t->k >= 1 ? t->below * (t->m - t->k + 1) / t->k * t->p / (1 - t->p) : 0;
        t->at_least -= mass;
        t->below = mass;
        t->k = k;
    }
    if (t->at_least < 0)
        t->at_least = 0;
}

/* P(lost' - won' <= sum) or slightly more. By m = lost' + won', binomial, and won' of m, binomial too: won'
 * has to be (m - sum) / 2 at least. */
static double probability(double n, double sum, double lose, double win)
{
    double share = fmin(lose + win, 1 - 1e-12), q = share > 0 ? fmin(win / share, 1 - 1e-12) : 0;
    double deviation = sqrt(n * share * (1 - share)),
           low = floor(fmax(0, n * share - WIDE * deviation - WIDE)),
           high = ceil(fmin(n, n * share + WIDE * deviation + WIDE)), mass, seen = 0, total = 0;
    struct tail t = {0};
    if (share <= 0)
        return sum >= 0;
    mass = binomial_mass(n, low, share);
    for (double m = low; m <= high; m++) {
        double k = ceil((m - sum) / 2), enough;
        if (k <= 0)
            enough = 1;
        else if (k > m || q <= 0)
            enough = 0;
        else {
            if (t.p > 0)
                tail_step(&t, k);
            else
                t = tail_at(m, k, q);
            enough = t.at_least;
        }
        seen += mass;
        total += mass * enough;
        mass *= (n - m) / (m + 1) * share / (1 - share);
    }
    return fmin(1, total + fmax(0, 1 - seen));
}

struct search {
    double n, sum, gap, delta;
};

static double lose_with(const struct search *s, double win)
{
    return fmax(0, win + s->gap);
}

/* True when no `win` between the two is probable enough. */
static bool rejects(const struct search *s, double low, double high, int halvings)
{
    double middle = (low + high) / 2;
    if (probability(s->n, s->sum, lose_with(s, low), high) <= s->delta)
        return true;
    if (halvings == 0 || probability(s->n, s->sum, lose_with(s, middle), middle) > s->delta)
        return false;
    return rejects(s, middle, high, halvings - 1) && rejects(s, low, middle, halvings - 1);
}

bool gap_is_below(const struct gap_counts *c, double gap, double delta)
{
    struct search s = {(double)c->n, (double)(c->lost - c->won), gap, delta};
    double most, win = 0;
    if (c->n < 1 || gap >= 1)
        return gap >= 1;
    if (!c->may_win && gap <= 0)
        return false;
    if (c->may_win) {
        s.delta = delta * (1 - GAP_NUISANCE);
        most = binomial_upper(s.n, (double)(c->lost + c->won), delta * GAP_NUISANCE);
        if (gap > most)
            return true;
        win = most < -gap ? most : (most - gap) / 2;
    }
    return probability(s.n, s.sum, lose_with(&s, win), win) <= s.delta && rejects(&s, 0, win, HALVINGS);
}

double gap_upper_bound(const struct gap_counts *c, double delta)
{
    double low = -1, high = 1;
    while (high - low > 1e-6) {
        double middle = (low + high) / 2;
        if (gap_is_below(c, middle, delta))
            high = middle;
        else
            low = middle;
    }
    return high;
}

int64_t gap_points_needed(double gap, double delta, bool may_win)
{
    struct gap_counts few = {1, 0, 0, may_win}, many = few;
    if (gap <= 0 || delta <= 0)
        return INT64_MAX;
    while (!gap_is_below(&many, gap, delta)) {
        few.n = many.n;
        many.n *= 2;
        if ((double)many.n > LARGEST)
            return INT64_MAX;
    }
    while (many.n - few.n > 1) {
        struct gap_counts middle = {few.n + (many.n - few.n) / 2, 0, 0, may_win};
        if (gap_is_below(&middle, gap, delta))
            many = middle;
        else
            few = middle;
    }
    return many.n;
}
