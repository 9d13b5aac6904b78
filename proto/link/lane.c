/* lane.c - making a lane's memory; messages as records of its rings */
#include "lane.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/codec.h"

#define ENVELOPE_MOST 4096 /* behind a payload that is filled in place */

/* A payload that lies in a ring: in use until its message is closed. */
struct borrowed {
    struct lane_memory *lane;
    unsigned slot; /* RING_HELD: it is being written */
};

/* A message for which there is no room yet: its envelope and its payload. */
struct waiting {
    struct waiting *next;
    size_t bytes, size; /* of the payload, and of the envelope before it */
    uint8_t data[];
};

struct lane_memory {
    atomic_int users; /* whoever made it, and each payload */
    void *at;
    size_t bytes;
    struct ring in, out;
    struct borrowed borrowed[RING_HELD + 1];
    struct waiting *waiting; /* the oldest */
    int n_waiting;
};

size_t lane_ring_size(size_t bytes)
{
    size_t size = LANE_RING_LEAST;
    while (size < bytes && size < LANE_RING_MOST)
        size *= 2;
    return size;
}

bool lane_is_ring_size(uint64_t bytes)
{
    return bytes >= LANE_RING_LEAST && bytes <= LANE_RING_MOST && !(bytes & (bytes - 1));
}

void lane_release(struct lane_memory *lane)
{
    if (!lane || atomic_fetch_sub(&lane->users, 1) > 1)
        return;
    for (struct waiting *w = lane->waiting, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    munmap(lane->at, lane->bytes);
    free(lane);
}

static struct lane_memory *map(int fd, size_t bytes)
{
    struct lane_memory *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->bytes = bytes;
    lane->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (lane->at == MAP_FAILED) {
        free(lane);
        return NULL;
    }
    atomic_init(&lane->users, 1);
    for (unsigned i = 0; i <= RING_HELD; i++)
        lane->borrowed[i] = (struct borrowed){lane, i};
    return lane;
}

/* `ulimit -f` counts for memory too, and a signal ends who goes beyond it. */
static bool may_have(size_t bytes)
{
    struct rlimit most;
    return getrlimit(RLIMIT_FSIZE, &most) || most.rlim_cur == RLIM_INFINITY || bytes <= most.rlim_cur;
}

/* Its blocks are taken now: too little memory is an error here rather than a fault later. */
struct lane_memory *lane_make(size_t in_bytes, size_t out_bytes, int *fd)
{
    size_t bytes = ring_memory(in_bytes) + ring_memory(out_bytes);
    struct lane_memory *lane = NULL;
    *fd = may_have(bytes) ? memfd_create("freezeline-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (*fd < 0)
        return NULL;
    if (!posix_fallocate(*fd, 0, (off_t)bytes) &&
        !fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        lane = map(*fd, bytes);
    if (!lane) {
        close(*fd);
        return NULL;
    }
    ring_open(&lane->in, lane->at, in_bytes, true);
    ring_open(&lane->out, (uint8_t *)lane->at + ring_memory(in_bytes), out_bytes, true);
    return lane;
}

static bool is_sealed(int fd, size_t bytes)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && !fstat(fd, &st) && st.st_size == (off_t)bytes;
}

struct lane_memory *lane_map(int fd, size_t in_bytes, size_t out_bytes)
{
    size_t bytes = ring_memory(in_bytes) + ring_memory(out_bytes);
    struct lane_memory *lane = is_sealed(fd, bytes) ? map(fd, bytes) : NULL;
    if (!lane)
        return NULL;
    ring_open(&lane->out, lane->at, in_bytes, false);
    ring_open(&lane->in, (uint8_t *)lane->at + ring_memory(in_bytes), out_bytes, false);
    return lane;
}

struct ring *lane_in(struct lane_memory *lane)
{
    return &lane->in;
}

bool lane_is_broken(const struct lane_memory *lane)
{
    return lane->in.broken || lane->out.broken;
}

static void give_back(void *data, void *hint)
{
    struct borrowed *b = hint;
    (void)data;
    if (b->slot < RING_HELD)
        ring_release(&b->lane->in, b->slot);
    lane_release(b->lane);
}

/* A message over ring memory; the lane's memory is in use as long as it is. */
static int borrow(struct lane_memory *lane, unsigned slot, const void *data, size_t bytes, zmq_msg_t *out)
{
    atomic_fetch_add(&lane->users, 1);
    if (!zmq_msg_init_data(out, (void *)(uintptr_t)data, bytes, give_back, &lane->borrowed[slot]))
        return FL_OK;
    lane_release(lane);
    return FL_NOMEM;
}

bool lane_payload(struct lane_memory *lane, size_t bytes, zmq_msg_t *out)
{
    void *data = ring_reserve(&lane->out, bytes, ENVELOPE_MOST);
    return data && !borrow(lane, RING_HELD, data, bytes, out);
}

bool lane_rouse(struct lane_memory *lane)
{
    return ring_rouse(&lane->out);
}

/* As a record. The payload is in its place already, or it is copied there. False: there is no room. */
static bool put(struct ring *out, const void *payload, size_t bytes, const void *envelope, size_t size,
                bool *wake)
{
    void *to;
    if (!bytes || !ring_is_reserved(out, payload) || size > ENVELOPE_MOST) {
        if (!(to = ring_reserve(out, bytes, size)))
            return false;
        if (bytes)
            memmove(to, payload, bytes);
    }
    *wake = ring_commit(out, bytes, envelope, size);
    return true;
}

/* Behind those that wait. */
static int add_waiting(struct lane_memory *lane, const void *payload, size_t bytes, const void *envelope,
                       size_t size, int most)
{
    struct waiting *w, **at = &lane->waiting;
    if (lane->n_waiting >= most)
        return FL_AGAIN;
    if (!(w = malloc(sizeof *w + size + bytes)))
        return FL_NOMEM;
    *w = (struct waiting){NULL, bytes, size};
    memcpy(w->data, envelope, size);
    if (bytes)
        memcpy(w->data + size, payload, bytes);
    while (*at)
        at = &(*at)->next;
    *at = w;
    lane->n_waiting++;
    return FL_OK;
}

bool lane_flush(struct lane_memory *lane, bool *wake)
{
    struct waiting *w;
    *wake = false;
    while ((w = lane->waiting)) {
        bool sleeps = false;
        if (!put(&lane->out, w->data + w->size, w->bytes, w->data, w->size, &sleeps))
            return true;
        *wake |= sleeps;
        lane->waiting = w->next;
        lane->n_waiting--;
        free(w);
    }
    return false;
}

int lane_send(struct lane_memory *lane, const struct message *m, zmq_msg_t *payload, int most, bool *wake)
{
    size_t bytes = payload ? zmq_msg_size(payload) : 0, size;
    const void *data = payload ? zmq_msg_data(payload) : NULL;
    struct scratch *s;
    int rc;
    *wake = false;
    if ((int64_t)bytes != message_payload_bytes(m))
        return FL_SHAPE;
    if (!(s = scratch_start()))
        return FL_NOMEM;
    if ((rc = message_encode(m, s->envelope, sizeof s->envelope, &size)))
        return rc;
    if ((lane->waiting || !put(&lane->out, data, bytes, s->envelope, size, wake)) &&
        (rc = add_waiting(lane, data, bytes, s->envelope, size, most)))
        return rc;
    if (payload) {
        zmq_msg_close(payload);
        zmq_msg_init(payload);
    }
    return FL_OK;
}

/* The envelope is copied before anything in it is believed. */
static int decode(const struct ring_record *r, struct message *m, struct error *e)
{
    struct scratch *s;
    int64_t announced;
    int rc;
    if (r->envelope_bytes > MESSAGE_MAX_ENCODED)
        return error_set(e, FL_PROTOCOL, "an envelope has %zu bytes, at most %d are allowed",
                         r->envelope_bytes, MESSAGE_MAX_ENCODED);
    if (!(s = scratch_start()))
        return error_set(e, FL_NOMEM, "out of memory");
    memcpy(s->envelope, r->envelope, r->envelope_bytes);
    if ((rc = message_decode(m, s->envelope, r->envelope_bytes, e)))
        return rc;
    announced = message_payload_bytes(m);
    if (announced != (int64_t)r->payload_bytes)
        return error_set(e, FL_PROTOCOL, "payload has %zu bytes, the message announces %lld",
                         r->payload_bytes, (long long)announced);
    return FL_OK;
}

static int take_payload(struct lane_memory *lane, const struct ring_record *r, bool copy, zmq_msg_t *payload,
                        struct error *e)
{
    zmq_msg_t got;
    int rc;
    if (!r->payload_bytes) {
        ring_release(&lane->in, r->slot);
        return FL_OK;
    }
    rc = copy ? (zmq_msg_init_size(&got, r->payload_bytes) ? FL_NOMEM : FL_OK)
              : borrow(lane, r->slot, r->payload, r->payload_bytes, &got);
    if (rc) {
        ring_release(&lane->in, r->slot);
        return error_set(e, FL_NOMEM, "out of memory for a payload of %zu bytes", r->payload_bytes);
    }
    if (copy) {
        memcpy(zmq_msg_data(&got), r->payload, r->payload_bytes);
        ring_release(&lane->in, r->slot);
    }
    zmq_msg_move(payload, &got);
    zmq_msg_close(&got);
    return FL_OK;
}

int lane_take(struct lane_memory *lane, const struct ring_record *r, bool copy, struct message *m,
              zmq_msg_t *payload, struct error *e)
{
    int rc = decode(r, m, e);
    if (!rc)
        return take_payload(lane, r, copy, payload, e);
    ring_release(&lane->in, r->slot);
    return rc;
}
