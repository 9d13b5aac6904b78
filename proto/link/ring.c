/* ring.c - records one after another in a ring of bytes; none is parted at its end */
#include "ring.h"

#include <string.h>

/* Each end writes a line of its own. Positions grow for ever; modulo the size they are places. */
struct ring_shared {
    _Alignas(RING_ALIGN) atomic_uint_least64_t written; /* records before this are there */
    _Alignas(RING_ALIGN) atomic_uint_least64_t freed;   /* and before this their room is free again */
    atomic_uint_least32_t sleeping;                     /* the reader */
};

/* At a record's start; a payload follows, then the envelope. */
struct head {
    _Alignas(RING_ALIGN) uint32_t payload_bytes;
    uint32_t envelope_bytes; /* SKIP: nothing more before the ring's end */
};

#define SKIP UINT32_MAX

static uint64_t padded(uint64_t bytes)
{
    return (bytes + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN;
}

static uint64_t takes(uint64_t payload_bytes, uint64_t envelope_bytes)
{
    return sizeof(struct head) + padded(payload_bytes) + padded(envelope_bytes);
}

size_t ring_memory(size_t size)
{
    return sizeof(struct ring_shared) + size;
}

void ring_open(struct ring *r, void *memory, size_t size, bool fresh)
{
    memset(r, 0, sizeof *r);
    r->shared = memory;
    r->data = (uint8_t *)memory + sizeof *r->shared;
    r->size = size;
    if (fresh)
        memset(memory, 0, sizeof *r->shared);
}

/* --- the writer --- */

static struct head *head_at(const struct ring *r, uint64_t position)
{
    return (struct head *)(void *)(r->data + (position & (r->size - 1)));
}

/* Bytes that are free from `here` on; 0 when the reader's word for it can't be. */
static uint64_t room(struct ring *r)
{
    uint64_t used = r->here - atomic_load_explicit(&r->shared->freed, memory_order_acquire);
    if (used > r->size)
        r->broken = true;
    return r->broken ? 0 : r->size - used;
}

void *ring_reserve(struct ring *r, size_t payload_bytes, size_t envelope_bytes)
{
    uint64_t left = r->size - (r->here & (r->size - 1)), need, skip;
    if (payload_bytes > r->size || envelope_bytes > r->size)
        return NULL;
    need = takes(payload_bytes, envelope_bytes);
    skip = need > left ? left : 0;
    r->reserved = r->here;
    if (need > r->size || need + skip > room(r))
        return NULL;
    r->reserved = r->here + skip;
    return head_at(r, r->reserved) + 1;
}

bool ring_is_reserved(const struct ring *r, const void *payload)
{
    return r->shared && payload == head_at(r, r->reserved) + 1;
}

bool ring_rouse(struct ring *r)
{
    return atomic_load(&r->shared->sleeping) && atomic_exchange(&r->shared->sleeping, 0);
}

bool ring_commit(struct ring *r, size_t payload_bytes, const void *envelope, size_t envelope_bytes)
{
    struct head *h = head_at(r, r->reserved);
    if (r->reserved != r->here)
        head_at(r, r->here)->envelope_bytes = SKIP;
    h->payload_bytes = (uint32_t)payload_bytes;
    h->envelope_bytes = (uint32_t)envelope_bytes;
    memcpy((uint8_t *)(h + 1) + padded(payload_bytes), envelope, envelope_bytes);
    r->here = r->reserved + takes(payload_bytes, envelope_bytes);
    r->reserved = r->here;
    /* Sequentially consistent, as in ring_sleep: either the reader sees the record or we see it sleep. */
    atomic_store(&r->shared->written, r->here);
    return ring_rouse(r);
}

/* --- the reader --- */

/* Gives back the room of records at the beginning that are done. */
static void give_back(struct ring *r)
{
    uint64_t freed = 0;
    while (r->n && atomic_load_explicit(&r->held[r->first].released, memory_order_acquire)) {
        freed = r->held[r->first].end;
        r->first = (r->first + 1) % RING_HELD;
        r->n--;
    }
    if (freed)
        atomic_store_explicit(&r->shared->freed, freed, memory_order_release);
}

static bool breaks(struct ring *r)
{
    r->broken = true;
    return false;
}

/* A record starts at `here`, with `there` bytes up to the writer's position. */
static bool take(struct ring *r, uint64_t there, struct ring_record *out)
{
    const volatile struct head *h = head_at(r, r->here);
    uint64_t payload = h->payload_bytes, envelope = h->envelope_bytes;
    uint64_t left = r->size - (r->here & (r->size - 1));
    unsigned slot = (r->first + r->n) % RING_HELD;
    const uint8_t *data = r->data + (r->here & (r->size - 1)) + sizeof *h;

    if (payload > left || envelope > left || takes(payload, envelope) > (there < left ? there : left))
        return breaks(r);
    *out = (struct ring_record){data, data + padded(payload), payload, envelope, slot};
    r->here += takes(payload, envelope);
    r->held[slot].end = r->here;
    atomic_store_explicit(&r->held[slot].released, false, memory_order_relaxed);
    r->n++;
    return true;
}

bool ring_read(struct ring *r, struct ring_record *out)
{
    uint64_t there;
    give_back(r);
    if (r->broken || r->n == RING_HELD)
        return false;
    there = atomic_load_explicit(&r->shared->written, memory_order_acquire) - r->here;
    if (!there)
        return false;
    if (there > r->size || there % RING_ALIGN)
        return breaks(r);
    if (((const volatile struct head *)head_at(r, r->here))->envelope_bytes == SKIP) {
        uint64_t left = r->size - (r->here & (r->size - 1));
        if (left >= there)
            return breaks(r); /* nothing is skipped but to a record behind it */
        r->here += left;
        there -= left;
    }
    return take(r, there, out);
}

void ring_release(struct ring *r, unsigned slot)
{
    atomic_store_explicit(&r->held[slot].released, true, memory_order_release);
}

bool ring_is_empty(const struct ring *r)
{
    return atomic_load(&r->shared->written) == r->here;
}

bool ring_sleep(struct ring *r)
{
    give_back(r);
    atomic_store(&r->shared->sleeping, 1);
    r->sleeps = r->broken || r->n == RING_HELD || ring_is_empty(r);
    if (!r->sleeps)
        atomic_store(&r->shared->sleeping, 0);
    return r->sleeps;
}

bool ring_wake(struct ring *r)
{
    bool woken = r->sleeps && !atomic_exchange(&r->shared->sleeping, 0);
    r->sleeps = false;
    return woken;
}
