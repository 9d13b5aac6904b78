/* ops_window.c - attributes of convolutions and pools */
#include <string.h>

#include "ops.h"

#define WINDOW_MAX ((int64_t)1 << 24) /* of any attribute: no overflow in sums and products of two */

static int read_list(const struct node *n, const char *name, int64_t *out, int count, int64_t low,
                     int64_t otherwise, struct error *e)
{
    const struct attr *a = attr_find(n, name);
    for (int i = 0; i < count; i++)
        out[i] = otherwise;
    if (!a)
        return FL_OK;
    if (a->kind != ATTR_INTS || a->count != count)
        return error_set(e, FL_MODEL, "attribute '%s' must have %d integers", name, count);
    for (int i = 0; i < count; i++) {
        if (a->ints[i] < low || a->ints[i] > WINDOW_MAX)
            return error_set(e, FL_MODEL, "attribute '%s' has the value %lld", name, (long long)a->ints[i]);
        out[i] = a->ints[i];
    }
    return FL_OK;
}

static int64_t extent_of(const struct window *w, int i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* SAME: as many outputs as input / stride, rounded up; an odd padding goes to the end (UPPER) or the
 * beginning. */
static void pad_same(struct window *w, const int64_t *spatial, bool upper)
{
    for (int i = 0; i < w->n; i++) {
        int64_t outputs = (spatial[i] + w->stride[i] - 1) / w->stride[i];
        int64_t total = (outputs - 1) * w->stride[i] + extent_of(w, i) - spatial[i];
        total = total < 0 ? 0 : total;
        w->before[i] = upper ? total / 2 : total - total / 2;
        w->after[i] = total - w->before[i];
    }
}

static int resolve_padding(struct window *w, const struct node *n, const int64_t *spatial, struct error *e)
{
    const char *mode = attr_string(n, "auto_pad", "NOTSET");
    int64_t pads[2 * SPATIAL_MAX];
    int code;
    if (!strcmp(mode, "SAME_UPPER") || !strcmp(mode, "SAME_LOWER")) {
        pad_same(w, spatial, !strcmp(mode, "SAME_UPPER"));
        return FL_OK;
    }
    if (!strcmp(mode, "VALID"))
        return FL_OK;
    if (*mode && strcmp(mode, "NOTSET"))
        return error_set(e, FL_MODEL, "auto_pad '%s' is unknown", mode);
    if ((code = read_list(n, "pads", pads, 2 * w->n, 0, 0, e)))
        return code;
    for (int i = 0; i < w->n; i++) {
        w->before[i] = pads[i];
        w->after[i] = pads[w->n + i];
    }
    return FL_OK;
}

int window_resolve(struct window *w, const struct node *n, int rank, const int64_t *in, const int64_t *kernel,
                   struct error *e)
{
    int code;
    memset(w, 0, sizeof *w);
    w->n = rank - 2;
    if (w->n < 1 || w->n > SPATIAL_MAX)
        return error_set(e, FL_MODEL, "its input has rank %d, it needs N, C and spatial dims", rank);
    if (!kernel && !attr_find(n, "kernel_shape"))
        return error_set(e, FL_MODEL, "attribute 'kernel_shape' is missing");
    if ((code = read_list(n, "kernel_shape", w->kernel, w->n, 1, 0, e)) ||
        (code = read_list(n, "strides", w->stride, w->n, 1, 1, e)) ||
        (code = read_list(n, "dilations", w->dilation, w->n, 1, 1, e)))
        return code;
    for (int i = 0; kernel && i < w->n; i++) {
        if (w->kernel[i] && w->kernel[i] != kernel[i])
            return error_set(e, FL_MODEL, "kernel_shape says %lld, the weights have %lld",
                             (long long)w->kernel[i], (long long)kernel[i]);
        if (kernel[i] < 1 || kernel[i] > WINDOW_MAX)
            return error_set(e, FL_MODEL, "the weights have an impossible kernel size");
        w->kernel[i] = kernel[i];
    }
    w->ceil_mode = attr_int(n, "ceil_mode", 0) != 0;
    return resolve_padding(w, n, in + 2, e);
}

int64_t window_output(const struct window *w, int i, int64_t in)
{
    int64_t room = in + w->before[i] + w->after[i] - extent_of(w, i), n;
    if (room < 0)
        return -1;
    n = room / w->stride[i] + 1;
    /* A last window that is cut off counts, unless it would begin in the padding behind the input. */
    if (w->ceil_mode && room % w->stride[i] && n * w->stride[i] < in + w->before[i])
        n++;
    return n;
}
