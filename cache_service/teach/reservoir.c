/* reservoir.c - which requests stay, and where: an index in memory over the slots of reservoir_disk.h
 *
 * The index is made from the slots when the file is opened. Each part is a list per class, in the order in
 * which requests came.
 */
#include "reservoir_disk.h"

#include <pthread.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/store/update.h"
#include "index/half.h"

#define SPARE           16   /* slots that hold nothing, so that a join has a place to go */
#define MOST_CERTIFYING 3000 /* an order of thresholds gets hardly better by more */
#define NONE            (-1)

enum part { TEACHING, CERTIFYING, PARTS };

struct entry {
    uint64_t request, moment_ms;
    struct stream_id id;
    int32_t label, truth;
    uint32_t exits;
    bool audit, used, scored;
    bool released;        /* an audit of the certifying part that teaches by now */
    int32_t next, before; /* in the list of its class and part */
    int32_t chain;        /* next entry with the same hash */
};

struct fifo {
    int32_t first, last;
    int64_t n;
};

struct reservoir {
    pthread_mutex_t lock;
    struct reservoir_setup setup;
    struct reservoir_disk disk;
    struct disk_state state;
    uint32_t all; /* bits of the exits that a whole request has */
    struct entry *entry;
    int32_t *bucket; /* [buckets]: first entry of a hash */
    uint64_t buckets;
    int32_t *free, *limbo; /* limbo: their exits are joined elsewhere, but only a sync makes that last */
    int64_t n_free, n_limbo, n[PARTS], most[PARTS];
    struct fifo *fifo; /* [PARTS][classes] */
    struct reservoir_counts counts;
};

/* --- index --- */

static uint64_t bucket_of(const struct reservoir *r, uint64_t request)
{
    return (request * 0x9e3779b97f4a7c15u >> 20) & (r->buckets - 1);
}

static int32_t find(const struct reservoir *r, uint64_t request)
{
    int32_t i = r->bucket[bucket_of(r, request)];
    while (i != NONE && r->entry[i].request != request)
        i = r->entry[i].chain;
    return i;
}

static enum part part_of(const struct entry *x)
{
    return x->audit && !x->released && update_certifies(x->request) ? CERTIFYING : TEACHING;
}

static struct fifo *fifo_of(const struct reservoir *r, const struct entry *x)
{
    return &r->fifo[(int)part_of(x) * r->setup.classes + x->label];
}

/* The newest of its class. */
static void insert(struct reservoir *r, int32_t i)
{
    struct entry *x = &r->entry[i];
    struct fifo *f = fifo_of(r, x);
    int32_t *bucket = &r->bucket[bucket_of(r, x->request)];
    x->used = true;
    x->chain = *bucket;
    *bucket = i;
    x->before = f->last;
    x->next = NONE;
    if (f->last != NONE)
        r->entry[f->last].next = i;
    else
        f->first = i;
    f->last = i;
    f->n++;
    r->n[part_of(x)]++;
}

static void take_out(struct reservoir *r, int32_t i)
{
    struct entry *x = &r->entry[i];
    struct fifo *f = fifo_of(r, x);
    int32_t *at = &r->bucket[bucket_of(r, x->request)];
    while (*at != i)
        at = &r->entry[*at].chain;
    *at = x->chain;
    if (x->before != NONE)
        r->entry[x->before].next = x->next;
    else
        f->first = x->next;
    if (x->next != NONE)
        r->entry[x->next].before = x->before;
    else
        f->last = x->before;
    f->n--;
    r->n[part_of(x)]--;
    x->used = false;
}

static bool id_above(struct stream_id a, struct stream_id b)
{
    return a.ms != b.ms ? a.ms > b.ms : a.n > b.n;
}

/* Teaching: the oldest of the most frequent class. Certifying: the oldest, as a sample of the traffic must
 * not be balanced; it goes on to teach. */
static int32_t to_leave(const struct reservoir *r, enum part part)
{
    const struct fifo *f = r->fifo + (int)part * r->setup.classes;
    int best = NONE;
    for (int c = 0; c < r->setup.classes; c++) {
        if (f[c].n == 0)
            continue;
        if (best == NONE ||
            (part == TEACHING ? f[c].n > f[best].n
                              : id_above(r->entry[f[best].first].id, r->entry[f[c].first].id)))
            best = c;
    }
    return f[best].first;
}

static void make_room(struct reservoir *r, enum part part)
{
    while (r->n[part] >= r->most[part]) {
        int32_t i = to_leave(r, part);
        take_out(r, i);
        if (part == CERTIFYING) {
            make_room(r, TEACHING);
            r->entry[i].released = true;
            insert(r, i);
        } else {
            r->free[r->n_free++] = i;
        }
    }
}

static void entry_from(struct entry *x, const struct slot_head *h)
{
    *x = (struct entry){.request = h->request,
                        .moment_ms = h->moment_ms,
                        .id = h->id,
                        .label = h->label,
                        .truth = h->truth,
                        .exits = h->exits,
                        .audit = (h->flags & SLOT_AUDIT) != 0,
                        .scored = h->scored != 0};
}

static struct reservoir_row row_of(const struct reservoir *r, int32_t i)
{
    const struct entry *x = &r->entry[i];
    return (struct reservoir_row){.request = x->request,
                                  .moment_ms = x->moment_ms,
                                  .label = x->label,
                                  .truth = x->truth,
                                  .audit = x->audit,
                                  .certifies = part_of(x) == CERTIFYING,
                                  .whole = x->exits == r->all,
                                  .scored = x->scored,
                                  .slot = i};
}

/* --- opening --- */

static int by_id(const void *a, const void *b, void *arg)
{
    const struct entry *entry = arg;
    struct stream_id x = entry[*(const int32_t *)a].id, y = entry[*(const int32_t *)b].id;
    return id_above(x, y) ? 1 : id_above(y, x) ? -1 : 0;
}

static bool plausible(const struct reservoir *r, const struct slot_head *h)
{
    return !id_above(h->id, r->state.last) && h->label >= 0 && h->label < r->setup.classes &&
           h->truth >= -1 && h->truth < r->setup.classes && (h->exits & ~r->all) == 0;
}

/* Slots that count come into the index in the order of their ids, the others are free. Of a request that is
 * there twice (a join whose old slot was not used again) the newer slot counts. */
static int read_slots(struct reservoir *r, bool anew)
{
    int32_t *order = malloc((size_t)r->disk.slots * sizeof *order);
    int64_t n = 0, used = anew ? 0 : disk_used(&r->disk);
    if (order == NULL)
        return FL_NOMEM;
    for (int64_t i = r->disk.slots - 1; i >= 0; i--) {
        if (i < used && disk_read(&r->disk, i) && plausible(r, (const void *)r->disk.room)) {
            entry_from(&r->entry[i], (const void *)r->disk.room);
            order[n++] = (int32_t)i;
        } else {
            r->free[r->n_free++] = (int32_t)i;
        }
    }
    qsort_r(order, (size_t)n, sizeof *order, by_id, r->entry);
    for (int64_t i = 0; i < n; i++) {
        int32_t old = find(r, r->entry[order[i]].request);
        if (old != NONE) {
            take_out(r, old);
            r->free[r->n_free++] = old;
        }
        make_room(r, part_of(&r->entry[order[i]]));
        insert(r, order[i]);
    }
    free(order);
    return FL_OK;
}

static int make_index(struct reservoir *r, bool anew)
{
    size_t slots = (size_t)r->disk.slots, fifos = PARTS * (size_t)r->setup.classes;
    for (r->buckets = 1; r->buckets < slots;)
        r->buckets *= 2;
    r->entry = calloc(slots, sizeof *r->entry);
    r->bucket = malloc(r->buckets * sizeof *r->bucket);
    r->free = malloc(slots * sizeof *r->free);
    r->limbo = malloc(slots * sizeof *r->limbo);
    r->fifo = malloc(fifos * sizeof *r->fifo);
    if (!r->entry || !r->bucket || !r->free || !r->limbo || !r->fifo)
        return FL_NOMEM;
    for (uint64_t i = 0; i < r->buckets; i++)
        r->bucket[i] = NONE;
    for (size_t i = 0; i < fifos; i++)
        r->fifo[i] = (struct fifo){NONE, NONE, 0};
    slots -= SPARE;
    r->most[CERTIFYING] = slots / 4 < MOST_CERTIFYING ? (int64_t)slots / 4 : MOST_CERTIFYING;
    r->most[TEACHING] = (int64_t)slots - r->most[CERTIFYING];
    return read_slots(r, anew);
}

int reservoir_open(struct reservoir **out, const struct reservoir_setup *setup, struct error *e)
{
    struct reservoir *r = calloc(1, sizeof *r);
    bool anew = true;
    int rc;
    if (r == NULL)
        return error_set(e, FL_NOMEM, "no memory for a reservoir");
    pthread_mutex_init(&r->lock, NULL);
    r->setup = *setup;
    for (int k = 0; k < setup->n_exits; k++)
        r->all |= setup->exit[k].dim > 0 ? 1u << k : 0;
    rc = disk_open(&r->disk, setup, &r->state, &anew, e);
    if (rc == FL_OK && (rc = make_index(r, anew)) != FL_OK)
        error_set(e, rc, "no memory for %lld requests", (long long)r->disk.slots);
    if (rc != FL_OK) {
        reservoir_close(r);
        return rc;
    }
    *out = r;
    return FL_OK;
}

void reservoir_close(struct reservoir *r)
{
    if (r == NULL)
        return;
    disk_close(&r->disk);
    pthread_mutex_destroy(&r->lock);
    free(r->entry);
    free(r->bucket);
    free(r->free);
    free(r->limbo);
    free(r->fifo);
    free(r);
}

/* --- adding --- */

static bool parse_id(const char *text, struct stream_id *id)
{
    char end;
    return sscanf(text, "%" SCNu64 "-%" SCNu64 "%c", &id->ms, &id->n, &end) == 2;
}

/* Bits of the exits that `u` knows; which exit of it each is. Others are not ours, or of another time. */
static uint32_t known_exits(const struct reservoir *r, const struct update *u, int from[PIPELINE_MAX_EXITS])
{
    uint32_t bits = 0;
    for (int i = 0; i < u->n; i++) {
        for (int k = 0; k < r->setup.n_exits; k++) {
            if (r->setup.exit[k].dim == 0 || r->setup.exit[k].dim != u->exit[i].dim ||
                r->setup.exit[k].origin != u->exit[i].origin)
                continue;
            bits |= 1u << k;
            from[k] = i;
        }
    }
    return bits;
}

static bool acceptable(const struct reservoir *r, const struct update *u)
{
    if (memcmp(u->identity, r->setup.identity, sizeof u->identity) != 0 || u->truth < -1 ||
        u->truth >= r->setup.classes)
        return false;
    if (u->n == 0)
        return u->truth >= 0 || (u->flags & UPDATE_LOST) != 0;
    return u->label >= 0 && u->label < r->setup.classes;
}

static int sync_now(struct reservoir *r, struct error *e)
{
    int rc = disk_sync(&r->disk, &r->state, e);
    if (rc != FL_OK)
        return rc;
    while (r->n_limbo > 0)
        r->free[r->n_free++] = r->limbo[--r->n_limbo];
    return FL_OK;
}

/* The slot in the disk's room: what is there of the request, if anything, and what `u` brings. */
static void compose(struct reservoir *r, const struct update *u, struct stream_id id, int32_t old,
                    uint32_t bits, const int *from)
{
    struct slot_head *h = (void *)r->disk.room;
    int scores = update_find(u, UPDATE_SCORES);
    if (old == NONE || !disk_read(&r->disk, old)) {
        memset(r->disk.room, 0, r->disk.slot_bytes);
        h->request = u->request;
        h->moment_ms = u->moment_ms;
        h->label = u->label;
        h->truth = u->truth;
    }
    h->id = id;
    h->flags |= (u->flags & UPDATE_AUDIT) != 0 ? SLOT_AUDIT : 0;
    h->exits |= bits;
    for (int k = 0; k < r->setup.n_exits; k++) {
        if ((bits & 1u << k) != 0)
            memcpy(r->disk.room + r->disk.offset[k], u->exit[from[k]].half,
                   sizeof(uint16_t) * r->setup.exit[k].dim);
    }
    if (!r->setup.scores || scores < 0 || u->exit[scores].dim != (uint32_t)r->setup.classes)
        return;
    h->scored = 1;
    memcpy(r->disk.room + r->disk.offset[RESERVOIR_SCORES], u->exit[scores].half,
           sizeof(uint16_t) * u->exit[scores].dim);
}

static int add_exits(struct reservoir *r, const struct update *u, struct stream_id id,
                     enum reservoir_what *what, int32_t *at, struct error *e)
{
    int from[PIPELINE_MAX_EXITS], rc = FL_OK;
    uint32_t bits = known_exits(r, u, from);
    int32_t old = find(r, u->request);
    struct entry x;
    *what = bits == 0 ? RESERVOIR_REFUSED : RESERVOIR_TWICE;
    if (old != NONE)
        bits &= ~r->entry[old].exits;
    if (bits == 0)
        return FL_OK;
    compose(r, u, id, old, bits, from);
    entry_from(&x, (const void *)r->disk.room);
    x.released = old != NONE && r->entry[old].released;
    if (old == NONE || part_of(&r->entry[old]) != part_of(&x))
        make_room(r, part_of(&x));
    if (old != NONE && !r->entry[old].used)
        old = NONE; /* it has made room itself; what it had is in the disk's room */
    if (r->n_free == 0 && (rc = sync_now(r, e)) != FL_OK)
        return rc;
    *at = r->free[r->n_free - 1];
    if ((rc = disk_write(&r->disk, *at, e)) != FL_OK)
        return rc;
    r->n_free--;
    if (old != NONE) {
        take_out(r, old);
        r->limbo[r->n_limbo++] = old;
    }
    r->entry[*at] = x;
    insert(r, *at);
    *what = x.exits == r->all ? RESERVOIR_WHOLE : RESERVOIR_KEPT;
    return FL_OK;
}

static int add_truth(struct reservoir *r, const struct update *u, enum reservoir_what *what, int32_t *at,
                     struct error *e)
{
    int rc;
    *at = find(r, u->request);
    *what = *at == NONE ? RESERVOIR_UNKNOWN : RESERVOIR_TWICE;
    if (*at == NONE || r->entry[*at].truth >= 0)
        return FL_OK;
    rc = disk_write_truth(&r->disk, *at, u->request, u->truth, e);
    if (rc != FL_OK)
        return rc;
    r->entry[*at].truth = u->truth;
    *what = RESERVOIR_TRUTH;
    return FL_OK;
}

static void count(struct reservoir *r, enum reservoir_what what)
{
    r->counts.seen++;
    r->counts.refused += what == RESERVOIR_REFUSED;
    r->counts.truths += what == RESERVOIR_TRUTH;
}

static int add(struct reservoir *r, const struct update *u, struct stream_id id, enum reservoir_what *what,
               int32_t *at, struct error *e)
{
    int rc = FL_OK;
    if (!id_above(id, r->state.last))
        *what = RESERVOIR_TWICE;
    else if (!acceptable(r, u))
        *what = RESERVOIR_REFUSED;
    else if (u->n > 0)
        rc = add_exits(r, u, id, what, at, e);
    else if (u->truth >= 0)
        rc = add_truth(r, u, what, at, e);
    else
        *what = RESERVOIR_LOST;
    if (rc == FL_OK && id_above(id, r->state.last))
        r->state.last = id;
    return rc;
}

int reservoir_add(struct reservoir *r, const struct update *u, const char *id, enum reservoir_what *what,
                  struct reservoir_row *row, struct error *e)
{
    struct stream_id place;
    int32_t at = NONE;
    int rc;
    if (!parse_id(id, &place))
        return error_set(e, FL_VALUE, "'%.40s' is no id of a stream", id);
    pthread_mutex_lock(&r->lock);
    rc = add(r, u, place, what, &at, e);
    if (rc == FL_OK) {
        count(r, *what);
        if (at != NONE)
            *row = row_of(r, at);
        else if (*what == RESERVOIR_LOST)
            *row = (struct reservoir_row){.request = u->request,
                                          .moment_ms = u->moment_ms,
                                          .label = -1,
                                          .truth = -1,
                                          .audit = true,
                                          .slot = -1};
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int reservoir_sync(struct reservoir *r, struct error *e)
{
    int rc;
    pthread_mutex_lock(&r->lock);
    rc = sync_now(r, e);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* --- asking --- */

uint64_t reservoir_candidate(const struct reservoir *r)
{
    return r->state.candidate;
}

void reservoir_set_candidate(struct reservoir *r, uint64_t number)
{
    pthread_mutex_lock(&r->lock);
    r->state.candidate = number > r->state.candidate ? number : r->state.candidate;
    pthread_mutex_unlock(&r->lock);
}

struct reservoir_counts reservoir_counts(const struct reservoir *r)
{
    struct reservoir_counts c = r->counts;
    c.teaching = r->n[TEACHING];
    c.certifying = r->n[CERTIFYING];
    c.bytes = (size_t)r->disk.slots * r->disk.slot_bytes;
    return c;
}

static int by_coming(const void *a, const void *b, void *entry)
{
    return by_id(&((const struct reservoir_row *)a)->slot, &((const struct reservoir_row *)b)->slot, entry);
}

int reservoir_list(struct reservoir *r, bool certifying, uint64_t since_ms, struct reservoir_row **rows,
                   int64_t *n)
{
    enum part part = certifying ? CERTIFYING : TEACHING;
    struct reservoir_row *list;
    *n = 0;
    pthread_mutex_lock(&r->lock);
    list = malloc(((size_t)r->n[part] + 1) * sizeof *list);
    for (int64_t i = 0; list != NULL && i < r->disk.slots; i++) {
        const struct entry *x = &r->entry[i];
        if (x->used && part_of(x) == part && x->exits == r->all && x->moment_ms >= since_ms)
            list[(*n)++] = row_of(r, (int32_t)i);
    }
    if (list != NULL)
        qsort_r(list, (size_t)*n, sizeof *list, by_coming, r->entry);
    pthread_mutex_unlock(&r->lock);
    *rows = list;
    return list != NULL ? FL_OK : FL_NOMEM;
}

bool reservoir_read(struct reservoir *r, const struct reservoir_row *row, int exit, float *out)
{
    bool scores = exit == RESERVOIR_SCORES;
    size_t n = scores ? (size_t)r->setup.classes : r->setup.exit[exit].dim;
    uint16_t *half = malloc(n * sizeof *half + 1);
    const struct entry *x = row->slot >= 0 ? &r->entry[row->slot] : NULL;
    bool there = half != NULL && x != NULL;
    pthread_mutex_lock(&r->lock);
    there = there && x->used && x->request == row->request &&
            (scores ? x->scored : (x->exits & 1u << exit) != 0) &&
            disk_read_halves(&r->disk, row->slot, exit, half, n);
    pthread_mutex_unlock(&r->lock);
    if (there)
        half_decode(half, out, n);
    free(half);
    return there;
}
