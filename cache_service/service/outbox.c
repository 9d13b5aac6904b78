/* outbox.c - a short queue with numbers */
#include "outbox.h"

#include <string.h>

int outbox_fill(struct outbox *o)
{
    o->n += spool_pop(o->spool, o->update + o->n, OUTBOX_UPDATES - o->n);
    return o->n;
}

void outbox_remove(struct outbox *o, int n)
{
    for (int i = 0; i < n; i++)
        update_free(o->update[i]);
    memmove(o->update, o->update + n, sizeof *o->update * (size_t)(o->n - n));
    o->n -= n;
    o->acknowledged += (uint64_t)n;
}

int outbox_waiting(const struct outbox *o)
{
    return o->n + spool_count(o->spool);
}
