/* op_infer.c - what inference functions of many operators need */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ops.h"

static int fail(struct op_infer *i, enum fl_code code, const char *format, va_list args)
{
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    return error_set(i->error, code, "%s", text);
}

int infer_fail(struct op_infer *i, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(i, FL_MODEL, format, args);
    va_end(args);
    return FL_MODEL;
}

int infer_unsupported(struct op_infer *i, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(i, FL_UNSUPPORTED, format, args);
    va_end(args);
    return FL_UNSUPPORTED;
}

bool infer_has(const struct op_infer *i, int input)
{
    return input < i->n_in && i->in[input].dtype != TENSOR_NONE;
}

void infer_like(struct op_infer *i, int k, const struct tensor *t)
{
    i->out[k] = *t;
    i->out[k].data = NULL;
}

int infer_same(struct op_infer *i, unsigned mask)
{
    infer_like(i, 0, &i->in[0]);
    return infer_dtype(i, 0, mask);
}

int infer_axis(struct op_infer *i, int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank)
        return infer_fail(i, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return FL_OK;
}

int infer_ints(struct op_infer *i, const char *name, int input, int64_t *out, int max, int *count)
{
    const struct attr *a = name ? attr_find(i->node, name) : NULL;
    const struct tensor *t = input >= 0 && infer_has(i, input) ? &i->in[input] : NULL;
    int64_t n;
    *count = -1;
    if (t) {
        n = tensor_count(t);
        if (t->rank > 1 || dtype_is_real(t->dtype))
            return infer_fail(i, "input %d must be a list of integers", input);
        if (n > max)
            return infer_fail(i, "input %d has %lld elements, at most %d make sense", input, (long long)n,
                              max);
        if (!t->data)
            return infer_unsupported(i, "input %d is known only while the model runs, which is not supported",
                                     input);
        for (int64_t k = 0; k < n; k++)
            out[k] = element_int(t->dtype, t->data, k);
        *count = (int)n;
    } else if (a) {
        if (a->kind != ATTR_INTS || a->count > max)
            return infer_fail(i, "attribute '%s' must be a list of at most %d integers", name, max);
        memcpy(out, a->ints, (size_t)a->count * sizeof *out);
        *count = a->count;
    }
    return FL_OK;
}

int call_axis(const struct node *n, int rank, int64_t otherwise)
{
    int axis = (int)attr_int(n, "axis", otherwise);
    return axis < 0 ? axis + rank : axis;
}

void call_ints(const struct op_call *c, const char *name, int input, int64_t *out, int max, int *count)
{
    const struct attr *a = name ? attr_find(c->node, name) : NULL;
    *count = -1;
    if (input >= 0 && view_present(c, input)) {
        const struct view *v = &c->in[input];
        *count = (int)view_count(v);
        *count = *count > max ? max : *count;
        for (int k = 0; k < *count; k++)
            out[k] = view_int(v, k);
    } else if (a) {
        *count = a->count > max ? max : a->count;
        memcpy(out, a->ints, (size_t)*count * sizeof *out);
    }
}

int infer_broadcast(struct op_infer *i, int from, int to, struct tensor *t)
{
    int rank = 0;
    for (int k = from; k <= to; k++)
        rank = i->in[k].rank > rank ? i->in[k].rank : rank;
    t->rank = rank;
    for (int d = 0; d < rank; d++) {
        t->dim[d] = 1;
        for (int k = from; k <= to; k++) {
            int at = d - (rank - i->in[k].rank);
            int64_t dim = at < 0 ? 1 : i->in[k].dim[at];
            if (dim != 1 && t->dim[d] != 1 && dim != t->dim[d])
                return infer_fail(i, "dims %lld and %lld of its inputs cannot be broadcast",
                                  (long long)t->dim[d], (long long)dim);
            t->dim[d] = dim != 1 ? dim : t->dim[d];
        }
    }
    return FL_OK;
}

int infer_dtype(struct op_infer *i, int input, unsigned mask)
{
    enum tensor_dtype t = i->in[input].dtype;
    if (mask >> t & 1)
        return FL_OK;
    return infer_unsupported(i, "element type %s is not supported for input %d", tensor_dtype_name(t), input);
}
