/* snapshot.h - the caches of all exits at one point in time; immutable once shared, reference counted
 *
 * What look-ups read and what the learner replaces. It knows its place in history by its manifest's
 * (build, generation) and which updates are in it by `applied`.
 */
#ifndef FREEZELINE_SNAPSHOT_H
#define FREEZELINE_SNAPSHOT_H

#include <stdatomic.h>

#include "index/cache.h"
#include "manifest.h"

struct snapshot {
    atomic_int references;
    struct manifest manifest;
    struct cache *cache[PIPELINE_MAX_EXITS]; /* one reference each; NULL = no cache for that exit */
    int block; /* the same caches for other processes of this host (cache_set.h); -1: not shared */
};

/* One without caches; NULL when out of memory. Fill `cache` before sharing it. */
struct snapshot *snapshot_new(const struct manifest *m);
struct snapshot *snapshot_retain(struct snapshot *s);
void snapshot_free(struct snapshot *s); /* drops one reference; NULL is fine */

/* Makes s->block, before s is shared by threads. */
int snapshot_share(struct snapshot *s, struct error *e);

int snapshot_exit(const struct snapshot *s, const char *name); /* -1 = no such exit */
/* Puts c (one reference, taken; sealed; NULL: none) at exit i, and into the manifest. Before s is shared. */
void snapshot_put(struct snapshot *s, int i, struct cache *c);
/* The newest of its caches; of what was certified since the build, its number (a build's caches have 0). */
uint64_t snapshot_epoch(const struct snapshot *s);
int snapshot_caches(const struct snapshot *s);
/* Under a promise every cache that the manifest names is there: it was made for all of them together. One
 * that names none, as it is before anything is certified, is whole. */
bool snapshot_whole(const struct snapshot *s);
/* A cache that the manifest names is not there: it was damaged where it was read from. NULL lacks none. */
bool snapshot_lacks(const struct snapshot *s);
bool snapshot_same_build(const struct snapshot *a, const struct snapshot *b);
/* The same caches with another `applied`; NULL when out of memory. */
struct snapshot *snapshot_with_applied(const struct snapshot *s, const char *applied);

/* Called for each cache file that is refused. The others are used, but under a promise none is. */
typedef void (*snapshot_refused)(const char *text);

/* FL_STALE when c was not read from the bytes that the manifest means. */
int snapshot_check_cache(const struct manifest *m, int i, const struct cache *c, struct error *e);
/* The cache of exit i from its file. FL_STALE too when the file is not the one that the manifest means. */
int snapshot_load_cache(struct cache **out, const struct manifest *m, int i, const char *dir,
                        struct error *e);
/* Loads DIR/MANIFEST and the files that it names. FL_NOT_FOUND, FL_CORRUPT, .. when the manifest itself can't
 * be used. */
int snapshot_load(struct snapshot **out, const char *dir, const char *manifest, snapshot_refused refused,
                  struct error *e);

/* Writes DIR/PREFIX.json and PREFIX-EXIT-GENERATION.cache beside it; the manifest last, then removes older
 * files of the prefix. A crash at any time leaves one whole state. */
int snapshot_save(const struct snapshot *s, const char *dir, const char *prefix, struct error *e);

#endif
