/* calibration.h - how far a network's values reach on real data, and the integers that they are taken as */
#ifndef FREEZELINE_CALIBRATION_H
#define FREEZELINE_CALIBRATION_H

#include "deploy/data/dataset.h"
#include "stages/exec/exec.h"

/* How the step of a value follows from its distribution: what lies beyond the last integer saturates. */
#define REACHES(X)                                \
    X(MAX, "max")         /* nothing saturates */ \
    X(P9999, "99.99%")    /* one in 10,000 may */ \
    X(P999, "99.9%")      /* one in 1,000 may */  \
    X(SQUARES, "squares") /* the least squared error */

enum reach {
#define X(name, text) REACH_##name,
    REACHES(X)
#undef X
        REACH_COUNT
};
const char *reach_name(enum reach r);

struct calibration;

/* Runs the first `count` records, twice, through the network in float32. FL_CANCELLED, FL_NOMEM, and errors
 * as exec_new. Owned. */
int calibration_new(struct calibration **out, const struct graph *g, const struct dataset *data,
                    int64_t count, struct progress *progress, struct error *e);
void calibration_free(struct calibration *c);
/* The steps of all values beside a convolution or in front of a product; of the model's input only with
 * `input`. FL_NOMEM. */
int calibration_steps(struct quantization *out, const struct calibration *c, enum reach reach, bool input);

#endif
