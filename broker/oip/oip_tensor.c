/* oip_tensor.c - names of element types, exact conversions to float32 */
#include "oip_tensor.h"

#include <string.h>

#include "numbers/floats.h"

static const struct {
    const char *name;
    enum tensor_dtype dtype;
} names[] = {
    {"FP32", TENSOR_F32},   {"UINT8", TENSOR_U8},     {"INT32", TENSOR_I32},  {"INT64", TENSOR_I64},
    {"FP16", TENSOR_F16},   {"BF16", TENSOR_BF16},    {"FP64", TENSOR_F64},   {"INT8", TENSOR_I8},
    {"UINT16", TENSOR_U16}, {"INT16", TENSOR_I16},    {"UINT32", TENSOR_U32}, {"UINT64", TENSOR_U64},
    {"BOOL", TENSOR_BOOL},  {"BYTES", TENSOR_STRING},
};

enum tensor_dtype oip_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].name, name))
            return names[i].dtype;
    return TENSOR_NONE;
}

const char *oip_dtype_name(enum tensor_dtype dtype)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].dtype == dtype)
            return names[i].name;
    return "unknown";
}

static float from_bf16(uint16_t b)
{
    uint32_t bits = (uint32_t)b << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Binary data may lie at any address. Each loop leaves at the first element that float32 can't hold. */
#define WIDEN(DTYPE, type, value, exact)                                     \
    case DTYPE:                                                              \
        for (; i < count; i++) {                                             \
            type x;                                                          \
            memcpy(&x, (const char *)from + (size_t)i * sizeof x, sizeof x); \
            to[i] = (value);                                                 \
            if (!(exact))                                                    \
                break;                                                       \
        }                                                                    \
        break;

/* How many of the elements became float32; fewer than `count`: the next one can't, exactly. */
static int64_t widen(enum tensor_dtype dtype, const void *from, float *to, int64_t count)
{
    int64_t i = 0;
    switch (dtype) {
        WIDEN(TENSOR_U8, uint8_t, (float)x, true)
        WIDEN(TENSOR_I8, int8_t, (float)x, true)
        WIDEN(TENSOR_BOOL, uint8_t, (float)x, true)
        WIDEN(TENSOR_U16, uint16_t, (float)x, true)
        WIDEN(TENSOR_I16, int16_t, (float)x, true)
        WIDEN(TENSOR_U32, uint32_t, (float)x, (double)to[i] == (double)x)
        WIDEN(TENSOR_I32, int32_t, (float)x, (double)to[i] == (double)x)
        WIDEN(TENSOR_I64, int64_t, (float)x,
              x <= 1ll << 53 && x >= -(1ll << 53) && (double)to[i] == (double)x)
        WIDEN(TENSOR_F16, uint16_t, half_to_float(x), true)
        WIDEN(TENSOR_BF16, uint16_t, from_bf16(x), true)
    default:
        return -1;
    }
    return i;
}

int oip_convert(enum tensor_dtype from_type, const void *from, enum tensor_dtype to_type, void *to,
                int64_t count, struct error *e)
{
    int64_t n = to_type == TENSOR_F32 ? widen(from_type, from, to, count) : -1;
    if (n < 0)
        return error_set(e, FL_DTYPE, "the input is %s, the model takes %s", oip_dtype_name(from_type),
                         oip_dtype_name(to_type));
    if (n < count)
        return error_set(
            e, FL_VALUE,
            "element %lld of the input is larger than FP32, which the model takes, holds exactly",
            (long long)n);
    return FL_OK;
}
