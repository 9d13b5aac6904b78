/* outbox.c - a short queue with numbers */
#include "outbox.h"

#include <string.h>

#include "base/clock.h"

#define FULL_NS NS_PER_S /* how long updates wait when the stream is full */

static void leave(struct outbox *o, int n)
{
    for (int i = 0; i < n; i++)
        update_free(o->update[i]);
    memmove(o->update, o->update + n, sizeof *o->update * (size_t)(o->n - n));
    o->n -= n;
    o->acknowledged += (uint64_t)n;
}

void outbox_drop(struct outbox *o)
{
    leave(o, o->n);
}

int outbox_waiting(const struct outbox *o)
{
    return o->n + spool_count(o->spool);
}

uint64_t outbox_due(const struct outbox *o)
{
    return outbox_waiting(o) ? o->full_ns : UINT64_MAX;
}

int outbox_send(struct outbox *o, struct keeper_task *t)
{
    o->n += spool_pop(o->spool, o->update + o->n, OUTBOX_UPDATES - o->n);
    if (!o->n)
        return FL_OK;
    keeper_ask(t, KEEPER_APPEND)->updates = o->update;
    t->n = o->n;
    t->sequence = o->acknowledged + 1;
    return KEEPER_ASKS_ON;
}

int outbox_done(struct outbox *o, struct keeper_task *t, uint64_t now)
{
    if (t->rc)
        return t->rc;
    leave(o, t->accepted);
    if (!o->n)
        return outbox_send(o, t);
    o->full_ns = now + FULL_NS;
    return FL_OK;
}
