/* study.c - windows out of values as they are computed, into moments */
#include "study.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_EACH 48 /* of a record, at most while there are other records */

struct looking {
    const struct study *of;
    const struct stretch *stretch;
    int input_node, sum_node;
    int64_t per_record, room; /* places of a record; records that the buffers hold */
    float *x, *r;             /* [room * per_record][n_columns], [..][out] */
    float *wanted;            /* [count * per_record][out]: of the original's sum; or NULL */
    bool recording;           /* `wanted` is being filled */
    struct moments *moments;
};

/* Place number k of so many in a record: somewhere in the k-th part of the record. */
static int64_t place_of(const struct looking *k, int64_t record, int64_t number)
{
    int64_t from = number * k->of->layer->places / k->per_record,
            to = (number + 1) * k->of->layer->places / k->per_record;
    uint32_t drawn = (uint32_t)(record * k->per_record + number) * 2654435761u;
    return from + (drawn >> 8) % (to - from);
}

/* Where the window, or row, number `place` of the batch begins in a view's dims 0 and 2.., or all but the
 * last. */
static void index_of(const struct layer *l, const struct view *v, int64_t place, int64_t *at)
{
    for (int i = v->rank - 1; i >= 0; i--) {
        bool channels = i == (l->conv ? 1 : v->rank - 1);
        int64_t n = l->conv && i > 1 ? l->side[i - 2] : v->dim[i];
        at[i] = channels ? 0 : place % (n ? n : 1);
        place = channels ? place : place / (n ? n : 1);
    }
}

static void read_window(const struct layer *l, const struct view *v, int64_t place, float *out)
{
    int64_t at[TENSOR_MAX_RANK], tap[SPATIAL_MAX] = {0}, number = 0;
    const float *data = v->data;
    index_of(l, v, place, at);
    if (!l->conv) {
        data += index_offset(at, v->stride, v->rank);
        for (int64_t i = 0; i < l->features; i++)
            out[i] = data[i * v->stride[v->rank - 1]];
        return;
    }
    data += at[0] * v->stride[0];
    do {
        int64_t offset = 0;
        bool inside = true;
        for (int d = 0; d < l->win.n; d++) {
            int64_t p = at[d + 2] * l->win.stride[d] + tap[d] * l->win.dilation[d] - l->win.before[d];
            inside = inside && p >= 0 && p < v->dim[d + 2];
            offset += p * v->stride[d + 2];
        }
        for (int64_t c = 0; c < v->dim[1]; c++)
            out[c * l->taps + number] = inside ? data[offset + c * v->stride[1]] : 0;
        number++;
    } while (index_advance(tap, l->win.kernel, l->win.n));
}

static void read_output(const struct layer *l, const struct view *v, int64_t place, float *out)
{
    int64_t at[TENSOR_MAX_RANK], step = v->stride[l->conv ? 1 : v->rank - 1];
    const float *data = v->data;
    index_of(l, v, place, at);
    data += index_offset(at, v->stride, v->rank);
    for (int64_t o = 0; o < l->out; o++)
        out[o] = data[o * step];
}

static void look_at_input(const struct looking *k, const struct view *v, int64_t record, int64_t row)
{
    const struct layer *l = k->of->layer;
    int n = k->of->n_columns;
    float window[LAYERS_MOST_FEATURES];
    for (int64_t i = 0; i < k->per_record; i++) {
        float *to = k->x + ((record % k->room) * k->per_record + i) * n;
        read_window(l, v, row * l->places + place_of(k, record, i), window);
        for (int c = 0; c < n; c++)
            to[c] = window[k->of->column[c]];
    }
}

static void look_at_sum(const struct looking *k, const struct view *v, int64_t record, int64_t row)
{
    const struct layer *l = k->of->layer;
    for (int64_t i = 0; i < k->per_record; i++) {
        float *wanted = k->wanted + (record * k->per_record + i) * l->out,
              *to = k->recording ? wanted : k->r + ((record % k->room) * k->per_record + i) * l->out;
        read_output(l, v, row * l->places + place_of(k, record, i), to);
        for (int64_t o = 0; !k->recording && o < l->out; o++)
            to[o] = wanted[o] - to[o];
    }
}

static void look(void *arg, struct exec *x, int node, int64_t at, int n)
{
    const struct looking *k = arg;
    struct view v;
    if (node != k->input_node && node != k->sum_node)
        return;
    v = exec_view(x, node, n);
    for (int64_t i = 0; i < n; i++) {
        if (node == k->input_node && !k->recording)
            look_at_input(k, &v, at + i, i);
        if (node == k->sum_node && k->wanted)
            look_at_sum(k, &v, at + i, i);
    }
}

static int add_up(void *arg, int64_t at, int n)
{
    const struct looking *k = arg;
    int64_t from = (at % k->room) * k->per_record;
    openblas_set_num_threads(k->stretch->threads);
    moments_add(k->moments, k->x + from * k->of->n_columns,
                k->wanted ? k->r + from * k->of->layer->out : NULL, n * k->per_record);
    return FL_OK;
}

static int input_node(const struct stretch *s, const struct layer *l)
{
    int made_by = s->graph->values[s->graph->nodes[l->node].in[0]].producer;
    return made_by < s->first ? -1 : made_by;
}

/* Where a record has many places, not all records are needed. */
static int64_t records_for(const struct study *s, int64_t count)
{
    int64_t each = s->layer->places < PLACES_EACH ? s->layer->places : PLACES_EACH,
            need = (s->rows + each - 1) / each;
    return need < count ? need : count;
}

static int look_through(struct looking *k, const struct stretch *s, struct error *e)
{
    struct stretch with = *s;
    k->stretch = s;
    with.count = records_for(k->of, s->count);
    with.node = look;
    with.some = k->recording ? NULL : add_up;
    with.arg = k;
    with.out = NULL;
    return stretch_run(&with, e);
}

int study_moments(struct moments *out, const struct study *s, const struct stretch *as_is,
                  const struct stretch *now, struct error *e)
{
    const struct layer *l = s->layer;
    int64_t records = records_for(s, now->count), each = (s->rows + records - 1) / records;
    struct looking k = {.of = s, .moments = out, .room = stretch_most(now->graph, now->threads)};
    int rc;
    k.per_record = each < 1 ? 1 : each < l->places ? each : l->places;
    k.input_node = input_node(now, l);
    k.sum_node = now->graph->values[l->sum].producer;
    rc = moments_new(out, s->n_columns, as_is ? (int)l->out : 0);
    k.x = malloc((size_t)(k.room * k.per_record * s->n_columns + 1) * sizeof *k.x);
    if (as_is) {
        k.r = malloc((size_t)(k.room * k.per_record * l->out + 1) * sizeof *k.r);
        k.wanted = malloc((size_t)(records * k.per_record * l->out + 1) * sizeof *k.wanted);
    }
    if (rc || !k.x || (as_is && (!k.r || !k.wanted)))
        rc = error_set(e, FL_NOMEM, "no memory for what goes into a layer");
    k.recording = true;
    if (!rc && as_is)
        rc = look_through(&k, as_is, e);
    k.recording = false;
    if (!rc)
        rc = look_through(&k, now, e);
    free(k.x);
    free(k.r);
    free(k.wanted);
    return rc;
}
