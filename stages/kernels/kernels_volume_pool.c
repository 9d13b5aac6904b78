/* kernels_volume_pool.c - pools of other than two spatial dims, over row-major values
 *
 * Rows along the last dim are first pooled into one, a vector at a time, over the taps of all other dims;
 * then along themselves.
 */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/simd.h"

#define MAX_TAPS 256

struct volume_pool {
    struct window window;
    int64_t in[SPATIAL_MAX], out[SPATIAL_MAX];
    bool max, global, count_padding;
};

static bool pool_of(struct volume_pool *p, const struct op_call *c)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    int n = x->rank - 2;
    *p = (struct volume_pool){.max = node_is(c->node, "MaxPool"),
                              .global = node_is(c->node, "GlobalAveragePool")};
    if ((!p->max && !p->global && !node_is(c->node, "AveragePool")) || c->n_out != 1 || n < 1 || n == 2 ||
        x->dtype != TENSOR_F32 || x->data || !view_is_plain(x) || !view_is_plain(y) || !post_is_nothing(c))
        return false;
    memcpy(p->in, x->dim + 2, sizeof *p->in * (size_t)n);
    memcpy(p->out, y->dim + 2, sizeof *p->out * (size_t)n);
    p->window.n = n;
    if (p->global)
        return true;
    p->count_padding = attr_int(c->node, "count_include_pad", 0) != 0;
    return !window_resolve(&p->window, c->node, x->rank, x->dim, NULL, NULL) &&
           (p->max || !p->window.ceil_mode || !p->count_padding);
}

static int64_t count(const int64_t *dim, int n)
{
    int64_t all = 1;
    for (int d = 0; d < n; d++)
        all *= dim[d];
    return all;
}

static bool pool_accepts(const struct kernel_task *t)
{
    struct volume_pool p;
    return pool_of(&p, &t->call) && count(p.in, p.window.n) > 0 && count(p.out, p.window.n) > 0 &&
           (p.global || (count(p.window.kernel, p.window.n - 1) <= MAX_TAPS &&
                         p.window.kernel[p.window.n - 1] <= MAX_TAPS));
}

static int pool_prepare(struct kernel_task *t, void **state)
{
    struct volume_pool *s = calloc(1, sizeof *s);
    *state = s;
    if (!s)
        return FL_NOMEM;
    pool_of(s, &t->call);
    t->scratch_bytes = (size_t)s->in[s->window.n - 1] * 2 * sizeof(float);
    return FL_OK;
}

/* The input rows under the taps of all dims but the last, for the output row at `at`. */
static int rows_under(const struct volume_pool *s, const float *plane, const int64_t *at, const float **row)
{
    const struct window *w = &s->window;
    int64_t k[SPATIAL_MAX] = {0};
    int n = 0, outer = w->n - 1;
    do {
        int64_t y = 0;
        bool inside = true;
        for (int d = 0; d < outer && inside; d++) {
            int64_t i = at[d] * w->stride[d] + k[d] * w->dilation[d] - w->before[d];
            inside = i >= 0 && i < s->in[d];
            y = y * s->in[d] + i;
        }
        if (inside)
            row[n++] = plane + y * s->in[outer];
    } while (outer && index_advance(k, w->kernel, outer));
    return n;
}

/* `line` is the pool of `rows` rows; counted: what a mean over padding too is divided by, or 0. */
struct line {
    const struct volume_pool *s;
    const float *at;
    int rows;
    int64_t counted;
    float *scratch; /* of a row */
};

static float larger(float a, float b)
{
    return b > a || isnan(b) ? b : a;
}

/* One output, part of whose window may lie in the padding. */
static float pool_edge(const struct line *l, int64_t o)
{
    const struct window *w = &l->s->window;
    int d = w->n - 1;
    float a = l->s->max ? -INFINITY : 0;
    int64_t valid = 0, i = o * w->stride[d] - w->before[d];
    for (int64_t k = 0; k < w->kernel[d] && l->rows; k++, i += w->dilation[d])
        if (i >= 0 && i < l->s->in[d]) {
            valid++;
            a = l->s->max ? larger(a, l->at[i]) : a + l->at[i];
        }
    return l->s->max || !valid ? a : a / (float)(l->counted ? l->counted : valid * l->rows);
}

/* Outputs [from, to), whose windows lie inside: the row and its like, moved by a tap each, are pooled for all
 * of its positions, and those that the stride leaves out are dropped. */
static void pool_inside(const struct line *l, int64_t from, int64_t to, float *y)
{
    const struct window *w = &l->s->window;
    int d = w->n - 1, taps = (int)w->kernel[d];
    int64_t stride = w->stride[d];
    float factor = 1.0f / (float)(l->counted ? l->counted : taps * l->rows);
    float *to_all = stride == 1 ? y + from : l->scratch;
    const float *moved[MAX_TAPS];
    for (int k = 0; k < taps; k++)
        moved[k] = l->at + from * stride - w->before[d] + k * w->dilation[d];
    if (l->s->max)
        simd_best()->pool_max(moved, taps, to_all, (to - from - 1) * stride + 1);
    else
        simd_best()->pool_mean(moved, taps, factor, to_all, (to - from - 1) * stride + 1);
    for (int64_t o = from; stride > 1 && o < to; o++)
        y[o] = l->scratch[(o - from) * stride];
}

static void pool_line(const struct line *l, float *y)
{
    const struct window *w = &l->s->window;
    int d = w->n - 1;
    int64_t reach = l->s->in[d] - 1 + w->before[d] - (w->kernel[d] - 1) * w->dilation[d], o = 0;
    int64_t from = (w->before[d] + w->stride[d] - 1) / w->stride[d],
            to = reach < 0 || !l->rows ? 0 : reach / w->stride[d] + 1;
    to = to < l->s->out[d] ? to : l->s->out[d];
    for (; o < from && o < l->s->out[d]; o++)
        y[o] = pool_edge(l, o);
    if (from < to)
        pool_inside(l, from, to, y);
    for (o = from < to ? to : o; o < l->s->out[d]; o++)
        y[o] = pool_edge(l, o);
}

static void pool_plane(const struct volume_pool *s, const float *x, float *y, float *scratch)
{
    int outer = s->window.n - 1;
    int64_t at[SPATIAL_MAX] = {0}, counted = s->count_padding ? count(s->window.kernel, s->window.n) : 0;
    do {
        const float *row[MAX_TAPS], *line;
        int rows = rows_under(s, x, at, row);
        line = rows ? row[0] : scratch;
        if (rows > 1 && s->max)
            simd_best()->pool_max(row, rows, scratch, s->in[outer]);
        else if (rows > 1)
            simd_best()->pool_mean(row, rows, 1, scratch, s->in[outer]);
        pool_line(&(struct line){s, rows > 1 ? scratch : line, rows, counted, scratch + s->in[outer]}, y);
        y += s->out[outer];
    } while (outer && index_advance(at, s->out, outer));
}

static float plane_mean(const float *x, int64_t n)
{
    float columns[64] = {0};
    double sum = 0;
    simd_best()->sum(columns, x, n / 64, 64, 64);
    for (int64_t i = n / 64 * 64; i < n; i++)
        sum += (double)x[i];
    for (int i = 0; i < 64; i++)
        sum += (double)columns[i];
    return (float)(sum / (double)n);
}

static int pool_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct volume_pool *s = state;
    int64_t in = count(s->in, s->window.n), out = count(s->out, s->window.n),
            planes = c->out[0].dim[0] * c->out[0].dim[1];
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    for (int64_t i = 0; i < planes; i++)
        if (s->global)
            y[i] = plane_mean(x + i * in, in);
        else
            pool_plane(s, x + i * in, y + i * out, r->scratch);
    return FL_OK;
}

const struct kernel kernel_plain_volume_pool = {
    .name = "volume",
    .family = KERNEL_PLAIN,
    .accepts = pool_accepts,
    .prepare = pool_prepare,
    .run = pool_run,
    .release = free,
};
