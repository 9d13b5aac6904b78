/* risk.c - how bold the early answers may be */
#include "risk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gap_bound.h"

#define LEVELS 512 /* thresholds that are considered per exit */
#define STRIDE 4   /* as many of them are weighed together: one alone stands for too few points */

/* --- what thresholds do --- */

static int exit_of(const struct risk_problem *p, const double *threshold, int64_t i)
{
    for (int k = 0; k < p->n_exits; k++) {
        if (p->exit[k].label[i] >= 0 && (double)p->exit[k].harm[i] <= threshold[k])
            return k;
    }
    return -1;
}

static int loss_of(const struct risk_problem *p, int64_t i, int32_t label)
{
    if (p->truth == NULL)
        return label != p->full[i];
    return (p->full[i] == p->truth[i]) - (label == p->truth[i]);
}

void risk_serve(const struct risk_problem *p, const double *threshold, struct risk_outcome *out)
{
    struct risk_outcome o = {0};
    double n = p->points > 0 ? (double)p->points : 1;
    for (int64_t i = 0; i < p->points; i++) {
        int k = exit_of(p, threshold, i), loss;
        if (k < 0 && p->last == NULL)
            continue;
        loss = loss_of(p, i, k < 0 ? p->last[i] : p->exit[k].label[i]);
        o.lost += loss > 0;
        o.won += loss < 0;
        if (k < 0)
            continue;
        o.share += 1;
        o.saved += p->exit[k].saved;
        o.harm += (double)p->exit[k].harm[i];
    }
    *out = (struct risk_outcome){o.lost, o.won, o.share / n, o.saved / n, o.harm / n};
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

/* What exit k's next `levels` would change: points that come to it from later exits, or that no exit
 * answered. With `take` they are taken. */
static struct risk_outcome step_of(struct plan *s, int k, int levels, bool take)
{
    struct exit_plan *x = &s->exit[k];
    struct risk_outcome o = {0};
    int to = x->next + levels < x->levels ? x->next + levels : x->levels;
    int64_t j = x->given;
    for (; j < x->n && (double)x->candidate[j].harm <= x->level[to - 1]; j++) {
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
        x->next = to;
        s->now[k] = x->level[to - 1];
    }
    return o;
}

/* The exit whose next STRIDE levels save most time per added harm; where harm does not grow, the one that
 * saves most. -1: every exit has taken its last level. */
static int best_step(struct plan *s)
{
    double best = -INFINITY, least = 1e-9 * (double)s->p->points;
    int chosen = -1;
    for (int k = 0; k < s->p->n_exits; k++) {
        struct risk_outcome o;
        double worth;
        if (s->exit[k].next >= s->exit[k].levels)
            continue;
        o = step_of(s, k, STRIDE, false);
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
    for (int k = -1, left = 0; row < steps; row++, left--) {
        struct risk_outcome o;
        if (left == 0 || s->exit[k].next >= s->exit[k].levels) {
            k = best_step(s);
            left = STRIDE;
        }
        if (k < 0)
            break;
        o = step_of(s, k, 1, true);
        sum.share += o.share;
        sum.saved += o.saved;
        sum.harm += o.harm;
        memcpy(path + row * s->p->n_exits, s->now, (size_t)s->p->n_exits * sizeof *s->now);
        if (along != NULL)
            along[row] = (struct risk_outcome){0, 0, sum.share / n, sum.saved / n, sum.harm / n};
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

static bool holds(const struct risk_problem *p, const struct risk_outcome *o, double budget, double delta)
{
    struct gap_counts counts = {p->points, o->lost, o->won, p->truth != NULL};
    if (delta >= 0.5)
        return p->points > 0 && (double)(o->lost - o->won) <= budget * (double)p->points;
    return gap_is_below(&counts, budget, delta);
}

int risk_walk(int64_t *row, const struct risk_problem *p, const double *path, int64_t steps, double budget,
              double delta, struct error *e)
{
    int64_t needed = delta < 0.5 ? gap_points_needed(budget, delta, p->truth != NULL) : 1;
    *row = -1;
    if (p->points < needed)
        return error_set(e, FL_VALUE,
                         "%lld calibration points cannot promise a loss of at most %g points with certainty "
                         "%g%%: at least %lld are "
                         "needed",
                         (long long)p->points, 100 * budget, 100 * (1 - delta), (long long)needed);
    for (int64_t i = 0; i < steps; i++) {
        struct risk_outcome o;
        risk_serve(p, path + i * p->n_exits, &o);
        if (!holds(p, &o, budget, delta))
            break;
        *row = i;
    }
    return FL_OK;
}
