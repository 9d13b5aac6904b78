/* evaluation.c - the network segment by segment, a look-up after each */
#include "evaluation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/build/built_exits.h"
#include "cache_service/store/snapshot.h"
#include "deploy/extract/judging.h"
#include "deploy/model/model_shape.h"
#include "deploy/model/whole_model.h"
#include "stages/place/descriptor.h"
#include "stages/exec/exec.h"
#include "stages/exec/scores.h"
#include "deploy/tool/state.h"

#define WARM_UP_REQUESTS 5

struct evaluator {
    const struct evaluation_input *in;
    struct evaluation *out;
    struct exec *exec;
    struct cache *cache[PIPELINE_MAX_EXITS];
    struct cache_scratch *scratch;
    float *descriptor; /* as wide as the widest cache */
    int classes;
    double *full, *served; /* ms, per request */
    const int32_t *others; /* full answers, per request; NULL: the network's own are */
    int32_t *float32;      /* those of float32, where they had to be asked for */
    double cpu_us, all_ns; /* of all requests with all look-ups: processor time, and time */
};

/* What one request met on its way. */
struct passage {
    struct cache_verdict verdict[PIPELINE_MAX_EXITS];
    double compute_ns[PIPELINE_MAX_EXITS + 1], descriptor_ns[PIPELINE_MAX_EXITS],
        lookup_ns[PIPELINE_MAX_EXITS];
    int32_t full, last; /* float32's; the network's as the pipeline computes */
    float confidence;   /* of `last` */
};

static const struct manifest_exit *built(const struct manifest *m, const struct placed_exit *exit)
{
    for (int i = 0; i < m->n_exits; i++)
        if (!strcmp(m->exit[i].name, exit->name))
            return &m->exit[i];
    return NULL;
}

static int load_cache(struct evaluator *v, const struct manifest *m, int i, struct error *e)
{
    const struct placed_exit *exit = &v->in->placement->exit[i];
    const struct manifest_exit *of = built(m, exit);
    char path[STATE_PATH_BYTES];
    struct evaluated_exit *out = &v->out->exit[i];
    struct origin origin;
    int rc;

    origin_of(&origin, v->in->graph, exit, v->in->pipeline);
    if (of && (rc = built_exit_check(of, &origin, e)))
        return rc;
    if (!strcmp(exit->kind, "none") || (of && !*of->file)) /* `build` may leave exits out */
        return FL_OK;
    if (!of)
        return error_set(e, FL_STALE, "no cache was built for exit %s; run freezeline build again",
                         exit->name);
    if ((rc = state_path(path, v->in->pipeline, e, "caches")) ||
        (rc = snapshot_load_cache(&v->cache[i], m, (int)(of - m->exit), path, e)))
        return rc;
    out->cached = true;
    out->info = cache_info(v->cache[i]);
    v->out->cache_bytes += out->info.total_bytes;
    v->out->projection_bytes += out->info.projection_bytes;
    v->out->index_bytes += out->info.index_bytes;
    if (strcmp(out->info.kind, m->compared ? of->kind : exit->kind))
        return error_set(e, FL_STALE,
                         "the cache of exit %s is %s, the pipeline says %s; run freezeline build again",
                         exit->name, out->info.kind, exit->kind);
    return FL_OK;
}

/* A promise was made for all caches; it says nothing about some of them. */
static void note_missing(struct evaluator *v, const struct manifest *m)
{
    const struct placement *place = v->in->placement;
    struct promise_record *record = &v->out->promise;

    for (int k = 0; m->promised && k < m->n_exits; k++) {
        bool there = !m->exit[k].file[0];
        for (int i = 0; i < place->n_exits && !there; i++)
            there = v->cache[i] && !strcmp(place->exit[i].name, m->exit[k].name);
        if (!there)
            snprintf(record->asked, sizeof record->asked, "no cache at exit %.63s", m->exit[k].name);
    }
}

static bool asks_for_caches(const struct placement *place)
{
    for (int i = 0; i < place->n_exits; i++)
        if (strcmp(place->exit[i].kind, "none"))
            return true;
    return false;
}

/* Reads the manifest, or sets `alone` where there are to be no caches. */
static int load_manifest(struct evaluator *v, struct manifest *m, struct error *e)
{
    struct identity now;
    int rc;

    if (!asks_for_caches(v->in->placement)) {
        v->out->alone = "the pipeline file asks for no caches";
        return FL_OK;
    }
    if ((rc = built_manifest(m, v->in->pipeline, e)) == FL_NOT_FOUND) {
        v->out->alone = "no caches are built yet";
        return FL_OK;
    }
    if (rc)
        return rc;
    if (m->cold) { /* exits that live traffic is to teach */
        v->out->alone = "no caches are built yet";
        return FL_OK;
    }
    identity_of(&now, v->in->graph->digest, v->in->pipeline);
    return built_identity_check(&m->identity, &now, v->in->pipeline, e);
}

static int load_caches(struct evaluator *v, struct error *e)
{
    struct manifest *m = malloc(sizeof *m);
    int widest = 1, rc;

    if (!m)
        return error_set(e, FL_NOMEM, "no memory");
    rc = load_manifest(v, m, e);
    if (rc || v->out->alone) {
        free(m);
        return rc;
    }
    promise_record_take(&v->out->promise, m, v->in->pipeline);
    for (int i = 0; !rc && i < v->in->placement->n_exits; i++) {
        rc = load_cache(v, m, i, e);
        widest = v->cache[i] && v->out->exit[i].info.dim > widest ? v->out->exit[i].info.dim : widest;
    }
    if (!rc)
        note_missing(v, m);
    free(m);
    if (rc)
        return rc;
    v->descriptor = malloc(sizeof(float) * (size_t)widest);
    if (!v->descriptor || cache_scratch_new(&v->scratch, 1))
        return error_set(e, FL_NOMEM, "no memory for look-ups");
    return FL_OK;
}

static int look_up(struct evaluator *v, struct passage *s, int i, struct error *e)
{
    const struct placed_exit *exit = &v->in->placement->exit[i];
    uint64_t start = clock_ns(), made, end;
    struct tensor cut;
    int rc;

    s->verdict[i] = (struct cache_verdict){-1, 0, false};
    s->descriptor_ns[i] = s->lookup_ns[i] = 0;
    if (!v->cache[i])
        return FL_OK;
    if ((rc = exec_cut(v->exec, exit->cut.node, 1, &cut, e)))
        return rc;
    if (descriptor_dim(&cut, &v->in->pipeline->cache.descriptor) != v->out->exit[i].info.dim)
        return error_set(e, FL_STALE,
                         "the cache of exit %s was built for another descriptor; run freezeline build again",
                         exit->name);
    descriptor_compute(&cut, &v->in->pipeline->cache.descriptor, v->descriptor);
    made = clock_ns();
    if ((rc = cache_lookup(v->cache[i], v->scratch, v->descriptor, 1, &s->verdict[i])))
        return error_set(e, (enum fl_code)rc, "the look-up at exit %s failed", exit->name);
    end = clock_ns();
    s->descriptor_ns[i] = (double)(made - start);
    s->lookup_ns[i] = (double)(end - made);
    return FL_OK;
}

static int pass(struct evaluator *v, struct passage *s, int64_t record, struct error *e)
{
    const struct placement *place = v->in->placement;
    struct tensor scores;
    int from = 0, rc;

    dataset_image(v->in->data, record, exec_input_buffer(v->exec, 0));
    for (int i = 0; i <= place->n_exits; i++) {
        int to = i < place->n_exits ? place->exit[i].cut.node : v->in->graph->n_nodes - 1;
        uint64_t start = clock_ns();
        if ((rc = exec_run(v->exec, from, to, 1, NULL, NULL, e)))
            return rc;
        s->compute_ns[i] = (double)(clock_ns() - start);
        from = to + 1;
        if (i < place->n_exits && (rc = look_up(v, s, i, e)))
            return rc;
    }
    scores = exec_output(v->exec, 0, 1);
    s->full = s->last = scores_label(scores.data, v->classes, &s->confidence);
    if (s->full < 0)
        return error_set(e, FL_VALUE, "the model's scores for record %lld are not numbers",
                         (long long)record);
    if (v->others)
        s->full = v->others[record];
    return FL_OK;
}

/* Which exit answers: the first hit, else n_exits. */
static int answering_exit(const struct passage *s, int n)
{
    for (int i = 0; i < n; i++)
        if (s->verdict[i].hit)
            return i;
    return n;
}

static bool within_half(const struct placement *place, int exit)
{
    return 2 * place->exit[exit].cut.depth <= place->depth;
}

static void count_exits(struct evaluator *v, const struct passage *s)
{
    const struct placement *place = v->in->placement;
    bool any = false, half = false;

    for (int i = 0; i < place->n_exits; i++) {
        struct evaluated_exit *x = &v->out->exit[i];
        bool same = v->cache[i] && s->verdict[i].label == s->full;
        x->lookups += v->cache[i] != NULL;
        x->hits += s->verdict[i].hit;
        x->oracle += same;
        x->descriptor_ns += s->descriptor_ns[i];
        x->lookup_ns += s->lookup_ns[i];
        any = any || same;
        half = half || (same && within_half(place, i));
    }
    v->out->oracle += any;
    v->out->oracle_by_half += half;
}

static void count_answer(struct evaluator *v, const struct passage *s, int at, int32_t label)
{
    const struct placement *place = v->in->placement;
    struct evaluation *o = v->out;
    bool early = at < place->n_exits;
    int32_t served = early ? s->verdict[at].label : s->last;
    bool full_right = s->full == label, served_right = served == label;

    o->agreed += served == s->full;
    o->early += early;
    o->by_half += early && within_half(place, at);
    o->depth += early ? place->exit[at].cut.depth : place->depth;
    o->flops_share += early ? place->exit[at].cut.flops_share : 1;
    if (early) {
        o->exit[at].answered++;
        o->exit[at].right += served_right;
        o->exit[at].agreed += served == s->full;
    }
    plausibility_add(&o->plausible, label, s->full);
    o->last_right += s->last == label;
    o->last_agreed += s->last == s->full;
    o->full_right += full_right;
    o->served_right += served_right;
    o->lost += full_right && !served_right;
    o->won += served_right && !full_right;
}

static void count(struct evaluator *v, const struct passage *s, int64_t record)
{
    const struct placement *place = v->in->placement;
    int at = answering_exit(s, place->n_exits);
    double full = 0, served = 0;

    for (int i = 0; i <= place->n_exits; i++) {
        double ns = s->compute_ns[i] + (i < place->n_exits ? s->descriptor_ns[i] + s->lookup_ns[i] : 0);
        full += s->compute_ns[i];
        served += i <= at ? ns : 0;
        v->all_ns += ns;
    }
    v->full[v->out->requests] = full / NS_PER_MS;
    v->served[v->out->requests] = served / NS_PER_MS;
    count_exits(v, s);
    count_answer(v, s, at, dataset_label(v->in->data, record));
    if (v->in->answers)
        v->in->answers[record] = (struct evaluated_answer){
            at < place->n_exits ? s->verdict[at].label : s->last, s->last, s->confidence};
    v->out->requests++;
}

static int run_all(struct evaluator *v, int64_t n, struct error *e)
{
    struct passage *s = malloc(sizeof *s);
    int rc = s ? FL_OK : error_set(e, FL_NOMEM, "no memory");

    for (int64_t i = 0; !rc && i < WARM_UP_REQUESTS; i++)
        rc = pass(v, s, i % n, e);
    for (int64_t i = 0; !rc && i < n; i++) {
        double before = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID);
        if (v->in->progress && v->in->progress(v->in->progress_arg, i, n))
            break;
        rc = pass(v, s, i, e);
        v->cpu_us += clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) - before;
        if (!rc)
            count(v, s, i);
    }
    free(s);
    if (!rc && !v->out->requests)
        rc = error_set(e, FL_CANCELLED, "stopped before the first request");
    return rc;
}

/* The full answers, where the pipeline computes in a lower precision: asked for beforehand, so that float32's
 * weights are not in the way of what is timed. */
static int ask_float32(struct evaluator *v, int64_t n, struct error *e)
{
    const struct evaluation_input *in = v->in;
    struct judging j = {in->graph, in->data, n, in->threads, v->classes, "judge in float32", NULL};
    struct exec_options o = {.max_batch = in->graph->free_batch ? 16 : 1, .last = -1};
    int rc = engine_parse_kernels(in->pipeline->kernels, &o.kernels, e);

    v->others = in->full;
    if (rc || in->full || !strcmp(in->pipeline->computes, engine_precision_name(PRECISION_FLOAT32)))
        return rc;
    v->others = v->float32 = malloc(sizeof *v->float32 * (size_t)n);
    return v->float32 ? judge(v->float32, &j, &o, e) : error_set(e, FL_NOMEM, "no memory for labels");
}

static int prepare(struct evaluator *v, int64_t n, struct error *e)
{
    const struct evaluation_input *in = v->in;
    int rc;

    if ((rc = model_classes(in->graph, &v->classes, e)) ||
        (rc = whole_model_new(&v->exec, in->graph, in->pipeline, in->threads, 1, e)) ||
        (rc = dataset_labels_fit(in->data, v->classes, e)) || (rc = load_caches(v, e)) ||
        (rc = ask_float32(v, n, e)))
        return rc;
    v->full = malloc(sizeof *v->full * (size_t)n);
    v->served = malloc(sizeof *v->served * (size_t)n);
    return v->full && v->served ? FL_OK : error_set(e, FL_NOMEM, "no memory for samples");
}

int evaluation_run(struct evaluation *out, const struct evaluation_input *in, struct error *e)
{
    struct evaluator v = {.in = in, .out = out};
    int64_t n = dataset_count(in->data);
    int rc;

    memset(out, 0, sizeof *out);
    out->labelled = dataset_has_labels(in->data);
    n = in->limit > 0 && in->limit < n ? in->limit : n;
    rc = prepare(&v, n, e);
    if (!rc && !(rc = run_all(&v, n, e))) {
        out->full_ms = statistics_summary(v.full, out->requests);
        out->served_ms = statistics_summary(v.served, out->requests);
        out->served_cpu_s = out->served_ms.mean / 1e3 * v.cpu_us * NS_PER_US / v.all_ns;
        out->network_bytes = exec_weight_bytes(v.exec) + exec_arena_bytes(v.exec);
    }
    for (int i = 0; i < in->placement->n_exits; i++)
        cache_free(v.cache[i]);
    cache_scratch_free(v.scratch);
    free(v.descriptor);
    free(v.full);
    free(v.served);
    exec_free(v.exec);
    free(v.float32);
    return rc;
}
