/* keeper_updates.c - updates into Redis's stream, and while the lease is held out of it into caches */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

/* --- updates --- */

void keeper_outbox_remove(struct keeper *k, int n)
{
    for (int i = 0; i < n; i++)
        update_free(k->outbox[i]);
    memmove(k->outbox, k->outbox + n, sizeof *k->outbox * (size_t)(k->n_outbox - n));
    k->n_outbox -= n;
    k->sequence += (uint64_t)n;
}

int keeper_append(struct keeper *k, struct error *e)
{
    for (;;) {
        int accepted, sent, rc;
        k->n_outbox += spool_pop(k->spool, k->outbox + k->n_outbox, KEEPER_OUTBOX - k->n_outbox);
        sent = k->n_outbox;
        if (!sent)
            return FL_OK;
        if ((rc = store_append(k->store, k->outbox, sent, k->sequence, k->p->updates.max_stream, &accepted,
                               e)))
            return rc;
        atomic_fetch_add(&k->accepted, (unsigned)accepted);
        keeper_outbox_remove(k, accepted);
        k->more = k->more || accepted;
        if (accepted < sent) { /* the stream is full: they wait */
            k->append_ns = clock_ns() + KEEPER_LOOK_NS;
            return FL_OK;
        }
    }
}

/* Who learns there knows what to do with ours: it is the same network, of whatever build. */
static bool are_wanted(const struct keeper *k)
{
    return k->looked && k->current && k->head.text[0] &&
           !memcmp(k->head.identity, k->current->manifest.identity.digest, sizeof k->head.identity);
}

uint64_t keeper_append_due(const struct keeper *k)
{
    return are_wanted(k) && (k->n_outbox || spool_count(k->spool)) ? k->append_ns : UINT64_MAX;
}

uint64_t keeper_appends_from(const struct keeper *k)
{
    uint64_t put_off = k->step[STEP_APPEND].next_ns;
    if (!redis_link_up(k->link) || !are_wanted(k))
        return UINT64_MAX;
    return k->append_ns > put_off ? k->append_ns : put_off;
}

/* --- learning --- */

/* Applies one batch that was read, and commits it. */
static int learn_batch(struct keeper *k, struct store_batch *b, struct error *e)
{
    const char *applied = k->current->manifest.applied, *last = b->id[b->n - 1];
    struct snapshot *next;
    struct learner_tally tally;
    int damaged = 0, rc;
    for (int i = 0; i < b->n; i++) {
        bool known =
            stream_id_compare(b->id[i], applied) <= 0; /* in the caches already: only to be acknowledged */
        damaged += !known && !b->update[i];
        if (known) {
            update_free(b->update[i]);
            b->update[i] = NULL;
        }
    }
    if ((rc = learner_apply(&next, k->current, b->update, b->n, &tally, e)))
        return rc;
    if (!tally.applied) /* only acknowledged: nothing was learned */
        next->manifest.generation = k->current->manifest.generation;
    if (stream_id_compare(last, applied) > 0)
        memcpy(next->manifest.applied, last, sizeof next->manifest.applied);
    if ((rc = store_commit(k->store, k->lease.fence, k->current, next, b, &k->head, e))) {
        snapshot_free(next);
        return rc;
    }
    if (k->damaged[0]) /* what was missing still is */
        memcpy(k->damaged, k->head.text, sizeof k->damaged);
    keeper_adopt(k, next, k->own);
    keeper_come_to_head(k);
    keeper_count_batch(k, &tally, damaged);
    return FL_OK;
}

int keeper_learn(struct keeper *k, struct error *e)
{
    uint64_t began = clock_ns();
    struct store_batch batch;
    int rc = store_read(k->store, k->lease.fence, &k->head, keeper_batch_capacity(k), &batch, e);
    if (!rc && !batch.n)
        k->more = false;
    if (!rc && batch.n) {
        rc = learn_batch(k, &batch, e);
        store_batch_free(&batch);
        keeper_pace(k, began);
    }
    if (rc != FL_STALE)
        return rc;
    lease_lost(&k->lease, clock_ns());
    k->look_ns = 0;
    return FL_OK;
}

uint64_t keeper_learn_due(const struct keeper *k)
{
    return keeper_at_head(k) && k->more && lease_held(&k->lease, clock_ns()) ? k->learn_ns : UINT64_MAX;
}

static int ask_for_lease(struct keeper *k, uint64_t now, struct error *e)
{
    uint64_t fence;
    bool ok;
    int rc = FL_OK;
    switch (lease_next(&k->lease, now + KEEPER_SLACK_NS)) {
    case LEASE_ACQUIRE:
        if (!(rc = store_acquire(k->store, KEEPER_LEASE_MS, &fence, e)))
            lease_acquired(&k->lease, fence, now);
        break;
    case LEASE_RENEW:
        if (!(rc = store_renew(k->store, k->lease.fence, KEEPER_LEASE_MS, &ok, e)))
            lease_renewed(&k->lease, ok, now);
        k->more = true; /* hints may be lost */
        break;
    case LEASE_IDLE:
        break;
    }
    return rc;
}

int keeper_hold_lease(struct keeper *k, struct error *e)
{
    uint64_t now = clock_ns();
    bool held = lease_held(&k->lease, now);
    int rc = FL_OK;
    if (keeper_at_head(k))
        rc = ask_for_lease(k, now, e);
    else { /* nothing to learn into: leave it to another */
        rc = held ? store_release(k->store, k->lease.fence, e) : FL_OK;
        lease_lost(&k->lease, now);
    }
    if (held == lease_held(&k->lease, now))
        return rc;
    log_info(held ? "no longer the learner" : "the learner (fence %llu)", (unsigned long long)k->lease.fence);
    k->more = true;
    k->look_ns = held ? k->look_ns : 0; /* begin from the newest state */
    return rc;
}

uint64_t keeper_lease_due(const struct keeper *k)
{
    return keeper_at_head(k) ? k->lease.next_ns : k->lease.fence ? 0 : UINT64_MAX;
}
