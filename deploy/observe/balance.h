/* balance.h - a stage that is too slow for the others though cores idle: a fault of the plan
 *
 * Where a stage computes all of the time and requests wait for it, it says how fast the pipeline is. That is
 * as it should be while all cores compute. Where one idles, the work is cut or spread wrongly. Pure.
 */
#ifndef FREEZELINE_BALANCE_H
#define FREEZELINE_BALANCE_H

#include <stddef.h>

#include "wire/message.h"

struct balance {
    int stage;            /* that the others wait for; -1: none */
    double busy, waiting; /* its share of the time, on average over its replicas; requests that wait for it */
    double idle;          /* cores that idle where one of its replicas runs */
    int least;            /* the stage that computes least, when that is clearly less; -1: none does */
    double least_busy;
};

/* By the last heartbeats of the stage workers that are ready. */
void balance_look(struct balance *out, const struct status_reply *r);
/* What is wrong and what to do about it; "" where nothing is. `config`: the pipeline file. Returns buf. */
char *balance_text(const struct balance *b, const char *config, char *buf, size_t size);

#endif
