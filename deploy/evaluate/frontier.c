/* frontier.c - one order of thresholds per kind of cache, each step of it judged on other requests */
#include "frontier.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/identity.h"
#include "deploy/build/promised.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/state.h"

#define BATCH 32

const double frontier_loss[FRONTIER_LOSSES] = {0, 0.0025, 0.005, 0.01, 0.02};

struct run {
    const struct frontier_input *in;
    struct identity identity;
    struct extracted data;
    double before[PIPELINE_MAX_EXITS]; /* measured once: noise in it favours no kind; 0: not yet */
};

/* The evidence of one series, with its caches. */
struct source {
    struct evidence built;                   /* on the calibration data */
    struct evidence on_data;                 /* on the requests */
    struct cache *cache[PIPELINE_MAX_EXITS]; /* by exit of the placement */
};

static void release(struct source *s)
{
    evidence_release(&s->built);
    evidence_release(&s->on_data);
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        cache_free(s->cache[i]);
}

/* --- caches --- */

static int find_exit(const struct placement *place, const char *name)
{
    for (int i = 0; i < place->n_exits; i++)
        if (!strcmp(place->exit[i].name, name))
            return i;
    return -1;
}

/* The cache that gave column k of the evidence, from the build's work. FL_STALE: it fits no more. */
static int load_cache(struct source *s, const struct run *r, int k, struct error *e)
{
    const struct evidence_exit *x = &s->built.exit[k];
    int i = find_exit(r->in->placement, x->name), rc;
    char path[STATE_PATH_BYTES];

    if (i < 0)
        return error_set(e, FL_STALE, "its exit %s is not in the pipeline file", x->name);
    if ((rc = state_path(path, r->in->pipeline, e, "build/exits/%s/%s.%s.cache", x->name, x->name, x->kind)))
        return rc;
    if ((rc = cache_load(&s->cache[i], path, r->identity.digest, e)))
        return rc == FL_NOT_FOUND
                   ? error_set(e, FL_STALE, "its cache of exit %s is gone from STATE/build", x->name)
                   : rc;
    if (cache_info(s->cache[i]).dim != r->data.descriptor[i].dim)
        return error_set(e, FL_STALE, "its cache of exit %s was built for another descriptor", x->name);
    return FL_OK;
}

/* What they say about the requests. */
static int ask(struct source *s, struct run *r, struct error *e)
{
    const struct frontier_input *in = r->in;
    struct promising p = {in->pipeline, in->graph, in->placement, in->data, &r->data, s->cache};
    int rc = FL_OK;

    for (int k = 0; k < s->built.n_exits && !rc; k++)
        rc = load_cache(s, r, k, e);
    if (rc || (rc = promised_gather(&s->on_data, &p, true, e)))
        return rc;
    for (int k = 0; k < s->on_data.n_exits; k++) {
        double *before = &r->before[find_exit(in->placement, s->on_data.exit[k].name)];
        if (*before <= 0)
            *before = s->on_data.exit[k].before;
        s->on_data.exit[k].before = *before;
    }
    return FL_OK;
}

/* --- points --- */

static struct frontier_point judge(const struct evidence *ev, const float *threshold, const bool *placed)
{
    struct promise_result r;
    struct frontier_point out;
    double differ = 0;

    promise_judge(&r, ev, 0, ev->points, threshold, placed, ev->truth == NULL);
    for (int k = 0; k < ev->n_exits; k++)
        differ += (double)(r.exit[k].answered - r.exit[k].agreed);
    out = (struct frontier_point){r.loss, 1 - differ / (double)ev->points, r.share, r.by_half, r.time};
    return out;
}

static double oracle_by_half(const struct evidence *ev)
{
    int64_t n = 0;

    for (int64_t p = 0; p < ev->points; p++) {
        bool any = false;
        for (int k = 0; k < ev->n_exits && !any; k++)
            any = ev->exit[k].by_half && ev->exit[k].label[p] == ev->full[p];
        n += any;
    }
    return (double)n / (double)ev->points;
}

static int walk(struct frontier_curve *out, const struct source *s, const struct run *r, bool may_drop,
                struct error *e)
{
    struct promise_terms terms = promised_terms(r->in->pipeline);
    struct promise_order order;
    int rc;

    terms.agreement = terms.agreement || !s->built.truth;
    if ((rc = promise_order(&order, &s->built, &terms, may_drop, e)))
        return rc;
    out->point = malloc(sizeof *out->point * ((size_t)order.rows + 1));
    if (!out->point) {
        promise_order_release(&order);
        return error_set(e, FL_NOMEM, "no memory for a frontier of %lld points", (long long)order.rows);
    }
    out->point[out->n++] = (struct frontier_point){0, 1, 0, 0, 1}; /* no caches */
    for (int64_t row = 0; row < order.rows; row++)
        out->point[out->n++] = judge(&s->on_data, order.threshold + row * s->built.n_exits, order.placed);
    promise_order_release(&order);
    return FL_OK;
}

static int walk_both(struct frontier_series *out, struct source *s, const struct run *r, struct error *e)
{
    int rc = walk(&out->fast, s, r, r->in->pipeline->exits_auto, e);

    for (int k = 0; k < s->built.n_exits; k++)
        s->built.exit[k].placed = s->built.exit[k].by_half;
    out->oracle = oracle_by_half(&s->on_data);
    return rc ? rc : walk(&out->half, s, r, false, e);
}

const struct frontier_point *frontier_at(const struct frontier_curve *c, double loss, bool half)
{
    const struct frontier_point *best = &c->point[0];

    for (int64_t i = 1; i < c->n; i++) {
        const struct frontier_point *p = &c->point[i];
        if (p->loss <= loss + 1e-9 && (half ? p->by_half > best->by_half : p->time < best->time))
            best = p;
    }
    return best;
}

/* --- series --- */

static void name_series(struct frontier_series *out, const struct evidence *ev)
{
    bool same = true;

    for (int k = 1; k < ev->n_exits; k++)
        same = same && !strcmp(ev->exit[k].kind, ev->exit[0].kind);
    snprintf(out->name, sizeof out->name, "%s", same && ev->n_exits ? ev->exit[0].kind : "as built");
}

static bool named(const struct frontier *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->series[i].name, name))
            return true;
    return false;
}

/* The series of one file of evidence, if that is there and says something new. */
static int add(struct frontier *f, struct run *r, const char *file, struct error *e)
{
    struct frontier_series *out = &f->series[f->n];
    struct source s = {0};
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, r->in->pipeline, e, "build/%s", file);

    if (rc || (rc = evidence_load(&s.built, path, r->identity.digest, e)))
        return rc == FL_NOT_FOUND ? FL_OK : rc;
    name_series(out, &s.built);
    if (!named(f, out->name)) {
        f->n++;
        if (!(rc = ask(&s, r, e)))
            rc = walk_both(out, &s, r, e);
        if (rc == FL_STALE) { /* said in the report; the others are still worth seeing */
            snprintf(out->skip, sizeof out->skip, "%.*s", (int)sizeof out->skip - 1, e->text);
            rc = FL_OK;
        }
    }
    release(&s);
    return rc;
}

static int run_data(struct run *r, struct error *e)
{
    char directory[STATE_PATH_BYTES];
    struct extraction x = {r->in->pipeline,
                           r->in->graph,
                           r->in->placement,
                           r->in->data,
                           directory,
                           "run the requests",
                           r->in->threads,
                           r->in->graph->free_batch ? BATCH : 1,
                           r->in->progress,
                           r->in->progress_arg,
                           0};
    int rc = state_path(directory, r->in->pipeline, e, "build/frontier");

    if (!rc)
        rc = state_make(directory, e);
    if (rc || (rc = extract(&r->data, &x, e)))
        return rc;
    return extract_float32(&r->data, r->in->graph, r->in->pipeline, r->in->data, r->in->threads, NULL, e);
}

/* The file of evidence of series k: of a kind, at last of the caches that the build placed. */
static const char *evidence_file(int k, char name[64])
{
    snprintf(name, 64, k < KINDS ? PROMISED_EVIDENCE "-%s" : PROMISED_EVIDENCE,
             k < KINDS ? kinds_name[k] : "");
    return name;
}

static int check_evidence(const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES], file[64];
    int rc;

    for (int k = 0; k <= KINDS; k++) {
        if ((rc = state_path(path, p, e, "build/%s", evidence_file(k, file))))
            return rc;
        if (!access(path, R_OK))
            return FL_OK;
    }
    return error_set(e, FL_NOT_FOUND,
                     "%s/build has no evidence of caches: run freezeline build first (--kinds all to compare "
                     "kinds)",
                     p->state);
}

int frontier_make(struct frontier *out, const struct frontier_input *in, struct error *e)
{
    struct run r = {.in = in};
    char file[64];
    int rc;

    *out = (struct frontier){.labelled = dataset_has_labels(in->data),
                             .requests = dataset_count(in->data),
                             .network_ms = NAN,
                             .served = {NAN, NAN, NAN, NAN, NAN}};
    identity_of(&r.identity, in->graph->digest, in->pipeline);
    if (!(rc = model_classes(in->graph, &out->classes, e)) && !(rc = check_evidence(in->pipeline, e)))
        rc = run_data(&r, e);
    for (int k = 0; k <= KINDS && !rc; k++) {
        if (in->progress && in->progress(in->progress_arg, "look up", k, KINDS + 1, NAN))
            rc = error_set(e, FL_CANCELLED, "stopped before the frontier was there");
        else
            rc = add(out, &r, evidence_file(k, file), e);
    }
    extracted_release(&r.data);
    return rc;
}

void frontier_release(struct frontier *f)
{
    for (int i = 0; i < f->n; i++) {
        free(f->series[i].fast.point);
        free(f->series[i].half.point);
    }
    f->n = 0;
}
