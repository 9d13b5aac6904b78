/* gap_bound.c - an exact test of a paired difference */
#include "gap_bound.h"

#include <math.h>

#include "numbers/binomial.h"

#define WIDE     12   /* standard deviations beyond which a binomial's mass is not summed up but added */
#define HALVINGS 10   /* of the interval of the nuisance, at most */
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

struct search {
    double n, gap, t, delta;
};

/* Of m that are not 0, as many as have to be wins for t' <= t: x^2 >= t^2 (m + 1 + x). */
static double wins_for(const struct search *s, double m)
{
    double t2 = s->t * s->t, x = (t2 + sqrt(t2 * t2 + 4 * t2 * (m + 1))) / 2;
    return fmax(0, ceil((m - s->n * s->gap + x) / 2 - 1e-9));
}

/* The same at m, with what has one win more than counts with m - 1. */
static double wins_at(const struct search *s, double m)
{
    double k = wins_for(s, 0);
    for (double i = 1; i <= m; i++)
        k = fmin(k + 1, wins_for(s, i));
    return k;
}

/* P(t' <= t) or slightly more. By m = lost' + won', binomial, and won' of m, binomial too. */
static double probability(const struct search *s, double lose, double win)
{
    double n = s->n, share = fmin(lose + win, 1 - 1e-12), q = share > 0 ? fmin(win / share, 1 - 1e-12) : 0;
    double deviation = sqrt(n * share * (1 - share)),
           low = floor(fmax(0, n * share - WIDE * deviation - WIDE)),
           high = ceil(fmin(n, n * share + WIDE * deviation + WIDE)), mass, k, seen = 0, total = 0;
    struct tail t = {0};
    if (share <= 0)
        return wins_for(s, 0) <= 0;
    mass = binomial_mass(n, low, share);
    k = wins_at(s, low);
    for (double m = low; m <= high; m++, k = fmin(k + 1, wins_for(s, m))) {
        double enough;
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

static double lose_with(const struct search *s, double win)
{
    return fmax(0, win + s->gap);
}

/* True when no `win` between the two is probable enough. */
static bool rejects(const struct search *s, double low, double high, int halvings)
{
    double middle = (low + high) / 2;
    if (probability(s, lose_with(s, low), high) <= s->delta)
        return true;
    if (halvings == 0 || probability(s, lose_with(s, middle), middle) > s->delta)
        return false;
    return rejects(s, middle, high, halvings - 1) && rejects(s, low, middle, halvings - 1);
}

bool gap_is_below(const struct gap_counts *c, double gap, double delta)
{
    struct search s = {(double)c->n, gap, 0, delta};
    double most, win = 0, x = s.n * gap - (double)(c->lost - c->won);
    if (c->n < 1 || gap >= 1)
        return gap >= 1;
    if ((!c->may_win && gap <= 0) || x <= 0)
        return false;
    s.t = -x / sqrt((double)(c->lost + c->won) + 1 + x);
    if (c->may_win) {
        s.delta = delta * (1 - GAP_NUISANCE);
        most = binomial_upper(s.n, (double)(c->lost + c->won), delta * GAP_NUISANCE);
        if (gap > most)
            return true;
        win = most < -gap ? most : (most - gap) / 2;
    }
    return probability(&s, lose_with(&s, win), win) <= s.delta && rejects(&s, 0, win, HALVINGS);
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
