/* cache_apply.c - a new epoch of a cache with outcomes of traffic in it
 *
 * A pure function of the old cache and the pairs in their order. The projection is shared with the old cache;
 * entries are copied. Pairs with a descriptor that is not finite or a label that cannot be a class are passed
 * over: one bad update must not stop those behind it. Of a learned cache only the threshold can change here.
 */
#include "cache_body.h"

#include <stdlib.h>
#include <string.h>

#include "half.h"

struct applier {
    struct cache *next;
    const struct cache *old;
    int64_t capacity; /* entries at most */
    int64_t *count;   /* knn: points of each class, once one has to leave */
    float *z, *h, *moved, *patches;
    struct lookup_room room;
};

static bool usable(const struct cache_pair *p)
{
    return p->label >= 0 && p->label < CACHE_MAX_CLASSES;
}

static int classes_needed(const struct cache *old, const struct cache_pair *pairs, int n)
{
    int classes = old->classes;
    for (int i = 0; i < n; i++) {
        if (usable(&pairs[i]) && pairs[i].label >= classes)
            classes = pairs[i].label + 1;
    }
    return classes;
}

static int copy_knn(struct cache *to, const struct cache *from, int64_t room)
{
    int rc = points_copy(&to->knn.points, &from->knn.points, room);
    if (rc != FL_OK)
        return rc;
    to->knn.label = malloc(((size_t)to->knn.points.capacity + 1) * sizeof *to->knn.label);
    if (to->knn.label == NULL)
        return FL_NOMEM;
    memcpy(to->knn.label, from->knn.label, (size_t)from->knn.points.n * sizeof *to->knn.label);
    to->knn.oldest = from->knn.oldest;
    to->knn.k = from->knn.k;
    return FL_OK;
}

static int copy_kmeans(struct cache *to, const struct cache *from, int64_t room)
{
    int rc = points_copy(&to->kmeans.points, &from->kmeans.points, room);
    if (rc != FL_OK)
        return rc;
    to->kmeans.count =
        calloc((size_t)to->kmeans.points.capacity * (size_t)to->classes + 1, sizeof *to->kmeans.count);
    if (to->kmeans.count == NULL)
        return FL_NOMEM;
    for (int64_t j = 0; j < from->kmeans.points.n; j++)
        memcpy(to->kmeans.count + j * to->classes, from->kmeans.count + j * from->classes,
               (size_t)from->classes * sizeof *to->kmeans.count);
    return FL_OK;
}

/* The old cache with room for n more entries, all its classes and those of the pairs, one epoch on. */
static int begin(struct cache **out, const struct cache *old, int classes, int64_t room)
{
    struct cache *c;
    int rc = cache_new(&c, old->kind, old->projection, classes);
    if (rc != FL_OK)
        return rc;
    memcpy(c->exit, old->exit, sizeof c->exit);
    memcpy(c->identity, old->identity, sizeof c->identity);
    c->epoch = old->epoch + 1;
    c->tag = old->tag;
    c->threshold = old->threshold;
    if (c->kind == CACHE_LEARNED)
        rc = predictor_copy(&c->learned, &old->learned);
    else
        rc = c->kind == CACHE_KNN ? copy_knn(c, old, room) : copy_kmeans(c, old, room);
    if (rc != FL_OK) {
        cache_free(c);
        return rc;
    }
    *out = c;
    return FL_OK;
}

/* --- knn: points that come and leave --- */

static bool count_classes(struct applier *a)
{
    const struct knn *m = &a->next->knn;
    if (a->count != NULL)
        return true;
    a->count = calloc((size_t)a->next->classes, sizeof *a->count);
    for (int64_t i = 0; a->count != NULL && i < m->points.n; i++)
        a->count[m->label[i]]++;
    return a->count != NULL;
}

static int apply_knn(struct applier *a, int32_t label)
{
    struct knn *m = &a->next->knn;
    int64_t at = m->points.n;
    if (at >= a->capacity) {
        if (at == 0)
            return FL_OK;
        if (!count_classes(a))
            return FL_NOMEM;
        at = knn_leaves(m->label, m->points.n, a->count, a->next->classes, label, m->oldest);
        m->oldest = (at + 1) % m->points.n;
        a->count[m->label[at]]--;
        a->count[label]++;
    }
    points_set(&m->points, at, a->h);
    m->label[at] = label;
    return FL_OK;
}

/* --- kmeans: counts, and centroids for classes that have few points --- */

/* What all centroids together have seen: of `label`, of everything, and how many centroids it has the
 * majority of. */
struct census {
    uint64_t of_label, all;
    int64_t owned;
};

static struct census take_census(const struct kmeans *m, int32_t label)
{
    struct census s = {0};
    float fraction;
    for (int64_t j = 0; j < m->points.n; j++) {
        s.of_label += m->count[j * m->classes + label];
        s.owned += kmeans_majority(m, j, &fraction) == label;
        for (int c = 0; c < m->classes; c++)
            s.all += m->count[j * m->classes + c];
    }
    return s;
}

/* The centroid with the fewest points whose majority is another label; ties: the lower. -1 when there is
 * none. */
static int64_t least_used(const struct kmeans *m, int32_t label)
{
    int64_t best = -1;
    uint64_t fewest = UINT64_MAX;
    for (int64_t j = 0; j < m->points.n; j++) {
        uint64_t total = 0;
        float fraction;
        for (int c = 0; c < m->classes; c++)
            total += m->count[j * m->classes + c];
        if (total < fewest && kmeans_majority(m, j, &fraction) != label) {
            fewest = total;
            best = j;
        }
    }
    return best;
}

/* A label with less than half of the average class's points is still being learned: it may have centroids of
 * its own, up to its equal share of them. */
static bool deserves_centroid(const struct applier *a, int32_t label)
{
    const struct kmeans *m = &a->next->kmeans;
    struct census s = take_census(m, label);
    return s.of_label * 2 * (uint64_t)m->classes <= s.all &&
           (s.owned == 0 || s.owned < a->capacity / m->classes);
}

static bool place_centroid(struct applier *a, int32_t label)
{
    struct kmeans *m = &a->next->kmeans;
    int64_t at = m->points.n < a->capacity ? m->points.n : least_used(m, label);
    if (at < 0)
        return false;
    points_set(&m->points, at, a->h);
    memset(m->count + at * m->classes, 0, (size_t)m->classes * sizeof *m->count);
    m->count[at * m->classes + label] = 1;
    return true;
}

/* The running mean: centroid += (h - centroid) / (points it has, this one included). */
static void move_centroid(struct applier *a, int64_t j)
{
    struct kmeans *m = &a->next->kmeans;
    const uint16_t *row = m->points.data + j * m->points.nodes;
    uint64_t total = 0;
    for (int c = 0; c < m->classes; c++)
        total += m->count[j * m->classes + c];
    for (int i = 0; i < m->points.nodes; i++) {
        float v = half_to_float(row[i]);
        a->moved[i] = v + (a->h[i] - v) / (float)total;
    }
    points_set(&m->points, j, a->moved);
}

static void apply_kmeans(struct applier *a, int32_t label)
{
    struct kmeans *m = &a->next->kmeans;
    struct neighbour nearest;
    uint32_t *count;
    float fraction;
    int64_t j;
    bool agrees;
    if (m->points.n == 0) {
        place_centroid(a, label);
        return;
    }
    nearest_search(&m->points, a->h, 1, 1, &a->room.nearest, &nearest);
    j = nearest.index;
    agrees = kmeans_majority(m, j, &fraction) == label;
    if (!agrees && deserves_centroid(a, label) && place_centroid(a, label))
        return;
    count = &m->count[j * m->classes + label];
    *count += *count < UINT32_MAX;
    if (agrees)
        move_centroid(a, j);
}

/* --- a budget that became smaller --- */

static void trim_knn(struct knn *m, int64_t capacity)
{
    int64_t n = m->points.n, drop = n - capacity;
    int32_t *label = m->label;
    for (int64_t i = 0; i < n; i++) { /* marked: the `drop` oldest, counted from the ring's start */
        if ((i - m->oldest % n + n) % n < drop)
            label[i] = -1;
    }
    m->points.n = 0;
    for (int64_t i = 0; i < n; i++) {
        if (label[i] < 0)
            continue;
        points_move(&m->points, i, m->points.n);
        label[m->points.n++] = label[i];
    }
    m->oldest = 0;
}

static void trim_kmeans(struct kmeans *m, int64_t capacity)
{
    while (m->points.n > capacity) {
        int64_t j = least_used(m, -1), last = m->points.n - 1;
        points_move(&m->points, last, j);
        memmove(m->count + j * m->classes, m->count + last * m->classes,
                (size_t)m->classes * sizeof *m->count);
        m->points.n--;
    }
}

/* --- both --- */

/* Keeps the rule `max-wrong` true for what was seen: an answer that was wrong raises the threshold to its
 * confidence. */
static void raise_threshold(struct applier *a, int32_t label)
{
    const struct cache *old = a->old;
    struct cache_verdict v;
    cache_judge(old, a->h, 1, &a->room, &v);
    if (v.hit && v.label != label && v.confidence > a->next->threshold)
        a->next->threshold = v.confidence;
}

static int apply_one(struct applier *a, const struct cache_pair *p)
{
    if (!usable(p) || !projection_standardise(a->old->projection, p->descriptor, a->z))
        return FL_OK;
    projection_apply(a->old->projection, a->z, 1, a->h, a->patches);
    raise_threshold(a, p->label);
    if (a->next->kind == CACHE_KNN)
        return apply_knn(a, p->label);
    if (a->next->kind == CACHE_KMEANS)
        apply_kmeans(a, p->label);
    return FL_OK;
}

/* How many entries may be there: what the budget allows, never fewer than are there when it has no limit. */
static int64_t capacity_of(const struct cache *old, int classes, int n, size_t budget_bytes)
{
    struct cache shape = *old;
    int64_t have = cache_info(old).entries, most = have + n;
    shape.classes = classes;
    if (budget_bytes == 0)
        return most;
    if ((int64_t)(budget_bytes / cache_entry_bytes(&shape)) < most)
        most = (int64_t)(budget_bytes / cache_entry_bytes(&shape));
    return most;
}

static int applier_open(struct applier *a)
{
    const struct projection *p = a->old->projection;
    a->z = malloc((size_t)p->dim * sizeof *a->z);
    a->h = malloc((size_t)p->nodes * sizeof *a->h);
    a->moved = malloc((size_t)p->nodes * sizeof *a->moved);
    a->patches = malloc((projection_room(p) + 1) * sizeof *a->patches);
    return a->z && a->h && a->moved && a->patches ? lookup_room_fit(&a->room, a->next, 1) : FL_NOMEM;
}

static void applier_close(struct applier *a)
{
    free(a->z);
    free(a->h);
    free(a->moved);
    free(a->patches);
    free(a->count);
    lookup_room_release(&a->room);
}

int cache_apply(struct cache **out, const struct cache *old, const struct cache_pair *pairs, int n,
                size_t budget_bytes, struct error *e)
{
    struct applier a = {.old = old};
    int classes = old->kind == CACHE_LEARNED ? old->classes : classes_needed(old, pairs, n), rc;
    int64_t have = cache_info(old).entries, room;
    a.capacity = capacity_of(old, classes, n, budget_bytes);
    room = a.capacity > have ? a.capacity : have;
    rc = begin(&a.next, old, classes, room);
    if (rc == FL_OK)
        rc = applier_open(&a);
    if (rc == FL_OK && a.capacity < have) {
        if (old->kind == CACHE_KNN)
            trim_knn(&a.next->knn, a.capacity);
        else if (old->kind == CACHE_KMEANS)
            trim_kmeans(&a.next->kmeans, a.capacity);
    }
    for (int i = 0; i < n && rc == FL_OK; i++)
        rc = apply_one(&a, &pairs[i]);
    applier_close(&a);
    if (rc != FL_OK) {
        cache_free(a.next);
        return error_set(e, rc, "no memory for epoch %llu of the cache of %s",
                         (unsigned long long)old->epoch + 1, old->exit);
    }
    *out = a.next;
    return FL_OK;
}
