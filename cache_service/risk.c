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

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* level[LEVELS]: harms of the exit's answers at equal distances in rank. Returns how many there are. */
static int levels_of(const struct risk_exit *e, int64_t points, double *sorted, double *level)
{
    int64_t n = 0;
    int kept = 0;
    for (int64_t i = 0; i < points; i++) {
        if (e->label[i] >= 0 && !isnan(e->harm[i]))
            sorted[n++] = (double)e->harm[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    for (int j = 0; j < LEVELS && n > 0; j++) {
        double v = sorted[(n - 1) * (j + 1) / LEVELS];
        if (kept == 0 || v > level[kept - 1])
            level[kept++] = v;
    }
    return kept;
}

struct plan {
    const struct risk_problem *p;
    double *level;   /* [n_exits][LEVELS] */
    double *now;     /* [n_exits]: thresholds of the last row */
    int *count, *at; /* [n_exits]: levels there are; those in use */
};

/* The exit whose next level saves most time per added harm: most per time where harm does not grow. -1: all
 * are at their end. */
static int best_step(struct plan *s, struct risk_outcome *current)
{
    struct risk_outcome next, taken = *current;
    double best = -INFINITY;
    int chosen = -1;
    for (int k = 0; k < s->p->n_exits; k++) {
        double keep = s->now[k], worth, saved, harm;
        if (s->at[k] >= s->count[k])
            continue;
        s->now[k] = s->level[k * LEVELS + s->at[k]];
        risk_serve(s->p, s->now, NULL, &next);
        s->now[k] = keep;
        saved = next.saved - current->saved;
        harm = next.harm - current->harm;
        worth = saved / (harm > 1e-9 ? harm : 1e-9);
        if (worth > best) {
            best = worth;
            chosen = k;
            taken = next;
        }
    }
    *current = taken;
    return chosen;
}

static int64_t fill_path(struct plan *s, double *path, int64_t steps)
{
    struct risk_outcome current = {0};
    int64_t row = 0;
    for (; row < steps; row++) {
        int k = best_step(s, &current);
        if (k < 0)
            break;
        s->now[k] = s->level[k * LEVELS + s->at[k]++];
        memcpy(path + row * s->p->n_exits, s->now, (size_t)s->p->n_exits * sizeof *s->now);
    }
    return row;
}

int risk_plan(double *path, int64_t steps, int64_t *rows, const struct risk_problem *p)
{
    size_t n = (size_t)p->n_exits;
    struct plan s = {p, malloc((n * LEVELS + 1) * sizeof(double)), malloc((n + 1) * sizeof(double)),
                     malloc((n + 1) * sizeof(int)), calloc(n + 1, sizeof(int))};
    double *sorted = malloc(((size_t)p->points + 1) * sizeof *sorted);
    int rc = FL_NOMEM;
    *rows = 0;
    if (s.level != NULL && s.now != NULL && s.count != NULL && s.at != NULL && sorted != NULL) {
        for (int k = 0; k < p->n_exits; k++) {
            s.now[k] = -INFINITY;
            s.count[k] = levels_of(&p->exit[k], p->points, sorted, s.level + k * LEVELS);
        }
        *rows = fill_path(&s, path, steps);
        rc = FL_OK;
    }
    free(s.level);
    free(s.now);
    free(s.count);
    free(s.at);
    free(sorted);
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
