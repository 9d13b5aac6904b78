/* risk.h - how bold the early answers may be: bounds that hold for finitely many points (Waudby-Smith and
 * Ramdas 2024) and the choice of thresholds under them (Learn then Test, Angelopoulos et al. 2021; for early
 * exits: Jazbec et al. 2024)
 *
 * The loss of one request is d = [full answer right] - [served answer right], in -1, 0, 1: an early answer
 * that is right where the model is wrong counts in its favour. (For a promise about agreement: d = [served
 * differs from full].) The promise is E[d] <= budget with probability >= certainty over the calibration
 * points, which must be exchangeable with requests and must not have fitted anything: not the model, not a
 * cache, not the order in which candidates are tried.
 *
 * Pure functions; results depend on the order of the points, which the caller has drawn at random (they often
 * lie in a file in random order already; shuffle_order otherwise).
 */
#ifndef FREEZELINE_RISK_H
#define FREEZELINE_RISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A p-value for "E[d] > budget" by betting: the capital of a gambler who bets against it, K_i = product of (1
 * + nu_i (budget - d_i)), has expectation <= 1 at any time if it is true, so P(max K >= 1/p) <= p (Ville).
 * Stakes nu_i depend on earlier points only and are chosen for level `delta`. Each d in [-1, 1]; 1 when n is
 * 0. */
double risk_p_value(const int8_t *d, int64_t n, double budget, double delta);
/* The smallest budget that risk_p_value rejects at `delta`: E[d] is below it with probability >= 1 - delta.
 * In [-1, 1]. */
double risk_upper_bound(const int8_t *d, int64_t n, double delta);
/* The fewest points with which a budget could be promised at all: those needed if no early answer were ever
 * worse (all d = 0). */
int64_t risk_points_needed(double budget, double delta);

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
};

/* Thresholds: an answer is given at exit k when harm <= threshold[k]. */
struct risk_outcome {
    double mean_loss;    /* of d on these points */
    double share, saved; /* answered early; mean of `saved` over all points */
    double harm;         /* mean harm of the answers given, over all points */
};

/* d of each point under the thresholds (may be NULL), and the sums (may be NULL). */
void risk_serve(const struct risk_problem *p, const double *threshold, int8_t *d, struct risk_outcome *out);

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
 * points, mean_loss aside. FL_NOMEM. */
int risk_plan(double *path, struct risk_outcome *along, int64_t steps, int64_t *rows,
              const struct risk_problem *p);

#endif
