/* failover.h - which of a pipeline's brokers a client's requests go to, and which are sent again
 *
 * A client has a home, one of the brokers by chance, so that clients spread. It asks another one while its
 * home is not connected, says nothing, or cannot serve; what is unanswered there is sent to the next, under
 * the same key and with the time that is left. The first answer of a request counts, others are dropped.
 *
 * Invariants:
 * - Each request that was taken ends in exactly one answer: a broker's, or an error after its deadline.
 * - A request is at one broker at a time, as far as it is known here; it is sent to each at most twice, but
 * to an only one as often as that starts again. While a broker was lost lately, one that another refuses for
 * want of room waits as long as it is told, and is sent there again, four times at most.
 * - Requests are sent again only while there are tokens: FAILOVER_MOST at first, then one for so many
 * answers. So a client adds a bounded share to the load of brokers that are slow, not gone. Each waits a
 * short time by chance first, so that clients do not all come in one moment.
 *
 * Pure: moments come in as arguments, what is to be sent goes out through struct failover_io. One thread.
 */
#ifndef FREEZELINE_FAILOVER_H
#define FREEZELINE_FAILOVER_H

#include <zmq.h>

#include "wire/message.h"

#define FAILOVER_MOST 4096 /* unanswered requests */

struct failover_io {
    void *arg;
    /* `payload` as in frames_send. FL_AGAIN: it takes no more now. */
    int (*send)(void *arg, int broker, const struct message *m, zmq_msg_t *payload);
    bool (*connected)(void *arg, int broker);
};

struct failover;

/* `seed`: of what is by chance, and a part of all keys: no two clients may have the same. FL_NOMEM. */
int failover_new(struct failover **out, int brokers, uint64_t seed, const struct failover_io *io);
void failover_free(struct failover *f); /* NULL is fine */

/* Takes a request that has time_ns left, and its payload; no other had its id. FL_AGAIN: FAILOVER_MOST are
 * unanswered. */
int failover_submit(struct failover *f, const struct request *r, zmq_msg_t *payload, uint64_t time_ns,
                    uint64_t now);
/* A message came from a broker. */
void failover_heard(struct failover *f, int broker, uint64_t now);
/* It was a StatusReply: since when that process runs, by whatever clock. */
void failover_started(struct failover *f, int broker, uint64_t started_ns, uint64_t now);
/* It was this answer. True: it is to be handed out. False: it was before, or another broker is asked. */
bool failover_answer(struct failover *f, int broker, const struct answer *a, uint64_t now);
/* It is of no interest any more: its broker is told, and it ends within a moment. False: it is not here. */
bool failover_cancel(struct failover *f, uint64_t id, uint64_t now);
/* Sends what is due. Returns when to call again at the latest; UINT64_MAX: nothing is unanswered. */
uint64_t failover_tick(struct failover *f, uint64_t now);
/* Fills *out with the error of a request whose time is over without an answer, or that was cancelled. False:
 * there is none. */
bool failover_expired(struct failover *f, uint64_t now, struct answer *out);
int failover_unanswered(const struct failover *f);

#endif
