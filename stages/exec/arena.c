/* arena.c - place buffers that live at different times in one block of memory */
#include "arena.h"

#include <stdlib.h>

#include "base/error.h"

/* What is placed: an item and all that took over its storage after it. */
struct block {
    size_t bytes, offset;
    int first, last;
    int head; /* the item that owns it */
};

static int by_size(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->head - y->head;
}

static int by_offset(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->head - y->head;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* The lowest offset at which b meets no block that is placed (the first n of `placed`) and lives at the same
 * time. */
static size_t lowest_gap(const struct block *b, const struct block *placed, int n, const struct block **busy)
{
    size_t at = 0;
    int k = 0;
    for (int i = 0; i < n; i++)
        if (placed[i].first <= b->last && b->first <= placed[i].last)
            busy[k++] = &placed[i];
    qsort(busy, (size_t)k, sizeof *busy, by_offset);
    for (int i = 0; i < k; i++) {
        if (busy[i]->offset >= at + b->bytes)
            break;
        if (busy[i]->offset + busy[i]->bytes > at)
            at = busy[i]->offset + busy[i]->bytes;
    }
    return at;
}

int arena_plan(struct arena_item *item, int n, size_t *total)
{
    struct block *block = calloc((size_t)n + 1, sizeof *block);
    const struct block **busy = calloc((size_t)n + 1, sizeof *busy);
    int *head = calloc((size_t)n + 1, sizeof *head); /* the item that owns i's storage */
    int *of = calloc((size_t)n + 1, sizeof *of);     /* its block */
    int k = 0;
    *total = 0;
    if (!block || !busy || !head || !of)
        goto done;
    for (int i = 0; i < n; i++) {
        struct block *b;
        head[i] = item[i].takes >= 0 ? head[item[i].takes] : i;
        if (head[i] == i) {
            of[i] = k;
            block[k++] = (struct block){rounded(item[i].bytes), 0, item[i].first, item[i].last, i};
        }
        b = &block[of[head[i]]];
        b->last = item[i].last > b->last ? item[i].last : b->last;
    }
    qsort(block, (size_t)k, sizeof *block, by_size);
    for (int i = 0; i < k; i++) {
        block[i].offset = block[i].bytes ? lowest_gap(&block[i], block, i, busy) : 0;
        item[block[i].head].offset = block[i].offset;
        if (block[i].offset + block[i].bytes > *total)
            *total = block[i].offset + block[i].bytes;
    }
    for (int i = 0; i < n; i++)
        item[i].offset = item[head[i]].offset;
done:
    k = block && busy && head && of ? FL_OK : FL_NOMEM;
    free(block);
    free(busy);
    free(head);
    free(of);
    return k;
}
