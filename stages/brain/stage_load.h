/* stage_load.h - how busy a stage worker is, how many requests wait for it, and what its cores have left
 *
 * Counted over windows of two seconds and told in thousandths by the heartbeat after each: status finds a
 * stage by it that is too slow for the others (deploy/observe/balance.h). Pure.
 */
#ifndef FREEZELINE_STAGE_LOAD_H
#define FREEZELINE_STAGE_LOAD_H

#include "wire/message.h"

struct stage_load {
    uint64_t since_ns;  /* the window's begin; 0: none has begun */
    uint64_t idle_ns;   /* of its cores, then */
    uint64_t mark_ns;   /* a batch has been in hand since, as far as it is not counted; 0: none */
    uint64_t busy_ns;   /* with a batch in hand */
    uint64_t waited_ns; /* by all requests that were taken into a batch */
};

/* A batch was formed, and it ended. */
void stage_load_begin(struct stage_load *l, uint64_t now);
void stage_load_end(struct stage_load *l, uint64_t now);
/* A request was taken into a batch after so long. */
void stage_load_waited(struct stage_load *l, uint64_t ns);
/* Is a window over? */
bool stage_load_due(const struct stage_load *l, uint64_t now);
/* Into *out: busy, waiting, idle. `idle_ns`: how long its cores have idled until now, all together. */
void stage_load_tell(struct stage_load *l, uint64_t idle_ns, uint64_t now, struct heartbeat *out);

#endif
