/* world_events.c - a binary heap of events */
#include "world_events.h"

#include <stdlib.h>

#include "base/error.h"

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

int events_push(struct events *q, uint64_t at, int kind, int what, uint32_t version)
{
    struct event fresh = {at, q->order++, kind, what, version};
    int i = q->n;

    if (q->n == q->capacity) {
        int more = q->capacity ? 2 * q->capacity : 1024;
        struct event *p = realloc(q->heap, sizeof *p * (size_t)more);
        if (!p)
            return FL_NOMEM;
        q->heap = p;
        q->capacity = more;
    }
    for (q->n++; i > 0 && before(&fresh, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
        q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = fresh;
    return FL_OK;
}

bool events_pop(struct events *q, struct event *out)
{
    struct event last;
    int i = 0, child;

    if (!q->n)
        return false;
    *out = q->heap[0];
    last = q->heap[--q->n];
    while ((child = 2 * i + 1) < q->n) {
        if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!before(&q->heap[child], &last))
            break;
        q->heap[i] = q->heap[child];
        i = child;
    }
    q->heap[i] = last;
    return true;
}
