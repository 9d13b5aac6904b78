/* element.c - single elements of any dtype, for kernels that are not worth one loop per dtype */
#include <math.h>
#include <string.h>

#include "numbers/floats.h"
#include "ops.h"

bool dtype_is_real(enum tensor_dtype t)
{
    return t == TENSOR_F32 || t == TENSOR_F64 || t == TENSOR_F16;
}

double element_real(enum tensor_dtype t, const void *data, int64_t at)
{
    switch (t) {
    case TENSOR_F32:
        return ((const float *)data)[at];
    case TENSOR_F64:
        return ((const double *)data)[at];
    case TENSOR_F16:
        return half_to_float(((const uint16_t *)data)[at]);
    case TENSOR_U64:
        return (double)((const uint64_t *)data)[at];
    default:
        return (double)element_int(t, data, at);
    }
}

static int64_t to_int(double x)
{
    if (isnan(x))
        return 0;
    if (x >= 9223372036854775807.0)
        return INT64_MAX;
    return x <= -9223372036854775808.0 ? INT64_MIN : (int64_t)x;
}

int64_t element_int(enum tensor_dtype t, const void *data, int64_t at)
{
    switch (t) {
    case TENSOR_U8:
    case TENSOR_BOOL:
        return ((const uint8_t *)data)[at];
    case TENSOR_I8:
        return ((const int8_t *)data)[at];
    case TENSOR_U16:
        return ((const uint16_t *)data)[at];
    case TENSOR_I16:
        return ((const int16_t *)data)[at];
    case TENSOR_I32:
        return ((const int32_t *)data)[at];
    case TENSOR_U32:
        return ((const uint32_t *)data)[at];
    case TENSOR_I64:
    case TENSOR_U64:
        return ((const int64_t *)data)[at];
    default:
        return to_int(element_real(t, data, at));
    }
}

void element_set_real(enum tensor_dtype t, void *data, int64_t at, double x)
{
    switch (t) {
    case TENSOR_F32:
        ((float *)data)[at] = (float)x;
        break;
    case TENSOR_F64:
        ((double *)data)[at] = x;
        break;
    case TENSOR_F16:
        ((uint16_t *)data)[at] = half_from_float((float)x);
        break;
    case TENSOR_BOOL:
        ((uint8_t *)data)[at] = x != 0;
        break;
    case TENSOR_U64:
        ((uint64_t *)data)[at] =
            x >= 9223372036854775808.0 && x < 18446744073709551616.0 ? (uint64_t)x : (uint64_t)to_int(x);
        break;
    default:
        element_set_int(t, data, at, to_int(x));
    }
}

void element_set_int(enum tensor_dtype t, void *data, int64_t at, int64_t x)
{
    switch (t) {
    case TENSOR_BOOL:
        ((uint8_t *)data)[at] = x != 0;
        break;
    case TENSOR_U8:
    case TENSOR_I8:
        ((uint8_t *)data)[at] = (uint8_t)x;
        break;
    case TENSOR_U16:
    case TENSOR_I16:
        ((uint16_t *)data)[at] = (uint16_t)x;
        break;
    case TENSOR_U32:
    case TENSOR_I32:
        ((uint32_t *)data)[at] = (uint32_t)x;
        break;
    case TENSOR_U64:
    case TENSOR_I64:
        ((int64_t *)data)[at] = x;
        break;
    default:
        element_set_real(t, data, at, (double)x);
    }
}

void element_copy(const struct view *to, int64_t at, const struct view *from, int64_t source)
{
    int64_t bytes = (int64_t)tensor_dtype_bytes(to->dtype);
    memcpy((char *)to->data + at * bytes, (const char *)from->data + source * bytes, (size_t)bytes);
}

int64_t view_int(const struct view *v, int64_t i)
{
    return element_int(v->dtype, v->data, v->rank ? i * v->stride[0] : 0);
}
