/* npy.h - NumPy's array files, format versions 1 to 3
 *
 * Little-endian numbers of a fixed size only. Every size is checked against the file before anything is
 * allocated.
 */
#ifndef FREEZELINE_NPY_H
#define FREEZELINE_NPY_H

#include "base/error.h"
#include "wire/tensor.h"

/* A file mapped read-only; tensor.data points into it, at any address. */
struct npy_map {
    struct tensor tensor;
    bool fortran; /* the first dimension is the fastest */
    void *base;
    size_t bytes;
};

/* A whole regular file, mapped read-only; munmap it. FL_IO; FL_CORRUPT when it is empty or
 * no regular file. */
int npy_map_file(void **base, size_t *bytes, const char *path, struct error *e);

/* Reads one; data is owned by the caller (tensor_release). Fortran order is converted. FL_IO, FL_CORRUPT,
 * FL_DTYPE, FL_NOMEM. */
int npy_read(struct tensor *out, const char *path, struct error *e);
int npy_map_open(struct npy_map *m, const char *path, struct error *e);
void npy_map_close(struct npy_map *m);
int npy_write(const struct tensor *t, const char *path, struct error *e);

/* The header alone: fills dtype, rank, dims, *fortran and *offset of the data. For tests and fuzzing. */
int npy_parse(struct tensor *out, bool *fortran, size_t *offset, const void *data, size_t size,
              struct error *e);

#endif
