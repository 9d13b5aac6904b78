/* records.h - pictures that lie in files as they are, mapped: CIFAR's binary files, arrays */
#ifndef FREEZELINE_RECORDS_H
#define FREEZELINE_RECORDS_H

#include "dataset_spec.h"
#include "array_view.h"

/* Records first..first+count-1 of one file. */
struct records_part {
    const char *path; /* in the spec */
    void *base;       /* mapped */
    size_t bytes;
    struct array_view view;
    int64_t first, count;
};

struct records {
    int n;
    struct records_part part[DATASET_MAX_PARTS];
    struct picture has; /* one of them */
    int64_t count;      /* of all parts */
    int32_t *label;     /* [count]; NULL: none */
};

/* `wanted`: what the model takes, for arrays whose layout cannot be told otherwise; NULL: [n, c, h, w] unless
 * only the last can be channels. p says whether bytes of other sizes are to be resized. Borrows the spec.
 * FL_IO, FL_CORRUPT, FL_SHAPE, FL_DTYPE, FL_VALUE, FL_USAGE, FL_NOMEM. Release in any case. */
int records_open(struct records *out, const struct dataset_spec *spec, const struct picture *wanted,
                 const struct pipeline *p, struct error *e);
void records_release(struct records *r);

/* The part that record *i of all is in; *i becomes its number in part->view. */
const struct records_part *records_part_of(const struct records *r, int64_t *i);

#endif
