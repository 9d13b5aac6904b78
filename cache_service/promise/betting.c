/* betting.c - several gamblers with fixed bets */
#include "betting.h"

#include <math.h>

#define FIRST     24        /* candidates that have half of what may be spent */
#define LATER     8         /* the other half is spent as (number + LATER)^-1.5, .. */
#define LATER_SUM 0.6856987 /* .. over all numbers from 1 on: zeta(3/2, 9), rounded up */

/* For less: which part of the largest bet that cannot ruin. Without wins, bet x is the likelihood ratio of
 * P(d = 1) = (1 - x) budget to the budget, so the bets are spread over all losses below it: each is within 2%
 * or so of the best bet's growth where its neighbours are not. Small bets are for losses just below the
 * budget, and for many wins. */
static const struct {
    double bet, share;
} LESS[] = {{1, 0.10},    {0.85, 0.09}, {0.7, 0.09},  {0.56, 0.10}, {0.44, 0.11},  {0.34, 0.11}, {0.26, 0.10},
            {0.19, 0.09}, {0.13, 0.07}, {0.09, 0.05}, {0.06, 0.04}, {0.035, 0.03}, {0.015, 0.02}};
/* For more, where nothing is won: times the budget, of the loss that the bet is best for. */
static const struct {
    double times, share;
} MORE[] = {{1.15, 0.03}, {1.3, 0.06}, {1.5, 0.08}, {1.8, 0.1}, {2.2, 0.1}, {2.8, 0.1},
            {3.8, 0.1},   {5.2, 0.09}, {7.5, 0.08}, {11, 0.07}, {17, 0.06}, {28, 0.05},
            {50, 0.04},   {100, 0.02}, {200, 0.01}, {500, 0.01}};

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

void betting_for_less(struct betting *b, double budget)
{
    b->n = COUNT(LESS);
    for (int i = 0; i < b->n; i++) {
        double bet = LESS[i].bet / (1 - budget);
        b->share[i] = log(LESS[i].share);
        b->lost[i] = log1p(-LESS[i].bet);
        b->same[i] = log1p(bet * budget);
        b->won[i] = log1p(bet * (1 + budget));
    }
}

/* "E[d] <= budget" is "E[-d] >= -budget". */
static void for_more_with_wins(struct betting *b, double budget)
{
    betting_for_less(b, -budget);
    for (int i = 0; i < b->n; i++) {
        double swap = b->lost[i];
        b->lost[i] = b->won[i];
        b->won[i] = swap;
    }
}

void betting_for_more(struct betting *b, double budget, bool may_win)
{
    if (may_win) {
        for_more_with_wins(b, budget);
        return;
    }
    b->n = 0;
    for (int i = 0; i < COUNT(MORE); i++) {
        double loss = MORE[i].times * budget;
        if (budget <= 0 || loss > 0.99)
            break;
        b->share[b->n] = log(MORE[i].share);
        b->lost[b->n] = log(MORE[i].times);
        b->same[b->n] = log1p(-loss) - log1p(-budget);
        b->won[b->n++] = -INFINITY;
    }
}

static double times(int64_t n, double log_factor)
{
    return n == 0 ? 0 : (double)n * log_factor;
}

/* The logarithm of each gambler's wealth; returns that of the wealthiest. */
static double fortunes(const struct betting *b, const struct gap_counts *c, double *log_wealth)
{
    int64_t same = c->n - c->lost - c->won;
    double most = -INFINITY;
    for (int i = 0; i < b->n; i++) {
        log_wealth[i] =
            b->share[i] + times(c->lost, b->lost[i]) + times(same, b->same[i]) + times(c->won, b->won[i]);
        most = fmax(most, log_wealth[i]);
    }
    return most;
}

static double together(const struct betting *b, const double *log_wealth, double most)
{
    double sum = 0;
    if (most == -INFINITY)
        return most;
    for (int i = 0; i < b->n; i++)
        sum += exp(log_wealth[i] - most);
    return most + log(sum);
}

double betting_wealth(const struct betting *b, const struct gap_counts *c)
{
    double log_wealth[BETTING_MOST], most = fortunes(b, c, log_wealth);
    return together(b, log_wealth, most);
}

bool betting_reaches(const struct betting *b, const struct gap_counts *c, double enough)
{
    double log_wealth[BETTING_MOST], most = fortunes(b, c, log_wealth);
    if (most + log(b->n) < enough) /* not if all were as wealthy */
        return false;
    return together(b, log_wealth, most) >= enough;
}

double betting_below(const struct gap_counts *c, double budget)
{
    struct betting b;
    if (budget >= 1)
        return INFINITY;
    betting_for_less(&b, budget);
    return betting_wealth(&b, c);
}

double betting_above(const struct gap_counts *c, double budget)
{
    struct betting b;
    if (budget <= -1)
        return INFINITY;
    if (!c->may_win && budget <= 0)
        return c->lost > 0 ? INFINITY : 0; /* d cannot be above 0 without having been */
    betting_for_more(&b, budget, c->may_win);
    return betting_wealth(&b, c);
}

double betting_upper(const struct gap_counts *c, double delta)
{
    double low = c->may_win ? -1 : 0, high = 1, enough = log(1 / delta);
    while (high - low > 1e-6) {
        double middle = (low + high) / 2;
        if (betting_below(c, middle) >= enough)
            high = middle;
        else
            low = middle;
    }
    return high;
}

double betting_lower(const struct gap_counts *c, double delta)
{
    double low = c->may_win ? -1 : 0, high = 1, enough = log(1 / delta);
    while (high - low > 1e-6) {
        double middle = (low + high) / 2;
        if (betting_above(c, middle) >= enough)
            low = middle;
        else
            high = middle;
    }
    return low;
}

double betting_delta(double certainty, uint64_t number)
{
    double k = (double)(number > 0 ? number : 1), first = k <= FIRST ? 1.0 / FIRST : 0;
    return (1 - certainty) * (first + pow(k + LATER, -1.5) / LATER_SUM) / 2;
}
