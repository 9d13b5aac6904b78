/* cache.h - the cache of one exit: projection, index, threshold, epoch; immutable once made
 *
 * Confidence as published (arXiv 2002.02645):
 *   knn    (section 3): for the k nearest points at distances d_j, S_i = m_i / k, C_i = S_i * sum over
 * neighbours j of class i of 1/d_j; the largest C_i wins. kmeans (section 4): nearest centroid; confidence =
 * majority fraction / distance. A look-up is a hit when confidence > threshold. A NaN anywhere in a
 * descriptor is a miss. Snapshots are shared by threads.
 */
#ifndef FREEZELINE_CACHE_H
#define FREEZELINE_CACHE_H

#include "base/error.h"
#include "config/pipeline.h"

struct cache;         /* immutable, reference counted */
struct cache_scratch; /* one per thread: buffers for cache_lookup, sized for the largest batch */

struct cache_verdict {
    int32_t label;
    float confidence;
    bool hit;
};

/* Thresholds for requests that say how much loss they allow: each is certified for its own loss (promise.h),
 * from the most to the least. The first has the loss of the whole promise, and the cache's own threshold. */
#define CACHE_LEVELS 3
struct cache_levels {
    int n; /* 0: nothing is certified, so such requests get no answer here */
    struct cache_level {
        uint32_t loss_ppm;
        float threshold;
    } of[CACHE_LEVELS];
};

struct cache_info {
    char exit[64];
    char kind[16]; /* "knn", "kmeans", "learned" */
    uint8_t identity[16];
    uint64_t epoch;
    uint64_t digest; /* of the packed bytes that it was read from; 0: made here */
    int dim;         /* of the descriptor */
    int nodes;       /* of the projection */
    int classes;
    int64_t entries; /* points or centroids */
    float threshold;
    struct cache_levels levels;
    size_t projection_bytes, index_bytes, total_bytes;
};

void cache_retain(struct cache *c);
void cache_free(struct cache *c); /* drops one reference; NULL is fine */
struct cache_info cache_info(const struct cache *c);

int cache_scratch_new(struct cache_scratch **out, int max_batch);
void cache_scratch_free(struct cache_scratch *s);

/* n descriptors of info.dim floats, row-major -> n verdicts. Allocates nothing once the scratch has grown to
 * this cache. */
int cache_lookup(const struct cache *c, struct cache_scratch *s, const float *descriptors, int n,
                 struct cache_verdict *out);

/* Packed form: magic, version, dtype, dims, epoch, identity, xxh3 checksum, then the arrays.
 * Little-endian. cache_unpack checks everything: FL_CORRUPT, FL_UNSUPPORTED (of another version of this
 * program), FL_STALE (another identity, when `identity` is not NULL), FL_TOO_LARGE: more than
 * CACHE_MAX_BYTES. */
#define CACHE_MAX_BYTES (4ull << 30)
int cache_pack(const struct cache *c, void **out, size_t *size); /* *out malloc'ed, owned by the caller */
int cache_unpack(struct cache **out, const void *data, size_t size, const uint8_t *identity, struct error *e);
/* The same where the bytes lie, at a multiple of 64: the large arrays are not copied. They must stay as they
 * are while *out lives. */
int cache_map(struct cache **out, const void *data, size_t size, const uint8_t *identity, struct error *e);
/* Atomically: temp file, fsync, rename. *digest (may be NULL) gets what cache_info will say of the file once
 * it is loaded. */
int cache_save(const struct cache *c, const char *path, uint64_t *digest, struct error *e);
int cache_load(struct cache **out, const char *path, const uint8_t *identity, struct error *e);

/* The same cache with another threshold (not NaN; infinity: nothing is a hit) and other levels: a copy, as
 * caches never change. FL_NOMEM. */
int cache_with_threshold(struct cache **out, const struct cache *c, float threshold,
                         const struct cache_levels *levels);

/* The same as it is to serve: with this epoch too, and the digest of what it packs to. */
int cache_sealed(struct cache **out, const struct cache *c, float threshold,
                 const struct cache_levels *levels, uint64_t epoch);

/* Online updates: a new cache (epoch + 1) with these (descriptor, label) pairs applied within budget_bytes (0
 * = no limit): knn adds points and, at the budget, one of the class with most leaves (knn_leaves); kmeans
 * moves the nearest centroid of that label or splits off / replaces the least used one. Thresholds: a pair
 * that the old cache would have answered wrongly raises the threshold to that confidence (max-wrong stays
 * true on what was seen). Ids already applied are the caller's business. */
struct cache_pair {
    const float *descriptor;
    int32_t label;
};
int cache_apply(struct cache **out, const struct cache *old, const struct cache_pair *pairs, int n,
                size_t budget_bytes, struct error *e);

#endif
