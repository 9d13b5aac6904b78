/* tensor.c - sizes, names, allocation of tensors */
#include "tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [TENSOR_NONE] = {"none", 0},  [TENSOR_F32] = {"float32", 4}, [TENSOR_U8] = {"uint8", 1},
    [TENSOR_I8] = {"int8", 1},    [TENSOR_U16] = {"uint16", 2},  [TENSOR_I16] = {"int16", 2},
    [TENSOR_I32] = {"int32", 4},  [TENSOR_I64] = {"int64", 8},   [TENSOR_STRING] = {"string", 0},
    [TENSOR_BOOL] = {"bool", 1},  [TENSOR_F16] = {"float16", 2}, [TENSOR_F64] = {"float64", 8},
    [TENSOR_U32] = {"uint32", 4}, [TENSOR_U64] = {"uint64", 8},  [TENSOR_BF16] = {"bfloat16", 2},
};
#define N_DTYPES ((int)(sizeof dtypes / sizeof *dtypes))

size_t tensor_dtype_bytes(enum tensor_dtype dtype)
{
    return (int)dtype >= 0 && (int)dtype < N_DTYPES ? dtypes[dtype].bytes : 0;
}

bool tensor_dtype_travels(enum tensor_dtype dtype)
{
    return dtype <= TENSOR_U64 && tensor_dtype_bytes(dtype) > 0;
}

const char *tensor_dtype_name(enum tensor_dtype dtype)
{
    return (int)dtype >= 0 && (int)dtype < N_DTYPES && dtypes[dtype].name ? dtypes[dtype].name : "unknown";
}

int64_t tensor_count(const struct tensor *t)
{
    int64_t n = 1;
    bool empty = false;
    if (t->rank < 0 || t->rank > TENSOR_MAX_RANK)
        return -1;
    for (int i = 0; i < t->rank; i++) {
        empty |= t->dim[i] == 0;
        if (t->dim[i] < 0 || (t->dim[i] && __builtin_mul_overflow(n, t->dim[i], &n)))
            return -1;
    }
    return empty ? 0 : n;
}

int64_t tensor_bytes(const struct tensor *t)
{
    int64_t n = tensor_count(t);
    if (n < 0 || __builtin_mul_overflow(n, (int64_t)tensor_dtype_bytes(t->dtype), &n))
        return -1;
    return n;
}

bool tensor_same_shape(const struct tensor *a, const struct tensor *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

int tensor_alloc(struct tensor *t)
{
    int64_t bytes = tensor_bytes(t);
    size_t rounded;
    if (bytes < 0)
        return FL_SHAPE;
    rounded = ((size_t)bytes + 63) / 64 * 64 + 64;
    t->data = aligned_alloc(64, rounded);
    if (!t->data)
        return FL_NOMEM;
    memset(t->data, 0, rounded);
    return FL_OK;
}

void tensor_release(struct tensor *t)
{
    free(t->data);
    t->data = NULL;
}

char *tensor_describe(const struct tensor *t, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (int i = 0; i < t->rank && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? "x" : "", (long long)t->dim[i]);
    if (n < size)
        snprintf(buf + n, size - n, "%s%s", t->rank ? " " : "scalar ", tensor_dtype_name(t->dtype));
    return buf;
}
