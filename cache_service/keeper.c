/* keeper.c - one step after another: files, follow, append, learn, save */
#include "cache_service/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache_service/learner.h"
#include "cache_service/lease.h"
#include "cache_service/spool.h"
#include "cache_service/store.h"

#define SPOOL_COUNT     8192
#define SPOOL_BYTES     (64u << 20)
#define OUTBOX          64
#define FOLLOW_NS       (200 * NS_PER_MS) /* how often the head is looked at */
#define SAVE_NS         (10 * NS_PER_S)
#define LEASE_MS        3000
#define BATCH_MAX_COUNT 4096
#define BATCH_MAX_BYTES (64u << 20)
#define LEARNER_SHARE   20 /* learning may take one part in so many of the time */
#define STOP_NS         NS_PER_S

struct keeper {
    const struct pipeline *p; /* borrowed */
    char id[17];
    char dir[3072];  /* STATE/caches */
    char prefix[24]; /* "live-INDEX" */
    struct spool *spool;
    struct redis_link *link; /* NULL: no Redis in this pipeline */
    struct store *store;
    struct lease lease;
    struct snapshot *current; /* NULL: no caches known */
    bool dirty;               /* newer than what is saved */
    bool foreign;             /* Redis holds newer caches of another model */
    uint64_t follow_ns, learn_ns, save_ns;
    struct update *outbox[OUTBOX]; /* taken from the spool, not acknowledged */
    int n_outbox;
    uint64_t sequence; /* of outbox[0] */
    char trouble[128]; /* with Redis; what was logged last */

    pthread_t thread;
    bool started;
    atomic_bool stop, reload;
    _Atomic(struct snapshot *) fresh; /* to the look-up thread */
    _Atomic(struct snapshot *) used;  /* back from it */
    atomic_ullong accepted, applied, rejected, epochs, epoch;
    atomic_uint n_waiting;
    atomic_bool redis_up, learner;
};

/* --- snapshots ---------------------------------------------------------------------------------------------
 */

struct snapshot *keeper_take(struct keeper *k)
{
    return atomic_exchange(&k->fresh, NULL);
}

void keeper_give_back(struct keeper *k, struct snapshot *s)
{
    if (s)
        snapshot_free(atomic_exchange(&k->used, s));
}

/* Takes s (one reference) into use. */
static void adopt(struct keeper *k, struct snapshot *s)
{
    snapshot_free(atomic_exchange(&k->fresh, snapshot_retain(s)));
    snapshot_free(k->current);
    k->current = s;
    k->dirty = true;
    atomic_store(&k->epoch, snapshot_epoch(s));
    atomic_fetch_add(&k->epochs, 1);
}

static void log_refused(const char *text)
{
    log_warn("cache not used: %s", text);
}

static void load_file(struct keeper *k, const char *manifest)
{
    struct error e = {0};
    struct snapshot *s;
    int rc = snapshot_load(&s, k->dir, manifest, log_refused, &e);
    if (rc) {
        if (rc != FL_NOT_FOUND)
            log_warn("caches not used: %s", e.text);
        return;
    }
    if (k->current && manifest_compare(&s->manifest, &k->current->manifest) <= 0) {
        snapshot_free(s);
        return;
    }
    log_info("loaded %d caches of %d exits from %s/%s (generation %llu)", snapshot_caches(s),
             s->manifest.n_exits, k->dir, manifest, (unsigned long long)s->manifest.generation);
    adopt(k, s);
}

static void load_files(struct keeper *k)
{
    char live[sizeof k->prefix + 8];
    snprintf(live, sizeof live, "%s.json", k->prefix);
    load_file(k, live);
    k->dirty = false;
    load_file(k, "manifest.json");
}

static void save(struct keeper *k, uint64_t now)
{
    struct error e = {0};
    k->save_ns = now + SAVE_NS;
    if (!k->dirty || !k->current || k->current->manifest.generation == 0)
        return;
    k->dirty = false;
    if (mkdir(k->dir, 0755) && errno != EEXIST)
        log_warn("%s: %s: caches not saved", k->dir, strerror(errno));
    else if (snapshot_save(k->current, k->dir, k->prefix, &e))
        log_warn("caches not saved: %s", e.text);
}

/* --- following Redis
 * ----------------------------------------------------------------------------------------- */

static void say_trouble(struct keeper *k, const char *text)
{
    if (!strncmp(k->trouble, text, sizeof k->trouble - 1))
        return;
    snprintf(k->trouble, sizeof k->trouble, "%s", text);
    if (text[0])
        log_warn("Redis: %s; look-ups go on, updates wait", text);
}

/* A failure ends the connection (the backoff then spaces the attempts) and is said once. */
static void redis_failed(struct keeper *k, const struct error *e)
{
    redis_link_drop(k->link);
    say_trouble(k, e->text[0] ? e->text : "unknown trouble");
    atomic_store(&k->redis_up, false);
}

static int publish(struct keeper *k, const struct manifest *known, const char *why, struct error *e)
{
    struct snapshot *s = k->current;
    int rc;
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
        adopt(k, next);
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
    int damaged, rc = store_load(k->store, &s, k->current, &damaged, log_refused, e);
    if (rc == FL_STALE)
        return FL_OK;
    if (rc)
        return rc;
    log_info("%d caches from Redis in use (generation %llu)", snapshot_caches(s),
             (unsigned long long)s->manifest.generation);
    known = s->manifest;
    if (damaged)
        s->manifest.generation++;
    adopt(k, s);
    return damaged ? publish(k, &known, "repairs damaged ones by those of this process", e) : FL_OK;
}

/* Redis's head is of another model under the same name. */
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
    if (memcmp(head.model, k->current->manifest.model, sizeof head.model))
        return meet_foreign(k, &head, e);
    k->foreign = false;
    order = manifest_compare(&k->current->manifest, &head);
    if (order > 0)
        return publish(k, &head, "newer than what Redis had", e);
    if (order < 0 || store_id_compare(k->current->manifest.applied, head.applied))
        return load_from_redis(k, e);
    return FL_OK;
}

/* --- updates
 * --------------------------------------------------------------------------------------------------- */

static void outbox_remove(struct keeper *k, int n)
{
    for (int i = 0; i < n; i++)
        update_free(k->outbox[i]);
    memmove(k->outbox, k->outbox + n, sizeof *k->outbox * (size_t)(k->n_outbox - n));
    k->n_outbox -= n;
    k->sequence += (uint64_t)n;
}

/* Sends what waits, as far as Redis takes it. */
static int append(struct keeper *k, struct error *e)
{
    for (;;) {
        int accepted, sent, rc;
        k->n_outbox += spool_pop(k->spool, k->outbox + k->n_outbox, OUTBOX - k->n_outbox);
        sent = k->n_outbox;
        if (!sent)
            return FL_OK;
        if ((rc = store_append(k->store, k->outbox, sent, k->sequence, k->p->updates.max_stream, &accepted,
                               e)))
            return rc;
        atomic_fetch_add(&k->accepted, (unsigned)accepted);
        outbox_remove(k, accepted);
        if (accepted < sent)
            return FL_OK; /* the stream is full: they wait */
    }
}

static int batch_capacity(const struct keeper *k)
{
    size_t dim = 1, n = (size_t)(k->p->updates.batch < 1 ? 1 : k->p->updates.batch);
    for (int i = 0; i < k->current->manifest.n_exits; i++)
        if (k->current->cache[i] && (size_t)cache_info(k->current->cache[i]).dim > dim)
            dim = (size_t)cache_info(k->current->cache[i]).dim;
    if (n > BATCH_MAX_BYTES / (dim * sizeof(float)))
        n = BATCH_MAX_BYTES / (dim * sizeof(float));
    return n > BATCH_MAX_COUNT ? BATCH_MAX_COUNT : n < 1 ? 1 : (int)n;
}

/* The next batch comes after the interval, and so late that learning keeps to its share of the time. */
static void pace(struct keeper *k, uint64_t began)
{
    uint64_t took = clock_ns() - began, interval = (uint64_t)k->p->updates.interval_ms * NS_PER_MS;
    k->learn_ns = began + (took * LEARNER_SHARE > interval ? took * LEARNER_SHARE : interval);
}

static void count_batch(struct keeper *k, const struct learner_tally *t, int damaged)
{
    atomic_fetch_add(&k->applied, (unsigned)t->applied);
    atomic_fetch_add(&k->rejected, (unsigned)(t->rejected + damaged));
    if (t->rejected + damaged)
        log_warn("%d updates can't be applied (another model, exit or size) and are left out",
                 t->rejected + damaged);
    log_info("learned %d updates into %d caches: epoch %llu", t->applied, t->exits,
             (unsigned long long)atomic_load(&k->epoch));
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
    adopt(k, next);
    count_batch(k, &tally, damaged);
    return FL_OK;
}

static int learn(struct keeper *k, struct error *e)
{
    uint64_t began = clock_ns();
    struct store_batch batch;
    int rc = store_read(k->store, k->lease.fence, batch_capacity(k), &batch, e);
    if (!rc && batch.n) {
        rc = learn_batch(k, &batch, e);
        store_batch_free(&batch);
        pace(k, began);
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
    switch (lease_next(&k->lease, now)) {
    case LEASE_ACQUIRE:
        if (!(rc = store_acquire(k->store, LEASE_MS, &fence, e)))
            lease_acquired(&k->lease, fence, now);
        break;
    case LEASE_RENEW:
        if (!(rc = store_renew(k->store, k->lease.fence, LEASE_MS, &ok, e)))
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

/* --- the thread
 * -------------------------------------------------------------------------------------------------- */

static int step_with_redis(struct keeper *k, struct error *e)
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
    if ((rc = append(k, e)))
        return rc;
    now = clock_ns();
    if (lease_held(&k->lease, now) && now >= k->learn_ns && k->follow_ns && k->current && !k->foreign)
        rc = learn(k, e);
    return rc;
}

/* Without Redis: the same learning, straight from the spool. */
static void step_alone(struct keeper *k)
{
    struct learner_tally tally;
    struct snapshot *next;
    struct error e = {0};
    uint64_t began = clock_ns();
    struct update **updates;
    int n, capacity;
    if (!k->current || began < k->learn_ns || !spool_count(k->spool))
        return;
    capacity = batch_capacity(k);
    if (!(updates = malloc(sizeof *updates * (size_t)capacity)))
        return;
    n = spool_pop(k->spool, updates, capacity);
    atomic_fetch_add(&k->accepted, (unsigned)n);
    if (learner_apply(&next, k->current, updates, n, &tally, &e))
        log_warn("%d updates not applied: %s", n, e.text);
    else {
        adopt(k, next);
        count_batch(k, &tally, 0);
    }
    for (int i = 0; i < n; i++)
        update_free(updates[i]);
    free(updates);
    pace(k, began);
}

static void step(struct keeper *k)
{
    uint64_t now = clock_ns();
    struct error e = {0};
    int rc;
    snapshot_free(atomic_exchange(&k->used, NULL));
    if (atomic_exchange(&k->reload, false))
        load_file(k, "manifest.json");
    if (!k->link)
        step_alone(k);
    else if ((rc = step_with_redis(k, &e)) && rc != FL_AGAIN)
        redis_failed(k, &e);
    if (now >= k->save_ns)
        save(k, now);
    atomic_store(&k->n_waiting, (unsigned)(k->n_outbox + spool_count(k->spool)));
}

static void *run(void *arg)
{
    struct keeper *k = arg;
    while (!atomic_load(&k->stop)) {
        bool ready = k->link && redis_link_up(k->link) && !k->n_outbox;
        spool_wait(k->spool, 50, ready);
        step(k);
    }
    return NULL;
}

/* What is still queued goes out while Redis answers; then the lease is free for another at once. */
static void finish(struct keeper *k)
{
    uint64_t until = clock_ns() + STOP_NS;
    struct error e = {0};
    while (k->link && redis_link_up(k->link) && k->n_outbox + spool_count(k->spool) && clock_ns() < until) {
        int before = k->n_outbox + spool_count(k->spool);
        if (append(k, &e) || k->n_outbox + spool_count(k->spool) == before)
            break;
    }
    if (k->link && redis_link_up(k->link) && k->lease.fence)
        store_release(k->store, k->lease.fence, &e);
    if (k->n_outbox + spool_count(k->spool))
        log_warn("%d updates were not accepted before the end", k->n_outbox + spool_count(k->spool));
    save(k, clock_ns());
}

int keeper_new(struct keeper **out, const struct pipeline *p, int index, const char *id, struct error *e)
{
    struct keeper *k = calloc(1, sizeof *k);
    int rc;
    if (!k)
        return error_set(e, FL_NOMEM, "out of memory");
    k->p = p;
    k->sequence = 1;
    snprintf(k->id, sizeof k->id, "%s", id);
    snprintf(k->prefix, sizeof k->prefix, "live-%d", index);
    if ((size_t)snprintf(k->dir, sizeof k->dir, "%s/caches", p->state) >= sizeof k->dir)
        rc = error_set(e, FL_CONFIG, "state: the path is too long");
    else if ((rc = spool_new(&k->spool, SPOOL_COUNT, SPOOL_BYTES)))
        error_set(e, (enum fl_code)rc, "out of memory");
    else if (p->redis.endpoint && !(rc = redis_link_new(&k->link, p->redis.endpoint, p->security, e)))
        rc = store_new(&k->store, k->link, p->name, k->id, e);
    if (rc) {
        keeper_free(k);
        return rc;
    }
    lease_init(&k->lease, LEASE_MS * NS_PER_MS);
    load_files(k);
    k->save_ns = clock_ns() + SAVE_NS;
    if (k->link)
        step(k);
    if (!k->current)
        log_warn("no caches in %s%s: every look-up misses; run `freezeline build`, then send SIGHUP", k->dir,
                 k->link ? " nor in Redis" : "");
    *out = k;
    return FL_OK;
}

int keeper_start(struct keeper *k, struct error *e)
{
    if (pthread_create(&k->thread, NULL, run, k))
        return error_set(e, FL_NOMEM, "no thread for keeping the caches");
    k->started = true;
    return FL_OK;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    if (k->started) {
        atomic_store(&k->stop, true);
        spool_wake(k->spool);
        pthread_join(k->thread, NULL);
        finish(k);
    }
    outbox_remove(k, k->n_outbox);
    snapshot_free(atomic_load(&k->fresh));
    snapshot_free(atomic_load(&k->used));
    snapshot_free(k->current);
    store_free(k->store);
    redis_link_free(k->link);
    spool_free(k->spool);
    free(k);
}

void keeper_push(struct keeper *k, struct update *u)
{
    spool_push(k->spool, u);
}

void keeper_reload(struct keeper *k)
{
    atomic_store(&k->reload, true);
    spool_wake(k->spool);
}

struct keeper_counters keeper_counters(struct keeper *k)
{
    return (struct keeper_counters){
        .accepted = atomic_load(&k->accepted),
        .dropped = spool_dropped(k->spool),
        .applied = atomic_load(&k->applied),
        .rejected = atomic_load(&k->rejected),
        .epochs = atomic_load(&k->epochs),
        .epoch = atomic_load(&k->epoch),
        .queued = atomic_load(&k->n_waiting),
        .redis_up = atomic_load(&k->redis_up),
        .learner = atomic_load(&k->learner),
    };
}
