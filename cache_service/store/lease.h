/* lease.h - who of several cache services is the learner: what to ask Redis for and when, what to believe;
 * pure
 *
 * The lease is a Redis key that expires. It is taken with SET NX PX together with INCR of the fence, so each
 * holder has a larger fence than all before it, and every write of the learner is refused by Redis when the
 * key no longer holds its token. Validity counts from before the question was sent, so that a holder stops
 * believing earlier than Redis does; it asks again at a third of the duration. Who has nothing to learn into
 * gives it back, for another.
 */
#ifndef FREEZELINE_LEASE_H
#define FREEZELINE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct lease {
    uint64_t duration_ns;
    uint64_t fence;    /* 0 = not held */
    uint64_t valid_ns; /* held until then */
    uint64_t next_ns;  /* nothing to ask before then */
};

enum lease_action { LEASE_IDLE, LEASE_ACQUIRE, LEASE_RENEW, LEASE_RELEASE };

void lease_init(struct lease *l, uint64_t duration_ns);
/* From when on there is something to ask; UINT64_MAX: nothing. `wanted`: there is something to learn into. */
uint64_t lease_due(const struct lease *l, bool wanted);
/* What to ask Redis at `now_ns`; what is due within early_ns too. An expired lease is dropped here. */
enum lease_action lease_next(struct lease *l, bool wanted, uint64_t now_ns, uint64_t early_ns);
/* The answer to an ACQUIRE that was sent at sent_ns: the new fence, or 0 when somebody else holds it. */
void lease_acquired(struct lease *l, uint64_t fence, uint64_t sent_ns);
/* The answer to a RENEW that was sent at sent_ns. */
void lease_renewed(struct lease *l, bool ok, uint64_t sent_ns);
/* Redis refused the token, or it was given back: not held; asks again after a third of the duration. */
void lease_lost(struct lease *l, uint64_t now_ns);
bool lease_held(const struct lease *l, uint64_t now_ns);

#endif
