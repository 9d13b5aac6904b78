/* dispatch.h - the broker's brain: what to do with each message and each moment
 *
 * Invariants:
 * - Each admitted request gets exactly one answer: its entry is removed in the same step in which the answer
 * is sent.
 * - Whatever attempt's result comes first is the answer; later ones are counted as duplicates.
 * - A request is either on the waiting list (no job of its current attempt was sent) or sent, with its route
 * counted in the workers' `outstanding`.
 * - A replica of stage 0 has at most twice its batch in its queue and in the socket before it.
 *
 * Pure: time and messages come in as arguments, what is to be sent goes out through struct dispatch_io. One
 * thread.
 */
#ifndef FREEZELINE_DISPATCH_H
#define FREEZELINE_DISPATCH_H

#include "admission.h"
#include "registry.h"
#include "requests.h"
#include "succession.h"
#include "wire/span_log.h"

/* Where messages go. `payload` as in frames_send: moved on success, left on failure. */
struct dispatch_io {
    void *arg;
    int (*job)(void *arg, int replica, const struct message *m,
               zmq_msg_t *payload); /* to stage 0; FL_AGAIN = full */
    int (*client)(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload);
    int (*control)(void *arg, const struct peer *to, const struct message *m);
    void (*reset)(void *arg, int replica); /* drop what is queued for this replica of stage 0: it died */
};

struct counters {
    uint64_t admitted, answered, hits, failed, overloaded, expired, retried, duplicates;
    uint64_t refused;       /* requests turned away: draining, unavailable, malformed */
    uint64_t undeliverable; /* answers whose client was gone */
    uint64_t exit[PIPELINE_MAX_EXITS];
};

#define RETRY_TOKENS_MAX 64.0
#define DISPATCH_SPANS   65536 /* of traced requests, of all processes, until a client takes them */

struct dispatch {
    const struct pipeline *pipeline; /* borrowed */
    struct dispatch_io io;
    struct requests *requests;
    struct registry registry;
    struct succession succession;
    uint8_t told_identity[DIGEST_BYTES]; /* of the stages, to the cache services */
    struct admission admission;
    int room; /* how many may be sent and unanswered */
    struct counters counters;
    struct hello self; /* what the broker says of itself */
    uint64_t started_ns;
    uint64_t attempt_ns; /* an attempt without a result for this long is presumed lost */
    double retry_tokens; /* time-outs retried: at most a share of what is admitted, so retries can't feed an
                            overload */
    unsigned turn;
    uint64_t drain_until_ns; /* nothing is admitted before; 0 = not draining */
    bool was_ready, blocked;
    bool full;    /* requests wait for room */
    bool cancels; /* some worker has collected cancellations */
    struct span_log spans;
    struct message out; /* scratch for what is being sent */
};

/* `self`: what the broker says of itself (wire/hello.h); the ids of requests start from its incarnation.
 * Borrows `p` for its life. FL_NOMEM. */
int dispatch_new(struct dispatch **out, const struct pipeline *p, const struct dispatch_io *io,
                 const struct hello *self, uint64_t now);
void dispatch_free(struct dispatch *d);

/* A message that was read at `now` from the clients', results or control socket; a result came at came_ns.
 * `payload` is taken or left; the caller closes it. */
void dispatch_client(struct dispatch *d, const struct peer *from, const struct message *m, zmq_msg_t *payload,
                     uint64_t now);
/* FL_PROTOCOL: a result that no worker of this pipeline can have sent, for an attempt of a living request. */
int dispatch_result(struct dispatch *d, const struct result *r, zmq_msg_t *payload, uint64_t came_ns,
                    uint64_t now, struct error *e);
void dispatch_control(struct dispatch *d, const struct peer *from, const struct message *m, uint64_t now);

/* Deaths, deadlines, overdue attempts, waiting requests, collected cancellations. Call after each round of
 * messages. Returns when to call again at the latest. */
uint64_t dispatch_tick(struct dispatch *d, uint64_t now);
/* Requests wait because a socket to stage 0 took no more: call tick when one does. */
bool dispatch_blocked(const struct dispatch *d);
/* Requests wait for room, so that whatever comes has to wait too. */
bool dispatch_full(const struct dispatch *d);
/* A request came whose tensor was no good: tells its client. */
void dispatch_malformed(struct dispatch *d, const struct peer *from, uint64_t client_id,
                        const struct error *e);

/* Answers every request with FL_UNAVAILABLE: the broker is going away. */
void dispatch_abandon(struct dispatch *d, uint64_t now);

/* dispatch_times.c: an answer's durations; what traced requests met here, and what others say of them */
void dispatch_fill_times(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                         uint64_t came_ns, uint64_t now, struct answer *a);
/* The stage had the verdict of this hit before its patience was over: it has passed nothing on. */
bool dispatch_verdict_in_time(const struct dispatch *d, const struct result *r);
void dispatch_note(struct dispatch *d, const struct request_entry *e, enum span_kind kind, uint64_t start_ns,
                   uint64_t end_ns);
void dispatch_keep_spans(struct dispatch *d, const struct spans *s);
void dispatch_hand_over_spans(struct dispatch *d, const struct peer *to);

/* dispatch.c, for dispatch_admit.c: d->out goes to a client; how many are sent and unanswered */
void dispatch_send_answer(struct dispatch *d, const struct peer *to, zmq_msg_t *scores);
int dispatch_under_way(const struct dispatch *d);

/* dispatch_members.c: workers come and go */
void dispatch_lost(struct dispatch *d, const struct worker *w, const char *why, uint64_t now);
void dispatch_hello(struct dispatch *d, const struct peer *from, const struct hello *h, uint64_t now);
/* The broker's own hello; `serves`: not one that has to wait. */
void dispatch_welcome(struct dispatch *d, const struct peer *to, bool serves);
void dispatch_send_away(struct dispatch *d, const struct peer *to);
/* dispatch_succession.c: workers of another plan wait; all move on together */
void dispatch_keep_waiting(struct dispatch *d, const struct peer *from, const struct hello *h,
                           const char *why, uint64_t now);
bool dispatch_heard_waiting(struct dispatch *d, const struct peer *from, const struct heartbeat *h,
                            uint64_t now);
void dispatch_move_on(struct dispatch *d, uint64_t now);
void dispatch_tell_identity(struct dispatch *d);
/* dispatch_status.c */
void dispatch_status(const struct dispatch *d, struct status_reply *out, uint64_t now);
/* dispatch.c, for the other two: a heartbeat says what the worker has taken; the current attempt of e has
 * failed */
void dispatch_taken(struct dispatch *d, const struct worker *w);
void dispatch_retry(struct dispatch *d, struct request_entry *e, uint32_t reason, bool backoff, uint64_t now);
/* Into d->out: how things stand. */
void dispatch_fill_status(struct dispatch *d, uint64_t now);
void dispatch_flush_cancels(struct dispatch *d);
/* A worker that leaves may go once nothing is to pass through it. Clobbers d->out. */
void dispatch_let_go(struct dispatch *d, const struct worker *w);
/* The current attempt of e has not failed, but goes another way. */
void dispatch_reroute(struct dispatch *d, struct request_entry *e, uint64_t now);
void dispatch_cancel(struct dispatch *d, const struct request_entry *e, int after_stage);
/* Asks the stages on e's way whether they were told that it is a hit, by cache service `cache` or (-1) by
 * any. */
void dispatch_ask(struct dispatch *d, const struct request_entry *e, int cache);
void dispatch_tell_outcome(struct dispatch *d, const struct request_entry *e, int32_t label,
                           int32_t hit_exit);

#endif
