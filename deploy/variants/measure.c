/* measure.c - the variants one after the other on the same records */
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/promise/gap_bound.h"
#include "config/variants.h"
#include "deploy/extract/judging.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/energy.h"
#include "deploy/tool/interrupt.h"

struct measuring {
    const struct measure_input *in;
    struct measurements *out;
    int32_t *full; /* [records]: the first variant's network in float32 */
    struct tensor input;
    char input_text[IDENTITY_TEXT_BYTES];
    int classes;
    struct energy energy;
    char phase[96];
};

/* A variant while it is measured. */
struct subject {
    struct pipeline *pipeline;
    struct graph *graph;
    struct placement place;
};

static void release(struct subject *s)
{
    graph_free(s->graph);
    pipeline_free(s->pipeline);
}

static int open_subject(struct subject *s, const struct measuring *m, int i, struct error *e)
{
    const struct pipeline_arguments *a = m->in->where;
    const char *name = m->out->front->variant[i].name;
    int rc;

    memset(s, 0, sizeof *s);
    if ((rc = variant_load(&s->pipeline, m->out->front, name, a->sets.item, a->sets.n, e)))
        return rc;
    if ((rc = placement_load(&s->graph, s->pipeline, e)) ||
        (rc = placement_resolve(&s->place, s->graph, s->pipeline, e)))
        return error_wrap(e, (enum fl_code)rc, "variant %s", name);
    return FL_OK;
}

/* --- the same question --- */

static int check_same(const struct measuring *m, const struct subject *s, const char *name, struct error *e)
{
    const struct tensor mine = value_shape(&s->graph->values[s->graph->inputs[0]], 1);
    const char *first = m->out->front->variant[0].name;
    char text[IDENTITY_TEXT_BYTES], a[96], b[96];
    int classes, rc = model_classes(s->graph, &classes, e);

    if (rc)
        return error_wrap(e, (enum fl_code)rc, "variant %s", name);
    if (classes != m->classes)
        return error_set(e, FL_SHAPE,
                         "variant %s tells %d classes apart, and %s %d: variants answer the same question",
                         name, classes, first, m->classes);
    if (s->graph->n_inputs != 1 || mine.dtype != m->input.dtype || !tensor_same_shape(&mine, &m->input))
        return error_set(e, FL_SHAPE, "variant %s takes %s, and %s %s: variants take the same inputs", name,
                         tensor_describe(&mine, a, sizeof a), first, tensor_describe(&m->input, b, sizeof b));
    if (strcmp(pipeline_section_text(s->pipeline, "input", text, sizeof text), m->input_text))
        return error_set(e, FL_SHAPE,
                         "variant %s has another `input` (%s) than %s (%s): a request is one input for all",
                         name, *text ? text : "none", first, *m->input_text ? m->input_text : "none");
    return FL_OK;
}

/* --- the records, and what the first one's network says of them --- */

static int open_data(struct measuring *m, const struct subject *first, struct error *e)
{
    struct measurements *o = m->out;
    struct dataset_options d = {.pipeline = o->front,
                                .input = &m->input,
                                .most = m->in->limit,
                                .skip_broken = m->in->skip_broken,
                                .progress = m->in->progress,
                                .notes = stderr};
    struct judging j = {.graph = first->graph, .threads = m->in->threads, .phase = "answer in float32"};
    struct exec_options x = {.max_batch = first->graph->free_batch ? 16 : 1, .last = -1};
    int rc;

    m->input = value_shape(&first->graph->values[first->graph->inputs[0]], 1);
    pipeline_section_text(first->pipeline, "input", m->input_text, sizeof m->input_text);
    if ((rc = model_classes(first->graph, &m->classes, e)))
        return rc;
    d.classes = m->classes;
    if ((rc = dataset_open(&o->data, m->in->data, &d, e)) ||
        (rc = dataset_labels_fit(o->data, m->classes, e)) ||
        (rc = engine_parse_kernels(first->pipeline->kernels, &x.kernels, e)))
        return rc;
    o->records = dataset_count(o->data);
    o->labelled = dataset_has_labels(o->data);
    m->full = malloc((size_t)(o->records ? o->records : 1) * sizeof *m->full);
    if (!m->full)
        return error_set(e, FL_NOMEM, "no memory for labels");
    j.data = o->data;
    j.count = o->records;
    j.classes = m->classes;
    j.progress = m->in->progress;
    return judge(m->full, &j, &x, e);
}

/* --- measuring --- */

static int on_progress(void *arg, int64_t done, int64_t total)
{
    struct measuring *m = arg;
    progress_update(m->in->progress, m->phase, done, total, NAN);
    energy_read(&m->energy);
    return interrupt_seen();
}

static int run(struct measuring *m, const struct subject *s, struct measured *out, struct error *e)
{
    struct evaluation_input in = {.pipeline = s->pipeline,
                                  .graph = s->graph,
                                  .placement = &s->place,
                                  .data = m->out->data,
                                  .threads = m->in->threads,
                                  .progress = on_progress,
                                  .progress_arg = m,
                                  .full = m->full};
    int rc;

    snprintf(m->phase, sizeof m->phase, "answer by %.64s", out->name);
    snprintf(out->computes, sizeof out->computes, "%s", s->pipeline->computes);
    if (!(out->answers = calloc((size_t)m->out->records, sizeof *out->answers)))
        return error_set(e, FL_NOMEM, "no memory for answers");
    in.answers = out->answers;
    energy_read(&m->energy);
    m->energy.joules = 0;
    if ((rc = evaluation_run(&out->of, &in, e)))
        return error_wrap(e, (enum fl_code)rc, "variant %s", out->name);
    if (out->of.requests < m->out->records)
        return error_set(e, FL_CANCELLED, "stopped");
    energy_read(&m->energy);
    out->joules = m->energy.n ? m->energy.joules / (double)m->out->records : NAN;
    out->bytes = (double)(out->of.network_bytes + out->of.cache_bytes);
    out->right = out->of.served_right;
    return FL_OK;
}

static int measure_one(struct measuring *m, int i, struct error *e)
{
    struct measured *out = &m->out->one[i];
    struct subject s;
    int rc = open_subject(&s, m, i, e);

    out->name = m->out->front->variant[i].name;
    if (!rc && !i)
        rc = open_data(m, &s, e);
    if (!rc && !(rc = check_same(m, &s, out->name, e)))
        rc = run(m, &s, out, e);
    release(&s);
    return rc;
}

/* Before anything long is done: each is there, and takes and tells the same. */
static int check_all(struct measuring *m, struct error *e)
{
    struct subject first, s;
    int rc = open_subject(&first, m, 0, e);

    if (!rc && !(rc = model_classes(first.graph, &m->classes, e))) {
        m->input = value_shape(&first.graph->values[first.graph->inputs[0]], 1);
        pipeline_section_text(first.pipeline, "input", m->input_text, sizeof m->input_text);
    }
    for (int i = 1; !rc && i < m->out->front->n_variants; i++) {
        if (!(rc = open_subject(&s, m, i, e)))
            rc = check_same(m, &s, m->out->front->variant[i].name, e);
        release(&s);
    }
    release(&first);
    return rc;
}

/* --- one against the other --- */

/* Without labels, what the best one answers counts as right. */
static int32_t truth(const struct measurements *m, int64_t record)
{
    return m->labelled ? dataset_label(m->data, record) : m->one[m->best].answers[record].served;
}

static void weigh(const struct measurements *m, struct measured *x)
{
    struct gap_counts counts = {.n = m->records, .may_win = m->labelled};
    double delta = (1 - m->certainty) / (m->n > 1 ? m->n - 1 : 1);

    for (int64_t i = 0; i < m->records; i++) {
        bool best = m->one[m->best].answers[i].served == truth(m, i);
        bool mine = x->answers[i].served == truth(m, i);
        counts.lost += best && !mine;
        counts.won += mine && !best;
    }
    x->loss = (double)(counts.lost - counts.won) / (double)m->records;
    x->upper = x == &m->one[m->best] ? 0 : delta < 0.5 ? gap_upper_bound(&counts, delta) : x->loss;
}

static bool surpasses(const struct measured *a, const struct measured *b)
{
    double x = a->of.served_ms.mean, y = b->of.served_ms.mean;
    return a->loss <= b->loss && x <= y && (a->loss < b->loss || x < y);
}

static void compare(struct measurements *m)
{
    for (int i = 1; m->labelled && i < m->n; i++)
        m->best = m->one[i].right > m->one[m->best].right ? i : m->best;
    for (int i = 0; i < m->n; i++)
        weigh(m, &m->one[i]);
    for (int i = 0; i < m->n; i++) {
        m->one[i].front = true;
        for (int k = 0; k < m->n; k++)
            m->one[i].front = m->one[i].front && !surpasses(&m->one[k], &m->one[i]);
    }
}

int measure(struct measurements *out, const struct measure_input *in, struct error *e)
{
    struct measuring m = {.in = in, .out = out};
    int rc;

    memset(out, 0, sizeof *out);
    if ((rc = arguments_load(&out->front, in->where, e)))
        return rc;
    if (out->front->n_variants < 2)
        return error_set(e, FL_CONFIG,
                         "%s names no `variants`: write `variants: [{name: full}, {name: low, set: "
                         "[precision=int8]}]`",
                         out->front->path);
    out->certainty = out->front->cache.certainty;
    energy_open(&m.energy, ENERGY_ROOT);
    rc = check_all(&m, e);
    for (int i = 0; !rc && i < out->front->n_variants; i++) {
        rc = measure_one(&m, i, e);
        out->n += !rc;
    }
    if (!rc)
        compare(out);
    free(m.full);
    return rc;
}

void measurements_release(struct measurements *m)
{
    for (int i = 0; i < CHOICE_MAX; i++)
        free(m->one[i].answers);
    dataset_close(m->data);
    pipeline_free(m->front);
}
