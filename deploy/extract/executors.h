/* executors.h - as many executors of one model as there are cores, each on one thread
 *
 * Layers of a few images are too small to be cut into pieces: two executors do nearly twice the work of one,
 * two threads of one executor hardly more.
 */
#ifndef FREEZELINE_EXECUTORS_H
#define FREEZELINE_EXECUTORS_H

#include "stages/exec/exec.h"
#include "stages/simd/team.h"

#define EXECUTORS_MAX 256

struct executor {
    struct exec *exec;
    float *room; /* three inputs, as floats */
};

struct executors {
    int n;
    int batch;         /* rows that each runs at once, at most */
    struct team *team; /* of n threads, for team_run with n tasks: task i may use executor i */
    struct executor one[EXECUTORS_MAX];
};

/* One executor per thread, each as `o` says but for its threads. All of them together take a quarter of the
 * machine's memory at most: they run fewer rows at once than `o` says, and where not even one row each fits,
 * there is a single executor that has all threads. What is open is closed by executors_close, also after an
 * error. FL_CONFIG, FL_UNAVAILABLE, and whatever exec_new says. */
int executors_open(struct executors *x, const struct graph *g, const struct exec_options *o, int threads,
                   struct error *e);
void executors_close(struct executors *x);

/* Rows at once, `batch` at most, with which `n` executors stay within `memory` bytes, when one with `batch`
 * rows takes `weights` and `arena` bytes; 0 when none does. Pure. */
int executors_batch(size_t weights, size_t arena, int batch, int n, double memory);

#endif
