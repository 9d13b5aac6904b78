/* stage_layers.c - an executor, cut at the stage's exits, and the descriptors of its activations */
#include "stage_layers.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numbers/floats.h"
#include "base/log.h"
#include "config/identity.h"
#include "config/precision.h"
#include "stages/exec/scores.h"
#include "stages/simd/low.h"
#include "stages/place/descriptor.h"
#include "stages/place/origin.h"
#include "stages/place/placement.h"
#include "stages/place/precision_options.h"
#include "wire/frame_limits.h"

#define MESSAGE_HEAP_BYTES (8 << 20)

struct stage_layers {
    const struct pipeline *pipeline; /* borrowed */
    bool first, last;                /* of the pipeline's stages */
    bool narrow_in, narrow_out;      /* bfloat16 in messages, float32 here */
    struct exec *exec;
    struct tensor expects;
    int n_segments, first_node[PIPELINE_MAX_EXITS + 1], last_node[PIPELINE_MAX_EXITS + 1];
    float *descriptors; /* [max_batch][floats of the largest] */
    int (*place)(void *arg, int to, size_t bytes, zmq_msg_t *out);
    void *place_arg;
};

static void add_segment(struct stage_layers *l, struct stage_setup *s, int first, int last,
                        struct stage_segment segment)
{
    l->first_node[l->n_segments] = first;
    l->last_node[l->n_segments++] = last;
    segment.nodes = last - first + 1;
    s->segment[s->n_segments++] = segment;
}

/* Cuts the stage's nodes at its exits. Returns the floats of the largest descriptor. */
static size_t make_segments(struct stage_layers *l, struct stage_setup *s, const struct graph *g,
                            const struct placement *pl, int stage)
{
    int first = pl->stage[stage].first, last = pl->stage[stage].last;
    bool caches = l->pipeline->cache.n_endpoints > 0 && strcmp(l->pipeline->cache.kind, "none") != 0;
    size_t largest = 0;
    for (int i = 0; caches && i < pl->n_exits; i++) {
        const struct placed_exit *x = &pl->exit[i];
        struct tensor cut;
        struct origin origin;
        int dim;
        if (x->stage != stage || !placed_has_cache(x))
            continue;
        cut = origin_activation(g, x);
        dim = descriptor_dim(&cut, &l->pipeline->cache.descriptor);
        origin_of(&origin, g, x, l->pipeline);
        add_segment(l, s, first, x->cut.node, (struct stage_segment){i, dim, origin.digest, 0});
        first = x->cut.node + 1;
        largest = dim > 0 && (size_t)dim > largest ? (size_t)dim : largest;
    }
    if (first <= last)
        add_segment(l, s, first, last, (struct stage_segment){-1, 0, 0, 0});
    return largest;
}

static int check_model(struct stage_layers *l, const struct graph *g, struct error *e)
{
    struct tensor out;
    if (exec_n_inputs(l->exec) != 1)
        return error_set(e, FL_UNSUPPORTED, "%s has %d inputs: a pipeline serves models with one", g->path,
                         exec_n_inputs(l->exec));
    l->expects = exec_input_shape(l->exec, 0, 1);
    out = exec_output_shape(l->exec, 0, 1);
    if (l->expects.rank < 1 || l->expects.dim[0] != 1 || out.rank < 1 || out.dim[0] != 1)
        return error_set(e, FL_UNSUPPORTED, "%s: the first dim of its input and output must be the batch",
                         g->path);
    if (l->last && out.dtype != TENSOR_F32)
        return error_set(e, FL_UNSUPPORTED, "%s: its output is %s, scores must be float32", g->path,
                         tensor_dtype_name(out.dtype));
    if (l->last && tensor_bytes(&out) > frame_answer_bytes(l->pipeline))
        return error_set(e, FL_CONFIG,
                         "%s: an answer has %.1f MB, and answers may be as large as requests: raise "
                         "broker.max_request_mb (%g)",
                         g->path, (double)tensor_bytes(&out) / (1 << 20), l->pipeline->broker.max_request_mb);
    return FL_OK;
}

/* Both stages at a cut see the same value there, and decide the same. */
static void find_wire_types(struct stage_layers *l)
{
    bool rounds = precision_rounds_wire(l->pipeline);
    l->narrow_in = rounds && !l->first && l->expects.dtype == TENSOR_F32;
    l->narrow_out = rounds && !l->last && exec_output_shape(l->exec, 0, 1).dtype == TENSOR_F32;
    if (l->narrow_in)
        l->expects.dtype = TENSOR_BF16;
}

static void introduce(struct hello *self, const struct graph *g, const struct placement *pl,
                      const struct pipeline *p, int threads)
{
    struct identity identity;
    identity_of(&identity, g->digest, p);
    memcpy(self->model, g->digest, sizeof self->model);
    memcpy(self->identity, identity.digest, sizeof self->identity);
    plan_digest(self->plan, g, pl, p);
    snprintf(self->engine, sizeof self->engine, "BLAS core %s, convolution %s, %s, %d thread%s",
             engine_blas_core(), engine_conv(),
             graph_is_quantized(g) && engine_precision_check(PRECISION_INT8, KERNELS_AUTO, NULL) == FL_OK
                 ? "int8 as the model says"
                 : p->computes,
             threads, threads == 1 ? "" : "s");
}

static void name_port(struct port *to, const struct graph *g, int value, const struct tensor *t)
{
    *to = (struct port){.tensor = {.dtype = t->dtype, .rank = t->rank}};
    snprintf(to->name, sizeof to->name, "%s", g->values[value].name ? g->values[value].name : "");
    memcpy(to->tensor.dim, t->dim, sizeof to->tensor.dim);
}

/* The first stage tells what the model takes, the last one what it gives (output()): who serves other
 * protocols has no model to look into. */
static void tell_ends(const struct stage_layers *l, struct hello *self, const struct graph *g)
{
    struct tensor out = exec_output_shape(l->exec, 0, 1);
    if (l->first)
        name_port(&self->input, g, g->inputs[0], &l->expects);
    out = (struct tensor){.dtype = out.dtype, .rank = 2, .dim = {1, tensor_count(&out)}};
    if (l->last)
        name_port(&self->output, g, g->outputs[0], &out);
}

static void tell_exits(struct hello *self, const struct placement *pl, const struct stage_setup *s)
{
    self->layers = (uint32_t)pl->depth;
    for (int i = 0; i < s->n_segments; i++) {
        struct exit_told *x = &self->exits.exit[self->exits.n];
        const struct placed_exit *placed;
        if (s->segment[i].exit < 0)
            continue;
        placed = &pl->exit[s->segment[i].exit];
        x->index = (uint32_t)s->segment[i].exit;
        x->layers = (uint32_t)placed->cut.depth;
        snprintf(x->name, sizeof x->name, "%s", placed->name);
        self->exits.n++;
    }
}

/* The stage's part of the model's work. */
static double share_of(const struct graph *g, const struct placed_stage *stage)
{
    double all = 0, own = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        double flops = graph_node_flops(g, i, 1);
        all += flops;
        own += i >= stage->first && i <= stage->last ? flops : 0;
    }
    return all > 0 ? own / all : 0;
}

static int load(struct stage_layers *l, struct stage_setup *s, int stage, struct error *e)
{
    const struct pipeline *p = l->pipeline;
    const struct stage_config *config = &p->stage[stage];
    struct exec_options o = {.threads = config->threads};
    struct placement *pl = calloc(1, sizeof *pl);
    struct graph *g = NULL;
    struct quantization q = {0};
    char doubt[512];
    size_t floats;
    int rc;

    if (!pl)
        return error_set(e, FL_NOMEM, "out of memory");
    if ((rc = placement_load(&g, p, e)) || (rc = placement_resolve(pl, g, p, e)) ||
        (rc = precision_options(&o, &q, g, p, e)))
        goto out;
    if (*engine_precision_doubt(o.precision, doubt, sizeof doubt))
        log_warn("%s", doubt);
    if (*precision_of_model(g, o.kernels, doubt, sizeof doubt))
        log_info("%s", doubt);
    s->max_batch = !g->free_batch                          ? 1
                   : config->max_batch < MESSAGE_MAX_BATCH ? config->max_batch
                                                           : MESSAGE_MAX_BATCH;
    o.max_batch = s->max_batch;
    o.first = pl->stage[stage].first;
    o.last = pl->stage[stage].last;
    s->share = share_of(g, &pl->stage[stage]);
    floats = make_segments(l, s, g, pl, stage);
    o.only_stops = true;
    o.n_stops = l->n_segments;
    o.stops = l->last_node;
    introduce(&s->self, g, pl, p, config->threads);
    tell_exits(&s->self, pl, s);
    if (!(l->descriptors = calloc(floats * (size_t)s->max_batch + 1, sizeof *l->descriptors)))
        rc = error_set(e, FL_NOMEM, "out of memory for descriptors");
    if (!rc && !(rc = exec_new(&l->exec, g, &o, e)))
        rc = check_model(l, g, e);
    if (!rc) {
        find_wire_types(l);
        tell_ends(l, &s->self, g);
    }
    s->expects = l->expects;
out:
    quantization_release(&q);
    graph_free(g);
    free(pl);
    return rc;
}

static int warm_up(struct stage_layers *l, struct error *e)
{
    struct tensor in = exec_input_shape(l->exec, 0, 1);
    memset(exec_input_buffer(l->exec, 0), 0, (size_t)tensor_bytes(&in));
    for (int i = 0; i < l->n_segments; i++) {
        int rc = stage_layers_run(l, i, 1, NULL, NULL, e);
        if (rc)
            return rc;
    }
    malloc_trim(0); /* the graph's constants are packed now and their file form is gone */
    /* From here on memory is taken for messages alone. Kept rather than given back, it costs no page faults.
     */
    mallopt(M_MMAP_THRESHOLD, MESSAGE_HEAP_BYTES);
    mallopt(M_TRIM_THRESHOLD, MESSAGE_HEAP_BYTES);
    return FL_OK;
}

int stage_layers_new(struct stage_layers **out, const struct pipeline *p, int stage,
                     struct stage_setup *setup, struct error *e)
{
    struct stage_layers *l = calloc(1, sizeof *l);
    int rc;
    if (!l)
        return error_set(e, FL_NOMEM, "out of memory");
    l->pipeline = p;
    l->first = stage == 0;
    l->last = stage == p->n_stages - 1;
    if ((rc = load(l, setup, stage, e)) || (rc = warm_up(l, e))) {
        stage_layers_free(l);
        return rc;
    }
    *out = l;
    return FL_OK;
}

void stage_layers_free(struct stage_layers *l)
{
    if (!l)
        return;
    exec_free(l->exec);
    free(l->descriptors);
    free(l);
}

int stage_layers_run(struct stage_layers *l, int segment, int n, exec_after after, void *arg, struct error *e)
{
    return exec_run(l->exec, l->first_node[segment], l->last_node[segment], n, after, arg, e);
}

size_t stage_layers_weight_bytes(const struct stage_layers *l)
{
    return exec_weight_bytes(l->exec);
}

size_t stage_layers_arena_bytes(const struct stage_layers *l)
{
    return exec_arena_bytes(l->exec);
}

/* --- what the brain asks for --- */

static int load_row(void *arg, int row, const void *input, struct error *e)
{
    struct stage_layers *l = arg;
    struct tensor in = exec_input_shape(l->exec, 0, 1);
    size_t bytes = (size_t)tensor_bytes(&in);
    void *to = (char *)exec_input_buffer(l->exec, 0) + (size_t)row * bytes;
    if (l->narrow_in) {
        low_widen(input, TENSOR_BF16, SCALE_NONE, to, tensor_count(&in));
        return FL_OK;
    }
    memcpy(to, input, bytes); /* first, since it may be the sender's to change until then */
    if (l->first && l->expects.dtype == TENSOR_F32 && !floats_finite(to, tensor_count(&l->expects)))
        return error_set(e, FL_VALUE, "the input has an element that is NaN or infinite");
    return FL_OK;
}

static int keep_rows(void *arg, int segment, const int *rows, int n, struct error *e)
{
    struct stage_layers *l = arg;
    return exec_compact(l->exec, l->last_node[segment], rows, n, e);
}

static int describe(void *arg, int segment, int batch, const int *rows, int n, zmq_msg_t *out)
{
    struct stage_layers *l = arg;
    const struct descriptor_config *config = &l->pipeline->cache.descriptor;
    struct tensor cut;
    size_t dim;
    float *to;
    if (exec_cut(l->exec, l->last_node[segment], batch, &cut, NULL))
        return FL_INTERNAL;
    dim = (size_t)descriptor_dim(&cut, config);
    if (zmq_msg_init_size(out, (size_t)n * dim * sizeof(float)))
        return FL_NOMEM;
    descriptor_compute(&cut, config, l->descriptors);
    to = zmq_msg_data(out);
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * dim, l->descriptors + (size_t)rows[i] * dim, dim * sizeof *to);
    return FL_OK;
}

static int output(void *arg, int row, int batch, int to, struct tensor *shape, int32_t *label,
                  float *confidence, zmq_msg_t *out, struct error *e)
{
    struct stage_layers *l = arg;
    struct tensor t = exec_output(l->exec, 0, batch);
    size_t bytes = (size_t)tensor_bytes(&t) / (size_t)batch;
    const char *data = (const char *)t.data + (size_t)row * bytes;

    t.dim[0] = 1;
    t.data = NULL;
    if (l->narrow_out) {
        t.dtype = TENSOR_BF16;
        bytes = (size_t)tensor_bytes(&t);
    }
    if (l->last) { /* 1xCx1x1, as a network without a Flatten gives, goes out as 1xC */
        t = (struct tensor){.dtype = t.dtype, .rank = 2, .dim = {1, tensor_count(&t)}};
        if ((*label = scores_label((const float *)(const void *)data, t.dim[1], confidence)) < 0)
            return error_set(e, FL_VALUE, "the model's scores are not numbers for this input");
    }
    if (to >= 0 && l->place ? l->place(l->place_arg, to, bytes, out) : zmq_msg_init_size(out, bytes))
        return error_set(e, FL_NOMEM, "out of memory for what was computed");
    if (l->narrow_out)
        low_narrow((const float *)(const void *)data, TENSOR_BF16, SCALE_NONE, zmq_msg_data(out),
                   tensor_count(&t));
    else
        memcpy(zmq_msg_data(out), data, bytes);
    *shape = t;
    return FL_OK;
}

void stage_layers_place(struct stage_layers *l, int (*place)(void *arg, int to, size_t bytes, zmq_msg_t *out),
                        void *arg)
{
    l->place = place;
    l->place_arg = arg;
}

struct stage_engine stage_layers_engine(struct stage_layers *l)
{
    return (struct stage_engine){l, load_row, keep_rows, describe, output};
}
