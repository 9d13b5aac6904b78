/* stretch.h - a part of a network over many records, a batch for each core at a time
 *
 * A part begins and ends at cuts. What crosses a cut is kept for all records, [count][numbers], so that no
 * part is computed more often than it changes.
 */
#ifndef FREEZELINE_STRETCH_H
#define FREEZELINE_STRETCH_H

#include "deploy/tool/progress.h"
#include "fit_samples.h"
#include "stages/exec/exec.h"

struct stretch {
    const struct graph *graph;
    int first, last; /* nodes */
    int threads;
    int64_t count;
    const struct samples *samples; /* what goes in where `first` is 0, from record `skip` on */
    int64_t skip;
    const float *in; /* otherwise */
    float *out;      /* what crosses at the end, or the network's first output; or NULL */
    /* Told of each node once it has run for records at .. at + n - 1, and before the first as node -1; by
     * several threads at a time, each with records of its own. NULL: nobody is. */
    void (*node)(void *arg, struct exec *x, int node, int64_t at, int n);
    /* All of that many records from `at` on have run. NULL, or FL_OK to go on. */
    int (*some)(void *arg, int64_t at, int n);
    void *arg;
};

/* Most records that are run before `some` is called. */
int stretch_most(const struct graph *g, int threads);
/* FL_CANCELLED at Ctrl-C; errors as exec_new, exec_run, and of `some`. */
int stretch_run(const struct stretch *s, struct error *e);

/* The same several times over with other numbers (in, out, count), while weights stay. Owned; stretch_close.
 */
struct stretch_crew;
int stretch_open(struct stretch_crew **out, const struct stretch *s, struct error *e);
int stretch_again(struct stretch_crew *c, const struct stretch *s, struct error *e);
void stretch_close(struct stretch_crew *c);

#endif
