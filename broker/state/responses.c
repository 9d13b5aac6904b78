/* responses.c - a hash table whose entries stand in two queues */
#include "responses.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/error.h"

#define SMALL_SHARE   10  /* one part in so many is for entries that were not asked for again */
#define LARGEST_SHARE 10  /* no answer may take more than one part in so many */
#define OFTEN         3   /* uses are not counted further */
#define TYPICAL       192 /* bytes of an entry: sizes the tables */
#define MALLOC_BYTES  16  /* what an allocation costs beside its bytes */
#define SECRET_BYTES  192

enum queue { SMALL, MAIN, QUEUES };

struct entry {
    struct response_key key;
    struct entry *chain, *older, *newer;
    struct response_stamp stamp;
    uint64_t request; /* that computes it; 0: none does */
    uint64_t epoch;
    int64_t *scores; /* dims, then the data; NULL: none */
    uint32_t bytes;  /* of both allocations */
    int32_t label, exit;
    float confidence;
    uint8_t uses, queue, dtype, rank, variant;
    bool known; /* label and so on hold */
};

struct fifo {
    struct entry *oldest, *newest;
    size_t bytes;
};

/* A key that left the small queue a while ago: asked for again, it goes to the main one. */
struct ghost {
    uint32_t mark, when;
};

struct responses {
    size_t max_bytes, bytes;
    int64_t in_main;
    uint64_t mask; /* of both tables */
    struct entry **bucket;
    struct ghost *ghost;
    uint32_t left; /* how many left the small queue */
    struct fifo fifo[QUEUES];
    uint8_t secret[SECRET_BYTES];
};

int responses_new(struct responses **out, size_t max_bytes)
{
    struct responses *r = calloc(1, sizeof *r);
    uint64_t slots = 16;
    if (!r)
        return FL_NOMEM;
    while (slots * 2 * TYPICAL <= max_bytes)
        slots *= 2;
    r->mask = slots - 1;
    r->max_bytes = max_bytes;
    r->bucket = calloc(slots, sizeof *r->bucket);
    r->ghost = calloc(slots, sizeof *r->ghost);
    r->bytes = sizeof *r + slots * (sizeof *r->bucket + sizeof *r->ghost);
    *out = r;
    if (!r->bucket || !r->ghost)
        return FL_NOMEM;
    return getrandom(r->secret, sizeof r->secret, 0) == sizeof r->secret ? FL_OK : FL_IO;
}

void responses_free(struct responses *r)
{
    if (!r)
        return;
    for (int q = 0; q < QUEUES; q++)
        for (struct entry *x = r->fifo[q].oldest, *next; x; x = next) {
            next = x->newer;
            free(x->scores);
            free(x);
        }
    free(r->bucket);
    free(r->ghost);
    free(r);
}

size_t responses_bytes(const struct responses *r)
{
    return r->bytes;
}

struct response_key responses_key(const struct responses *r, const struct tensor *input, const void *bytes,
                                  size_t size, uint32_t flags)
{
    uint64_t about[5 + TENSOR_MAX_RANK] = {(uint64_t)input->dtype, (uint64_t)input->rank, flags};
    XXH128_hash_t h;
    for (int i = 0; i < input->rank; i++)
        about[3 + i] = (uint64_t)input->dim[i];
    h = XXH3_128bits_withSecret(bytes, size, r->secret, sizeof r->secret);
    about[3 + TENSOR_MAX_RANK] = h.high64;
    about[4 + TENSOR_MAX_RANK] = h.low64;
    h = XXH3_128bits_withSecret(about, sizeof about, r->secret, sizeof r->secret);
    return (struct response_key){h.low64, h.high64};
}

/* ---- queues ---- */

static void push(struct responses *r, struct entry *x, enum queue q)
{
    struct fifo *f = &r->fifo[q];
    x->queue = (uint8_t)q;
    x->older = f->newest;
    x->newer = NULL;
    *(f->newest ? &f->newest->newer : &f->oldest) = x;
    f->newest = x;
    f->bytes += x->bytes;
    r->in_main += q == MAIN;
}

static void pull(struct responses *r, struct entry *x)
{
    struct fifo *f = &r->fifo[x->queue];
    *(x->older ? &x->older->newer : &f->oldest) = x->newer;
    *(x->newer ? &x->newer->older : &f->newest) = x->older;
    f->bytes -= x->bytes;
    r->in_main -= x->queue == MAIN;
}

static struct entry **place_of(struct responses *r, struct response_key key)
{
    struct entry **at = &r->bucket[key.low & r->mask];
    while (*at && ((*at)->key.low != key.low || (*at)->key.high != key.high))
        at = &(*at)->chain;
    return at;
}

static void drop(struct responses *r, struct entry *x)
{
    *place_of(r, x->key) = x->chain;
    pull(r, x);
    r->bytes -= x->bytes;
    free(x->scores);
    free(x);
}

static struct ghost *ghost_of(const struct responses *r, struct response_key key)
{
    return &r->ghost[(key.low >> 32 ^ key.high) & r->mask];
}

/* It left the small queue no longer ago than the main one has entries. */
static bool is_ghost(const struct responses *r, struct response_key key)
{
    const struct ghost *g = ghost_of(r, key);
    return g->mark == (uint32_t)key.high && g->when && r->left - g->when <= (uint64_t)r->in_main;
}

static void leave_small(struct responses *r, struct entry *x)
{
    if (x->uses > 1) {
        pull(r, x);
        x->uses = 0;
        push(r, x, MAIN);
        return;
    }
    *ghost_of(r, x->key) = (struct ghost){(uint32_t)x->key.high, ++r->left};
    drop(r, x);
}

static void leave_main(struct responses *r, struct entry *x)
{
    if (!x->uses) {
        drop(r, x);
        return;
    }
    pull(r, x);
    x->uses--;
    push(r, x, MAIN);
}

static struct entry *oldest_but(const struct fifo *f, const struct entry *spare)
{
    return f->oldest && f->oldest == spare ? spare->newer : f->oldest;
}

/* Makes room for `more` bytes; `spare` stays. False: there is not so much. */
static bool make_room(struct responses *r, size_t more, const struct entry *spare)
{
    while (r->bytes + more > r->max_bytes) {
        struct entry *small = oldest_but(&r->fifo[SMALL], spare), *main = oldest_but(&r->fifo[MAIN], spare);
        if (small && (!main || r->fifo[SMALL].bytes * SMALL_SHARE > r->max_bytes))
            leave_small(r, small);
        else if (main)
            leave_main(r, main);
        else
            return false;
    }
    return true;
}

/* ---- entries ---- */

static struct entry *add(struct responses *r, struct response_key key)
{
    bool again = is_ghost(r, key);
    struct entry *x, **at;
    if (!make_room(r, sizeof *x + MALLOC_BYTES, NULL) || !(x = calloc(1, sizeof *x)))
        return NULL;
    at = place_of(r, key);
    x->key = key;
    x->bytes = sizeof *x + MALLOC_BYTES;
    *at = x;
    push(r, x, again ? MAIN : SMALL);
    r->bytes += x->bytes;
    return x;
}

static void show(const struct entry *x, struct response *out)
{
    *out = (struct response){x->label, x->exit, x->confidence, x->epoch, {.dtype = TENSOR_NONE}, x->variant};
    if (!x->scores)
        return;
    out->scores.dtype = (enum tensor_dtype)x->dtype;
    out->scores.rank = x->rank;
    memcpy(out->scores.dim, x->scores, x->rank * sizeof *x->scores);
    out->scores.data = x->scores + x->rank;
}

static bool same(struct response_stamp a, struct response_stamp b)
{
    return a.network == b.network && a.caches == b.caches;
}

static bool holds(const struct entry *x, struct response_stamp now)
{
    return x->known && (x->exit < 0 ? x->stamp.network == now.network : same(x->stamp, now));
}

enum response_state responses_ask(struct responses *r, struct response_key key, struct response_stamp stamp,
                                  struct response *out, uint64_t *request)
{
    struct entry *x = *place_of(r, key);
    if (!x) {
        add(r, key);
        return RESPONSE_NEW;
    }
    x->uses = (uint8_t)(x->uses < OFTEN ? x->uses + 1 : OFTEN);
    if (holds(x, stamp)) {
        show(x, out);
        return RESPONSE_KNOWN;
    }
    *request = x->request;
    return x->request && same(x->stamp, stamp) ? RESPONSE_UNDER_WAY : RESPONSE_NEW;
}

void responses_take(struct responses *r, struct response_key key, struct response_stamp stamp,
                    uint64_t request)
{
    struct entry *x = *place_of(r, key);
    if (!x)
        return;
    x->request = request;
    x->stamp = stamp;
    x->known = false;
}

/* Room in x for scores of so many bytes; 0: it has none any more. */
static bool resize(struct responses *r, struct entry *x, size_t bytes)
{
    size_t before = x->bytes, now = sizeof *x + MALLOC_BYTES + (bytes ? bytes + MALLOC_BYTES : 0);
    free(x->scores);
    x->scores = NULL;
    if (now > before && !make_room(r, now - before, x))
        return false;
    if (bytes && !(x->scores = malloc(bytes)))
        return false;
    x->bytes = (uint32_t)now;
    r->bytes += now - before;
    r->fifo[x->queue].bytes += now - before;
    return true;
}

void responses_keep(struct responses *r, struct response_key key, struct response_stamp stamp,
                    uint64_t request, const struct response *a)
{
    struct entry *x = *place_of(r, key);
    const struct tensor *s = &a->scores;
    size_t dims = (size_t)s->rank * sizeof *x->scores, data = s->dtype ? (size_t)tensor_bytes(s) : 0;
    if (!x || x->request != request)
        return;
    if (data > r->max_bytes / LARGEST_SHARE || !resize(r, x, s->dtype ? dims + data : 0)) {
        drop(r, x);
        return;
    }
    if (s->dtype) {
        memcpy(x->scores, s->dim, dims);
        memcpy(x->scores + s->rank, s->data, data);
    }
    x->dtype = (uint8_t)s->dtype;
    x->rank = (uint8_t)s->rank;
    x->label = a->label;
    x->exit = a->exit;
    x->confidence = a->confidence;
    x->epoch = a->epoch;
    x->variant = a->variant;
    x->stamp = stamp;
    x->request = 0;
    x->known = true;
}
