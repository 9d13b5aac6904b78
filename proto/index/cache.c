/* cache.c - the life of a cache and its look-ups
 *
 * A look-up: standardise, project, distances to all entries, confidence of the kind. Nothing here takes a
 * lock: caches do not change, and each thread brings its own scratch.
 */
#include "cache_body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[CACHE_KINDS] = {"knn", "kmeans", "learned"};

int cache_kind_parse(const char *name, enum cache_kind *out)
{
    for (int k = 0; k < CACHE_KINDS; k++) {
        if (strcmp(name, kind_names[k]) == 0) {
            *out = (enum cache_kind)k;
            return FL_OK;
        }
    }
    return FL_USAGE;
}

int cache_new(struct cache **out, enum cache_kind kind, struct projection *p, int classes)
{
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return FL_NOMEM;
    atomic_init(&c->references, 1);
    c->kind = kind;
    c->classes = classes;
    c->threshold = INFINITY;
    c->projection = projection_retain(p);
    if (kind == CACHE_KMEANS)
        c->kmeans.classes = classes;
    *out = c;
    return FL_OK;
}

void cache_retain(struct cache *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
}

void cache_free(struct cache *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1)
        return;
    if (cache_points(c) != NULL)
        points_release(cache_points(c));
    if (c->kind == CACHE_KNN && !c->borrowed)
        free(c->knn.label);
    else if (c->kind == CACHE_KMEANS && !c->borrowed)
        free(c->kmeans.count);
    else if (c->kind == CACHE_LEARNED)
        predictor_release(&c->learned);
    projection_release(c->projection);
    free(c);
}

int cache_round(struct cache *c)
{
    if (c->kind != CACHE_LEARNED || !projection_may_round(&c->projection->map))
        return FL_OK;
    return projection_round(c->projection) == FL_OK ? predictor_round(&c->learned) : FL_NOMEM;
}

static const struct points *entries(const struct cache *c)
{
    switch (c->kind) {
    case CACHE_KNN:
        return &c->knn.points;
    case CACHE_KMEANS:
        return &c->kmeans.points;
    default:
        return NULL;
    }
}

struct points *cache_points(struct cache *c)
{
    return (struct points *)entries(c); /* of a cache that is not const */
}

static int64_t entry_count(const struct cache *c)
{
    return entries(c) != NULL ? entries(c)->n : 0;
}

size_t cache_entry_bytes(const struct cache *c)
{
    size_t extra = c->kind == CACHE_KNN ? sizeof *c->knn.label : (size_t)c->classes * sizeof *c->kmeans.count;
    return points_entry_bytes(c->projection->nodes) + extra;
}

struct cache_info cache_info(const struct cache *c)
{
    struct cache_info i = {0};
    memcpy(i.exit, c->exit, sizeof i.exit);
    strcpy(i.kind, kind_names[c->kind]);
    memcpy(i.identity, c->identity, sizeof i.identity);
    i.epoch = c->epoch;
    i.digest = c->digest;
    i.dim = c->projection->dim;
    i.nodes = c->projection->nodes;
    i.classes = c->classes;
    i.entries = entry_count(c);
    i.threshold = c->threshold;
    i.levels = c->levels;
    i.projection_bytes = projection_bytes(c->projection);
    i.index_bytes =
        c->kind == CACHE_LEARNED ? predictor_bytes(&c->learned) : (size_t)i.entries * cache_entry_bytes(c);
    i.total_bytes = i.projection_bytes + i.index_bytes + sizeof *c;
    return i;
}

/* --- look-ups --- */

/* How many neighbours a verdict needs. */
static int neighbours(const struct cache *c)
{
    return c->kind == CACHE_KNN ? c->knn.k : c->kind == CACHE_KMEANS;
}

static void *renew(void *old, size_t bytes)
{
    free(old);
    return malloc(bytes + 1);
}

int lookup_room_fit(struct lookup_room *room, const struct cache *c, int rows)
{
    size_t near = (size_t)rows * (size_t)neighbours(c), classes = (size_t)c->classes;
    size_t bytes = c->kind == CACHE_LEARNED ? predictor_room(&c->learned) : 0;
    int rc = nearest_fit(&room->nearest, rows, neighbours(c));
    if (rc != FL_OK)
        return rc;
    if (!room->near || near > room->kept) {
        room->near = renew(room->near, near * sizeof *room->near);
        room->kept = room->near ? near : 0;
    }
    if (classes > room->classes) {
        room->scores = renew(room->scores, 2 * classes * sizeof *room->scores);
        room->classes = room->scores ? classes : 0;
    }
    if (bytes > room->n_bytes) {
        room->bytes = renew(room->bytes, bytes);
        room->n_bytes = room->bytes ? bytes : 0;
    }
    return near <= room->kept && classes <= room->classes && bytes <= room->n_bytes ? FL_OK : FL_NOMEM;
}

void lookup_room_release(struct lookup_room *room)
{
    nearest_release(&room->nearest);
    free(room->near);
    free(room->scores);
    free(room->bytes);
}

static const struct cache_verdict no_verdict = {-1, 0, false};

/* One verdict, of an embedding or its n nearest entries. */
static void judge(const struct cache *c, const float *h, const struct neighbour *near, int n,
                  const struct lookup_room *room, struct cache_verdict *out)
{
    float fraction, *scores = room->scores;
    *out = no_verdict;
    if (c->kind == CACHE_LEARNED) {
        predictor_scores(&c->learned, h, scores, room->bytes);
        out->label = predictor_label(scores, c->classes, c->learned.against_all, &out->confidence);
    } else if (n == 0) {
        return;
    } else if (c->kind == CACHE_KNN) {
        out->label = knn_confidence(near, n, c->knn.k, c->knn.label, c->classes, scores, &out->confidence);
    } else {
        out->label = kmeans_majority(&c->kmeans, near->index, &fraction);
        out->confidence = fraction / near->distance;
    }
    if (!isfinite(out->confidence))
        *out = no_verdict;
    out->hit = out->label >= 0 && out->confidence > c->threshold;
}

void cache_judge(const struct cache *c, const float *h, int n, struct lookup_room *room,
                 struct cache_verdict *out)
{
    int k = neighbours(c), found = 0;
    if (entries(c) != NULL)
        found = nearest_search(entries(c), h, n, k, &room->nearest, room->near);
    for (int i = 0; i < n; i++)
        judge(c, h + (size_t)i * (size_t)c->projection->nodes, room->near + (size_t)i * (size_t)k, found,
              room, &out[i]);
}

struct cache_scratch {
    int max_batch;
    size_t dim, nodes, room_floats; /* grown to these */
    float *z, *h, *room;
    bool *finite;
    struct lookup_room lookup;
};

int cache_scratch_new(struct cache_scratch **out, int max_batch)
{
    struct cache_scratch *s = calloc(1, sizeof *s);
    if (s == NULL)
        return FL_NOMEM;
    s->max_batch = max_batch > 0 ? max_batch : 1;
    s->finite = calloc((size_t)s->max_batch, sizeof *s->finite);
    if (s->finite == NULL) {
        cache_scratch_free(s);
        return FL_NOMEM;
    }
    *out = s;
    return FL_OK;
}

void cache_scratch_free(struct cache_scratch *s)
{
    if (s == NULL)
        return;
    free(s->z);
    free(s->h);
    free(s->room);
    free(s->finite);
    lookup_room_release(&s->lookup);
    free(s);
}

/* Contents are not kept. */
static bool grow(float **buffer, size_t *have, size_t need, size_t rows)
{
    float *larger;
    if (need <= *have)
        return true;
    larger = aligned_alloc(64, (need * rows * sizeof **buffer + 63) / 64 * 64);
    if (larger == NULL)
        return false;
    free(*buffer);
    *buffer = larger;
    *have = need;
    return true;
}

static bool fit(struct cache_scratch *s, const struct cache *c)
{
    size_t rows = (size_t)s->max_batch;
    return grow(&s->z, &s->dim, (size_t)c->projection->dim, rows) &&
           grow(&s->h, &s->nodes, (size_t)c->projection->nodes, rows) &&
           grow(&s->room, &s->room_floats, projection_room(c->projection), 1) &&
           lookup_room_fit(&s->lookup, c, s->max_batch) == FL_OK;
}

static void lookup_some(const struct cache *c, struct cache_scratch *s, const float *x, int n,
                        struct cache_verdict *out)
{
    projection_embed(c->projection, x, n, s->z, s->h, s->room, s->finite);
    cache_judge(c, s->h, n, &s->lookup, out);
    for (int i = 0; i < n; i++)
        out[i] = s->finite[i] ? out[i] : no_verdict;
}

int cache_lookup(const struct cache *c, struct cache_scratch *s, const float *descriptors, int n,
                 struct cache_verdict *out)
{
    if (!fit(s, c))
        return FL_NOMEM;
    for (int i = 0; i < n; i += s->max_batch) {
        int some = n - i < s->max_batch ? n - i : s->max_batch;
        lookup_some(c, s, descriptors + (size_t)i * (size_t)c->projection->dim, some, out + i);
    }
    return FL_OK;
}
