/* lanes.h - as many executors of one model as there are cores, each on one thread
 *
 * Layers of a few images are too small to be cut into pieces: two executors do nearly twice the work of one,
 * two threads of one executor hardly more.
 */
#ifndef FREEZELINE_LANES_H
#define FREEZELINE_LANES_H

#include "config/pipeline.h"
#include "stages/exec/exec.h"
#include "stages/kernels/team.h"

#define LANES_MAX 256

struct lane {
    struct exec *exec;
    float *room; /* three inputs, as floats */
};

struct lanes {
    int n;
    struct team *team; /* of n threads, for team_run with n tasks: task i may use lane i */
    struct lane lane[LANES_MAX];
};

/* One lane per thread; a single one that has all of them where the executors together would take more than a
 * quarter of the machine's memory. What is open is closed by lanes_close, also after an error. FL_CONFIG,
 * FL_UNAVAILABLE, and whatever exec_new says. */
int lanes_open(struct lanes *l, const struct graph *g, const struct pipeline *p, int threads, int batch,
               struct error *e);
void lanes_close(struct lanes *l);

#endif
