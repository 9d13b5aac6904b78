/* matrix_file.h - rows of floats on disk, which may be more than memory holds */
#ifndef FREEZELINE_MATRIX_FILE_H
#define FREEZELINE_MATRIX_FILE_H

#include <stdint.h>
#include <stddef.h>

#include "base/error.h"

/* rows x dim floats in a file, mapped read-only. Written append-only by descriptor_writer, so an interrupted
 * extraction resumes at the row it had reached. */
struct matrix_file {
    int64_t rows;
    int dim;
    uint64_t tag; /* of what they were made from */
    const float *data;
    size_t mapped_bytes;
};
int matrix_open(struct matrix_file *m, const char *path, struct error *e);
void matrix_close(struct matrix_file *m);

struct matrix_writer;
/* Opens for append; *rows is how many complete rows are there already (0 for a new file). FL_STALE when it
 * was written for another dim or tag. */
int matrix_writer_open(struct matrix_writer **out, const char *path, int dim, uint64_t tag, int64_t *rows,
                       struct error *e);
int matrix_writer_append(struct matrix_writer *w, const float *rows, int n, struct error *e);
int matrix_writer_close(struct matrix_writer *w, struct error *e); /* fsync */

/* Called from long loops over rows: phase ("exit4: project"), done of total, a number to show (loss).
 * Non-zero return = stop (FL_CANCELLED; work done so far is on disk). */
typedef int (*rows_progress)(void *arg, const char *phase, int64_t done, int64_t total, double number);

#endif
