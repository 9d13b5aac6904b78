/* plan_live.h - what a plan takes from the pipeline that runs: who is answered early, and where */
#ifndef FREEZELINE_PLAN_LIVE_H
#define FREEZELINE_PLAN_LIVE_H

#include "deploy/tool/arguments.h"
#include "stages/graph/graph.h"

struct plan_live {
    uint64_t answered; /* since its broker started */
    double early;      /* share of them that exits answered */
    int n;
    struct plan_exit {
        int node;     /* after which it stands */
        double share; /* of all requests that it answered */
    } exit[PIPELINE_MAX_EXITS];
};

/* Asks the broker of pipeline file p, whose model is g. FL_UNAVAILABLE: nobody serves it. */
int plan_live_ask(struct plan_live *out, const struct graph *g, const struct pipeline *p,
                  const struct pipeline_arguments *where, struct error *e);

#endif
