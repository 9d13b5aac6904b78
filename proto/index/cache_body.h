/* cache_body.h - inside of struct cache: for the files that make, pack and change caches, not for users of
 * cache.h */
#ifndef FREEZELINE_CACHE_BODY_H
#define FREEZELINE_CACHE_BODY_H

#include <stdatomic.h>

#include "cache.h"
#include "knn.h"
#include "predictor.h"
#include "projection.h"

#define CACHE_MAX_CLASSES 65536

enum cache_kind { CACHE_KNN, CACHE_KMEANS, CACHE_LEARNED, CACHE_KINDS };

/* Complete, then never written again: whoever holds a reference may read. */
struct cache {
    atomic_int references;
    enum cache_kind kind;
    char exit[64];
    uint8_t identity[16];
    uint64_t epoch;
    uint64_t tag;    /* digest of what it was built from; 0 when unknown */
    uint64_t digest; /* of the packed bytes that it was read from; 0: made here */
    int classes;
    bool borrowed;   /* its arrays are someone else's (cache_map) */
    float threshold; /* never NaN; +infinity: nothing is a hit */
    struct cache_levels levels;
    struct projection *projection;
    union {
        struct knn knn;
        struct kmeans kmeans;
        struct predictor learned; /* behind the projection, which is its relu layer */
    };
};

int cache_kind_parse(const char *name, enum cache_kind *out); /* FL_USAGE */

/* An empty cache of that kind around a projection (retained). */
int cache_new(struct cache **out, enum cache_kind kind, struct projection *p, int classes);
/* A learned cache of a map: its weights become bytes (int8.h), before it is shared. FL_NOMEM: free it. */
int cache_round(struct cache *c);
/* The points or centroids; NULL for a learned cache. */
struct points *cache_points(struct cache *c);
size_t cache_entry_bytes(const struct cache *c);

/* What look-ups work in behind the projection; all 0 at first. */
struct lookup_room {
    struct nearest_room nearest;
    size_t kept, classes; /* the two below have grown to these */
    struct neighbour *near;
    float *scores;
    size_t n_bytes;
    void *bytes; /* of predictor_scores */
};
int lookup_room_fit(struct lookup_room *room, const struct cache *c, int rows); /* FL_NOMEM */
void lookup_room_release(struct lookup_room *room);
/* Label and confidence of n embedded descriptors h, none NaN. */
void cache_judge(const struct cache *c, const float *h, int n, struct lookup_room *room,
                 struct cache_verdict *out);

/* Writes the checksum of a packed cache into its header. */
void cache_pack_seal(void *data, size_t size);
/* The checksum in a pack, which covers all that can differ. */
uint64_t cache_pack_digest(const void *data);

#endif
