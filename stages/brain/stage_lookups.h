/* stage_lookups.h - which look-ups are on their way, and whether one more is worth sending
 *
 * A look-up without an answer counts as late once it is older than the patience, which may be long after its
 * batch: then the circuit breaker hears of it. Pure.
 */
#ifndef FREEZELINE_STAGE_LOOKUPS_H
#define FREEZELINE_STAGE_LOOKUPS_H

#include "breaker.h"
#include "wire/message.h"

struct pending_lookup {
    uint64_t sequence, sent_ns;
    int exit;
    bool answered;
    bool over; /* its batch is done: the verdict only tells that the service lives */
};

struct stage_lookups {
    uint64_t patience_ns;
    uint64_t sequence; /* of the latest */
    int n_pending;
    struct pending_lookup pending[PIPELINE_MAX_EXITS];
    struct breaker breaker;
    uint64_t absent_until_ns[PIPELINE_MAX_EXITS]; /* a verdict said that no cache stands there */
    uint64_t hidden_ns, hidden_until_ns;          /* on their way while layers were computed; counted up to */
};

/* A new batch: nothing was hidden yet. */
void stage_lookups_begin(struct stage_lookups *l);
/* May one be sent now? If it is not sent then, say why: it failed (breaker_late), or breaker_forget_probe. */
bool stage_lookups_allow(struct stage_lookups *l, int exit, uint64_t now);
/* The one with l->sequence was sent. */
void stage_lookups_sent(struct stage_lookups *l, int exit, uint64_t now);
/* The look-up that this verdict answers first; NULL: none, it comes too late or twice. */
const struct pending_lookup *stage_lookups_answered(struct stage_lookups *l, const struct verdict *v,
                                                    uint64_t now);
/* A look-up of the batch in hand has no answer yet. */
bool stage_lookups_unanswered(const struct stage_lookups *l);
/* Nothing is computed beside look-ups from now on, until it is again. */
void stage_lookups_end_hiding(struct stage_lookups *l, uint64_t now);
void stage_lookups_hide_again(struct stage_lookups *l, uint64_t now);
/* The batch is done: what is unanswered was a miss. */
void stage_lookups_settle(struct stage_lookups *l, uint64_t now);

#endif
