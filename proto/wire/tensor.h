/* tensor.h - a dense array of numbers: dtype, shape, row-major data
 *
 * A value type: open, copied freely, owning nothing by itself. A field or function that owns `data` says so.
 */
#ifndef FREEZELINE_TENSOR_H
#define FREEZELINE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_MAX_RANK 8

/* ONNX's own numbers, so that files and wire agree. */
enum tensor_dtype {
    TENSOR_NONE = 0,
    TENSOR_F32 = 1,
    TENSOR_U8 = 2,
    TENSOR_I8 = 3,
    TENSOR_U16 = 4,
    TENSOR_I16 = 5,
    TENSOR_I32 = 6,
    TENSOR_I64 = 7,
    TENSOR_STRING = 8, /* named so that it can be refused by name */
    TENSOR_BOOL = 9,   /* one byte each */
    TENSOR_F16 = 10,
    TENSOR_F64 = 11,
    TENSOR_U32 = 12,
    TENSOR_U64 = 13,  /* the last that files may carry */
    TENSOR_BF16 = 16, /* inside an executor, and in messages between stages */
};

struct tensor {
    enum tensor_dtype dtype;
    int rank;
    int64_t dim[TENSOR_MAX_RANK];
    void *data; /* row-major, no gaps */
};

size_t tensor_dtype_bytes(enum tensor_dtype dtype); /* 0 for one that has no fixed size or is unknown */
/* Has a fixed size and may stand in files. */
bool tensor_dtype_travels(enum tensor_dtype dtype);
const char *tensor_dtype_name(enum tensor_dtype dtype);

/* Number of elements; -1 when a dim is negative or the product of those that are not 0 overflows, so that
 * strides do not either. Rank 0 has one element. */
int64_t tensor_count(const struct tensor *t);
/* Bytes of `data`; -1 as above. */
int64_t tensor_bytes(const struct tensor *t);
bool tensor_same_shape(const struct tensor *a, const struct tensor *b);

/* Allocates zeroed `data` (64-byte aligned) for t's dtype and dims; FL_NOMEM, FL_SHAPE. Free with
 * tensor_release. */
int tensor_alloc(struct tensor *t);
void tensor_release(struct tensor *t); /* frees data, sets it to NULL */

/* Writes "1x3x32x32 float32" into buf and returns buf. */
char *tensor_describe(const struct tensor *t, char *buf, size_t size);

#endif
