/* lessons.c - the lease, and one batch after the other */
#include "lessons.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define EARLY_NS (500 * NS_PER_MS) /* the lease is renewed with what else is asked, if it is due so soon */

/* --- the lease --- */

int lessons_begin_lease(struct lessons *l, bool at_head, struct keeper_task *t, uint64_t now)
{
    static const enum keeper_act acts[] = {
        [LEASE_ACQUIRE] = KEEPER_ACQUIRE, [LEASE_RENEW] = KEEPER_RENEW, [LEASE_RELEASE] = KEEPER_RELEASE};
    enum lease_action action;
    l->held = lease_held(&l->lease, now);
    action = lease_next(&l->lease, at_head, now, EARLY_NS);
    if (action == LEASE_IDLE)
        return FL_OK;
    keeper_ask(t, acts[action])->fence = l->lease.fence;
    return KEEPER_ASKS_ON;
}

static int on_lease(struct lessons *l, struct follow *f, const struct keeper_task *t, uint64_t asked_ns,
                    uint64_t now)
{
    bool holds;
    if (t->act == KEEPER_RELEASE) /* whatever came of it */
        lease_lost(&l->lease, asked_ns);
    else if (!t->rc && t->act == KEEPER_ACQUIRE)
        lease_acquired(&l->lease, t->fence, asked_ns);
    else if (!t->rc)
        lease_renewed(&l->lease, t->ok, asked_ns);
    holds = lease_held(&l->lease, now);
    l->more = l->more || t->act == KEEPER_RENEW || l->held != holds; /* hints may be lost */
    if (holds && !l->held) {
        log_info("the learner (fence %" PRIu64 ")", l->lease.fence);
        follow_doubt(f); /* begin from the newest state */
    } else if (l->held && !holds)
        log_info("no longer the learner");
    return t->rc;
}

/* --- epochs that the student made --- */

void lessons_offer(struct lessons *l, struct snapshot *s, const struct holding *h)
{
    snapshot_free(l->offer);
    l->offer = s;
    l->offered = h->taken;
}

static int commit(struct lessons *l, const struct holding *h, const struct head *head,
                  const struct snapshot *next, struct keeper_task *t)
{
    keeper_ask(t, KEEPER_COMMIT)->mine = h->current;
    t->next = next;
    t->batch = l->lesson.batch;
    t->fence = l->lease.fence;
    t->head = *head;
    return KEEPER_ASKS_ON;
}

bool lessons_offers(const struct lessons *l, const struct holding *h)
{
    return l->offer && l->offered == h->taken;
}

/* True: it was this that was committed. */
static bool took_offer(struct lessons *l, struct holding *h, int rc)
{
    struct snapshot *s = l->offer;
    if (!s)
        return false;
    if (!rc)
        holding_adopt(h, s, h->own);
    else if (rc == FL_STALE)
        snapshot_free(s);
    else
        return true;
    l->offer = NULL;
    return true;
}

/* --- batches --- */

#define STUDENT_BATCH 4096             /* at most: learner_capacity */
#define STUDENT_NS    (50 * NS_PER_MS) /* between batches that were not full */

/* A batch was made ready. */
static int learn(struct lessons *l, const struct holding *h, struct store_batch *batch, struct keeper_task *t)
{
    lesson_begin(&l->lesson, batch, h->current);
    keeper_ask(t, l->student ? KEEPER_STUDY : KEEPER_LEARN)->mine = h->current;
    t->batch = l->lesson.batch;
    return KEEPER_ASKS_ON;
}

static void end_lesson(struct lessons *l, uint64_t now)
{
    lesson_end(&l->lesson, (uint64_t)l->p->updates.interval_ms * NS_PER_MS, now);
}

/* What was learned counts now. */
static void take_lesson(struct lessons *l, struct holding *h)
{
    const struct learner_tally *tally = &l->lesson.tally;
    int rejected = tally->rejected + l->lesson.damaged;
    holding_adopt(h, l->lesson.next, h->own);
    l->lesson.next = NULL;
    l->applied += (unsigned)tally->applied;
    l->rejected += (unsigned)rejected;
    if (rejected)
        log_warn("%d updates can't be applied (another identity, exit or size) and are left out", rejected);
    if (tally->applied)
        log_info("learned %d updates into %d caches: epoch %" PRIu64, tally->applied, tally->exits,
                 snapshot_epoch(h->current));
}

uint64_t lessons_due(const struct lessons *l, bool at_head)
{
    if (!at_head || !l->lease.fence)
        return UINT64_MAX;
    return l->offer || l->errand ? 0 : l->more ? l->lesson.due_ns : UINT64_MAX;
}

int lessons_begin(struct lessons *l, const struct holding *h, const struct head *head, struct keeper_task *t,
                  uint64_t now)
{
    if (!lease_held(&l->lease, now))
        return FL_OK;
    if (lessons_offers(l, h))
        return commit(l, h, head, l->offer, t);
    lessons_offer(l, NULL, h);
    if (l->errand) {
        l->errand = false;
        keeper_ask(t, KEEPER_ERRAND)->mine = h->current;
        return KEEPER_ASKS_ON;
    }
    if (!l->more || now < l->lesson.due_ns)
        return FL_OK;
    l->lesson.began_ns = now;
    keeper_ask(t, KEEPER_READ)->fence = l->lease.fence;
    t->head = *head;
    t->n = learner_capacity(h->current, l->student ? STUDENT_BATCH : l->p->updates.batch);
    return KEEPER_ASKS_ON;
}

static int on_read(struct lessons *l, const struct holding *h, struct keeper_task *t)
{
    struct store_batch batch = t->batch;
    if (!t->rc && batch.n)
        return learn(l, h, &batch, t);
    store_batch_free(&batch);
    l->more = l->more && t->rc;
    return t->rc;
}

static int on_learned(struct lessons *l, const struct holding *h, const struct follow *f,
                      struct keeper_task *t, uint64_t now)
{
    if (t->rc) {
        end_lesson(l, now);
        return t->rc;
    }
    lesson_made(&l->lesson, t->got, &t->tally, h->current);
    return commit(l, h, &f->head, l->lesson.next, t);
}

/* The student has the batch on its own disk, and then Redis need not keep it. */
static int on_studied(struct lessons *l, struct keeper_task *t, uint64_t now)
{
    if (!t->rc) {
        keeper_ask(t, KEEPER_ACK)->fence = l->lease.fence;
        t->batch = l->lesson.batch;
        return KEEPER_ASKS_ON;
    }
    end_lesson(l, now);
    return t->rc;
}

static int on_acknowledged(struct lessons *l, const struct holding *h, const struct keeper_task *t,
                           uint64_t now)
{
    bool full = l->lesson.batch.n >= learner_capacity(h->current, STUDENT_BATCH);
    if (!t->rc) {
        l->applied += (unsigned)(l->lesson.batch.n - l->lesson.damaged);
        l->rejected += (unsigned)l->lesson.damaged;
    }
    end_lesson(l, now);
    l->lesson.due_ns = full ? now : now + STUDENT_NS;
    return t->rc;
}

static int on_committed(struct lessons *l, struct holding *h, struct follow *f, const struct keeper_task *t,
                        uint64_t now)
{
    bool offer = took_offer(l, h, t->rc);
    if (!t->rc) {
        if (!offer)
            take_lesson(l, h);
        follow_committed(f, h, &t->head, now);
    }
    if (!offer)
        end_lesson(l, now);
    return t->rc;
}

static int step_done(struct lessons *l, struct holding *h, struct follow *f, struct keeper_task *t,
                     uint64_t now)
{
    switch (t->act) {
    case KEEPER_READ:
        return on_read(l, h, t);
    case KEEPER_LEARN:
        return on_learned(l, h, f, t, now);
    case KEEPER_STUDY:
        return on_studied(l, t, now);
    case KEEPER_ACK:
        return on_acknowledged(l, h, t, now);
    case KEEPER_COMMIT:
        return on_committed(l, h, f, t, now);
    default: /* KEEPER_ERRAND */
        return t->rc;
    }
}

int lessons_done(struct lessons *l, struct holding *h, struct follow *f, struct keeper_task *t,
                 uint64_t asked_ns, uint64_t now)
{
    int rc;
    if (t->act == KEEPER_ACQUIRE || t->act == KEEPER_RENEW || t->act == KEEPER_RELEASE)
        return on_lease(l, f, t, asked_ns, now);
    rc = step_done(l, h, f, t, now);
    if (rc == FL_STALE)
        lease_lost(&l->lease, now);
    return rc;
}

/* --- alone --- */

uint64_t lessons_alone_due(const struct lessons *l, const struct holding *h, struct spool *spool)
{
    return h->current && spool_count(spool) ? l->lesson.due_ns : UINT64_MAX;
}

int lessons_begin_alone(struct lessons *l, const struct holding *h, struct spool *spool,
                        struct keeper_task *t, uint64_t now)
{
    int capacity = learner_capacity(h->current, l->p->updates.batch);
    struct store_batch batch = {.update = malloc(sizeof *batch.update * (size_t)capacity)};
    if (!batch.update)
        return FL_NOMEM;
    batch.n = spool_pop(spool, batch.update, capacity);
    l->accepted += (unsigned)batch.n;
    l->lesson.began_ns = now;
    return learn(l, h, &batch, t);
}

void lessons_done_alone(struct lessons *l, struct holding *h, struct keeper_task *t, uint64_t now)
{
    if (t->rc)
        log_warn("%d updates not applied: %s", l->lesson.batch.n, t->error.text);
    else {
        lesson_made(&l->lesson, t->got, &t->tally, h->current);
        take_lesson(l, h);
    }
    end_lesson(l, now);
}
