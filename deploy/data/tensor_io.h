/* tensor_io.h - tensors from and to files, by the file's ending: .npy, or ONNX TensorProto .pb */
#ifndef FREEZELINE_TENSOR_IO_H
#define FREEZELINE_TENSOR_IO_H

#include "base/error.h"
#include "wire/tensor.h"

/* Data is owned by the caller (tensor_release). FL_USAGE for another ending. */
int tensor_io_read(struct tensor *out, const char *path, struct error *e);
/* `name` goes into a .pb. */
int tensor_io_write(const struct tensor *t, const char *name, const char *path, struct error *e);

/* Element i as a double (bool: 0 or 1; 64-bit integers rounded). */
double tensor_io_element(const struct tensor *t, int64_t i);

/* Makes `t` (owned data) float32 where it is another number type. FL_NOMEM. */
int tensor_io_to_float(struct tensor *t, struct error *e);

struct tensor_difference {
    double max_abs, max_rel, scaled; /* scaled: largest difference by largest expected number */
    int64_t worst;                   /* the element furthest out of bounds, -1 when all are within */
    bool ok;
};
/* Each |got - expected| <= atol + rtol |expected|; NaN equals NaN. Shapes and types must be
 * the same already. */
struct tensor_difference tensor_io_compare(const struct tensor *got, const struct tensor *expected,
                                           double rtol, double atol);

#endif
