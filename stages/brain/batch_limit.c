/* batch_limit.c - additive increase, multiplicative decrease */
#include "batch_limit.h"

#include <math.h>

#define LESS     0.9
#define MUCH     0.5 /* .. where a batch took twice its time or more */
#define IN_A_ROW 2   /* its own batch and the one before */

void batch_limit_init(struct batch_limit *l, int most, double target_ns, double share)
{
    *l = (struct batch_limit){most, (uint64_t)(target_ns * share / IN_A_ROW), most};
}

int batch_limit_now(const struct batch_limit *l)
{
    return (int)l->limit;
}

void batch_limit_learn(struct batch_limit *l, int n, uint64_t took_ns)
{
    if (!l->may_ns)
        return;
    if (took_ns > l->may_ns)
        l->limit = fmax(1, l->limit * (took_ns / 2 >= l->may_ns ? MUCH : LESS));
    else if (n >= batch_limit_now(l))
        l->limit = fmin(l->most, l->limit + 1);
}
