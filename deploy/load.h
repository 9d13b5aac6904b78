/* load.h - drive a running pipeline with requests from a data set, and count what comes back
 *
 * Open loop: requests are due at the times of a Poisson process, whether or not earlier ones are answered,
 * and latency counts from when a request was due, so a pipeline that falls behind cannot hide it. Closed
 * loop: N are always in flight; latency counts from when one was sent. One thread, one client.
 */
#ifndef FREEZELINE_LOAD_H
#define FREEZELINE_LOAD_H

#include "attribution.h"
#include "base/histogram.h"
#include "dataset.h"
#include "wire/message.h"

struct load_result;

struct load_options {
    const struct pipeline *pipeline;
    const struct dataset *data;
    double rate;       /* requests per second; 0: closed loop */
    int closed;        /* requests in flight */
    double duration_s; /* stop sending then; 0: only by `requests` */
    int64_t requests;  /* stop sending after so many; 0: only by duration */
    uint32_t flags;    /* job_flags */
    uint32_t deadline_ms;
    uint64_t seed;
    int (*tick)(void *arg,
                const struct load_result *so_far); /* a few times a second; non-zero stops sending */
    void *tick_arg;
};

struct load_result {
    int64_t sent, answered, errors, lost; /* lost: no answer at all */
    int64_t error[FL_CODES];
    int64_t by_exit[PIPELINE_MAX_EXITS], by_network;
    int64_t labelled, right;
    int64_t retried; /* answered in more than one attempt */
    double seconds;  /* from the first due time to the last answer */
    double offered_rps;
    struct histogram latency, send_lag; /* send_lag: how late requests were sent, open loop */
    struct histogram exit_latency[2];   /* 0: answered by the network, 1: by an exit */
    struct attribution *attribution;    /* where the time went; load_result_close frees it */
};

/* Close the result also after a failure. */
int load_run(struct load_result *out, const struct load_options *o, struct error *e);
void load_result_close(struct load_result *r);

#endif
