/* planner.h - cut a model into stages of equal expected time */
#ifndef FREEZELINE_PLANNER_H
#define FREEZELINE_PLANNER_H

#include "stages/graph/graph.h"

/* Chooses n_stages - 1 of the cuts so that the slowest stage is as fast as possible. cost_ms[i] is the time
 * of node i weighted with the share of requests that still run there (survivors); transfer_ms[c] what
 * crossing cut c costs. Exact (dynamic programming). chosen[0..n_stages-2] are indices into cuts, ascending.
 * FL_USAGE when there are fewer cuts than needed. */
int planner_cut(const double *cost_ms, int n_nodes, const struct cut *cuts, int n_cuts,
                const double *transfer_ms, int n_stages, int *chosen, struct error *e);

#endif
