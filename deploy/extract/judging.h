/* judging.h - what a network says about the records of a data set, in one precision or another */
#ifndef FREEZELINE_JUDGING_H
#define FREEZELINE_JUDGING_H

#include "deploy/data/dataset.h"
#include "stages/exec/exec.h"

struct judging {
    const struct graph *graph;
    const struct dataset *data;
    int64_t count;             /* of its first records */
    int threads, classes;      /* of the model */
    const char *phase;         /* what progress calls it */
    struct progress *progress; /* or NULL */
};

/* Labels of the records under these options: max_batch records at a time on each thread. FL_CANCELLED,
 * FL_VALUE when a score is not a number, errors as exec_new. */
int judge(int32_t *label, const struct judging *j, const struct exec_options *o, struct error *e);

#endif
