/* planner.h - cut a model into stages of equal expected time */
#ifndef FREEZELINE_PLANNER_H
#define FREEZELINE_PLANNER_H

#include "stages/graph/graph.h"

/* Behind `node` caches answer this share of all requests. */
struct planner_exit {
    int node;
    double share;
    double look_ms; /* of one look-up, where workers do it themselves */
};

struct planner_input {
    const double *until_ms; /* [n_nodes + 1]: of the nodes before each */
    int n_nodes;
    const struct cut *cuts;
    int n_cuts;
    const double *transfer_ms; /* what crossing each cut costs a request; NULL: nothing */
    int n_stages;
    const int *workers;              /* of each stage, which share its requests; NULL: one */
    const struct planner_exit *exit; /* ascending */
    int n_exits;
    bool far; /* cache services look up: who is answered runs on until the verdict is there, which takes
                 effect at the next exit or at the stage's end */
};

/* What a request costs the stage from behind cut `from` (-1: the beginning) to cut `to` (n_cuts: the end), on
 * average over all requests. */
double planner_stage_ms(const struct planner_input *in, int from, int to);

/* Chooses n_stages - 1 of the cuts so that the slowest stage is as fast as possible: no stage waits longer
 * for another than it has to. Exact (dynamic programming). chosen[0..n_stages-2] are indices into cuts,
 * ascending. FL_USAGE when there are fewer cuts than needed. */
int planner_cut(const struct planner_input *in, int *chosen, struct error *e);
/* How many workers each stage needs so that none waits while one of so many cores idles: as many as the cores
 * that its share of the work keeps busy, at least one. */
void planner_workers(const double *stage_ms, int n_stages, int cores, int *workers);

#endif
