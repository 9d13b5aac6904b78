/* promise_world.h - a world in which it is known exactly what thresholds lose
 *
 * Requests are numbers: log odds that an exit's answer is the network's are sharp (2 + normal) + skew, of
 * which the exit knows the first part, as confidence. After a change the odds are worse by `harm` for caches
 * that were taught before; caches that were taught after it are as good as others were.
 */
#ifndef FREEZELINE_PROMISE_WORLD_H
#define FREEZELINE_PROMISE_WORLD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "numbers/shuffle.h"
#include "cache_service/promise/promise.h"

#define WORLD_EXITS 2
#define WORLD_RIGHT 0.9 /* how often the network is right */

enum world_change { STILL, SUDDEN, SLOW, BACK, WORLD_CHANGES };

struct world_caches {
    double sharp[WORLD_EXITS], skew[WORLD_EXITS], taught_at;
};

struct world_request {
    double z[WORLD_EXITS], u[WORLD_EXITS], state; /* of the world: 0 before a change, 1 after */
    int32_t truth;                                /* the network says 1; an exit that is wrong says 2 */
    int64_t moment;
};

struct world {
    enum world_change change;
    struct promise_terms terms;
    struct shuffle random;
    double sharp, harm, known; /* of what caches become; of a change; share of requests with truth */
    int64_t now, changes_at;   /* requests */
};

static inline double world_state(const struct world *w)
{
    double since = (double)(w->now - w->changes_at);
    if (w->change == STILL || since < 0)
        return 0;
    if (w->change == SLOW)
        return fmin(1, floor(since / 1000) / 20);
    return w->change == BACK && since > 15000 ? 0 : 1;
}

/* The next request: like the last one where it is not fresh. */
static inline void world_next(struct world *w, struct world_request *r, bool fresh)
{
    r->state = world_state(w);
    r->moment = w->now;
    if (!fresh)
        return;
    for (int k = 0; k < WORLD_EXITS; k++) {
        r->z[k] = shuffle_normal(&w->random);
        r->u[k] = shuffle_uniform(&w->random);
    }
    r->truth = shuffle_uniform(&w->random) < WORLD_RIGHT ? 1 : shuffle_uniform(&w->random) < 1.0 / 9 ? 2 : 3;
    if (shuffle_uniform(&w->random) >= w->known)
        r->truth = -1;
}

static inline double world_wrong(const struct world *w, const struct world_caches *c, int k, double odds,
                                 double state)
{
    return 1 / (1 + exp(odds + c->skew[k] - w->harm * fabs(state - c->taught_at)));
}

static inline void world_ask(const struct world *w, const struct world_caches *c,
                             const struct world_request *r, int32_t *label, float *confidence)
{
    for (int k = 0; k < WORLD_EXITS; k++) {
        double odds = c->sharp[k] * (2 + r->z[k]);
        confidence[k] = (float)odds;
        label[k] = r->u[k] < world_wrong(w, c, k, odds, r->state) ? 2 : 1;
    }
}

/* Caches that were taught by n requests of now. They are too sure or not sure enough, by chance. */
static inline struct world_caches world_teach(struct world *w, int64_t n)
{
    struct world_caches c = {.taught_at = world_state(w)};
    for (int k = 0; k < WORLD_EXITS; k++) {
        c.sharp[k] = w->sharp * (k + 1) * (0.4 + 0.6 * (double)n / ((double)n + 3000));
        c.skew[k] = 1.5 * (shuffle_uniform(&w->random) - 0.7);
    }
    return c;
}

/* The mean loss that the promise is about, by integrals over the normal distribution, and the share answered
 * early. */
static inline double world_loss(const struct world *w, const struct world_caches *c, const float *threshold,
                                double state, double *share)
{
    double reach = 1, differs = 0;
    for (int k = 0; k < WORLD_EXITS; k++) {
        double from = fmax(-6, (double)threshold[k] / c->sharp[k] - 2), width = (6 - from) / 150, answers = 0,
               errs = 0;
        for (int i = 0; i < 150 && from < 6; i++) {
            double z = from + (i + 0.5) * width, mass = exp(-z * z / 2) / sqrt(2 * M_PI) * width;
            answers += mass;
            errs += mass * world_wrong(w, c, k, c->sharp[k] * (2 + z), state);
        }
        differs += reach * errs;
        reach *= 1 - answers;
    }
    *share = 1 - reach;
    return w->terms.agreement ? differs : differs * (WORLD_RIGHT - (1 - WORLD_RIGHT) / 9);
}

#endif
