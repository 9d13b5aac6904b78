/* pending.c - a hash table by request over a list by age
 *
 * Entries come in order of time and all live equally long, so the list's head is at once the oldest, the next
 * to expire and the one to evict. Slots are allocated once; only descriptors come and go.
 */
#include "pending.h"

#include <stdlib.h>

#define NONE (-1)

struct slot {
    struct update *update; /* owned */
    struct pending_note note;
    uint64_t born_ns;
    int older, newer; /* list by age; `newer` links the free slots too */
    int next;         /* in the bucket */
};

struct pending {
    struct pending_limits limits;
    struct slot *slot; /* [limits.count] */
    int *bucket;       /* [n_buckets], a power of two */
    int n_buckets;
    int oldest, newest, unused;
    int count;
    size_t bytes;
};

int pending_new(struct pending **out, const struct pending_limits *limits)
{
    struct pending *p = calloc(1, sizeof *p);
    int buckets = 1;
    *out = NULL;
    if (!p)
        return FL_NOMEM;
    while (buckets < limits->count)
        buckets *= 2;
    p->limits = *limits;
    p->n_buckets = buckets;
    p->slot = calloc((size_t)limits->count, sizeof *p->slot);
    p->bucket = malloc((size_t)buckets * sizeof *p->bucket);
    if (!p->slot || !p->bucket) {
        pending_free(p);
        return FL_NOMEM;
    }
    for (int i = 0; i < buckets; i++)
        p->bucket[i] = NONE;
    for (int i = 0; i < limits->count; i++)
        p->slot[i].newer = i + 1 < limits->count ? i + 1 : NONE;
    p->oldest = p->newest = NONE;
    *out = p;
    return FL_OK;
}

void pending_free(struct pending *p)
{
    if (!p)
        return;
    for (int i = p->slot && p->bucket ? p->oldest : NONE; i != NONE; i = p->slot[i].newer)
        update_free(p->slot[i].update);
    free(p->slot);
    free(p->bucket);
    free(p);
}

static int *bucket_of(struct pending *p, uint64_t request)
{
    return &p->bucket[(request * 0x9e3779b97f4a7c15ull >> 32) & (uint64_t)(p->n_buckets - 1)];
}

/* Takes slot i out of everything and gives its update away. */
static struct update *take_out(struct pending *p, int i)
{
    struct slot *s = &p->slot[i];
    struct update *u = s->update;
    int *link = bucket_of(p, u->request);
    while (*link != i)
        link = &p->slot[*link].next;
    *link = s->next;
    *(s->older == NONE ? &p->oldest : &p->slot[s->older].newer) = s->newer;
    *(s->newer == NONE ? &p->newest : &p->slot[s->newer].older) = s->older;
    s->update = NULL;
    s->newer = p->unused;
    p->unused = i;
    p->count--;
    p->bytes -= update_bytes(u);
    return u;
}

static int find(struct pending *p, uint64_t request, int exit)
{
    int i = *bucket_of(p, request);
    while (i != NONE && (p->slot[i].update->request != request || p->slot[i].note.exit != exit))
        i = p->slot[i].next;
    return i;
}

static void drop(struct pending *p, uint64_t request)
{
    pending_outcome(p, request, NULL, 0, NULL, NULL);
}

void pending_add(struct pending *p, struct update *u, struct pending_note note, uint64_t now_ns)
{
    size_t bytes = update_bytes(u);
    int i = find(p, u->request, note.exit);
    int *bucket;
    struct slot *s;
    if (i != NONE)
        update_free(take_out(p, i));
    if (p->limits.count == 0 || bytes > p->limits.bytes) {
        update_free(u);
        return;
    }
    while (p->unused == NONE || p->bytes + bytes > p->limits.bytes)
        drop(p, p->slot[p->oldest].update->request);
    i = p->unused;
    s = &p->slot[i];
    bucket = bucket_of(p, u->request);
    p->unused = s->newer;
    *s = (struct slot){
        .update = u, .note = note, .born_ns = now_ns, .older = p->newest, .newer = NONE, .next = *bucket};
    *(p->newest == NONE ? &p->oldest : &p->slot[p->newest].newer) = i;
    p->newest = i;
    *bucket = i;
    p->count++;
    p->bytes += bytes;
}

/* The slots of a request in the order of their exits, each of which has at most one. */
static int all_of(struct pending *p, uint64_t request, int of[PIPELINE_MAX_EXITS])
{
    int n = 0;
    for (int i = *bucket_of(p, request); i != NONE; i = p->slot[i].next) {
        int at = n;
        if (p->slot[i].update->request != request)
            continue;
        for (; at && p->slot[of[at - 1]].note.exit > p->slot[i].note.exit; at--)
            of[at] = of[at - 1];
        of[at] = i;
        n++;
    }
    return n;
}

int pending_outcome(struct pending *p, uint64_t request, const uint16_t *scores, int n_scores, pending_fn fn,
                    void *arg)
{
    int of[PIPELINE_MAX_EXITS], n = all_of(p, request, of);
    struct pending_note note[PIPELINE_MAX_EXITS];
    struct update *part[PIPELINE_MAX_EXITS] = {NULL}, *whole;
    for (int i = 0; i < n; i++) {
        note[i] = p->slot[of[i]].note;
        part[i] = take_out(p, of[i]);
    }
    if (n && fn && (whole = update_join(part, n, scores, n_scores)))
        fn(arg, whole, note, n);
    for (int i = 0; i < n; i++)
        update_free(part[i]);
    return n;
}

void pending_expire(struct pending *p, uint64_t now_ns)
{
    while (p->oldest != NONE && now_ns - p->slot[p->oldest].born_ns >= p->limits.age_ns)
        drop(p, p->slot[p->oldest].update->request);
}

int pending_count(const struct pending *p)
{
    return p->count;
}
