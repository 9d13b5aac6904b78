/* client.h - send requests to a pipeline, receive answers
 *
 * One client per thread (async.h: one for many). Requests and answers are matched by the id that client_send
 * returns; answers come in any order.
 */
#ifndef FREEZELINE_CLIENT_H
#define FREEZELINE_CLIENT_H

#include "base/error.h"
#include "config/pipeline.h"
#include "wire/message.h"

struct client;

/* Connects to all brokers of p (borrows p for the call only). Where there are several, a request that one
 * does not answer goes to the next, within its deadline, and ends in an answer or in one error (failover.h).
 */
int client_new(struct client **out, const struct pipeline *p, struct error *e);
/* To that broker alone. */
int client_new_of(struct client **out, const struct pipeline *p, int broker, struct error *e);
void client_free(struct client *c);

struct client_request {
    struct tensor input;             /* of one request, in the model's own layout (dim[0] = 1) */
    uint32_t flags;                  /* job_flags */
    uint32_t deadline_ms;            /* 0 = the pipeline's */
    uint32_t priority, loss_allowed; /* as in struct request */
    uint64_t trace_high, trace_low, parent, span, context, stream;
    /* NULL: input.data are copied. Else they are lent until release(input.data, arg) is called, once,
     * whatever the call returns; maybe before it does, maybe after the answer, and by any thread. */
    void (*release)(void *data, void *arg);
    void *arg;
};

/* Queues one request. FL_UNAVAILABLE when no broker is connected and the queue is full. *id identifies the
 * answer. */
int client_send(struct client *c, const struct client_request *r, uint64_t *id, struct error *e);
/* The same with a copy of `input`. */
int client_submit(struct client *c, const struct tensor *input, uint32_t flags, uint32_t deadline_ms,
                  uint64_t *id, struct error *e);
/* The answer is of no interest any more: the pipeline stops working for it. It is answered all the same, with
 * FL_CANCELLED or, where it was on its way, as it would have been. False: it was answered already. */
bool client_cancel(struct client *c, uint64_t id);

/* Waits up to timeout_ms (-1: for ever) for the next answer. `scores` (may be NULL) gets up to `capacity`
 * floats and *n their number. FL_AGAIN on timeout and when a signal was handled. An answer with answer->error
 * set is still an answer: the call returns FL_OK. Where answer->retry_after_ms is set, load is to blame: try
 * again after so long. */
int client_receive(struct client *c, int timeout_ms, struct answer *answer, float *scores, int capacity,
                   int *n, struct error *e);

/* The same, but *scores are where they came (NULL: there are none), and valid until the next call with c. */
int client_receive_lent(struct client *c, int timeout_ms, struct answer *answer, const float **scores, int *n,
                        struct error *e);

/* One request and its answer; answers to requests that were sent before are dropped. FL_DEADLINE when the
 * broker says nothing until shortly after the deadline. */
int client_ask(struct client *c, const struct client_request *r, struct answer *answer, float *scores,
               int capacity, int *n, struct error *e);
/* The same with a copy of `input`. */
int client_infer(struct client *c, const struct tensor *input, uint32_t flags, uint32_t deadline_ms,
                 struct answer *answer, float *scores, int capacity, int *n, struct error *e);

int client_status(struct client *c, int timeout_ms, struct status_reply *out, struct error *e);
/* Where the time of all answers since the broker's start has gone, as histograms. */
int client_times(struct client *c, int timeout_ms, struct times *out, struct error *e);
/* Asks the broker, by its control socket, to admit no more for lease_ms (at most DRAIN_MAX_LEASE_MS). *out
 * (may be NULL) says at once how far it is: drained once nothing is in flight. Ask again until then, before
 * the lease is over: when the asker is gone the broker admits again. */
int client_drain(struct client *c, uint32_t lease_ms, int timeout_ms, struct status_reply *out,
                 struct error *e);
/* The broker admits again at once. */
int client_undrain(struct client *c, int timeout_ms, struct error *e);
/* These pipelines answer a part of the requests from now on, in place of those before; *out (may be NULL)
 * says what they have done, and lacks those that the broker cannot connect to. Ask again before the lease is
 * over: when the asker is gone, nothing is handed on any more. */
int client_relays(struct client *c, const struct relays *relays, int timeout_ms, struct status_reply *out,
                  struct error *e);

/* Takes spans of traced requests (JOB_TRACE) from the broker, as many as one message holds: ask again while
 * out->left. What workers noted reaches the broker before their next heartbeat. */
int client_take_spans(struct client *c, int timeout_ms, struct spans *out, struct error *e);

/* True labels, told after the fact, at most MESSAGE_MAX_FEEDBACK of them; item[i].request is answer->request.
 * *reply says what was taken; the last reply->later of them were not looked at: send them again in a moment.
 * FL_UNSUPPORTED: the pipeline learns nothing from them; FL_UNAVAILABLE: nobody is there who does. */
int client_feedback(struct client *c, const struct feedback_item *item, int n, int timeout_ms,
                    struct feedback *reply, struct error *e);

/* A broker of this host that sleeps is woken for so many requests together, at the latest by client_receive.
 * For those who submit many at once. */
void client_gather(struct client *c, int requests);

/* A file descriptor that becomes readable when answers may be there (edge-triggered as ZMQ_FD is: drain with
 * client_receive(timeout 0) until FL_AGAIN). */
int client_fd(const struct client *c);

#endif
