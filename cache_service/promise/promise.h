/* promise.h - the thresholds of all exits together, so that early answers keep a promise (Learn then Test,
 * Angelopoulos et al. 2021; for early exits: Jazbec et al. 2024)
 *
 * Evidence is split in two. The first part, a tenth of it where that is enough, plans:
 * which exits pay, and one order of threshold vectors from timid to bold. The rest certifies: it goes along
 * that order and stops at the first vector whose loss cannot be bounded (risk.h). As the order does not
 * depend on the second part, the bound holds for finitely many points with the certainty that is asked for.
 */
#ifndef FREEZELINE_PROMISE_H
#define FREEZELINE_PROMISE_H

#include "evidence.h"

#define PROMISE_PLAN_FEW   0.3 /* of the points, until PROMISE_PLAN_SOME plan .. */
#define PROMISE_PLAN_SOME  1000
#define PROMISE_PLAN_SHARE 0.1   /* .. then of them all .. */
#define PROMISE_PLAN_MOST  10000 /* .. up to so many: an order gets hardly better by more, a bound does */
#define PROMISE_PRECISION  0.1

struct promise_terms {
    bool agreement;   /* loss = differs from the full answer; else full right - served right */
    double budget;    /* of the mean loss: 0.01 is one point */
    double certainty; /* below 1 */
};

/* Requests may ask for less loss than is promised. So thresholds are certified for shares of the budget too:
 * one order, planned once, is walked for each of them on the same points. Each holds with the certainty that
 * was asked for by itself; all at once with PROMISE_LEVELS times the rest at worst. */
#define PROMISE_LEVELS 3
double promise_level(int i); /* share of the budget; falling: the first is 1 */
uint32_t promise_level_ppm(double budget, int i);

/* What thresholds do to some points. */
struct promise_result {
    int64_t points, lost, won;   /* lost: worse than the full answer, won: better (promise_terms) */
    double loss, share, by_half; /* mean loss; answered early; within half of the depth */
    double time;                 /* mean, look-ups included, of the network's alone */
    struct {
        int64_t answered, agreed, right; /* right: of known truth */
    } exit[PIPELINE_MAX_EXITS];
};

/* What the planning points let expect. Of an exit that is not placed: when it was left out. */
struct promise_forecast {
    double time, share; /* mean, look-ups included, of the network's alone; answered early */
    bool placed[PIPELINE_MAX_EXITS];
    double saves[PIPELINE_MAX_EXITS];    /* time that this exit saves beside the others (below 0: costs) */
    double marginal[PIPELINE_MAX_EXITS]; /* share answered early by any exit, with it less without it; below 0
                                          * where it spends the budget on fewer answers that come sooner */
};

struct promise_choice {
    float threshold[PIPELINE_MAX_EXITS]; /* an answer needs more confidence; infinity: never */
    bool placed[PIPELINE_MAX_EXITS];
    struct promise_forecast forecast;
    int64_t planned_on;              /* points */
    struct promise_result certified; /* on the others */
    double upper; /* bound of the loss, at the certainty asked for; NaN at 0.5, which bounds nothing */
    int n_levels; /* that some exit may answer at; the first is all of the above */
    struct promise_level {
        float threshold[PIPELINE_MAX_EXITS];
        struct promise_result certified;
        double upper;
    } level[PROMISE_LEVELS];
};

/* The first hit answers. */
void promise_judge(struct promise_result *out, const struct evidence *ev, int64_t from, int64_t to,
                   const float *threshold, const bool *placed, bool agreement);

/* `may_drop`: exits whose look-ups cost more time than their answers save are left out; otherwise those with
 * `placed` stay. Those that are ruled out are none. FL_VALUE when there are too few points (and how many are
 * needed) or accuracy is promised without truth; FL_NOMEM. */
int promise_choose(struct promise_choice *out, const struct evidence *ev, const struct promise_terms *terms,
                   bool may_drop, struct error *e);
/* The planning alone. */
int promise_foresee(struct promise_forecast *out, const struct evidence *ev,
                    const struct promise_terms *terms, bool may_drop, struct error *e);
/* The planned order itself: vectors of thresholds from timid to bold, planned on all points, for judging on
 * others. */
struct promise_order {
    bool placed[PIPELINE_MAX_EXITS];
    int64_t rows;
    float *threshold; /* [rows][exits of the evidence]; infinity: never */
};
int promise_order(struct promise_order *out, const struct evidence *ev, const struct promise_terms *terms,
                  bool may_drop, struct error *e);
void promise_order_release(struct promise_order *o);
/* Points of evidence that a promise needs at least. */
int64_t promise_points_needed(const struct promise_terms *terms);
/* What is left for early answers where they are compared with the network that serves and that one computes
 * in a lower precision: the budget less a bound of what it loses on the evidence by itself, which takes
 * PROMISE_PRECISION of 1 - certainty. The same terms without evidence->last. A budget of 0 or less: nothing
 * is left. */
struct promise_terms promise_left_by_precision(const struct evidence *ev, const struct promise_terms *terms);

struct promise_check {
    int resamples, broken;
    double loss, worst;       /* mean and largest loss on the world */
    double share, half, time; /* means over resamples */
};
/* For each level: out[PROMISE_LEVELS]. Bootstrap: each resample draws as many points as there are with
 * repetition, chooses thresholds from them, and is judged on all points, which are then the world. `progress`
 * may be NULL; non-zero stops with FL_CANCELLED. */
int promise_check(struct promise_check *out, const struct evidence *world, const struct promise_terms *terms,
                  int resamples, uint64_t seed, int (*progress)(void *arg, int done), void *arg,
                  struct error *e);

#endif
