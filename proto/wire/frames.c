/* frames.c - sending and receiving messages over ZeroMQ, whole or not at all
 *
 * Why sending never leaves half a message: libzmq tests the high-water mark at a message's first frame only.
 * When a peer goes away between frames, PUSH and DEALER roll back and say EAGAIN, and ROUTER drops the rest.
 */
#include "frames.h"

#include <errno.h>
#include <string.h>

#include "codec.h"
#include "keys/keys.h"

static int code_of_errno(void)
{
    return errno == EAGAIN ? FL_AGAIN : errno == EHOSTUNREACH ? FL_UNAVAILABLE : FL_IO;
}

static int send_frame(void *socket, zmq_msg_t *frame, int more)
{
    int rc;
    do
        rc = zmq_msg_send(frame, socket, ZMQ_DONTWAIT | more);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? code_of_errno() : FL_OK;
}

/* The first frame of a message is the only one that can be refused for lack of room. While it only sends,
 * libzmq looks rarely for peers that came or made room; reading ZMQ_EVENTS makes it look. */
static int send_first(void *socket, zmq_msg_t *frame, int more)
{
    int events, rc = send_frame(socket, frame, more);
    size_t size = sizeof events;
    if (rc == FL_AGAIN && !zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) && (events & ZMQ_POLLOUT))
        rc = send_frame(socket, frame, more);
    return rc;
}

static int send_peer(void *socket, const struct peer *to)
{
    zmq_msg_t frame;
    int rc;
    if (zmq_msg_init_size(&frame, to->size))
        return FL_NOMEM;
    memcpy(zmq_msg_data(&frame), to->id, to->size);
    rc = send_first(socket, &frame, ZMQ_SNDMORE);
    zmq_msg_close(&frame);
    return rc;
}

int frames_send(void *socket, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    struct scratch *s = scratch_start();
    size_t payload_bytes = payload ? zmq_msg_size(payload) : 0;
    size_t size;
    zmq_msg_t envelope;
    int rc;

    if (!s)
        return FL_NOMEM;
    if ((int64_t)payload_bytes != message_payload_bytes(m))
        return FL_SHAPE;
    if ((rc = message_encode(m, s->envelope, sizeof s->envelope, &size)))
        return rc;
    if (zmq_msg_init_size(&envelope,
                          size)) /* before the first frame leaves: from there on nothing may fail half-way */
        return FL_NOMEM;
    memcpy(zmq_msg_data(&envelope), s->envelope, size);
    if (!to)
        rc = send_first(socket, &envelope, payload_bytes ? ZMQ_SNDMORE : 0);
    else if (!(rc = send_peer(socket, to)))
        rc = send_frame(socket, &envelope, payload_bytes ? ZMQ_SNDMORE : 0);
    if (!rc && payload_bytes)
        rc = send_frame(socket, payload, 0);
    zmq_msg_close(&envelope);
    return rc;
}

static int recv_frame(void *socket, zmq_msg_t *frame)
{
    int rc;
    do
        rc = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? code_of_errno() : FL_OK;
}

/* Drops the rest of the message of which `frame` is a part. Returns the number of frames dropped. */
static int drop_rest(void *socket, zmq_msg_t *frame)
{
    int n = 0;
    while (zmq_msg_more(frame) && !recv_frame(socket, frame))
        n++;
    return n;
}

static int socket_type(void *socket)
{
    int type = -1;
    size_t size = sizeof type;
    return zmq_getsockopt(socket, ZMQ_TYPE, &type, &size) ? -1 : type;
}

/* Reads the identity frame of a ROUTER's message; leaves `frame` as the last part read. */
static int recv_peer(void *socket, zmq_msg_t *frame, struct peer *from, struct error *e)
{
    size_t size;
    int rc = recv_frame(socket, frame);
    if (rc)
        return rc == FL_AGAIN ? rc
                              : error_set(e, (enum fl_code)rc, "receiving failed: %s", zmq_strerror(errno));
    size = zmq_msg_size(frame);
    if (size == 0 || size > sizeof from->id)
        return error_set(e, FL_PROTOCOL, "peer identity has %zu bytes, 1 to %zu are allowed", size,
                         sizeof from->id);
    from->size = size;
    memcpy(from->id, zmq_msg_data(frame), size);
    if (!zmq_msg_more(frame))
        return error_set(e, FL_PROTOCOL, "message has no envelope");
    return FL_OK;
}

/* A small message lies somewhere in libzmq's receive buffer, at any address (large ones have memory of their
 * own). It is copied, so that its numbers are aligned. */
static int align_payload(zmq_msg_t *payload, struct error *e)
{
    zmq_msg_t aligned;
    size_t size = zmq_msg_size(payload);
    if ((uintptr_t)zmq_msg_data(payload) % 8 == 0)
        return FL_OK;
    if (zmq_msg_init_size(&aligned, size))
        return error_set(e, FL_NOMEM, "out of memory for a payload of %zu bytes", size);
    memcpy(zmq_msg_data(&aligned), zmq_msg_data(payload), size);
    zmq_msg_move(payload, &aligned);
    zmq_msg_close(&aligned);
    return FL_OK;
}

/* The payload, where there is one, after the envelope in `frame`; both are left as the last part read. */
static int recv_payload(void *socket, zmq_msg_t *frame, int64_t announced, zmq_msg_t *payload,
                        struct error *e)
{
    int rc, extra;
    if (!zmq_msg_more(frame)) {
        if (announced)
            return error_set(e, FL_PROTOCOL, "message announces a payload of %lld bytes and has none",
                             (long long)announced);
        return FL_OK;
    }
    if ((rc = recv_frame(socket, payload)))
        return error_set(e, FL_PROTOCOL, "message breaks off before its payload");
    if (zmq_msg_more(payload)) {
        extra = drop_rest(socket, payload);
        return error_set(e, FL_PROTOCOL, "message has %d more frames than the envelope and its payload",
                         extra);
    }
    if ((int64_t)zmq_msg_size(payload) != announced)
        return error_set(e, FL_PROTOCOL, "payload has %zu bytes, the message announces %lld",
                         zmq_msg_size(payload), (long long)announced);
    return align_payload(payload, e);
}

static void empty(zmq_msg_t *payload)
{
    zmq_msg_close(payload);
    zmq_msg_init(payload);
}

int frames_recv(void *socket, struct peer *from, struct message *m, zmq_msg_t *payload, struct error *e)
{
    bool router = socket_type(socket) == ZMQ_ROUTER;
    struct peer unused;
    zmq_msg_t frame;
    int rc = FL_OK;

    empty(payload);
    zmq_msg_init(&frame);
    if (!from)
        from = &unused;
    from->guest = 0;
    if (router)
        rc = recv_peer(socket, &frame, from, e);
    if (!rc && (rc = recv_frame(socket, &frame)) && rc != FL_AGAIN)
        rc = error_set(e, (enum fl_code)rc, "receiving failed: %s", zmq_strerror(errno));
    if (!rc)
        from->guest = keys_guest(&frame);
    if (!rc)
        rc = message_decode(m, zmq_msg_data(&frame), zmq_msg_size(&frame), e);
    if (!rc)
        rc = recv_payload(socket, &frame, message_payload_bytes(m), payload, e);
    else if (rc != FL_AGAIN)
        drop_rest(socket, &frame);
    if (rc)
        empty(payload);
    zmq_msg_close(&frame);
    return rc;
}
