/* outbox.c - one parcel after the other, from the spool or from the disk, to Redis or to the disk */
#include "outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define FULL_NS  NS_PER_S          /* how long updates wait when the stream is full */
#define SPILL_NS (200 * NS_PER_MS) /* what goes to the disk goes in groups */
#define BAD_NS   (2 * NS_PER_S)    /* the disk took nothing */

static void leave(struct outbox *o, int n)
{
    struct store_parcel *p = &o->parcel;
    for (int i = 0; i < n; i++)
        free(o->record[i].bytes);
    memmove(o->record, o->record + n, sizeof *o->record * (size_t)(p->n - n));
    p->n -= n;
    p->first += (uint64_t)n;
}

void outbox_drop(struct outbox *o)
{
    leave(o, o->parcel.n);
}

uint64_t outbox_held(const struct outbox *o)
{
    return o->on_disk + (o->from_disk ? 0 : (uint64_t)o->parcel.n);
}

uint64_t outbox_waiting(const struct outbox *o)
{
    return (uint64_t)spool_count(o->spool) + outbox_held(o);
}

uint64_t outbox_due(const struct outbox *o)
{
    return outbox_waiting(o) ? o->full_ns : UINT64_MAX;
}

/* The parcel is what waits in the spool. An update for which there is no memory is lost, as it would be in a
 * spool without room. */
static void fill(struct outbox *o)
{
    struct store_parcel *p = &o->parcel;
    struct update *u;
    size_t bytes = 0;
    o->from_disk = false;
    *p = (struct store_parcel){.first = o->given + 1, .record = o->record};
    memcpy(p->producer, o->producer, sizeof p->producer);
    while (p->n < KEEPER_RECORDS && bytes < OUTBOX_BYTES && spool_pop(o->spool, &u, 1)) {
        if (!update_encode(u, &o->record[p->n]))
            bytes += o->record[p->n++].size;
        update_free(u);
    }
    o->given += (uint64_t)p->n;
}

/* What the disk does not know yet is told with the next question. */
static int ask_disk(struct outbox *o, struct keeper_task *t)
{
    keeper_ask(t, KEEPER_UNSPILL)->records = o->record;
    memcpy(t->parcel.producer, o->done_by, sizeof t->parcel.producer);
    t->parcel.first = o->done;
    t->n = KEEPER_RECORDS;
    o->done = 0;
    return KEEPER_ASKS_ON;
}

int outbox_send(struct outbox *o, struct keeper_task *t)
{
    if (!o->parcel.n && (o->on_disk || o->done))
        return ask_disk(o, t);
    if (!o->parcel.n)
        fill(o);
    if (!o->parcel.n)
        return FL_OK;
    keeper_ask(t, KEEPER_APPEND)->parcel = o->parcel;
    return KEEPER_ASKS_ON;
}

static int take_from_disk(struct outbox *o, struct keeper_task *t)
{
    outbox_told(o, t);
    if (t->rc)
        return t->rc;
    o->parcel = t->parcel;
    o->from_disk = true;
    if (!o->parcel.n)
        o->on_disk = 0; /* none that can be read */
    return outbox_send(o, t);
}

int outbox_done(struct outbox *o, struct keeper_task *t, uint64_t now)
{
    if (t->act == KEEPER_UNSPILL)
        return take_from_disk(o, t);
    if (t->rc)
        return t->rc;
    leave(o, t->accepted);
    if (o->from_disk) {
        memcpy(o->done_by, o->parcel.producer, sizeof o->done_by);
        o->done = o->parcel.first - 1;
    }
    if (!o->parcel.n)
        return outbox_send(o, t);
    o->full_ns = now + FULL_NS;
    return FL_OK;
}

/* --- to the disk --- */

uint64_t outbox_spill_due(const struct outbox *o, bool stuck)
{
    bool waits = spool_count(o->spool) || (o->parcel.n && !o->from_disk);
    bool fills = o->on_disk && spool_fills(o->spool);
    return waits && (stuck || fills) ? o->spill_ns : UINT64_MAX;
}

int outbox_spill(struct outbox *o, struct keeper_task *t)
{
    if (o->parcel.n && o->from_disk)
        outbox_drop(o);
    if (!o->parcel.n)
        fill(o);
    if (!o->parcel.n)
        return FL_OK;
    keeper_ask(t, KEEPER_SPILL)->parcel = o->parcel;
    t->ok = !spool_count(o->spool);
    return KEEPER_ASKS_ON;
}

void outbox_spilled(struct outbox *o, const struct keeper_task *t, uint64_t now)
{
    outbox_told(o, t);
    if (t->rc && !o->disk_fails)
        log_warn(
            "updates that wait for Redis can't be kept on the disk: %s; they wait in memory, the oldest are "
            "dropped when that is full",
            t->error.text);
    if (!t->rc && o->disk_fails)
        log_info("updates that wait for Redis are kept on the disk again");
    o->disk_fails = t->rc;
    if (t->rc && o->on_disk) /* what is there has smaller numbers and must be sent before */
        o->dropped += (unsigned)o->parcel.n;
    if (!t->rc || o->on_disk)
        outbox_drop(o);
    if (t->rc || t->ok)
        o->spill_ns = now + (t->rc ? BAD_NS : SPILL_NS);
}

void outbox_told(struct outbox *o, const struct keeper_task *t)
{
    o->on_disk = t->on_disk;
    o->lost = t->lost;
}
