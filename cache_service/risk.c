/* risk.c - how bold the early answers may be */
#include "risk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS      128  /* thresholds that are considered per exit */
#define LARGEST_BET 0.75 /* share of the capital that one point may cost */

/* --- the bound --- */

/* d == NULL: all 0. In units of x = (d + 1) / 2, m = (budget + 1) / 2, both in [0, 1]. */
static double p_value(const int8_t *d, int64_t n, double budget, double delta)
{
    double m = (budget + 1) / 2, sum = 0.5, squares = 0.25, variance = 0.25, capital = 0, best = 0;
    if (n < 1 || !(m < 1))
        return n < 1 ? 1 : 0;
    for (int64_t i = 0; i < n; i++) {
        double x = d != NULL ? (d[i] + 1) / 2.0 : 0.5, mean;
        double stake = sqrt(2 * log(1 / delta) / ((double)n * variance));
        stake = stake < LARGEST_BET / (1 - m) ? stake : LARGEST_BET / (1 - m);
        capital += log1p(stake * (m - x));
        best = capital > best ? capital : best;
        sum += x; /* what the next stake may depend on */
        mean = sum / ((double)i + 2);
        squares += (x - mean) * (x - mean);
        variance = squares / ((double)i + 2);
    }
    return exp(-best);
}

double risk_p_value(const int8_t *d, int64_t n, double budget, double delta)
{
    return p_value(d, n, budget, delta);
}

double risk_upper_bound(const int8_t *d, int64_t n, double delta)
{
    double low = -1, high = 1;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        if (p_value(d, n, middle, delta) <= delta)
            high = middle;
        else
            low = middle;
    }
    return high;
}

int64_t risk_points_needed(double budget, double delta)
{
    int64_t low = 0, high = 16;
    if (budget <= 0 || delta <= 0)
        return INT64_MAX;
    while (p_value(NULL, high, budget, delta) > delta && high < (1 << 28)) {
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (p_value(NULL, middle, budget, delta) <= delta)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* --- what thresholds do --- */

static int exit_of(const struct risk_problem *p, const double *threshold, int64_t i)
{
    for (int k = 0; k < p->n_exits; k++) {
        if (p->exit[k].label[i] >= 0 && (double)p->exit[k].harm[i] <= threshold[k])
            return k;
    }
    return -1;
}

static int8_t loss_of(const struct risk_problem *p, int64_t i, int32_t label)
{
    if (p->truth == NULL)
        return label != p->full[i];
    return (int8_t)((p->full[i] == p->truth[i]) - (label == p->truth[i]));
}

void risk_serve(const struct risk_problem *p, const double *threshold, int8_t *d, struct risk_outcome *out)
{
    struct risk_outcome o = {0};
    for (int64_t i = 0; i < p->points; i++) {
        int k = exit_of(p, threshold, i);
        int8_t loss = k < 0 ? 0 : loss_of(p, i, p->exit[k].label[i]);
        if (d != NULL)
            d[i] = loss;
        if (k < 0)
            continue;
        o.mean_loss += loss;
        o.share += 1;
        o.saved += p->exit[k].saved;
        o.harm += (double)p->exit[k].harm[i];
    }
    if (out == NULL)
        return;
    *out = o;
    if (p->points > 0) {
        out->mean_loss /= (double)p->points;
        out->share /= (double)p->points;
        out->saved /= (double)p->points;
        out->harm /= (double)p->points;
    }
}

/* --- the order of candidates --- */

/* An answer that an exit could give. */
struct candidate {
    float harm;
    int32_t point;
};

static int by_harm(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = (x->harm > y->harm) - (x->harm < y->harm);
    return order != 0 ? order : (x->point > y->point) - (x->point < y->point);
}

struct exit_plan {
    struct candidate *candidate; /* [n]: points with a verdict, by ascending harm */
    int64_t n, given;            /* those before `given` are within the threshold */
    double level[LEVELS];        /* harms at equal distances in rank */
    int levels, next;            /* the level to be taken next */
};

struct plan {
    const struct risk_problem *p;
    struct exit_plan *exit;
    int32_t *answered; /* [points]: the exit that answers; n_exits: none */
    double *now;       /* [n_exits]: thresholds of the last row */
};

static int plan_exit(struct exit_plan *out, const struct risk_exit *e, int64_t points)
{
    out->candidate = malloc(((size_t)points + 1) * sizeof *out->candidate);
    if (out->candidate == NULL)
        return FL_NOMEM;
    for (int64_t i = 0; i < points; i++) {
        if (e->label[i] >= 0 && !isnan(e->harm[i]))
            out->candidate[out->n++] = (struct candidate){e->harm[i], (int32_t)i};
    }
    qsort(out->candidate, (size_t)out->n, sizeof *out->candidate, by_harm);
    for (int j = 0; j < LEVELS && out->n > 0; j++) {
        double v = (double)out->candidate[(out->n - 1) * (j + 1) / LEVELS].harm;
        if (out->levels == 0 || v > out->level[out->levels - 1])
            out->level[out->levels++] = v;
    }
    return FL_OK;
}

/* Sums over the points that come to exit k when it takes its next level, from later exits or from nobody;
 * with `take` they do come. */
static struct risk_outcome step_of(struct plan *s, int k, bool take)
{
    struct exit_plan *x = &s->exit[k];
    struct risk_outcome o = {0};
    int64_t j = x->given;
    for (; j < x->n && (double)x->candidate[j].harm <= x->level[x->next]; j++) {
        int64_t i = x->candidate[j].point;
        int32_t before = s->answered[i];
        if (before < k)
            continue;
        o.saved += s->p->exit[k].saved;
        o.harm += (double)x->candidate[j].harm;
        if (before < s->p->n_exits) {
            o.saved -= s->p->exit[before].saved;
            o.harm -= (double)s->p->exit[before].harm[i];
        } else {
            o.share += 1;
        }
        if (take)
            s->answered[i] = k;
    }
    if (take) {
        x->given = j;
        s->now[k] = x->level[x->next++];
    }
    return o;
}

/* The exit whose next level saves most time per added harm: most per time where harm does not grow. -1: all
 * are at their end. */
static int best_step(struct plan *s)
{
    double best = -INFINITY, least = 1e-9 * (double)s->p->points;
    int chosen = -1;
    for (int k = 0; k < s->p->n_exits; k++) {
        struct risk_outcome o;
        double worth;
        if (s->exit[k].next >= s->exit[k].levels)
            continue;
        o = step_of(s, k, false);
        worth = o.saved / (o.harm > least ? o.harm : least);
        if (worth > best) {
            best = worth;
            chosen = k;
        }
    }
    return chosen;
}

static int64_t fill_path(struct plan *s, double *path, struct risk_outcome *along, int64_t steps)
{
    struct risk_outcome sum = {0};
    double n = (double)s->p->points;
    int64_t row = 0;
    for (; row < steps; row++) {
        struct risk_outcome o;
        int k = best_step(s);
        if (k < 0)
            break;
        o = step_of(s, k, true);
        sum.share += o.share;
        sum.saved += o.saved;
        sum.harm += o.harm;
        memcpy(path + row * s->p->n_exits, s->now, (size_t)s->p->n_exits * sizeof *s->now);
        if (along != NULL)
            along[row] = (struct risk_outcome){NAN, sum.share / n, sum.saved / n, sum.harm / n};
    }
    return row;
}

int risk_plan(double *path, struct risk_outcome *along, int64_t steps, int64_t *rows,
              const struct risk_problem *p)
{
    size_t exits = (size_t)p->n_exits, points = (size_t)p->points;
    struct plan s = {p, calloc(exits + 1, sizeof *s.exit), malloc((points + 1) * sizeof *s.answered),
                     malloc((exits + 1) * sizeof *s.now)};
    int rc = s.exit != NULL && s.answered != NULL && s.now != NULL ? FL_OK : FL_NOMEM;
    *rows = 0;
    for (int k = 0; k < p->n_exits && rc == FL_OK; k++) {
        s.now[k] = -INFINITY;
        rc = plan_exit(&s.exit[k], &p->exit[k], p->points);
    }
    for (int64_t i = 0; i < p->points && rc == FL_OK; i++)
        s.answered[i] = p->n_exits;
    if (rc == FL_OK)
        *rows = fill_path(&s, path, along, steps);
    for (int k = 0; k < p->n_exits && s.exit != NULL; k++)
        free(s.exit[k].candidate);
    free(s.exit);
    free(s.answered);
    free(s.now);
    return rc;
}

/* --- the promise --- */

static bool holds(const int8_t *d, int64_t n, double mean, double budget, double delta)
{
    if (delta >= 0.5)
        return n > 0 && mean <= budget;
    return p_value(d, n, budget, delta) <= delta;
}

int risk_walk(int64_t *row, const struct risk_problem *p, const double *path, int64_t steps, double budget,
              double delta, struct error *e)
{
    struct risk_outcome o;
    int8_t *d;
    *row = -1;
    if (delta < 0.5 && p->points < risk_points_needed(budget, delta))
        return error_set(e, FL_VALUE,
                         "%lld calibration points cannot promise a loss of at most %g points with certainty "
                         "%g%%: at least %lld are "
                         "needed",
                         (long long)p->points, 100 * budget, 100 * (1 - delta),
                         (long long)risk_points_needed(budget, delta));
    d = malloc((size_t)p->points + 1);
    if (d == NULL)
        return error_set(e, FL_NOMEM, "no memory to judge %lld points", (long long)p->points);
    for (int64_t i = 0; i < steps; i++) {
        risk_serve(p, path + i * p->n_exits, d, &o);
        if (!holds(d, p->points, o.mean_loss, budget, delta))
            break;
        *row = i;
    }
    free(d);
    return FL_OK;
}
