/* risk.h - how bold the early answers may be: the choice of thresholds (Learn then Test, Angelopoulos et al.
 * 2021; for early exits: Jazbec et al. 2024) under a bound that holds for finitely many points (gap_bound.h)
 *
 * The loss of one request is d = [full answer right] - [served answer right], in -1, 0, 1: an early answer
 * that is right where the model is wrong counts in its favour. (For a promise about agreement: d = [served
 * differs from full].) The promise is E[d] <= budget with probability >= certainty over the calibration
 * points, which must be exchangeable with requests and must not have fitted anything: not the model, not a
 * cache, not the order in which candidates are tried.
 *
 * Pure functions.
 */
#ifndef FREEZELINE_RISK_H
#define FREEZELINE_RISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* What the caches of one exit said about a set of points, in the exits' order. */
struct risk_exit {
    const int32_t *label; /* [points]; negative: no verdict */
    const float *harm;    /* [points]: how likely its answer is worse than the full one; NaN: no verdict */
    double saved; /* time that an answer here saves, as a share of the whole: what orders the candidates */
};

struct risk_problem {
    int n_exits;
    const struct risk_exit *exit;
    int64_t points;
    const int32_t *full,
        *truth; /* [points]: the model's labels; the true ones, or NULL to promise agreement instead */
    const int32_t *last; /* [points]: what is answered where no exit does; NULL: the model's labels */
};

/* Thresholds: an answer is given at exit k when harm <= threshold[k]. */
struct risk_outcome {
    int64_t lost, won;   /* points with d = 1, d = -1 */
    double share, saved; /* answered early; mean of `saved` over all points */
    double harm;         /* mean harm of the answers given, over all points */
};

void risk_serve(const struct risk_problem *p, const double *threshold, struct risk_outcome *out);

/* At delta >= 0.5 ("certainty: 50%") nothing is promised beyond these points: their mean is compared with the
 * budget.
 *
 * A path of candidates from timid to bold: row i of `path` [steps][n_exits] is a vector of thresholds. Walks
 * it while the hypothesis E[d] > budget is rejected at delta for each (fixed-sequence testing: no correction
 * is needed, as the order was fixed before these points were looked at) and returns the last row that held,
 * or -1. FL_VALUE with the number of points that are needed when even no early answers at all could not be
 * promised. */
int risk_walk(int64_t *row, const struct risk_problem *p, const double *path, int64_t steps, double budget,
              double delta, struct error *e);

/* Orders candidates on other points than those that will test them (they may have fitted `harm`): starts
 * where nobody is answered early and, step by step, loosens the exit that saves most time per added harm as
 * `harm` says. Fills at most `steps` rows of `path` [steps][n_exits], each bolder than the one before (no
 * column ever descends), *rows says how many; `along` [steps] (may be NULL) gets what each does to these
 * points, lost and won aside. FL_NOMEM. */
int risk_plan(double *path, struct risk_outcome *along, int64_t steps, int64_t *rows,
              const struct risk_problem *p);

#endif
