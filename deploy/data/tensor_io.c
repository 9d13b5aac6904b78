/* tensor_io.c - reading, writing and comparing tensors of any number type */
#include "tensor_io.h"

#include <math.h>
#include <string.h>

#include "numbers/floats.h"
#include "npy.h"
#include "stages/onnx/onnx_tensor.h"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

int tensor_io_read(struct tensor *out, const char *path, struct error *e)
{
    if (ends_with(path, ".npy"))
        return npy_read(out, path, e);
    if (ends_with(path, ".pb"))
        return onnx_tensor_read(out, path, e);
    return error_set(e, FL_USAGE, "%s: tensors are read from .npy and .pb files", path);
}

int tensor_io_write(const struct tensor *t, const char *name, const char *path, struct error *e)
{
    if (ends_with(path, ".npy"))
        return npy_write(t, path, e);
    if (ends_with(path, ".pb"))
        return onnx_tensor_write(t, name, path, e);
    return error_set(e, FL_USAGE, "%s: tensors are written to .npy and .pb files", path);
}

double tensor_io_element(const struct tensor *t, int64_t i)
{
    switch (t->dtype) {
    case TENSOR_F32:
        return ((const float *)t->data)[i];
    case TENSOR_F64:
        return ((const double *)t->data)[i];
    case TENSOR_F16:
        return half_to_float(((const uint16_t *)t->data)[i]);
    case TENSOR_U8:
        return ((const uint8_t *)t->data)[i];
    case TENSOR_I8:
        return ((const int8_t *)t->data)[i];
    case TENSOR_BOOL:
        return ((const uint8_t *)t->data)[i] != 0;
    case TENSOR_U16:
        return ((const uint16_t *)t->data)[i];
    case TENSOR_I16:
        return ((const int16_t *)t->data)[i];
    case TENSOR_U32:
        return ((const uint32_t *)t->data)[i];
    case TENSOR_I32:
        return ((const int32_t *)t->data)[i];
    case TENSOR_U64:
        return (double)((const uint64_t *)t->data)[i];
    case TENSOR_I64:
        return (double)((const int64_t *)t->data)[i];
    default:
        return NAN;
    }
}

int tensor_io_to_float(struct tensor *t, struct error *e)
{
    struct tensor f = *t;
    int64_t n = tensor_count(t);

    if (t->dtype == TENSOR_F32)
        return FL_OK;
    f.dtype = TENSOR_F32;
    f.data = NULL;
    if (tensor_alloc(&f))
        return error_set(e, FL_NOMEM, "no memory for a tensor");
    for (int64_t i = 0; i < n; i++)
        ((float *)f.data)[i] = (float)tensor_io_element(t, i);
    tensor_release(t);
    *t = f;
    return FL_OK;
}

struct tensor_difference tensor_io_compare(const struct tensor *got, const struct tensor *expected,
                                           double rtol, double atol)
{
    struct tensor_difference d = {0, 0, 0, -1, true};
    int64_t n = tensor_count(expected);
    double excess = 0, largest = 0;

    for (int64_t i = 0; i < n; i++) {
        double a = tensor_io_element(got, i), b = tensor_io_element(expected, i), gap = fabs(a - b);
        if ((isnan(a) && isnan(b)) || a == b)
            gap = 0;
        else if (isnan(gap))
            gap = INFINITY;
        if (isfinite(b) && fabs(b) > largest)
            largest = fabs(b);
        if (gap > d.max_abs)
            d.max_abs = gap;
        if (gap > 0 && fabs(b) > atol && gap / fabs(b) > d.max_rel)
            d.max_rel = gap / fabs(b);
        if (gap > 0 && !(gap <= atol + rtol * fabs(b) && isfinite(gap)) && gap - rtol * fabs(b) > excess) {
            excess = gap - rtol * fabs(b);
            d.worst = i;
        }
        d.ok = d.ok && (gap == 0 || (isfinite(gap) && gap <= atol + rtol * fabs(b)));
    }
    d.scaled = largest > 0 ? d.max_abs / largest : d.max_abs;
    return d;
}
