/* ring.h - messages from one writer to one reader through memory that both have mapped
 *
 * A record is a payload and an envelope, each in one piece. The writer makes room, fills it, and lets the
 * reader see it (ring_commit); the reader works on the record where it lies and gives its room back
 * (ring_release), in any order: room is free again once all records before it are.
 *
 * The other end may be broken or hostile. Each number of its is read once and checked: what does not fit
 * makes the ring `broken`, for good. It can change a record while it is read, so an envelope is copied before
 * it is decoded, and a payload is only ever taken as numbers. The memory must not shrink (a sealed memfd).
 *
 * Waking: a reader that is about to sleep says so (ring_sleep) and looks once more; the writer that finds it
 * sleeping has to wake it (ring_commit tells). No system call happens in here.
 *
 * One thread at each end; ring_release may be called from any.
 */
#ifndef FREEZELINE_RING_H
#define FREEZELINE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_ALIGN 64  /* of payloads, and of what a record takes */
#define RING_HELD  256 /* records that were read and not given back, at most */

struct ring_shared; /* at the beginning of the memory */

/* A record that was read. Its bytes are the other end's to change. */
struct ring_record {
    const uint8_t *payload, *envelope;
    size_t payload_bytes, envelope_bytes;
    unsigned slot; /* for ring_release */
};

struct ring {
    struct ring_shared *shared;
    uint8_t *data;
    uint64_t size;       /* of data, a power of two */
    bool broken, sleeps; /* reader: it sleeps, unless the writer has woken it */
    uint64_t here;       /* writer: where the next record goes; reader: where the next one lies */
    uint64_t reserved;   /* writer: where the payload lies that is being filled; here, when there is none */
    /* reader: where each record ends that is not given back, oldest first */
    unsigned first, n;
    struct {
        uint64_t end;
        atomic_bool released;
    } held[RING_HELD];
};

/* The memory that a ring of `size` bytes (a power of two, at least 4096) takes: a multiple of RING_ALIGN. */
size_t ring_memory(size_t size);
/* One end of the ring in `memory`. `fresh`: it is made there; else it was made by the other end. */
void ring_open(struct ring *r, void *memory, size_t size, bool fresh);

/* Room for a payload of so many bytes, and an envelope of at most `envelope_bytes` behind it; NULL: there is
 * none now (what takes up to half of the ring finds room once all before it is released). Asking again gives
 * up what was not committed. */
void *ring_reserve(struct ring *r, size_t payload_bytes, size_t envelope_bytes);
/* The reader sleeps and is to be woken before there is a record: it takes longer to wake than to fill one. It
 * may find none yet, and sleep again. */
bool ring_rouse(struct ring *r);
/* Is `payload` what ring_reserve gave last, and not committed? */
bool ring_is_reserved(const struct ring *r, const void *payload);
/* The record is there: what was reserved with its payload filled, and this envelope (no longer than was
 * said). True: the reader sleeps and is to be woken. */
bool ring_commit(struct ring *r, size_t payload_bytes, const void *envelope, size_t envelope_bytes);

/* The next record; false: there is none, or it is broken. */
bool ring_read(struct ring *r, struct ring_record *out);
void ring_release(struct ring *r, unsigned slot);
bool ring_is_empty(const struct ring *r);

/* The reader goes to sleep: false when there is something to read. Awake again: ring_wake, which says whether
 * the writer has woken it. */
bool ring_sleep(struct ring *r);
bool ring_wake(struct ring *r);

#endif
