/* frames.h - messages over ZeroMQ sockets
 *
 * A multipart message is: [identity, on ROUTER sockets only] [envelope] [raw payload, where the message has
 * one]. Anything else (more frames, a payload of the wrong length, an undecodable envelope) is FL_PROTOCOL
 * and is consumed whole, so the next call sees the next message. Sockets are used by the thread that made
 * them.
 */
#ifndef FREEZELINE_FRAMES_H
#define FREEZELINE_FRAMES_H

#include <zmq.h>

#include "keys/security.h"
#include "message.h"

struct peer {
    size_t size;
    uint8_t id[64];
    uint32_t guest; /* by which key it came (keys.h); 0: by none */
};

enum frames_mode { FRAMES_BIND, FRAMES_CONNECT };

struct socket_options {
    int high_water;    /* messages, both ways; 0 = 1000 */
    int unread;        /* messages of one peer that wait to be read; 0 = high_water */
    int64_t max_bytes; /* largest frame accepted; 0 = MESSAGE_MAX_TENSOR_BYTES */
    bool immediate;    /* queue only to peers that are connected */
    bool mandatory;    /* ROUTER: an unroutable message is an error */
    const char *bind;  /* listen at this host instead of the endpoint's; NULL: there (pipeline's `bind`) */
    const char *also;  /* bind this endpoint, too; NULL: none (pipeline_also) */
    enum party to;     /* connecting: who binds that endpoint; 0: a broker */
};

/* Makes a socket of `type`, sets every option by name (LINGER 0, MAXMSGSIZE, HWM, IMMEDIATE), binds or
 * connects. On bind failure the text names the endpoint and who may hold it. `security` (security.h):
 * refuses tcp beyond loopback, or protects it by keys. For ipc://, missing directories are made (mode 0700)
 * and a path that a living process holds is refused. */
int frames_socket(void **out, void *context, int type, enum frames_mode mode, const char *endpoint,
                  const struct socket_options *o, const struct security *security, struct error *e);

/* What it can do now: ZMQ_POLLIN, ZMQ_POLLOUT. NULL: nothing. */
int frames_events(void *socket);
/* It is connected and its queue has room. NULL: no. */
bool frames_takes(void *socket);
/* Lets the connections of a socket go that was made with FRAMES_CONNECT, and makes new ones, if they are tcp.
 * `to` and `security` as then. FL_CONFIG, FL_INTERNAL, FL_IO. */
int frames_connect_again(void *socket, enum party to, const struct security *security, struct error *e);

/* Closes it. What was sent and has not left yet may leave for linger_ms. NULL is fine. */
void frames_close(void *socket, int linger_ms);

/* When someone removes the file of a unix socket, connections live on but nobody new can connect. This makes
 * the file again. FL_OK: it is there, or `endpoint` is no unix socket. FL_STALE: it was gone and is made
 * again. Else: it can't be made. */
int frames_keep_bound(void *socket, const char *endpoint, struct error *e);
/* The same, at most once a second, with a line in the log. *looked_ns: the time of the last look; 0 at first.
 */
void frames_keep_bound_now(void *socket, const char *endpoint, uint64_t *looked_ns, uint64_t now);

/* Sends one message. `to` only for ROUTER. `payload` (may be NULL) is moved into the socket on success and
 * left to the caller on failure. Never blocks: FL_AGAIN when the peer's queue is full or nobody is connected;
 * FL_UNAVAILABLE when a ROUTER does not know `to`; FL_SHAPE when the payload is not what the message
 * announces. */
int frames_send(void *socket, const struct peer *to, const struct message *m, zmq_msg_t *payload);

/* Receives one message without blocking: FL_AGAIN when there is none. `payload` must be initialised; it is
 * replaced by the raw frame (size 0 when absent). `from` (may be NULL) says who sent it. Its size is checked
 * against the tensor that the message announces, and its data are aligned to 8 bytes (while `payload` stays
 * where it is: small messages live inside it). */
int frames_recv(void *socket, struct peer *from, struct message *m, zmq_msg_t *payload, struct error *e);

#endif
