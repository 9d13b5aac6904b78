/* keeper.c - the keeper's thread: one step after another; files; learning without Redis */
#include "keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

#define SPOOL_COUNT     8192
#define SPOOL_BYTES     (64u << 20)
#define SAVE_NS         (10 * NS_PER_S)
#define BATCH_MAX_COUNT 4096
#define BATCH_MAX_BYTES (64u << 20)
#define LEARNER_SHARE   20 /* learning may take one part in so many of the time */
#define STOP_NS         NS_PER_S

/* --- snapshots --- */

struct snapshot *keeper_take(struct keeper *k)
{
    return atomic_exchange(&k->fresh, NULL);
}

void keeper_give_back(struct keeper *k, struct snapshot *s)
{
    if (s)
        snapshot_free(atomic_exchange(&k->used, s));
}

void keeper_adopt(struct keeper *k, struct snapshot *s)
{
    snapshot_free(atomic_exchange(&k->fresh, snapshot_retain(s)));
    snapshot_free(k->current);
    k->current = s;
    k->dirty = true;
    atomic_store(&k->epoch, snapshot_epoch(s));
    atomic_fetch_add(&k->epochs, 1);
}

void keeper_log_refused(const char *text)
{
    log_error("cache not used: %s", text);
}

/* What is in use is newer, or the same and complete. */
static bool up_to_date(const struct keeper *k, const struct snapshot *s)
{
    int order = k->current ? manifest_compare(&s->manifest, &k->current->manifest) : 1;
    return order < 0 || (order == 0 && snapshot_whole(k->current));
}

static void load_file(struct keeper *k, const char *manifest)
{
    struct error e = {0};
    struct snapshot *s;
    int rc = snapshot_load(&s, k->dir, manifest, keeper_log_refused, &e);
    if (rc) {
        if (rc != FL_NOT_FOUND)
            log_warn("caches not used: %s", e.text);
        return;
    }
    if (up_to_date(k, s)) {
        snapshot_free(s);
        return;
    }
    log_info("loaded %d caches of %d exits from %s/%s (generation %llu)", snapshot_caches(s),
             s->manifest.n_exits, k->dir, manifest, (unsigned long long)s->manifest.generation);
    keeper_adopt(k, s);
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
    if (atomic_load(&k->leave_files) || !k->dirty || !k->current || k->current->manifest.generation == 0 ||
        !snapshot_whole(k->current))
        return;
    k->dirty = false;
    if (mkdir(k->dir, 0755) && errno != EEXIST)
        log_warn("%s: %s: caches not saved", k->dir, strerror(errno));
    else if (snapshot_save(k->current, k->dir, k->prefix, &e))
        log_warn("caches not saved: %s", e.text);
}

/* --- learning --- */

int keeper_batch_capacity(const struct keeper *k)
{
    size_t dim = 1, n = (size_t)(k->p->updates.batch < 1 ? 1 : k->p->updates.batch);
    for (int i = 0; i < k->current->manifest.n_exits; i++)
        if (k->current->cache[i] && (size_t)cache_info(k->current->cache[i]).dim > dim)
            dim = (size_t)cache_info(k->current->cache[i]).dim;
    if (n > BATCH_MAX_BYTES / (dim * sizeof(float)))
        n = BATCH_MAX_BYTES / (dim * sizeof(float));
    return n > BATCH_MAX_COUNT ? BATCH_MAX_COUNT : n < 1 ? 1 : (int)n;
}

void keeper_pace(struct keeper *k, uint64_t began)
{
    uint64_t took = clock_ns() - began, interval = (uint64_t)k->p->updates.interval_ms * NS_PER_MS;
    k->learn_ns = began + (took * LEARNER_SHARE > interval ? took * LEARNER_SHARE : interval);
}

void keeper_count_batch(struct keeper *k, const struct learner_tally *t, int damaged)
{
    atomic_fetch_add(&k->applied, (unsigned)t->applied);
    atomic_fetch_add(&k->rejected, (unsigned)(t->rejected + damaged));
    if (t->rejected + damaged)
        log_warn("%d updates can't be applied (another identity, exit or size) and are left out",
                 t->rejected + damaged);
    log_info("learned %d updates into %d caches: epoch %llu", t->applied, t->exits,
             (unsigned long long)atomic_load(&k->epoch));
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
    capacity = keeper_batch_capacity(k);
    if (!(updates = malloc(sizeof *updates * (size_t)capacity)))
        return;
    n = spool_pop(k->spool, updates, capacity);
    atomic_fetch_add(&k->accepted, (unsigned)n);
    if (learner_apply(&next, k->current, updates, n, &tally, &e))
        log_warn("%d updates not applied: %s", n, e.text);
    else {
        keeper_adopt(k, next);
        keeper_count_batch(k, &tally, 0);
    }
    for (int i = 0; i < n; i++)
        update_free(updates[i]);
    free(updates);
    keeper_pace(k, began);
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
    else if ((rc = keeper_step_redis(k, &e)) && rc != FL_AGAIN)
        keeper_redis_failed(k, &e);
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
        if (keeper_append(k, &e) || k->n_outbox + spool_count(k->spool) == before)
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
    lease_init(&k->lease, KEEPER_LEASE_MS * NS_PER_MS);
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
    keeper_outbox_remove(k, k->n_outbox);
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

void keeper_leave_files(struct keeper *k)
{
    atomic_store(&k->leave_files, true);
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
