/* measure.h - what the variants of a pipeline file do to the same records: accuracy, time, memory, energy
 */
#ifndef FREEZELINE_MEASURE_H
#define FREEZELINE_MEASURE_H

#include "broker/choice/choice.h"
#include "deploy/evaluate/evaluation.h"
#include "deploy/tool/arguments.h"

struct measured {
    const char *name, *model;
    char computes[PRECISION_TEXT_BYTES];
    struct evaluation of; /* against the full answers: those of the first variant's network in float32 */
    struct evaluated_answer *answers; /* [records] */
    double bytes, joules;             /* while loaded; of a request: NaN where the machine does not tell */
    int64_t right;                    /* where there are labels */
    /* Against what the best variant answers. */
    double loss,
        upper;  /* shares of the requests; upper: a bound at the certainty, for all variants at once */
    bool front; /* no other one is as accurate and quicker, or as quick and more accurate */
};

struct measurements {
    struct pipeline *front;
    struct dataset *data;
    int n, best; /* best: the most accurate as it serves; without labels the first */
    bool labelled;
    int64_t records;
    double certainty;
    struct measured one[CHOICE_MAX];
};

struct measure_input {
    const struct pipeline_arguments *where;
    const char *data;
    int64_t limit; /* of records; 0: all */
    int threads;
    bool skip_broken;
    struct progress *progress;
};

/* Loads, checks and measures one variant after the other. FL_CONFIG where the file names no variants,
 * FL_SHAPE when one has other inputs or classes than the first, FL_CANCELLED, errors as evaluation_run.
 * Release in any case. */
int measure(struct measurements *out, const struct measure_input *in, struct error *e);
void measurements_release(struct measurements *m);

#endif
