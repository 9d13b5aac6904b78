/* drift_signal.c - means of windows against those of the first windows */
#include "drift_signal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "config/pipeline.h"

#define FAR       5.0 /* standard deviations: one window is enough */
#define ALLOWANCE 1.0 /* of each window, before distances are summed up */
#define ENOUGH    6.0 /* such a sum is */
#define FEWEST    20  /* values whose mean is compared */

struct sums {
    double n, sum, squares;
};

/* One mean that is watched. */
struct watched {
    struct sums window;       /* values */
    struct sums first, means; /* values of the windows that say how traffic looks; their means */
    double above, below;      /* summed up */
};

struct drift_signal {
    int n_exits;
    int64_t length, seen, windows, up_until,
        count; /* seen: of this window; windows: since traffic is learned */
    struct drift_cause cause;
    struct watched watched[2 * PIPELINE_MAX_EXITS + 1]; /* shares of exits, of none; confidences */
};

int drift_signal_new(struct drift_signal **out, int n_exits, int64_t window)
{
    struct drift_signal *s;
    *out = NULL;
    if (n_exits < 0 || n_exits > PIPELINE_MAX_EXITS || window < FEWEST)
        return FL_VALUE;
    if ((s = calloc(1, sizeof *s)) == NULL)
        return FL_NOMEM;
    s->n_exits = n_exits;
    s->length = window;
    *out = s;
    return FL_OK;
}

void drift_signal_free(struct drift_signal *s)
{
    free(s);
}

static void add(struct sums *s, double value)
{
    s->n++;
    s->sum += value;
    s->squares += value * value;
}

static double mean(const struct sums *s)
{
    return s->n > 0 ? s->sum / s->n : 0;
}

static double variance(const struct sums *s)
{
    return s->n > 1 ? fmax(0, (s->squares - s->sum * s->sum / s->n) / (s->n - 1)) : 0;
}

/* How far this window's mean is from those windows', in standard deviations of the difference. A share
 * that never varied counts as if it had been otherwise once. */
static double distance(const struct watched *w)
{
    double least = 1 / (w->first.n + 2),
           of_values = fmax(variance(&w->first), least * (1 - least)) * (1 / w->window.n + 1 / w->first.n),
           of_means = variance(&w->means) * (1 + 1 / fmax(1, w->means.n));
    return (mean(&w->window) - mean(&w->first)) / sqrt(fmax(of_values, of_means));
}

/* Whether this window's mean, or it and those before, say that something has changed. */
static bool differs(struct watched *w)
{
    double z;
    if (w->window.n < FEWEST || w->first.n < FEWEST)
        return false;
    z = distance(w);
    w->above = fmax(0, w->above + z - ALLOWANCE);
    w->below = fmax(0, w->below - z - ALLOWANCE);
    return fabs(z) > FAR || w->above > ENOUGH || w->below > ENOUGH;
}

static void learn(struct watched *w)
{
    if (w->window.n < FEWEST)
        return;
    w->first.n += w->window.n;
    w->first.sum += w->window.sum;
    w->first.squares += w->window.squares;
    add(&w->means, mean(&w->window));
}

static void go_up(struct drift_signal *s, int which)
{
    const struct watched *w = &s->watched[which];
    bool confidence = which > s->n_exits;
    s->cause = (struct drift_cause){confidence ? which - s->n_exits - 1 : which, confidence, mean(&w->first),
                                    mean(&w->window)};
    s->count++;
    s->up_until = DRIFT_WHILE;
    for (int i = 0; i <= 2 * s->n_exits; i++)
        s->watched[i] = (struct watched){0};
    s->windows = 0;
}

static void end_window(struct drift_signal *s)
{
    bool known = s->windows >= DRIFT_FIRST;
    int found = -1;
    s->up_until -= s->up_until > 0;
    s->seen = 0;
    s->windows++;
    for (int i = 0; i <= 2 * s->n_exits; i++) {
        struct watched *w = &s->watched[i];
        bool news = known && differs(w);
        if (news && found < 0)
            found = i;
        if (!news && s->windows <= DRIFT_LEARNED)
            learn(w);
    }
    if (found >= 0) {
        go_up(s, found);
        return;
    }
    for (int i = 0; i <= 2 * s->n_exits; i++)
        s->watched[i].window = (struct sums){0};
}

/* Confidences go over many orders of magnitude. */
static double squeezed(double confidence)
{
    return copysign(log1p(fmin(fabs(confidence), (double)FLT_MAX)), confidence);
}

void drift_signal_see(struct drift_signal *s, int exit, const float *confidence)
{
    for (int k = 0; k <= s->n_exits; k++)
        add(&s->watched[k].window, k == exit);
    for (int k = 0; k < s->n_exits; k++) {
        if (!isnan(confidence[k]))
            add(&s->watched[s->n_exits + 1 + k].window, squeezed((double)confidence[k]));
    }
    if (++s->seen == s->length)
        end_window(s);
}

bool drift_signal_up(const struct drift_signal *s)
{
    return s->up_until > 0;
}

int64_t drift_signal_count(const struct drift_signal *s)
{
    return s->count;
}

struct drift_cause drift_signal_cause(const struct drift_signal *s)
{
    return s->cause;
}
