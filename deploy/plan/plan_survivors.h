/* plan_survivors.h - who is answered early, and where: of the pipeline that runs, or of a report */
#ifndef FREEZELINE_PLAN_SURVIVORS_H
#define FREEZELINE_PLAN_SURVIVORS_H

#include "deploy/tool/arguments.h"
#include "stages/place/planner.h"

struct plan_survivors {
    uint64_t answered; /* by the running pipeline since its broker started */
    double early;      /* share that exits answered */
    int n_exits;
    struct planner_exit exit[PIPELINE_MAX_EXITS];
};

/* Asks the broker of pipeline file p, whose model is g. FL_UNAVAILABLE: nobody serves it. */
int plan_survivors_ask(struct plan_survivors *out, const struct graph *g, const struct pipeline *p,
                       const struct pipeline_arguments *where, struct error *e);
/* From a report of eval --json on g. FL_USAGE: it is none. */
int plan_survivors_read(struct plan_survivors *out, const struct graph *g, const char *path, struct error *e);

#endif
