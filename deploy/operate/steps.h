/* steps.h - how far an order has come, on stderr: a line in place on a terminal, plain lines elsewhere */
#ifndef FREEZELINE_STEPS_H
#define FREEZELINE_STEPS_H

#include "deploy/tool/progress.h"

struct steps {
    bool quiet, begun;
    struct progress progress;
};

/* An order_progress (order.h); `arg` is a struct steps. */
void steps_heard(void *arg, const char *who, int step, int of);
void steps_end(struct steps *s);

#endif
