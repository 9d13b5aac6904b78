/* load.h - send requests when they are due, match answers to them, count
 *
 * Open loop: requests are due at the times of `arrivals`, whether or not earlier ones are answered, and
 * latency counts from when a request was due, so a server that falls behind or stalls cannot hide it. Closed
 * loop: N are always in flight; latency counts from when one was sent.
 *
 * How requests leave on time: the next inputs are made ready while there is nothing else to do; the thread
 * sleeps until shortly before the next is due (by as much as it was last woken too late) and then watches the
 * clock. Where a hundredth of the median latency is longer than that, it sleeps for as long beyond, and what
 * is due by then leaves together: to send each for itself would take cores from a server that is overloaded.
 * It goes before others where the system lets it. How late each one left all the same is counted.
 *
 * Before anything is counted the server warms up under the same load (warmup.h). One thread.
 */
#ifndef FREEZELINE_LOAD_H
#define FREEZELINE_LOAD_H

#include <stdio.h>

#include "arrivals.h"
#include "deploy/data/dataset.h"
#include "tally.h"
#include "target.h"
#include "traffic.h"

struct load_options {
    struct target *target;
    const struct dataset *data;
    struct traffic *traffic;
    struct arrivals *arrivals; /* NULL: closed loop */
    struct arrivals *warming; /* of the warm-up, so that none of `arrivals` goes by in it; NULL: `arrivals` */
    int closed;               /* requests in flight */
    int group;            /* closed loop: so many at once, when the last such group is complete; 0: singly */
    double duration_s;    /* of what is counted: stop sending then; 0: only by `requests` or the trace */
    int64_t requests;     /* stop sending after so many that count; 0: only by duration */
    double warmup_s;      /* the longest warm-up; 0: none */
    uint32_t deadline_ms; /* 0: the pipeline's */
    FILE *labels;         /* gets "REQUEST,LABEL" of each answer that counts, as the data say; NULL */
    /* All may be NULL: counting begins; an answer that counts came, `alone`: nothing else was under way while
     * it was; a few times a second, non-zero stops sending, as a signal does (interrupt.h). */
    void (*begun)(void *arg);
    void (*answered)(void *arg, const struct answer *a, uint64_t latency_ns, bool alone);
    int (*tick)(void *arg, const struct tally *so_far, double seconds);
    void *arg;
};

struct load_outcome {
    double warmup_s;
    int64_t warmup_requests;
    bool drifting;       /* the warm-up took its longest, and latency still changed */
    bool stopped;        /* by `tick` */
    bool gone;           /* the server was, in the end */
    char cut_short[160]; /* why the run ended before its time; empty when it did not */
    double cpu_s;        /* of this process while counting */
    double end_s;        /* from the beginning of counting until all was over */
};

/* Counts into *tally, which has counted nothing yet. A server that dies does not make this fail: see
 * cut_short. FL_NOMEM, FL_IO, and whatever the first request meets. */
int load_run(struct tally *tally, struct load_outcome *out, const struct load_options *o, struct error *e);

#endif
