/* cache_set.c - packed caches one after the other in a memfd, and back */
#include "cache_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define SET_MAGIC   "FLCSET"
#define SET_VERSION 1u
#define SET_ALIGN   64u
#define SET_SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SET_MOST    (2 * CACHE_MAX_BYTES)
#define HUGE_PAGE   (2u << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* of the kernel's headers; an older kernel refuses it, and nothing is lost */
#endif

struct set_entry {
    uint64_t origin, offset, size; /* size 0: no cache */
};

/* At the beginning of the block; the packed caches have checksums of their own. */
struct set_header {
    char magic[8];
    uint64_t checksum; /* XXH3-64 of all that follows in this struct */
    uint64_t size;     /* of the block */
    uint64_t epoch;
    uint32_t version, n_exits;
    uint8_t identity[16];
    struct set_entry exit[PIPELINE_MAX_EXITS];
};
_Static_assert(sizeof(struct set_header) == 56 + 24 * PIPELINE_MAX_EXITS, "no padding in the header");

static uint64_t checksum(const struct set_header *h)
{
    size_t from = offsetof(struct set_header, size);
    return XXH3_64bits((const char *)h + from, sizeof *h - from);
}

static uint64_t align(uint64_t n)
{
    return (n + SET_ALIGN - 1) / SET_ALIGN * SET_ALIGN;
}

static int put(int fd, const void *data, size_t size, uint64_t at, struct error *e)
{
    const char *from = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, from, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(e, FL_IO, "caches cannot be shared: %s", strerror(errno));
        from += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return FL_OK;
}

/* Packs one cache behind the others. */
static int add(struct set_header *h, int i, const struct cache *c, int fd, struct error *e)
{
    void *data;
    size_t size;
    int rc = cache_pack(c, &data, &size);
    if (rc)
        return error_set(e, rc, "the cache of %s cannot be packed: %s", cache_info(c).exit,
                         error_sentence(rc));
    h->exit[i].offset = h->size;
    h->exit[i].size = size;
    rc = put(fd, data, size, h->size, e);
    h->size = align(h->size + size);
    free(data);
    return rc;
}

static int fill(const struct cache_set *set, int fd, struct error *e)
{
    struct set_header h;
    int rc = FL_OK;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, SET_MAGIC, sizeof SET_MAGIC);
    memcpy(h.identity, set->identity, sizeof h.identity);
    h.version = SET_VERSION;
    h.epoch = set->epoch;
    h.n_exits = (uint32_t)set->n_exits;
    h.size = align(sizeof h);
    for (int i = 0; !rc && i < set->n_exits; i++) {
        h.exit[i].origin = set->exit[i].origin;
        if (set->exit[i].cache)
            rc = add(&h, i, set->exit[i].cache, fd, e);
    }
    if (h.size >= HUGE_PAGE) /* whole ones alone can be large */
        h.size = (h.size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    h.checksum = checksum(&h);
    if (!rc && ftruncate(fd, (off_t)h.size))
        rc = error_set(e, FL_IO, "caches cannot be shared: %s", strerror(errno));
    return rc ? rc : put(fd, &h, sizeof h, 0, e);
}

int cache_set_share(const struct cache_set *set, int *fd, struct error *e)
{
    int rc;
    *fd = memfd_create("freezeline-caches", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return error_set(e, FL_IO, "caches cannot be shared: %s", strerror(errno));
    if (!(rc = fill(set, *fd, e)) && fcntl(*fd, F_ADD_SEALS, SET_SEALS | F_SEAL_SEAL))
        rc = error_set(e, FL_IO, "caches cannot be shared: %s", strerror(errno));
    if (rc)
        close(*fd);
    return rc;
}

/* --- what came from elsewhere --- */

/* Large blocks lie on large pages where the kernel can do that (Linux 6.1 and newer): a look-up goes through
 * all of a cache, and finds fewer pages sooner. Who maps a block first makes them, for all. */
static void *map_large(int fd, size_t bytes)
{
    char *room = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t before = HUGE_PAGE - (uintptr_t)room % HUGE_PAGE;
    void *at;
    if (room == MAP_FAILED)
        return MAP_FAILED;
    at = mmap(room + before, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    munmap(room, before);
    if (before < HUGE_PAGE)
        munmap(room + before + bytes, HUGE_PAGE - before);
    if (at == MAP_FAILED)
        munmap(room + before, bytes);
    else
        madvise(at, bytes, MADV_COLLAPSE);
    return at;
}

/* Nobody can change what is sealed: what is checked from here on stays so. */
static int map(struct cache_set *set, int fd, struct error *e)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SET_SEALS) != SET_SEALS || fstat(fd, &st))
        return error_set(e, FL_CORRUPT, "what was handed over as caches is not sealed memory");
    if (st.st_size < (off_t)sizeof(struct set_header) || (uint64_t)st.st_size > SET_MOST)
        return error_set(e, FL_CORRUPT, "what was handed over as caches has %lld bytes",
                         (long long)st.st_size);
    set->bytes = (size_t)st.st_size;
    set->at = set->bytes < HUGE_PAGE ? mmap(NULL, set->bytes, PROT_READ, MAP_SHARED, fd, 0)
                                     : map_large(fd, set->bytes);
    if (set->at != MAP_FAILED)
        return FL_OK;
    set->at = NULL;
    return error_set(e, FL_NOMEM, "shared caches cannot be mapped: %s", strerror(errno));
}

static int check(const struct set_header *h, size_t bytes, struct error *e)
{
    if (memcmp(h->magic, SET_MAGIC, sizeof SET_MAGIC))
        return error_set(e, FL_CORRUPT, "what was handed over as caches is something else");
    if (h->version != SET_VERSION)
        return error_set(e, FL_UNSUPPORTED, "shared caches have version %u, this build reads %u", h->version,
                         SET_VERSION);
    if (h->checksum != checksum(h) || h->size != bytes || h->n_exits > PIPELINE_MAX_EXITS)
        return error_set(e, FL_CORRUPT, "shared caches are damaged");
    return FL_OK;
}

static int take(struct cache_set *set, const struct set_header *h, int i, bool wanted, struct error *e)
{
    const struct set_entry *x = &h->exit[i];
    int rc;
    set->exit[i].origin = x->origin;
    if (!x->size || !wanted)
        return FL_OK;
    if (x->offset % SET_ALIGN || x->offset > h->size || x->size > h->size - x->offset)
        return error_set(e, FL_CORRUPT, "shared caches are damaged: the one of exit %d lies outside", i);
    rc = cache_map(&set->exit[i].cache, (const char *)set->at + x->offset, x->size, h->identity, e);
    return rc ? error_wrap(e, (enum fl_code)rc, "shared caches") : FL_OK;
}

static int read_set(struct cache_set *set, uint32_t wanted, struct error *e)
{
    struct set_header h;
    int rc;
    memcpy(&h, set->at, sizeof h);
    if ((rc = check(&h, set->bytes, e)))
        return rc;
    set->epoch = h.epoch;
    set->n_exits = (int)h.n_exits;
    memcpy(set->identity, h.identity, sizeof set->identity);
    for (int i = 0; !rc && i < set->n_exits; i++)
        rc = take(set, &h, i, wanted >> i & 1, e);
    return rc;
}

int cache_set_map(struct cache_set **out, int fd, uint32_t wanted, struct error *e)
{
    struct cache_set *set = calloc(1, sizeof *set);
    int rc;
    if (!set)
        return error_set(e, FL_NOMEM, "out of memory");
    if ((rc = map(set, fd, e)) || (rc = read_set(set, wanted, e))) {
        cache_set_free(set);
        return rc;
    }
    *out = set;
    return FL_OK;
}

void cache_set_free(struct cache_set *set)
{
    if (!set)
        return;
    for (int i = 0; i < set->n_exits; i++)
        cache_free(set->exit[i].cache);
    if (set->at)
        munmap(set->at, set->bytes);
    free(set);
}
