/* keeper_redis.c - follow the head in Redis, append updates, learn while the lease is held */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

#define FOLLOW_NS (200 * NS_PER_MS) /* how often the head is looked at */

/* --- following Redis --- */

static void say_trouble(struct keeper *k, const char *text)
{
    if (!strncmp(k->trouble, text, sizeof k->trouble - 1))
        return;
    snprintf(k->trouble, sizeof k->trouble, "%s", text);
    if (text[0])
        log_warn("Redis: %s; look-ups go on, updates wait", text);
}

/* A failure ends the connection (the backoff then spaces the attempts) and is said once. */
void keeper_redis_failed(struct keeper *k, const struct error *e)
{
    redis_link_drop(k->link);
    say_trouble(k, e->text[0] ? e->text : "unknown trouble");
    atomic_store(&k->redis_up, false);
}

static int publish(struct keeper *k, const struct manifest *known, const char *why, struct error *e)
{
    struct snapshot *s = k->current;
    int rc;
    if (!snapshot_whole(s))
        return FL_OK; /* nothing that others could use */
    if (known && store_id_compare(known->applied, s->manifest.applied) > 0) {
        /* What was applied to the caches that are replaced stays applied. Snapshots are immutable: make
         * another. */
        struct snapshot *next = snapshot_new(&s->manifest);
        if (!next)
            return error_set(e, FL_NOMEM, "out of memory");
        for (int i = 0; i < s->manifest.n_exits; i++)
            if ((next->cache[i] = s->cache[i]))
                cache_retain(next->cache[i]);
        memcpy(next->manifest.applied, known->applied, sizeof known->applied);
        keeper_adopt(k, next);
        s = next;
    }
    rc = store_publish(k->store, s, known, e);
    if (!rc)
        log_info("published %d caches to Redis (generation %llu): %s", snapshot_caches(s),
                 (unsigned long long)s->manifest.generation, why);
    return rc == FL_STALE ? FL_OK : rc; /* another was faster: seen at the next look */
}

static int load_from_redis(struct keeper *k, struct error *e)
{
    struct snapshot *s;
    struct manifest known;
    int damaged, rc = store_load(k->store, &s, k->current, &damaged, keeper_log_refused, e);
    if (rc == FL_STALE)
        return FL_OK;
    if (rc)
        return rc;
    log_info("%d caches from Redis in use (generation %llu)", snapshot_caches(s),
             (unsigned long long)s->manifest.generation);
    known = s->manifest;
    if (damaged)
        s->manifest.generation++;
    keeper_adopt(k, s);
    return damaged ? publish(k, &known, "repairs damaged ones by those of this process", e) : FL_OK;
}

/* Redis's head is of another identity under the same name. */
static int meet_foreign(struct keeper *k, const struct manifest *head, struct error *e)
{
    if (k->current->manifest.built_ms > head->built_ms)
        return publish(k, head, "a newer build, of another model", e);
    if (!k->foreign)
        log_warn("Redis holds newer caches of another model under the name %s: not used, and nothing is "
                 "learned; give this "
                 "pipeline another `name` or build its caches again",
                 k->p->name);
    k->foreign = true;
    return FL_OK;
}

/* Brings Redis and this process to the same state. */
static int follow(struct keeper *k, struct error *e)
{
    struct manifest head;
    int order, rc = store_head(k->store, &head, e);
    k->foreign = k->foreign && !rc;
    if (rc == FL_NOT_FOUND)
        return k->current ? publish(k, NULL, "Redis had none", e) : FL_OK;
    if (rc)
        return rc;
    if (!k->current)
        return load_from_redis(k, e);
    if (memcmp(head.identity.digest, k->current->manifest.identity.digest, sizeof head.identity.digest))
        return meet_foreign(k, &head, e);
    k->foreign = false;
    order = manifest_compare(&k->current->manifest, &head);
    if (order > 0)
        return publish(k, &head, "newer than what Redis had", e);
    if (order < 0 || !snapshot_whole(k->current) ||
        store_id_compare(k->current->manifest.applied, head.applied))
        return load_from_redis(k, e);
    return FL_OK;
}

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
        if (accepted < sent)
            return FL_OK; /* the stream is full: they wait */
    }
}

/* Applies one batch that was read, and commits it. */
static int learn_batch(struct keeper *k, struct store_batch *b, struct error *e)
{
    const char *applied = k->current->manifest.applied, *last = b->id[b->n - 1];
    struct snapshot *next;
    struct learner_tally tally;
    int damaged = 0, rc;
    for (int i = 0; i < b->n; i++) {
        bool known =
            store_id_compare(b->id[i], applied) <= 0; /* in the caches already: only to be acknowledged */
        damaged += !known && !b->update[i];
        if (known) {
            update_free(b->update[i]);
            b->update[i] = NULL;
        }
    }
    if ((rc = learner_apply(&next, k->current, b->update, b->n, &tally, e)))
        return rc;
    if (store_id_compare(last, applied) > 0)
        memcpy(next->manifest.applied, last, sizeof next->manifest.applied);
    if ((rc = store_commit(k->store, k->lease.fence, k->current, next, b, e))) {
        snapshot_free(next);
        return rc;
    }
    keeper_adopt(k, next);
    keeper_count_batch(k, &tally, damaged);
    return FL_OK;
}

static int learn(struct keeper *k, struct error *e)
{
    uint64_t began = clock_ns();
    struct store_batch batch;
    int rc = store_read(k->store, k->lease.fence, keeper_batch_capacity(k), &batch, e);
    if (!rc && batch.n) {
        rc = learn_batch(k, &batch, e);
        store_batch_free(&batch);
        keeper_pace(k, began);
    }
    if (rc != FL_STALE)
        return rc;
    lease_lost(&k->lease, clock_ns());
    k->follow_ns = 0;
    return FL_OK;
}

static int hold_lease(struct keeper *k, uint64_t now, struct error *e)
{
    uint64_t fence;
    bool ok, held = lease_held(&k->lease, now);
    int rc = FL_OK;
    if (!k->current || k->foreign) { /* nothing to learn into: leave it to another */
        if (held)
            rc = store_release(k->store, k->lease.fence, e);
        lease_lost(&k->lease, now);
        atomic_store(&k->learner, false);
        return rc;
    }
    switch (lease_next(&k->lease, now)) {
    case LEASE_ACQUIRE:
        if (!(rc = store_acquire(k->store, KEEPER_LEASE_MS, &fence, e)))
            lease_acquired(&k->lease, fence, now);
        break;
    case LEASE_RENEW:
        if (!(rc = store_renew(k->store, k->lease.fence, KEEPER_LEASE_MS, &ok, e)))
            lease_renewed(&k->lease, ok, now);
        break;
    case LEASE_IDLE:
        break;
    }
    if (held != lease_held(&k->lease, now)) {
        log_info(held ? "no longer the learner" : "the learner (fence %llu)",
                 (unsigned long long)k->lease.fence);
        k->follow_ns = held ? k->follow_ns : 0; /* begin from the newest state */
    }
    atomic_store(&k->learner, lease_held(&k->lease, now));
    return rc;
}

int keeper_step_redis(struct keeper *k, struct error *e)
{
    uint64_t now = clock_ns();
    bool connected = redis_link_up(k->link);
    int rc = redis_link_open(k->link, now, e);
    if (rc)
        return rc;
    if (!connected)
        k->follow_ns = 0;
    if ((rc = hold_lease(k, now, e)))
        return rc;
    if (now >= k->follow_ns) {
        if ((rc = follow(k, e)))
            return rc;
        k->follow_ns = clock_ns() + FOLLOW_NS;
    }
    if (!atomic_load(&k->redis_up)) {
        say_trouble(k, "");
        atomic_store(&k->redis_up, true);
        log_info("Redis at %s answers", k->p->redis.endpoint);
    }
    if ((rc = keeper_append(k, e)))
        return rc;
    now = clock_ns();
    if (lease_held(&k->lease, now) && now >= k->learn_ns && k->follow_ns && k->current && !k->foreign)
        rc = learn(k, e);
    return rc;
}
