/* keeper_redis.c - rounds with Redis: look at the head, follow it, append updates, learn while the lease is
 * held
 *
 * Each step is done when it is due, and what it fails at puts off itself alone (retry.h): a Redis that
 * refuses writes is still followed, caches that are damaged there still get updates. Only a lost connection
 * ends a round.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

#define LOOK_NS  NS_PER_S          /* how often the head is looked at, should hints be lost */
#define SLACK_NS (500 * NS_PER_MS) /* what is regular is done in this round if it is due so soon */
#define MEND_NS  (5 * NS_PER_S)    /* caches are published again for others at most so often */

struct step {
    const char *does;
    uint64_t first_ns, last_ns;
    int (*run)(struct keeper *k, struct error *e);
    uint64_t (*due)(const struct keeper *k); /* UINT64_MAX: there is nothing to do */
    bool regular;
};

static const struct step steps[KEEPER_STEPS];

/* --- what is said --- */

static bool fails(const struct keeper *k)
{
    for (int i = 0; i < KEEPER_STEPS; i++)
        if (k->step[i].failing)
            return true;
    return false;
}

/* Another step met the same: said once. */
static bool said_already(const struct keeper *k, int step)
{
    for (int i = 0; i < KEEPER_STEPS; i++)
        if (i != step && k->step[i].failing && k->step[i].said == k->step[step].said)
            return true;
    return false;
}

/* What an operator can do about an answer of Redis. */
static const char *advice(const char *text)
{
    if (strstr(text, "OOM "))
        return " (Redis is full: raise its maxmemory)";
    if (strstr(text, "WRONGTYPE"))
        return " (something else wrote to a key of this pipeline: delete it)";
    return "";
}

static void note(struct keeper *k, int step, int rc, const struct error *e)
{
    if (!rc)
        retry_worked(&k->step[step]);
    else if (retry_failed(&k->step[step], e->text, clock_ns()) && step != STEP_LISTEN &&
             !said_already(k, step)) {
        k->complained = true;
        log_warn("Redis at %s, %s: %s%s; look-ups go on%s", k->p->redis.endpoint, steps[step].does, e->text,
                 advice(e->text), step == STEP_FOLLOW ? "" : ", updates wait");
    }
}

/* --- connecting --- */

static int connect_redis(struct keeper *k, struct error *e)
{
    k->looked = false;
    k->watch.since_ns = 0;
    k->look_ns = 0;
    return redis_link_open(k->link, e);
}

static uint64_t connect_due(const struct keeper *k)
{
    /* A look comes next: a Redis that accepts and then fails is as good as gone. */
    return redis_link_up(k->link) ? UINT64_MAX : k->step[STEP_LOOK].next_ns;
}

static int listen_redis(struct keeper *k, struct error *e)
{
    int rc = redis_link_open(k->ears, e);
    if (!rc && (rc = redis_link_listen(k->ears, store_channel(k->store), e)))
        redis_link_drop(k->ears);
    return rc;
}

static uint64_t listen_due(const struct keeper *k)
{
    return redis_link_up(k->ears) ? UINT64_MAX : 0;
}

/* Caches of this build are missing here: damaged on the disk, or in Redis when they were taken from there. */
static bool lacks(const struct keeper *k)
{
    const struct manifest *m = k->current ? &k->current->manifest : NULL;
    for (int i = 0; m && i < m->n_exits; i++)
        if (m->exit[i].file[0] && !k->current->cache[i])
            return true;
    return false;
}

/* Redis holds what is in use here. */
static bool at_head(const struct keeper *k)
{
    return k->looked && k->place == LINEAGE_KEEP && k->current && k->head.text[0];
}

/* We put it there, or took it from there. */
static void come_to_head(struct keeper *k)
{
    k->looked = true;
    k->place = LINEAGE_KEEP;
    k->look_ns = clock_ns() + LOOK_NS;
}

/* Somebody could not use the caches of the head: put them there again, if they are ours whole. */
static void mend(struct keeper *k, uint64_t sequence)
{
    uint64_t now = clock_ns();
    if (!at_head(k) || lacks(k) || sequence != k->head.sequence || now < k->mend_ns)
        return;
    k->mend_ns = now + MEND_NS;
    k->place = LINEAGE_PUBLISH;
    log_info("another cache service can't use the caches in Redis: they are published again");
}

static void on_hint(void *arg, const char *text, size_t size)
{
    struct keeper *k = arg;
    uint64_t sequence;
    switch (store_hint(text, size, &sequence)) {
    case STORE_HINT_HEAD:
        if (size != strlen(k->head.text) || memcmp(text, k->head.text, size)) /* else: our own */
            k->look_ns = 0;
        break;
    case STORE_HINT_UPDATES:
        k->more = true;
        break;
    case STORE_HINT_DAMAGED:
        mend(k, sequence);
        break;
    }
}

/* --- the head --- */

/* Says that this host has this build on its disk. Fails where Redis takes no writes. */
static bool hold(struct keeper *k)
{
    char host[64] = "?", who[STORE_WHO_BYTES];
    gethostname(host, sizeof host - 1);
    snprintf(who, sizeof who, "cache %d (pid %d) on %s", k->index, (int)getpid(), host);
    return k->current && k->own && !store_hold(k->store, k->current->manifest.build, who, NULL);
}

static void say_aside(struct keeper *k, bool readable)
{
    char here[MANIFEST_BUILD_BYTES], there[MANIFEST_BUILD_BYTES];
    char what[HEAD_BYTES];
    if (readable)
        manifest_build_text(k->head.build, what);
    else
        memcpy(what, k->head.text, sizeof what);
    if (!strcmp(what, k->said_aside))
        return;
    memcpy(k->said_aside, what, sizeof what);
    if (!readable)
        log_warn("freezeline:{%s}:epoch in Redis holds \"%.80s\", which this version does not know: nothing "
                 "is learned; if "
                 "no other version uses it, delete that key",
                 k->p->name, k->head.text);
    else if (k->current)
        log_warn("Redis holds build %s%s%s, this host has build %s on its disk: each serves its own, and "
                 "nothing is "
                 "learned here until they are the same or nobody has the other",
                 manifest_build_text(k->head.build, there), k->holder[0] ? ", held by " : "", k->holder,
                 manifest_build_text(k->current->manifest.build, here));
}

static bool known_damaged(const struct keeper *k)
{
    return k->head.text[0] && !strcmp(k->damaged, k->head.text);
}

/* Somebody may have come who has them, or has put them there. */
static void ask_again(struct keeper *k)
{
    if (!known_damaged(k))
        k->place = LINEAGE_LOAD;
    else
        store_tell_damaged(k->store, &k->head, NULL);
}

/* Where this process stands beside the head that was read with the result `rc`. */
static int place(struct keeper *k, int rc, struct error *e)
{
    const struct manifest *m = k->current ? &k->current->manifest : NULL;
    struct lineage_here here = {m, k->own, k->current && snapshot_whole(k->current)};
    struct lineage_there there = {rc == FL_NOT_FOUND ? NULL : &k->head, !rc, false};
    bool said = hold(k);
    k->holder[0] = '\0';
    if (!rc && m && memcmp(m->build, k->head.build, sizeof m->build)) {
        if ((rc = store_holder(k->store, k->head.build, k->holder, e)))
            return rc;
        there.free = lineage_free(&k->watch, k->head.build, k->holder[0], said, clock_ns());
    } else
        k->watch.since_ns = 0;
    k->place = lineage_decide(&here, &there);
    k->looked = true;
    if (k->place == LINEAGE_KEEP && lacks(k))
        ask_again(k);
    if (k->place == LINEAGE_ASIDE)
        say_aside(k, there.readable);
    else
        k->said_aside[0] = '\0';
    return FL_OK;
}

static int look(struct keeper *k, struct error *e)
{
    struct head before = k->head;
    int rc = store_head(k->store, &k->head, e);
    k->look_ns = clock_ns() + LOOK_NS;
    if (rc == FL_NOT_FOUND)
        k->head.sequence = before.sequence;
    else if (rc && rc != FL_PROTOCOL) {
        k->head = before;
        return rc;
    }
    if (strcmp(before.text, k->head.text)) {
        k->append_ns = 0; /* the learner went on: there may be room in the stream */
        if (k->place == LINEAGE_LOAD)
            retry_worked(&k->step[STEP_FOLLOW]); /* what could not be loaded is gone */
    }
    return place(k, rc, e);
}

static uint64_t look_due(const struct keeper *k)
{
    return k->look_ns;
}

/* --- following it --- */

/* The same with another `applied`: snapshots are immutable. */
static int copy_applied(struct keeper *k, const char *applied, struct error *e)
{
    const struct snapshot *s = k->current;
    struct snapshot *next = snapshot_new(&s->manifest);
    if (!next)
        return error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; i < s->manifest.n_exits; i++)
        if ((next->cache[i] = s->cache[i]))
            cache_retain(next->cache[i]);
    snprintf(next->manifest.applied, sizeof next->manifest.applied, "%s", applied);
    keeper_adopt(k, next, k->own);
    return FL_OK;
}

static void say_published(const struct keeper *k, const struct head *before)
{
    char build[MANIFEST_BUILD_BYTES], old[MANIFEST_BUILD_BYTES];
    const struct manifest *m = &k->current->manifest;
    char instead[HEAD_BYTES + 64] = "Redis had none";
    if (before->text[0] && !before->sequence)
        snprintf(instead, sizeof instead, "in the place of \"%.80s\", which is no head of caches",
                 before->text);
    else if (before->text[0] && memcmp(before->build, m->build, sizeof m->build))
        snprintf(instead, sizeof instead, "in the place of build %s, generation %" PRIu64,
                 manifest_build_text(before->build, old), before->generation);
    else if (before->text[0])
        snprintf(instead, sizeof instead, "Redis had generation %" PRIu64, before->generation);
    log_info("published %d caches to Redis (build %s, generation %" PRIu64 "): %s",
             snapshot_caches(k->current), manifest_build_text(m->build, build), m->generation, instead);
}

static int publish(struct keeper *k, struct error *e)
{
    struct head before = k->head;
    int rc = FL_OK;
    /* What was applied to the caches that are replaced stays applied. */
    if (stream_id_compare(before.applied, k->current->manifest.applied) > 0 &&
        (rc = copy_applied(k, before.applied, e)))
        return rc;
    if ((rc = store_publish(k->store, k->current, &k->head, e)))
        return rc;
    come_to_head(k);
    k->damaged[0] = '\0';
    say_published(k, &before);
    return FL_OK;
}

/* What could be loaded, with our own where Redis's are damaged: it goes back there. */
static int take_mended(struct keeper *k, struct snapshot *s, struct error *e)
{
    s->manifest.generation++;
    keeper_adopt(k, s, k->own);
    log_info("damaged caches in Redis are replaced by those of this process");
    return publish(k, e);
}

static int load(struct keeper *k, struct error *e)
{
    bool again = known_damaged(k);
    struct store_load how = {.refused = again ? NULL : keeper_log_refused};
    struct snapshot *s = NULL;
    int rc = store_load(k->store, &s, &k->head, k->current, &how, e);
    if (rc == FL_STALE || rc == FL_UNAVAILABLE || rc == FL_NOMEM)
        return rc;
    memcpy(k->damaged, k->head.text, sizeof k->damaged);
    if (how.damaged && !again && redis_link_up(k->link)) { /* another service may have them as they were */
        snapshot_free(s);
        store_tell_damaged(k->store, &k->head, NULL);
        return error_set(e, FL_CORRUPT, "caches are damaged there: the other services are asked for them");
    }
    if (rc)
        return rc;
    if (how.damaged > how.lost)
        return take_mended(k, s, e);
    log_info("%d caches from Redis in use (generation %" PRIu64 ")", snapshot_caches(s),
             s->manifest.generation);
    keeper_adopt(k, s, k->own);
    come_to_head(k);
    return FL_OK;
}

static int follow(struct keeper *k, struct error *e)
{
    int rc = k->place == LINEAGE_PUBLISH ? publish(k, e) : load(k, e);
    if (rc != FL_STALE)
        return rc;
    k->look_ns = 0; /* another was faster: see what there is now */
    return FL_OK;
}

static uint64_t follow_due(const struct keeper *k)
{
    return k->looked && (k->place == LINEAGE_LOAD || k->place == LINEAGE_PUBLISH) ? 0 : UINT64_MAX;
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
        k->more = k->more || accepted;
        if (accepted < sent) { /* the stream is full: they wait */
            k->append_ns = clock_ns() + LOOK_NS;
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

static uint64_t append_due(const struct keeper *k)
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
    come_to_head(k);
    keeper_count_batch(k, &tally, damaged);
    return FL_OK;
}

static int learn(struct keeper *k, struct error *e)
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

static uint64_t learn_due(const struct keeper *k)
{
    return at_head(k) && k->more && lease_held(&k->lease, clock_ns()) ? k->learn_ns : UINT64_MAX;
}

static int ask_for_lease(struct keeper *k, uint64_t now, struct error *e)
{
    uint64_t fence;
    bool ok;
    int rc = FL_OK;
    switch (lease_next(&k->lease, now + SLACK_NS)) {
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

static int hold_lease(struct keeper *k, struct error *e)
{
    uint64_t now = clock_ns();
    bool held = lease_held(&k->lease, now);
    int rc = FL_OK;
    if (at_head(k))
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

static uint64_t lease_due(const struct keeper *k)
{
    return at_head(k) ? k->lease.next_ns : k->lease.fence ? 0 : UINT64_MAX;
}

/* --- rounds --- */

static const struct step steps[KEEPER_STEPS] = {
    [STEP_CONNECT] = {"connecting", 50 * NS_PER_MS, 2 * NS_PER_S, connect_redis, connect_due},
    [STEP_LOOK] = {"reading the head", 50 * NS_PER_MS, 2 * NS_PER_S, look, look_due, true},
    [STEP_LISTEN] = {"listening to hints", NS_PER_S, 30 * NS_PER_S, listen_redis, listen_due},
    [STEP_FOLLOW] = {"exchanging caches", NS_PER_S, 60 * NS_PER_S, follow, follow_due},
    [STEP_LEASE] = {"the learner's lease", 200 * NS_PER_MS, 2 * NS_PER_S, hold_lease, lease_due, true},
    [STEP_APPEND] = {"adding updates", 200 * NS_PER_MS, 2 * NS_PER_S, keeper_append, append_due},
    [STEP_LEARN] = {"learning", 200 * NS_PER_MS, 2 * NS_PER_S, learn, learn_due},
};

void keeper_redis_init(struct keeper *k)
{
    lease_init(&k->lease, KEEPER_LEASE_MS * NS_PER_MS);
    for (int i = 0; i < KEEPER_STEPS; i++)
        retry_init(&k->step[i], steps[i].first_ns, steps[i].last_ns);
}

static uint64_t due(const struct keeper *k, int step)
{
    uint64_t wanted = steps[step].due(k), allowed = k->step[step].next_ns;
    return wanted > allowed ? wanted : allowed;
}

static bool is_due(const struct keeper *k, int step, uint64_t now)
{
    uint64_t slack = steps[step].regular ? SLACK_NS : 0;
    return retry_due(&k->step[step], now) && steps[step].due(k) <= now + slack;
}

static void end_round(struct keeper *k)
{
    bool up = redis_link_up(k->link) && !k->step[STEP_LOOK].failing;
    if (up && !k->complained && !atomic_load(&k->redis_up))
        log_info("Redis at %s answers", k->p->redis.endpoint);
    if (up && k->complained && !fails(k)) {
        k->complained = false;
        log_info("Redis at %s does again all that is wanted of it", k->p->redis.endpoint);
    }
    atomic_store(&k->redis_up, up);
    atomic_store(&k->learner, lease_held(&k->lease, clock_ns()));
}

void keeper_step_redis(struct keeper *k)
{
    struct error e = {0};
    if (redis_link_up(k->ears))
        redis_link_hear(k->ears, on_hint, k, &e);
    for (int i = 0; i < KEEPER_STEPS; i++) {
        int rc;
        if (steps[i].due(k) == UINT64_MAX)
            retry_idle(&k->step[i]);
        if (i != STEP_CONNECT && !redis_link_up(k->link))
            break;
        if (!is_due(k, i, clock_ns()))
            continue;
        e.text[0] = '\0';
        rc = steps[i].run(k, &e);
        note(k, i, rc, &e);
    }
    end_round(k);
}

uint64_t keeper_redis_next(const struct keeper *k)
{
    uint64_t next = UINT64_MAX;
    if (!redis_link_up(k->link))
        return due(k, STEP_CONNECT);
    for (int i = 0; i < KEEPER_STEPS; i++)
        if (due(k, i) < next)
            next = due(k, i);
    return next;
}
