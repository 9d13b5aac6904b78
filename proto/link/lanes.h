/* lanes.h - messages between processes of one host through shared memory, beside their ZeroMQ sockets
 *
 * A message through ZeroMQ wakes four threads and is copied by the kernel twice. A lane is a pair of rings
 * (ring.h), one each way, in memory that two processes share: a message wakes the thread that it is for, and
 * no other.
 *
 * Who binds an ipc endpoint also listens at PATH.lane; who connects to it asks there. Both go on by ZeroMQ
 * alone where there is no lane, where it is full, where a message is too large for it, and when the other
 * process is gone. So lanes_send may always say FL_AGAIN, and the caller sends through the socket then. Order
 * holds within a lane alone. Who has been asked through a lane has no other way to answer: answers wait for
 * room here (lane_options.unsent).
 *
 * The one that listens makes the memory (a memfd, sealed against shrinking) and hands it over the unix socket
 * together with a descriptor to wake it by; nothing has a name that others could open. It accepts processes
 * of its own user and root. The unix socket stays open: its end is how each side learns that the other is
 * gone. What a process wrote before it died is still read.
 *
 * A `door` is a number that the caller gives to each endpoint. One thread owns a struct lanes; payloads that
 * were received may be closed by any.
 */
#ifndef FREEZELINE_LANES_H
#define FREEZELINE_LANES_H

#include "wire/frames.h"

#define LANES_MAX 128 /* of one struct lanes: those beyond go by ZeroMQ */

struct lanes;

struct lane_options {
    size_t in_bytes,
        out_bytes; /* of the rings of one lane, seen from the one that listens; made powers of two */
    bool copy;     /* payloads that are received are kept for long: they leave the ring at once */
    int most;      /* lanes at this door; 0: as there is room */
    int unsent;    /* messages that wait for room in one lane, at most; those beyond: FL_AGAIN */
};

/* FL_NOMEM, FL_IO. */
int lanes_new(struct lanes **out, struct error *e);
/* Closes all; payloads that were received and are still in use keep their memory. NULL is fine. */
void lanes_free(struct lanes *l);

/* Listens beside an ipc endpoint that this process has bound, and receives there; does nothing for other
 * endpoints, and nothing where it can't (*e says why: the caller may log it and go on). */
int lanes_listen(struct lanes *l, int door, const char *endpoint, const struct lane_options *o,
                 struct error *e);
/* Wants a lane to whoever listens beside an ipc endpoint, now and whenever it is gone, in place of the one
 * that this door had. `reads`: messages come back through it. Where not, what the other process writes all
 * the same keeps nobody awake. */
void lanes_connect(struct lanes *l, int door, const char *endpoint, bool reads);

/* Readable when lanes_turn or lanes_receive has something to do, after lanes_sleep said true. */
int lanes_fd(const struct lanes *l);
/* Of these, the one that messages in lanes make readable, and nothing else does. */
int lanes_wake_fd(const struct lanes *l);
/* Makes lanes_fd readable when this descriptor is, too. It must stay open as long as *l. False: the kernel
 * does not (errno). */
bool lanes_watch(struct lanes *l, int fd);
/* Has lanes_turn found one of those readable, since this was asked last? */
bool lanes_heard(struct lanes *l);
/* Accepts, connects again (now and then), lets go of who is gone. */
void lanes_turn(struct lanes *l, uint64_t now);
/* From now on, whoever sleeps at the other end of a lane is woken for up to `messages` messages together, at
 * the latest by lanes_rouse, lanes_turn or lanes_sleep. At first each wakes at once. */
void lanes_gather(struct lanes *l, int messages);
void lanes_rouse(struct lanes *l);
/* About to sleep on lanes_fd: false when there is something to receive. Call lanes_wake after the sleep.
 * `but`: a bit for each door whose messages can wait: they are not looked for, and wake nobody. */
bool lanes_sleep(struct lanes *l, uint32_t but);
void lanes_wake(struct lanes *l);

/* Hands a descriptor to all who have a lane at a door where this process listens, now and when they come, in
 * place of the one before; -1: nothing is handed out any more. It stays the caller's, and open until then. */
void lanes_offer(struct lanes *l, int door, int fd);
/* What was handed over last at a door where this process connects (the caller's); -1: nothing since. */
int lanes_offered(struct lanes *l, int door);

/* The next message of a door, fairly among its lanes. As frames_recv; `from` can be given to lanes_send. */
int lanes_receive(struct lanes *l, int door, struct peer *from, struct message *m, zmq_msg_t *payload,
                  struct error *e);
/* As frames_send. `to`: where a message of this door came from, NULL where this process connected. FL_AGAIN:
 * through the socket; FL_UNAVAILABLE: `to` came through a lane that is gone. */
int lanes_send(struct lanes *l, int door, const struct peer *to, const struct message *m, zmq_msg_t *payload);
/* A payload of so many bytes to be filled and sent through `door` next: in the lane's own memory, where it
 * has room, so that it is not copied again; else as zmq_msg_init_size. Who has slept long is woken now.
 * FL_NOMEM. */
int lanes_payload(struct lanes *l, int door, size_t bytes, zmq_msg_t *out);

/* Did this message come through a lane? */
bool peer_has_lane(const struct peer *p);
/* The lane through this door now, by a number that no other lane has; 0: there is none. */
uint64_t lanes_reach(const struct lanes *l, int door);

#endif
