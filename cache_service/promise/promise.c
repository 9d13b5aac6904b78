/* promise.c - plan on some points, certify on the others */
#include "promise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gap_bound.h"
#include "harm.h"
#include "risk.h"
#include "numbers/shuffle.h"

#define STEPS_PER_EXIT 512 /* rows of a plan: as many as risk_plan has levels */

/* --- what thresholds do --- */

void promise_judge(struct promise_result *out, const struct evidence *ev, int64_t from, int64_t to,
                   const float *threshold, const bool *placed, bool agreement)
{
    memset(out, 0, sizeof *out);
    out->points = to - from;
    for (int64_t i = from; i < to; i++) {
        int32_t full = ev->full[i], truth = ev->truth != NULL ? ev->truth[i] : -1,
                served = ev->last != NULL ? ev->last[i] : full;
        double time = 1, lookups = 0;
        int loss, k;
        for (k = 0; k < ev->n_exits; k++) {
            const struct evidence_exit *x = &ev->exit[k];
            lookups += placed[k] ? x->lookup : 0;
            if (placed[k] && x->label[i] >= 0 && x->confidence[i] > threshold[k])
                break;
        }
        if (k < ev->n_exits) {
            served = ev->exit[k].label[i];
            time = ev->exit[k].before;
            out->share += 1;
            out->by_half += ev->exit[k].by_half;
            out->exit[k].answered++;
            out->exit[k].agreed += served == full;
            out->exit[k].right += truth >= 0 && served == truth;
        }
        loss = agreement ? served != full : (full == truth) - (served == truth);
        out->lost += loss > 0;
        out->won += loss < 0;
        out->time += time + lookups;
    }
    if (out->points > 0) {
        out->loss = (double)(out->lost - out->won) / (double)out->points;
        out->share /= (double)out->points;
        out->by_half /= (double)out->points;
        out->time /= (double)out->points;
    }
}

static bool worse(const struct evidence *ev, const struct promise_terms *t, int64_t i, int32_t label)
{
    return t->agreement ? label != ev->full[i] : ev->full[i] == ev->truth[i] && label != ev->truth[i];
}

/* --- planning --- */

struct plan {
    const struct evidence *ev;
    const struct promise_terms *terms;
    int64_t n;                           /* points that plan */
    float *harm[PIPELINE_MAX_EXITS];     /* [n] */
    float *timidity[PIPELINE_MAX_EXITS]; /* [ev->points]: -confidence; NaN: no verdict */
    double *path;                        /* [rows][exits of the last candidate], in units of timidity */
    struct risk_outcome *along;          /* [rows] */
    int64_t rows;
    int used[PIPELINE_MAX_EXITS], n_used; /* which exits the columns of `path` are */
    double time, share;                   /* as promise_forecast has them */
    double spent;                         /* of the budget, by the network's precision; 0 at least */
};

static bool has_verdict(const struct evidence_exit *x, int64_t i)
{
    return x->label[i] >= 0 && isfinite(x->confidence[i]);
}

/* Log odds as they are; confidences of knn and kmeans go as 1/distance over many orders of magnitude. */
static double scale_of(const struct evidence_exit *x, int64_t i)
{
    double c = (double)x->confidence[i];
    return strcmp(x->kind, "learned") == 0 ? c : log(c > 1e-30 ? c : 1e-30);
}

static int judge_harm(struct plan *p, int k)
{
    const struct evidence_exit *x = &p->ev->exit[k];
    double *scale = malloc(((size_t)p->n + 1) * sizeof *scale),
           *target = malloc(((size_t)p->n + 1) * sizeof *target);
    struct harm h;
    int64_t m = 0;
    p->harm[k] = malloc(((size_t)p->n + 1) * sizeof(float));
    p->timidity[k] = malloc(((size_t)p->ev->points + 1) * sizeof(float));
    if (scale == NULL || target == NULL || p->harm[k] == NULL || p->timidity[k] == NULL) {
        free(scale);
        free(target);
        return FL_NOMEM;
    }
    for (int64_t i = 0; i < p->n; i++) {
        if (!has_verdict(x, i))
            continue;
        scale[m] = scale_of(x, i);
        target[m++] = worse(p->ev, p->terms, i, x->label[i]);
    }
    h = harm_fit(scale, target, m);
    for (int64_t i = 0; i < p->n; i++)
        p->harm[k][i] = has_verdict(x, i) ? (float)harm_at(h, scale_of(x, i)) : NAN;
    for (int64_t i = 0; i < p->ev->points; i++)
        p->timidity[k][i] = has_verdict(x, i) ? -x->confidence[i] : NAN;
    free(scale);
    free(target);
    return FL_OK;
}

/* The points from `from` on as a problem for risk.h. An answer at exit k saves what is left of the network
 * and the look-ups behind it. */
static struct risk_problem pose(const struct plan *p, struct risk_exit *exits, float *const *harm,
                                int64_t from, int64_t to)
{
    const struct evidence *ev = p->ev;
    double lookups = 0;
    for (int j = p->n_used - 1; j >= 0; j--) {
        const struct evidence_exit *x = &ev->exit[p->used[j]];
        exits[j] = (struct risk_exit){x->label + from, harm[p->used[j]] + from, 1 - x->before + lookups};
        lookups += x->lookup;
    }
    return (struct risk_problem){p->n_used,
                                 exits,
                                 to - from,
                                 ev->full + from,
                                 p->terms->agreement ? NULL : ev->truth + from,
                                 ev->last != NULL ? ev->last + from : NULL};
}

/* From levels of harm to confidences that planning points have: the smallest that is still harmless enough.
 */
static void in_units_of_confidence(struct plan *p)
{
    for (int j = 0; j < p->n_used; j++) {
        const float *harm = p->harm[p->used[j]], *timidity = p->timidity[p->used[j]];
        double last = -INFINITY, found = -INFINITY;
        for (int64_t row = 0; row < p->rows; row++) {
            double *cell = &p->path[row * p->n_used + j];
            if (*cell != last) {
                last = *cell;
                found = -INFINITY;
                for (int64_t i = 0; i < p->n; i++) {
                    if ((double)harm[i] <= last && (double)timidity[i] > found)
                        found = (double)timidity[i];
                }
            }
            *cell = found;
        }
    }
}

/* Plans for the exits that are `placed`: time and share are those of the boldest vector whose harm, as it is
 * estimated on these very points, is within the budget. */
static int try_exits(struct plan *p, const bool *placed)
{
    struct risk_exit exits[PIPELINE_MAX_EXITS];
    struct risk_problem problem;
    double saved = 0;
    int rc;
    p->n_used = 0;
    p->time = 1;
    p->share = 0;
    for (int k = 0; k < p->ev->n_exits; k++) {
        if (!placed[k])
            continue;
        p->used[p->n_used++] = k;
        p->time += p->ev->exit[k].lookup;
    }
    problem = pose(p, exits, p->harm, 0, p->n);
    rc = risk_plan(p->path, p->along, (int64_t)STEPS_PER_EXIT * p->n_used, &p->rows, &problem);
    if (rc != FL_OK)
        return rc;
    for (int64_t row = 0; row < p->rows && p->along[row].harm <= p->terms->budget - p->spent; row++) {
        saved = p->along[row].saved;
        p->share = p->along[row].share;
    }
    p->time -= saved;
    return FL_OK;
}

/* What each placed exit does beside the others. *worst: without it the network is fastest, and takes
 * *without; -1: there is none. */
static int weigh_exits(struct plan *p, struct promise_forecast *f, int *worst, double *without)
{
    double time, share;
    int rc = try_exits(p, f->placed);
    time = p->time;
    share = p->share;
    *worst = -1;
    *without = INFINITY;
    for (int k = 0; k < p->ev->n_exits && rc == FL_OK; k++) {
        if (!f->placed[k])
            continue;
        f->placed[k] = false;
        rc = try_exits(p, f->placed);
        f->placed[k] = true;
        f->saves[k] = p->time - time;
        f->marginal[k] = share - p->share;
        if (p->time < *without) {
            *without = p->time;
            *worst = k;
        }
    }
    return rc == FL_OK ? try_exits(p, f->placed) : rc;
}

/* Leaves out, one by one, the exit without which the network is fastest, as long as that is no slower than
 * with it. */
static int place_exits(struct plan *p, struct promise_forecast *f, bool may_drop)
{
    double without;
    int worst, rc;
    while ((rc = weigh_exits(p, f, &worst, &without)) == FL_OK) {
        f->time = p->time;
        f->share = p->share;
        if (!may_drop || worst < 0 || without > f->time)
            break;
        f->placed[worst] = false;
    }
    return rc;
}

/* What n points lose where no exit answers. */
static struct promise_result lose_by_precision(const struct evidence *ev, int64_t n, bool agreement)
{
    struct promise_result r;
    const bool none[PIPELINE_MAX_EXITS] = {false};
    const float never[PIPELINE_MAX_EXITS] = {0};
    promise_judge(&r, ev, 0, n, never, none, agreement);
    return r;
}

/* `f` may be NULL: all exits that the evidence says are placed, and none is weighed. */
static int make_plan(struct plan *p, struct promise_forecast *f, bool may_drop)
{
    const struct evidence *ev = p->ev;
    bool placed[PIPELINE_MAX_EXITS] = {false};
    int rc = FL_OK;
    p->spent = fmax(0, lose_by_precision(ev, p->n, p->terms->agreement).loss);
    p->path =
        malloc(((size_t)STEPS_PER_EXIT * (size_t)ev->n_exits * (size_t)ev->n_exits + 1) * sizeof *p->path);
    p->along = malloc(((size_t)STEPS_PER_EXIT * (size_t)ev->n_exits + 1) * sizeof *p->along);
    if (p->path == NULL || p->along == NULL)
        return FL_NOMEM;
    for (int k = 0; k < ev->n_exits && rc == FL_OK; k++) {
        placed[k] = !ev->exit[k].ruled_out && (may_drop || ev->exit[k].placed);
        rc = judge_harm(p, k);
    }
    if (f != NULL)
        memcpy(f->placed, placed, sizeof placed);
    if (rc == FL_OK)
        rc = f != NULL ? place_exits(p, f, may_drop) : try_exits(p, placed);
    if (rc == FL_OK)
        in_units_of_confidence(p);
    return rc;
}

static void release_plan(struct plan *p)
{
    for (int k = 0; k < p->ev->n_exits; k++) {
        free(p->harm[k]);
        free(p->timidity[k]);
    }
    free(p->path);
    free(p->along);
}

/* --- certifying --- */

/* A network of lower precision may lose more by itself than may be lost. */
static int check_kept(const struct evidence *ev, const struct promise_terms *t,
                      const struct promise_choice *c, struct error *e)
{
    double lost = isnan(c->upper) ? c->certified.loss : c->upper;
    if (ev->last == NULL || lost <= t->budget)
        return FL_OK;
    return error_set(e, FL_VALUE,
                     "the network alone, in the precision that it computes in, may lose %.2f points against "
                     "float32 on %lld points, and %g may be lost: use a higher precision, allow more "
                     "(cache.max_accuracy_loss), or give more calibration data",
                     100 * lost, (long long)c->certified.points, 100 * t->budget);
}

static int64_t planning_points(int64_t points)
{
    double all = (double)points,
           n = fmax(PROMISE_PLAN_SHARE * all, fmin(PROMISE_PLAN_FEW * all, PROMISE_PLAN_SOME));
    return (int64_t)fmin(n, PROMISE_PLAN_MOST);
}

int64_t promise_points_needed(const struct promise_terms *t)
{
    double delta = 1 - t->certainty;
    int64_t certify = delta < 0.5 ? gap_points_needed(t->budget, delta, !t->agreement) : 1;
    int64_t points = certify;
    while (points - planning_points(points) < certify || planning_points(points) < 1)
        points++;
    return points;
}

struct promise_terms promise_left_by_precision(const struct evidence *ev, const struct promise_terms *terms)
{
    bool agreement = terms->agreement || ev->truth == NULL;
    struct promise_result r = lose_by_precision(ev, ev->points, agreement);
    struct gap_counts counts = {r.points, r.lost, r.won, !agreement};
    struct promise_terms left = *terms;
    if (ev->last == NULL)
        return left;
    left.budget -= gap_upper_bound(&counts, (1 - terms->certainty) * PROMISE_PRECISION);
    left.certainty += (1 - terms->certainty) * PROMISE_PRECISION;
    return left;
}

/* A threshold that confidence -timidity just exceeds. */
static float threshold_for(double timidity)
{
    return timidity == -INFINITY ? INFINITY : nextafterf((float)-timidity, -INFINITY);
}

double promise_level(int i)
{
    static const double share[PROMISE_LEVELS] = {1, 0.5, 0.25};
    return share[i];
}

uint32_t promise_level_ppm(double budget, int i)
{
    return (uint32_t)lround(promise_level(i) * budget * 1e6);
}

/* The boldest thresholds that keep a share of the budget. *row: how far along the order they are; -1: no
 * answer at all is certified. */
static int certify_level(int64_t *row, const struct plan *p, struct promise_level *out, const bool *placed,
                         double share, struct error *e)
{
    const struct evidence *ev = p->ev;
    struct risk_exit exits[PIPELINE_MAX_EXITS];
    struct risk_problem problem = pose(p, exits, p->timidity, p->n, ev->points);
    double delta = 1 - p->terms->certainty;
    const struct promise_result *r = &out->certified;
    int rc = risk_walk(row, &problem, p->path, p->rows, share * p->terms->budget, delta, e);
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        out->threshold[k] = INFINITY;
    for (int j = 0; j < p->n_used && *row >= 0; j++)
        out->threshold[p->used[j]] = threshold_for(p->path[*row * p->n_used + j]);
    promise_judge(&out->certified, ev, p->n, ev->points, out->threshold, placed, p->terms->agreement);
    out->upper =
        delta < 0.5
            ? gap_upper_bound(&(struct gap_counts){r->points, r->lost, r->won, !p->terms->agreement}, delta)
            : NAN;
    return rc;
}

static int certify(struct plan *p, struct promise_choice *out, bool may_drop, struct error *e)
{
    struct promise_level *first = &out->level[0];
    int64_t row;
    int rc = certify_level(&row, p, first, out->placed, promise_level(0), e);
    if (rc != FL_OK)
        return rc;
    memcpy(out->threshold, first->threshold, sizeof out->threshold);
    out->certified = first->certified;
    out->upper = first->upper;
    for (int k = 0; k < p->ev->n_exits; k++) /* an exit that never answers need not be asked */
        out->placed[k] = out->placed[k] && (!may_drop || out->threshold[k] < INFINITY);
    for (int i = 1; row >= 0 && i <= PROMISE_LEVELS; i++) {
        out->n_levels = i;
        if (i < PROMISE_LEVELS &&
            certify_level(&row, p, &out->level[i], out->placed, promise_level(i), NULL) != FL_OK)
            break; /* too few points for so little */
    }
    return check_kept(p->ev, p->terms, out, e);
}

static int check_terms(const struct evidence *ev, const struct promise_terms *terms, struct error *e)
{
    int64_t need = promise_points_needed(terms);
    if (!terms->agreement && ev->truth == NULL)
        return error_set(
            e, FL_VALUE,
            "the calibration data have no labels, so accuracy cannot be promised: give labels, or "
            "set cache.promise: agreement");
    if (ev->points < need)
        return error_set(e, FL_VALUE,
                         "%lld calibration points cannot promise a loss of at most %g points with certainty "
                         "%g%%: at least %lld are needed",
                         (long long)ev->points, 100 * terms->budget, 100 * terms->certainty, (long long)need);
    return FL_OK;
}

/* `weigh`: say what each exit is worth; to leave exits out is possible only then. */
static int choose(struct promise_choice *out, const struct evidence *ev, const struct promise_terms *terms,
                  bool weigh, bool may_drop, struct error *e)
{
    struct plan p = {.ev = ev, .terms = terms, .n = planning_points(ev->points)};
    int rc;
    memset(out, 0, sizeof *out);
    for (int k = 0; k < ev->n_exits; k++) {
        out->threshold[k] = INFINITY;
        out->placed[k] = ev->exit[k].placed;
    }
    out->planned_on = p.n;
    if ((rc = check_terms(ev, terms, e)) != FL_OK)
        return rc;
    rc = make_plan(&p, weigh ? &out->forecast : NULL, may_drop);
    if (weigh)
        memcpy(out->placed, out->forecast.placed, sizeof out->placed);
    if (rc != FL_OK)
        error_set(e, rc, "no memory to choose thresholds");
    else
        rc = certify(&p, out, may_drop, e);
    release_plan(&p);
    return rc;
}

int promise_choose(struct promise_choice *out, const struct evidence *ev, const struct promise_terms *terms,
                   bool may_drop, struct error *e)
{
    return choose(out, ev, terms, true, may_drop, e);
}

int promise_foresee(struct promise_forecast *out, const struct evidence *ev,
                    const struct promise_terms *terms, bool may_drop, struct error *e)
{
    struct plan p = {.ev = ev, .terms = terms, .n = planning_points(ev->points)};
    int rc;
    memset(out, 0, sizeof *out);
    if ((rc = check_terms(ev, terms, e)) != FL_OK)
        return rc;
    rc = make_plan(&p, out, may_drop);
    release_plan(&p);
    return rc == FL_OK ? FL_OK : error_set(e, (enum fl_code)rc, "no memory to plan");
}

int promise_order(struct promise_order *out, const struct evidence *ev, const struct promise_terms *terms,
                  bool may_drop, struct error *e)
{
    struct plan p = {.ev = ev, .terms = terms, .n = ev->points};
    struct promise_forecast f;
    int rc = make_plan(&p, &f, may_drop);
    memset(out, 0, sizeof *out);
    if (rc == FL_OK) {
        memcpy(out->placed, f.placed, sizeof out->placed);
        out->rows = p.rows;
        out->threshold = malloc(((size_t)p.rows * (size_t)ev->n_exits + 1) * sizeof *out->threshold);
        rc = out->threshold == NULL ? FL_NOMEM : FL_OK;
    }
    for (int64_t i = 0; i < out->rows * ev->n_exits && rc == FL_OK; i++)
        out->threshold[i] = INFINITY;
    for (int64_t row = 0; row < out->rows && rc == FL_OK; row++) {
        for (int j = 0; j < p.n_used; j++)
            out->threshold[row * ev->n_exits + p.used[j]] = threshold_for(p.path[row * p.n_used + j]);
    }
    release_plan(&p);
    return rc == FL_OK ? FL_OK : error_set(e, (enum fl_code)rc, "no memory to plan");
}

void promise_order_release(struct promise_order *o)
{
    free(o->threshold);
    *o = (struct promise_order){0};
}

/* --- checking --- */

static int check_once(struct promise_check *out, const struct evidence *world,
                      const struct promise_terms *terms, struct shuffle *s, int32_t *row, struct error *e)
{
    struct promise_choice choice;
    struct evidence drawn;
    int rc;
    for (int64_t i = 0; i < world->points; i++)
        row[i] = (int32_t)shuffle_below(s, (uint32_t)world->points);
    if (evidence_take(&drawn, world, row, world->points) != FL_OK)
        return error_set(e, FL_NOMEM, "no memory for %lld points", (long long)world->points);
    rc = choose(&choice, &drawn, terms, false, false, e);
    evidence_release(&drawn);
    if (rc != FL_OK)
        return rc;
    for (int i = 0; i < PROMISE_LEVELS; i++) {
        bool certified = i == 0 || i < choice.n_levels;
        struct promise_result judged;
        if (certified)
            promise_judge(&judged, world, 0, world->points, choice.level[i].threshold, choice.placed,
                          terms->agreement);
        else
            judged = (struct promise_result){.time = 1}; /* it is not on offer */
        out[i].resamples++;
        out[i].broken += judged.loss > promise_level(i) * terms->budget;
        out[i].worst = judged.loss > out[i].worst ? judged.loss : out[i].worst;
        out[i].loss += judged.loss;
        out[i].share += judged.share;
        out[i].half += judged.by_half;
        out[i].time += judged.time;
    }
    return FL_OK;
}

int promise_check(struct promise_check *out, const struct evidence *world, const struct promise_terms *terms,
                  int resamples, uint64_t seed, int (*progress)(void *arg, int done), void *arg,
                  struct error *e)
{
    int32_t *row = malloc(((size_t)world->points + 1) * sizeof *row);
    struct shuffle s;
    int rc = row != NULL ? FL_OK : error_set(e, FL_NOMEM, "no memory for resamples");
    for (int i = 0; i < PROMISE_LEVELS; i++)
        out[i] = (struct promise_check){.worst = -1};
    for (int i = 0; i < resamples && rc == FL_OK; i++) {
        shuffle_seed(&s, seed, 5000 + (uint64_t)i);
        if (progress != NULL && progress(arg, i) != 0)
            rc = error_set(e, FL_CANCELLED, "stopped after %d of %d resamples", i, resamples);
        else
            rc = check_once(out, world, terms, &s, row, e);
    }
    free(row);
    for (int i = 0; i < PROMISE_LEVELS && out[i].resamples > 0; i++) {
        out[i].loss /= out[i].resamples;
        out[i].share /= out[i].resamples;
        out[i].half /= out[i].resamples;
        out[i].time /= out[i].resamples;
    }
    return rc;
}
