/* tally.h - what came back of a load: counts, latencies, where the time went, a time line
 *
 * Times are in ns after the beginning of what is measured. One thread; tallies of several runs are merged.
 * About 1.3 MiB, and 32 KiB for each slot of the time line that is used.
 */
#ifndef FREEZELINE_TALLY_H
#define FREEZELINE_TALLY_H

#include "attribution.h"
#include "numbers/histogram.h"
#include "wire/message.h"

#define TALLY_SLOTS   600                /* of the time line; beyond, two become one */
#define TALLY_NETWORK PIPELINE_MAX_EXITS /* answered by no exit */

struct tally_exit {
    int64_t answered, labelled, right;
    struct histogram latency;
};

struct tally_slot {
    int64_t sent, answered, errors, early;
    struct histogram latency; /* of those that were answered in it */
};

struct tally {
    int64_t sent, answered, errors, repeats;
    int64_t lost;            /* of the errors: no answer at all */
    int64_t error[FL_CODES]; /* the others */
    int64_t garbage;         /* messages that were no answer */
    int64_t known;           /* answered as an earlier request with the same input */
    int64_t retried;         /* answered in more than one attempt */
    uint64_t deadline_ns;    /* of each request, by the client's clock */
    int64_t in_time;         /* answered within it */
    int64_t labelled, right;
    double seconds;         /* from the beginning until the last one was sent, answered or refused */
    double sending_seconds; /* from the beginning to the last due time */
    struct histogram latency;
    struct histogram refusal;  /* of those that were told to come back later; they are errors too */
    struct histogram lateness; /* how late requests were sent; open loop */
    struct histogram query;    /* of groups of requests that were sent together, until the last answer */
    struct tally_exit exit[TALLY_NETWORK + 1];
    struct attribution *attribution; /* where the time went */
    uint64_t slot_ns;
    int n_slots;
    struct tally_slot *slot; /* TALLY_SLOTS */
};

int tally_new(struct tally **out); /* FL_NOMEM */
void tally_free(struct tally *t);
/* Adds all of `from` but its time line. */
void tally_merge(struct tally *to, const struct tally *from);

void tally_sent(struct tally *t, uint64_t at_ns, uint64_t late_ns, bool repeat);
/* No answer, or one that says why not; FL_OK for a request that was lost. */
void tally_error(struct tally *t, uint64_t at_ns, int code);
/* FL_OVERLOADED, which took so long to hear. */
void tally_refusal(struct tally *t, uint64_t at_ns, uint64_t latency_ns);
/* An answer without error; `label` is the true one, -1 when not known. */
void tally_answer(struct tally *t, uint64_t at_ns, const struct answer *a, uint64_t latency_ns,
                  int32_t label);

#endif
