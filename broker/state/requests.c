/* requests.c - the table of admitted requests: slots, free list, wake heap, lists */
#include "requests.h"

#include <stdlib.h>
#include <string.h>

#define NONE   (-1)
#define FUTURE (1ull << 32) /* serials ahead: other tables begin further away, in all likelihood */
/* A kept frame holds on to the receive buffer that it lies in (8 KiB in libzmq) besides its own bytes. */
#define FRAME_OVERHEAD 8192

struct list {
    int oldest, newest, length; /* slots */
};

struct requests {
    int slots, most; /* entries in all, admitted ones */
    int count, shadows;
    size_t bytes, max_bytes;
    uint64_t broker;             /* the bits of all ids that say whose they are */
    uint64_t first, serial;      /* of the first and of the next id */
    struct request_entry *entry; /* [slots]; id 0 = free */
    int *heap;                   /* [count] slots, smallest wake_ns first */
    int *unused;                 /* [slots - count] stack of free slots */
    struct list list[REQUESTS_LISTS];
};

int requests_new(struct requests **out, int broker, int max_requests, int max_shadows, size_t max_bytes,
                 uint64_t seed)
{
    struct requests *t = calloc(1, sizeof *t);
    if (!t)
        return FL_NOMEM;
    t->slots = max_requests + max_shadows;
    t->most = max_requests;
    t->max_bytes = max_bytes;
    t->broker = (uint64_t)broker << REQUEST_BROKER_SHIFT;
    t->first = t->serial = seed % (1ull << 42) + 1;
    for (int i = 0; i < REQUESTS_LISTS; i++)
        t->list[i].oldest = t->list[i].newest = NONE;
    t->entry = calloc((size_t)t->slots, sizeof *t->entry);
    t->heap = calloc((size_t)t->slots, sizeof *t->heap);
    t->unused = calloc((size_t)t->slots, sizeof *t->unused);
    if (!t->entry || !t->heap || !t->unused) {
        requests_free(t);
        return FL_NOMEM;
    }
    for (int i = 0; i < t->slots; i++)
        t->unused[i] = t->slots - 1 - i;
    *out = t;
    return FL_OK;
}

void requests_free(struct requests *t)
{
    if (!t)
        return;
    for (int i = 0; t->entry && i < t->slots; i++)
        if (t->entry[i].id)
            zmq_msg_close(&t->entry[i].payload);
    free(t->entry);
    free(t->heap);
    free(t->unused);
    free(t);
}

int requests_count(const struct requests *t)
{
    return t->count - t->shadows;
}

int requests_shadows(const struct requests *t)
{
    return t->shadows;
}

size_t requests_bytes(const struct requests *t)
{
    return t->bytes;
}

bool requests_roomy(const struct requests *t)
{
    return t->bytes <= t->max_bytes / 2;
}

int requests_slots(const struct requests *t)
{
    return t->slots;
}

struct request_entry *requests_slot(struct requests *t, int i)
{
    return t->entry[i].id ? &t->entry[i] : NULL;
}

static void heap_put(struct requests *t, int at, int slot)
{
    t->heap[at] = slot;
    t->entry[slot].heap = at;
}

static uint64_t heap_key(const struct requests *t, int at)
{
    return t->entry[t->heap[at]].wake_ns;
}

/* Moves the slot at `at` to where its key belongs. */
static void heap_sift(struct requests *t, int at)
{
    int slot = t->heap[at];
    uint64_t key = t->entry[slot].wake_ns;
    while (at > 0 && heap_key(t, (at - 1) / 2) > key) {
        heap_put(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < t->count && heap_key(t, child + 1) < heap_key(t, child))
            child++;
        if (child >= t->count || heap_key(t, child) >= key)
            break;
        heap_put(t, at, t->heap[child]);
        at = child;
    }
    heap_put(t, at, slot);
}

/* A free slot, with `payload` moved in. There must be one. */
static struct request_entry *take(struct requests *t, zmq_msg_t *payload, size_t bytes)
{
    int slot = t->unused[t->slots - t->count - 1];
    struct request_entry *e = &t->entry[slot];
    memset(e, 0, sizeof *e);
    zmq_msg_init(&e->payload);
    zmq_msg_move(&e->payload, payload);
    e->id = t->broker | (t->serial++ * (uint64_t)t->slots + (uint64_t)slot);
    e->bytes = bytes;
    e->slot = slot;
    e->older = e->newer = NONE;
    e->list = REQUESTS_UNLISTED;
    e->wake_ns = UINT64_MAX;
    heap_put(t, t->count++, slot);
    return e;
}

int requests_add(struct requests *t, zmq_msg_t *payload, struct request_entry **out)
{
    size_t bytes = zmq_msg_size(payload) + FRAME_OVERHEAD;
    if (requests_count(t) == t->most)
        return FL_OVERLOADED;
    if (bytes > t->max_bytes || t->bytes > t->max_bytes - bytes)
        return FL_TOO_LARGE;
    t->bytes += bytes;
    *out = take(t, payload, bytes);
    return FL_OK;
}

struct request_entry *requests_shadow(struct requests *t, struct request_entry *of)
{
    struct request_entry *e = take(t, &of->payload, of->bytes);
    of->bytes = 0;
    e->original = of->id;
    e->input = of->input;
    t->shadows++;
    requests_append(t, e, REQUESTS_SHADOWS);
    return e;
}

struct request_entry *requests_find(struct requests *t, uint64_t id)
{
    struct request_entry *e = &t->entry[(id ^ t->broker) % (uint64_t)t->slots];
    return id && e->id == id ? e : NULL;
}

enum requests_when requests_when(struct requests *t, uint64_t id)
{
    uint64_t serial = (id ^ t->broker) / (uint64_t)t->slots; /* another broker's is far away */
    if (requests_find(t, id))
        return REQUESTS_HERE;
    if (serial >= t->first && serial < t->serial)
        return REQUESTS_PAST;
    return serial >= t->serial && serial - t->serial < FUTURE ? REQUESTS_FUTURE : REQUESTS_FOREIGN;
}

void requests_remove(struct requests *t, struct request_entry *e)
{
    int at = e->heap;
    requests_unlist(t, e);
    zmq_msg_close(&e->payload);
    t->bytes -= e->bytes;
    t->count--;
    t->shadows -= e->original != 0;
    if (at != t->count) {
        heap_put(t, at, t->heap[t->count]);
        heap_sift(t, at);
    }
    t->unused[t->slots - t->count - 1] = e->slot;
    e->id = 0;
}

void requests_drop_payload(struct requests *t, struct request_entry *e)
{
    zmq_msg_close(&e->payload);
    zmq_msg_init(&e->payload);
    t->bytes -= e->bytes;
    e->bytes = 0;
}

void requests_move_payload(struct requests *t, struct request_entry *to, struct request_entry *from)
{
    requests_drop_payload(t, to);
    zmq_msg_move(&to->payload, &from->payload);
    to->bytes = from->bytes;
    from->bytes = 0;
}

void requests_wake_at(struct requests *t, struct request_entry *e, uint64_t ns)
{
    e->wake_ns = ns;
    heap_sift(t, e->heap);
}

uint64_t requests_next_wake(const struct requests *t)
{
    return t->count ? heap_key(t, 0) : UINT64_MAX;
}

struct request_entry *requests_due(struct requests *t, uint64_t now)
{
    return t->count && heap_key(t, 0) <= now ? &t->entry[t->heap[0]] : NULL;
}

/* Puts e between two neighbours; NONE: it becomes the first or last. */
static void insert(struct requests *t, struct request_entry *e, int list, int older, int newer)
{
    struct list *l = &t->list[list];
    e->list = list;
    e->older = older;
    e->newer = newer;
    *(older != NONE ? &t->entry[older].newer : &l->oldest) = e->slot;
    *(newer != NONE ? &t->entry[newer].older : &l->newest) = e->slot;
    l->length++;
}

void requests_append(struct requests *t, struct request_entry *e, int list)
{
    requests_unlist(t, e);
    insert(t, e, list, t->list[list].newest, NONE);
}

/* The last that waits and comes before one with this turn; NONE: none does. *behind: how many come after it.
 */
static int before_turn(const struct requests *t, uint64_t turn_ns, int *behind)
{
    int at = t->list[REQUESTS_WAITING].newest;
    for (*behind = 0; at != NONE && t->entry[at].turn_ns > turn_ns; at = t->entry[at].older)
        ++*behind;
    return at;
}

void requests_enqueue(struct requests *t, struct request_entry *e)
{
    int older, behind;
    requests_unlist(t, e);
    older = before_turn(t, e->turn_ns, &behind);
    insert(t, e, REQUESTS_WAITING, older,
           older != NONE ? t->entry[older].newer : t->list[REQUESTS_WAITING].oldest);
}

int requests_behind(const struct requests *t, uint64_t turn_ns)
{
    int behind;
    before_turn(t, turn_ns, &behind);
    return behind;
}

void requests_prepend(struct requests *t, struct request_entry *e, int list)
{
    requests_unlist(t, e);
    insert(t, e, list, NONE, t->list[list].oldest);
}

void requests_unlist(struct requests *t, struct request_entry *e)
{
    struct list *l;
    if (e->list == REQUESTS_UNLISTED)
        return;
    l = &t->list[e->list];
    *(e->older != NONE ? &t->entry[e->older].newer : &l->oldest) = e->newer;
    *(e->newer != NONE ? &t->entry[e->newer].older : &l->newest) = e->older;
    l->length--;
    e->list = REQUESTS_UNLISTED;
}

int requests_listed(const struct requests *t, int list)
{
    return t->list[list].length;
}

struct request_entry *requests_first(struct requests *t, int list)
{
    return t->list[list].oldest != NONE ? &t->entry[t->list[list].oldest] : NULL;
}

struct request_entry *requests_next(struct requests *t, const struct request_entry *e)
{
    return e->newer != NONE ? &t->entry[e->newer] : NULL;
}
