/* keeper.c - the keeper's thread: one round after another, when there is something to do; learning without
 * Redis */
#include "keeper.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "keeper_parts.h"

#define SPOOL_COUNT     8192
#define SPOOL_BYTES     (64u << 20)
#define BATCH_MAX_COUNT 4096
#define BATCH_MAX_BYTES (64u << 20)
#define LEARNER_SHARE   20 /* learning may take one part in so many of the time */
#define STOP_NS         NS_PER_S
#define WAIT_MS         60000

/* --- snapshots --- */

struct snapshot *keeper_take(struct keeper *k)
{
    return atomic_exchange(&k->fresh, NULL);
}

static void wake(struct keeper *k)
{
    eventfd_write(k->wake, 1);
}

void keeper_give_back(struct keeper *k, struct snapshot *s)
{
    if (!s)
        return;
    snapshot_free(atomic_exchange(&k->used, s));
    wake(k);
}

void keeper_adopt(struct keeper *k, struct snapshot *s, bool own)
{
    snapshot_free(atomic_exchange(&k->fresh, snapshot_retain(s)));
    snapshot_free(k->current);
    k->current = s;
    k->own = own;
    k->dirty = true;
    k->looked = false; /* what is in Redis is beside something else now */
    k->look_ns = 0;
    atomic_store(&k->epoch, snapshot_epoch(s));
    atomic_fetch_add(&k->epochs, 1);
}

void keeper_log_refused(const char *text)
{
    log_error("cache not used: %s", text);
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
    if (t->applied)
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
        keeper_adopt(k, next, k->own);
        keeper_count_batch(k, &tally, 0);
    }
    for (int i = 0; i < n; i++)
        update_free(updates[i]);
    free(updates);
    keeper_pace(k, began);
}

static enum learning_state state_of(const struct keeper *k)
{
    if (!k->current || !snapshot_caches(k->current))
        return LEARNING_NO_CACHES;
    if (k->link && atomic_load(&k->redis_up) && k->looked && k->place == LINEAGE_ASIDE)
        return LEARNING_ASIDE;
    if (k->current->manifest.promised)
        return LEARNING_PROMISED;
    if (!k->link)
        return LEARNING_ALONE;
    if (!atomic_load(&k->redis_up))
        return LEARNING_NO_REDIS;
    if (k->step[STEP_FOLLOW].failing && k->place == LINEAGE_LOAD)
        return LEARNING_DAMAGED;
    for (int i = STEP_FOLLOW; i < KEEPER_STEPS; i++)
        if (k->step[i].failing)
            return LEARNING_REFUSED;
    return LEARNING_SHARED;
}

static void tell_state(struct keeper *k)
{
    enum learning_state state = state_of(k);
    for (int i = 0; i < DIGEST_BYTES; i++)
        atomic_store(&k->redis_build[i], state == LEARNING_ASIDE ? k->head.build[i] : 0);
    atomic_store(&k->state, (unsigned)state);
}

static void step(struct keeper *k)
{
    uint64_t now = clock_ns();
    snapshot_free(atomic_exchange(&k->used, NULL));
    if (atomic_exchange(&k->reload, false))
        keeper_load_files(k);
    if (k->link)
        keeper_step_redis(k);
    else
        step_alone(k);
    if (now >= k->save_ns)
        keeper_save(k, now);
    atomic_store(&k->waiting, (unsigned)k->n_outbox);
    tell_state(k);
}

/* --- waiting --- */

/* From when on updates can be taken; until then nobody waits for any. */
static uint64_t takes_updates_from(const struct keeper *k)
{
    if (k->link)
        return keeper_appends_from(k);
    return k->current ? k->learn_ns : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Until something is due, an update or a hint came, or wake() was called. */
static void wait_for_work(struct keeper *k)
{
    uint64_t now = clock_ns(), updates_from = takes_updates_from(k),
             next = k->dirty ? k->save_ns : UINT64_MAX;
    struct pollfd fds[] = {{.fd = k->wake, .events = POLLIN},
                           {.fd = now >= updates_from ? spool_fd(k->spool) : -1, .events = POLLIN},
                           {.fd = k->ears ? redis_link_fd(k->ears) : -1, .events = POLLIN}};
    eventfd_t count;
    int ms = -1;
    if (now < updates_from)
        next = least(next, updates_from);
    if (k->link)
        next = least(next, keeper_redis_next(k));
    if (next <= now)
        return;
    if (next != UINT64_MAX)
        ms = next - now > WAIT_MS * NS_PER_MS ? WAIT_MS : (int)((next - now) / NS_PER_MS) + 1;
    poll(fds, sizeof fds / sizeof *fds, ms);
    eventfd_read(k->wake, &count);
}

static void *run(void *arg)
{
    struct keeper *k = arg;
    pthread_setname_np(pthread_self(), "keeper");
    slice_short(false); /* it computes */
    while (!atomic_load(&k->stop)) {
        wait_for_work(k);
        step(k);
    }
    return NULL;
}

/* What is still queued goes out while Redis answers; then the lease is free for another at once. */
static void finish(struct keeper *k)
{
    uint64_t until = clock_ns() + STOP_NS;
    struct error e = {0};
    while (k->link && clock_ns() >= keeper_appends_from(k) && k->n_outbox + spool_count(k->spool) &&
           clock_ns() < until) {
        int before = k->n_outbox + spool_count(k->spool);
        if (keeper_append(k, &e) || k->n_outbox + spool_count(k->spool) == before)
            break;
    }
    if (k->link && redis_link_up(k->link) && k->lease.fence)
        store_release(k->store, k->lease.fence, &e);
    if (k->n_outbox + spool_count(k->spool))
        log_warn("%d updates were not accepted before the end", k->n_outbox + spool_count(k->spool));
    keeper_save(k, clock_ns());
}

int keeper_new(struct keeper **out, const struct pipeline *p, int index, const char *id, struct error *e)
{
    struct keeper *k = calloc(1, sizeof *k);
    int rc;
    if (!k)
        return error_set(e, FL_NOMEM, "out of memory");
    k->p = p;
    k->index = index;
    k->sequence = 1;
    k->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    snprintf(k->id, sizeof k->id, "%s", id);
    snprintf(k->prefix, sizeof k->prefix, "live-%d", index);
    if ((size_t)snprintf(k->dir, sizeof k->dir, "%s/caches", p->state) >= sizeof k->dir)
        rc = error_set(e, FL_CONFIG, "state: the path is too long");
    else if (k->wake < 0 || (rc = spool_new(&k->spool, SPOOL_COUNT, SPOOL_BYTES)))
        rc = error_set(e, FL_NOMEM, "out of memory or descriptors");
    else if (p->redis.endpoint && !(rc = redis_link_new(&k->link, p->redis.endpoint, p->security, e)) &&
             !(rc = redis_link_new(&k->ears, p->redis.endpoint, p->security, e)))
        rc = store_new(&k->store, k->link, p->name, k->id, e);
    if (rc) {
        keeper_free(k);
        return rc;
    }
    keeper_redis_init(k);
    keeper_load_files(k);
    step(k);
    if (!k->current)
        log_warn("no caches in %s%s: every look-up misses; run `freezeline build`, then `freezeline reload`",
                 k->dir, k->link ? " nor in Redis" : "");
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
        wake(k);
        pthread_join(k->thread, NULL);
        finish(k);
    }
    keeper_outbox_remove(k, k->n_outbox);
    snapshot_free(atomic_load(&k->fresh));
    snapshot_free(atomic_load(&k->used));
    snapshot_free(k->current);
    store_free(k->store);
    redis_link_free(k->link);
    redis_link_free(k->ears);
    spool_free(k->spool);
    if (k->wake > 0)
        close(k->wake);
    free(k);
}

void keeper_push(struct keeper *k, struct update *u)
{
    spool_push(k->spool, u);
}

void keeper_reload(struct keeper *k)
{
    atomic_store(&k->reload, true);
    wake(k);
}

void keeper_leave_files(struct keeper *k)
{
    atomic_store(&k->leave_files, true);
}

struct keeper_counters keeper_counters(struct keeper *k)
{
    struct keeper_counters c = {
        .accepted = atomic_load(&k->accepted),
        .dropped = spool_dropped(k->spool),
        .applied = atomic_load(&k->applied),
        .rejected = atomic_load(&k->rejected),
        .epochs = atomic_load(&k->epochs),
        .epoch = atomic_load(&k->epoch),
        .queued = atomic_load(&k->waiting) + (unsigned)spool_count(k->spool),
        .redis_up = atomic_load(&k->redis_up),
        .learner = atomic_load(&k->learner),
        .state = (enum learning_state)atomic_load(&k->state),
    };
    for (int i = 0; i < DIGEST_BYTES; i++)
        c.redis_build[i] = atomic_load(&k->redis_build[i]);
    return c;
}
