/* planner.h - cut a model into stages of equal expected time */
#ifndef FREEZELINE_PLANNER_H
#define FREEZELINE_PLANNER_H

#include "stages/graph/graph.h"

struct planner_input {
    const double *cost_ms; /* of each node, weighted with the share of requests that run there */
    int n_nodes;
    const struct cut *cuts;
    int n_cuts;
    const double *transfer_ms; /* what crossing each cut costs; NULL: nothing */
    int n_stages;
    const int *workers; /* of each stage, which share its requests; NULL: one */
};

/* Chooses n_stages - 1 of the cuts so that the slowest stage is as fast as possible: no stage waits longer
 * for another than it has to. Exact (dynamic programming). chosen[0..n_stages-2] are indices into cuts,
 * ascending. FL_USAGE when there are fewer cuts than needed. */
int planner_cut(const struct planner_input *in, int *chosen, struct error *e);

/* How many workers each stage needs so that none waits while one of so many cores idles: as many as the cores
 * that its share of the work keeps busy, at least one. */
void planner_workers(const double *stage_ms, int n_stages, int cores, int *workers);

#endif
