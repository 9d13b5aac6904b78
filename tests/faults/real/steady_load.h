/* steady_load.h - requests at a steady rate, open loop, by a thread of its own; each one is in an account
 *
 * Due times are those of a Poisson process by seed, whatever becomes of the requests. What the client library
 * keeps from its user, a second answer to one request, is counted too.
 */
#ifndef FREEZELINE_TEST_STEADY_LOAD_H
#define FREEZELINE_TEST_STEADY_LOAD_H

#include "account.h"
#include "config/pipeline.h"

struct steady_load;

struct load_inputs {
    int n;
    struct tensor shape; /* of one */
    const float *data;   /* n of them; borrowed */
    const int32_t *truth;
};

/* Starts sending to p (borrowed) in the caller's network namespace. FL_NOMEM, and what client_new returns. */
int steady_load_start(struct steady_load **out, const struct pipeline *p, const struct load_inputs *in,
                      double rate, uint64_t seed, struct error *e);
/* From now on so many a second. With `closed` > 0 the rate is ignored: so many are always under way. */
void steady_load_pace(struct steady_load *l, double rate, int closed);
/* The account, to be read until steady_load_unlock. */
const struct account *steady_load_lock(struct steady_load *l);
void steady_load_unlock(struct steady_load *l);
/* Requests that could not even be queued. */
int64_t steady_load_unsent(struct steady_load *l);
/* Stops sending, waits until all is answered or over, ends the thread; the account stays. */
void steady_load_stop(struct steady_load *l);
void steady_load_free(struct steady_load *l);

#endif
