/* cache_set.h - the caches of all exits at one epoch as one block of memory, for processes of one host
 *
 * The cache service makes it (a sealed memfd); stage workers of its host map it and look up in place. It can
 * neither change nor shrink, so what was checked once stays true. Layout: proto/README.md, "Near caches".
 */
#ifndef FREEZELINE_CACHE_SET_H
#define FREEZELINE_CACHE_SET_H

#include "cache.h"

struct cache_set_exit {
    struct cache *cache; /* NULL: none, or not wanted */
    uint64_t origin;     /* of the descriptors that it was built for */
};

struct cache_set {
    uint64_t epoch; /* the newest of its caches */
    uint8_t identity[16];
    int n_exits;
    struct cache_set_exit exit[PIPELINE_MAX_EXITS];
    void *at; /* where it is mapped; NULL: made here */
    size_t bytes;
};

/* Its block: *fd is the caller's. FL_NOMEM, FL_IO, FL_TOO_LARGE. */
int cache_set_share(const struct cache_set *set, int *fd, struct error *e);
/* Maps a block that came from elsewhere, and checks all of it that counts: the caches of the exits whose bits
 * are set in `wanted`. All of them are there, or it fails. `fd` stays the caller's. FL_CORRUPT,
 * FL_UNSUPPORTED (another version's), FL_NOMEM. */
int cache_set_map(struct cache_set **out, int fd, uint32_t wanted, struct error *e);
void cache_set_free(struct cache_set *set); /* one that was mapped; NULL is fine */

#endif
