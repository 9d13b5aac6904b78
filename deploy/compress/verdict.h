/* verdict.h - a smaller network beside the original, on records that chose nothing */
#ifndef FREEZELINE_VERDICT_H
#define FREEZELINE_VERDICT_H

#include "fit_samples.h"
#include "deploy/tool/progress.h"

struct verdict {
    int64_t records;
    bool classes, labels;
    double agreement,
        agreement_least; /* share of the same labels; at least, with 95% certainty; NAN: no classifier */
    double accuracy[2];  /* of the original, of the smaller; NAN: no labels */
    double error;        /* of the outputs: the mean square relative to theirs */
    double flops[2], cpu_ms[2]; /* of one record; CPU time on one core, the median of runs in turn */
    int64_t parameters[2];
};

/* Runs both on `count` records from `skip` on. FL_CANCELLED, errors as stretch_run. */
int verdict_of(struct verdict *v, const struct graph *was, const struct graph *is,
               const struct samples *samples, int64_t skip, int64_t count, int threads,
               struct progress *progress, struct error *e);

#endif
