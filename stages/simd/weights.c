/* weights.c - where constants lie
 *
 * Weights are read once per run, front to back. On huge pages the hardware's prefetchers need not stop at
 * each 4 KiB.
 */
#include "weights.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

#define HUGE_BYTES  ((size_t)2 << 20)
#define CHUNK_BYTES ((size_t)16 << 20)

struct chunk {
    char *base; /* mapped */
    size_t size, used;
};

struct weights {
    int n, room;
    struct chunk *chunk;
    size_t bytes;
};

int weights_new(struct weights **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? FL_OK : FL_NOMEM;
}

void weights_free(struct weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->n; i++)
        munmap(w->chunk[i].base, w->chunk[i].size);
    free(w->chunk);
    free(w);
}

/* Maps `size` bytes (a multiple of the huge page) at a huge page's boundary. */
static char *map_aligned(size_t size)
{
    char *raw = mmap(NULL, size + HUGE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t head;
    if (raw == MAP_FAILED)
        return NULL;
    head = (HUGE_BYTES - (uintptr_t)raw % HUGE_BYTES) % HUGE_BYTES;
    if (head)
        munmap(raw, head);
    munmap(raw + head + size, HUGE_BYTES - head);
    return raw + head;
}

static struct chunk *add_chunk(struct weights *w, size_t bytes)
{
    struct chunk *c;
    size_t size = bytes > CHUNK_BYTES ? (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES : CHUNK_BYTES;
    if (w->n == w->room) {
        int room = w->room ? 2 * w->room : 8;
        c = realloc(w->chunk, (size_t)room * sizeof *c);
        if (!c)
            return NULL;
        w->chunk = c;
        w->room = room;
    }
    c = &w->chunk[w->n];
    *c = (struct chunk){map_aligned(size), size, 0};
    if (!c->base)
        return NULL;
    w->n++;
    return c;
}

void *weights_alloc(struct weights *w, size_t bytes)
{
    struct chunk *c = w->n ? &w->chunk[w->n - 1] : NULL;
    size_t end;
    char *p;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 63) / 64 * 64;
    if (!c || c->size - c->used < bytes)
        c = add_chunk(w, bytes);
    if (!c)
        return NULL;
    p = c->base + c->used;
    /* Ask for huge pages only where a whole one is filled, so that the tail does not cost 2 MiB for a few
     * bytes. */
    end = (c->used + bytes) / HUGE_BYTES * HUGE_BYTES;
    if (end > c->used / HUGE_BYTES * HUGE_BYTES)
        madvise(c->base + c->used / HUGE_BYTES * HUGE_BYTES, end - c->used / HUGE_BYTES * HUGE_BYTES,
                MADV_HUGEPAGE);
    c->used += bytes;
    w->bytes += bytes;
    return p;
}

struct weights_mark weights_mark(const struct weights *w)
{
    return (struct weights_mark){w->n, w->n ? w->chunk[w->n - 1].used : 0, w->bytes};
}

void weights_rewind(struct weights *w, struct weights_mark mark)
{
    while (w->n > mark.chunk) {
        w->n--;
        munmap(w->chunk[w->n].base, w->chunk[w->n].size);
    }
    if (w->n) {
        struct chunk *c = &w->chunk[w->n - 1];
        /* What comes next must find zeros there. */
        memset(c->base + mark.used, 0, c->used - mark.used);
        c->used = mark.used;
    }
    w->bytes = mark.bytes;
}

size_t weights_bytes(const struct weights *w)
{
    return w->bytes;
}
