/* dispatch.h - the broker's brain: what to do with each message and each moment
 *
 * Invariants:
 * - Each admitted request gets exactly one answer: its entry is removed in the same step in which the answer
 *   is sent.
 * - Whatever attempt's result comes first is the answer; later ones are counted as duplicates.
 * - A request either waits (no job of its current attempt was sent) or is sent, with its route counted in its
 *   members' `outstanding`.
 * - A replica of stage 0 has at most twice its batch of living requests in its queue and in the socket before
 * it.
 *
 * Pure: time and messages come in as arguments, what is to be sent goes out through struct dispatch_io. One
 * thread.
 */
#ifndef FREEZELINE_DISPATCH_H
#define FREEZELINE_DISPATCH_H

#include "wire/frames.h"

/* Where messages go. `payload` as in frames_send: moved on success, left on failure. */
struct dispatch_io {
    void *arg;
    /* to that replica of stage 0; FL_AGAIN: it takes no more now */
    int (*job)(void *arg, int replica, const struct message *m, zmq_msg_t *payload);
    int (*client)(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload);
    int (*control)(void *arg, const struct peer *to, const struct message *m);
    void (*reset)(void *arg, int replica); /* drop what is queued for this replica of stage 0: it died */
    /* Connects to a replica of stage 0 that the pipeline file does not have. NULL: there are none such. */
    void (*meet)(void *arg, int replica, const char *endpoint);
    /* To the other pipeline in this place (relay.h). FL_AGAIN, FL_UNAVAILABLE: it is not there. */
    int (*relay)(void *arg, int place, const struct message *m, zmq_msg_t *payload);
    /* This place is the broker's at `endpoint` from now on; NULL: nobody's. NULL itself: nothing is handed
     * on. */
    int (*aim)(void *arg, int place, const char *endpoint);
};

struct dispatch;

/* `self`: what the broker says of itself (wire/hello.h); the ids of requests start from its incarnation.
 * Borrows `p` for its life. FL_NOMEM. */
int dispatch_new(struct dispatch **out, const struct pipeline *p, const struct dispatch_io *io,
                 const struct hello *self, uint64_t now);
void dispatch_free(struct dispatch *d);

/* What is changed while it serves (state/settings.h), in place of what the pipeline file says. Borrowed. */
struct settings;
void dispatch_heed(struct dispatch *d, struct settings *s);

/* A message that was read at `now` from the clients', results or control socket; a result came at came_ns.
 * `payload` is taken or left; the caller closes it. */
void dispatch_client(struct dispatch *d, const struct peer *from, const struct message *m, zmq_msg_t *payload,
                     uint64_t now);
/* FL_PROTOCOL: a result that no worker of this pipeline can have sent, for an attempt of a living request. */
int dispatch_result(struct dispatch *d, const struct result *r, zmq_msg_t *payload, uint64_t came_ns,
                    uint64_t now, struct error *e);
void dispatch_control(struct dispatch *d, const struct peer *from, const struct message *m, uint64_t now);
/* Requests are answered by n variants of the model as `choice` (taken) says: variant 0 is this pipeline,
 * called `own` (borrowed). FL_NOMEM: choice stays the caller's. */
struct choice;
int dispatch_set_variants(struct dispatch *d, struct choice *choice, const char *own, int n);
/* Variant 1 and so on is that pipeline: it is not there until dispatch_away says otherwise. As
 * dispatch_io.aim. */
int dispatch_add_variant(struct dispatch *d, int variant, const char *name, const char *endpoint);
/* The other pipeline in this place has answered. */
void dispatch_answered(struct dispatch *d, int place, const struct answer *its, zmq_msg_t *scores,
                       uint64_t now);
/* It is not connected, or is connected again. */
void dispatch_away(struct dispatch *d, int place, bool away, uint64_t now);
/* A request came whose envelope could be read and whose tensor could not: answers it with *e. */
void dispatch_malformed(struct dispatch *d, const struct peer *from, uint64_t client_id,
                        const struct error *e);

/* Deaths, deadlines, overdue attempts, waiting requests, collected cancellations. Call after each round of
 * messages. Returns when to call again at the latest. */
uint64_t dispatch_tick(struct dispatch *d, uint64_t now);
/* Requests wait because a socket to stage 0 took no more: call tick when one does. */
bool dispatch_blocked(const struct dispatch *d);
/* That replica of stage 0 is ready for jobs, if its socket takes them. */
bool dispatch_feeds(const struct dispatch *d, int replica);
/* That replica of stage 0 has requests that are not answered: its socket may be full. */
bool dispatch_owed(const struct dispatch *d, int replica);
/* Requests wait for room: whatever comes now has to wait too. */
bool dispatch_full(const struct dispatch *d);

/* Answers every request with FL_UNAVAILABLE: the broker is going away. */
void dispatch_abandon(struct dispatch *d, uint64_t now);

/* What the broker says about itself and its members. */
void dispatch_status(const struct dispatch *d, struct status_reply *out, uint64_t now);

#endif
