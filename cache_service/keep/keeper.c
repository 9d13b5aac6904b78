/* keeper.c - the keeper's thread: does what its brain says, and waits when it says so */
#include "keeper.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "system/slice.h"
#include "backlog.h"
#include "keeper_files.h"
#include "outbox.h"

#define SPOOL_COUNT 16384
#define SPOOL_BYTES (64u << 20)
#define WAIT_MS     60000

struct keeper {
    const struct pipeline *p;             /* borrowed */
    const struct keeper_student *student; /* borrowed; NULL: this is a cache service */
    struct keeper_files files;
    struct keeper_brain *brain;
    struct spool *spool;
    struct backlog *backlog;
    struct redis_link *link, *ears; /* NULL: no Redis in this pipeline; ears: for hints */
    struct store *store;

    pthread_t thread;
    bool started;
    int wake; /* an eventfd */
    atomic_bool stop, reload, leave_files;
    _Atomic(struct snapshot *) fresh; /* to the look-up thread */
    _Atomic(struct snapshot *) used;  /* back from it */
    pthread_mutex_t lock;             /* of `told` */
    struct keeper_counters told;      /* after the last task */
};

/* --- tasks --- */

static int listen_redis(struct keeper *k, struct error *e)
{
    int rc = redis_link_open(k->ears, e);
    if (!rc && (rc = redis_link_listen(k->ears, store_channel(k->store), e)))
        redis_link_drop(k->ears);
    return rc;
}

static int ask_redis(struct keeper *k, struct keeper_task *t)
{
    struct error *e = &t->error;
    switch (t->act) {
    case KEEPER_CONNECT:
        return redis_link_open(k->link, e);
    case KEEPER_LISTEN:
        return listen_redis(k, e);
    case KEEPER_HEAD:
        return store_head(k->store, &t->head, e);
    case KEEPER_HOLD:
        return store_hold(k->store, t->build, t->who, e);
    case KEEPER_HOLDER:
        return store_holder(k->store, t->build, t->holder, e);
    case KEEPER_LOAD:
        t->load.refused = t->quiet ? NULL : keeper_log_refused;
        return store_load(k->store, &t->got, &t->head, t->mine, &t->load, e);
    case KEEPER_PUBLISH:
        return store_publish(k->store, t->mine, &t->head, e);
    case KEEPER_TELL_DAMAGED:
        return store_tell_damaged(k->store, &t->head, e);
    case KEEPER_ACQUIRE:
        return store_acquire(k->store, KEEPER_LEASE_MS, &t->fence, e);
    case KEEPER_RENEW:
        return store_renew(k->store, t->fence, KEEPER_LEASE_MS, &t->ok, e);
    case KEEPER_RELEASE:
        return store_release(k->store, t->fence, e);
    case KEEPER_APPEND:
        return store_append(k->store, &t->parcel, k->p->updates.max_stream,
                            (int64_t)(k->p->updates.stream_mb * 1024 * 1024), &t->accepted, e);
    case KEEPER_READ:
        return store_read(k->store, t->fence, t->n, &t->batch, e);
    case KEEPER_COMMIT:
        return store_commit(k->store, t->fence, t->mine, t->next, &t->head, e);
    case KEEPER_ACK:
        return store_ack(k->store, t->fence, &t->batch, e);
    case KEEPER_ERRAND:
        return k->student->errand(k->student->arg, t->mine, k->store, e);
    default:
        return error_set(e, FL_UNSUPPORTED, "task %d", (int)t->act);
    }
}

/* A spool that can't be read is said when it is to be written, and holds up nothing else. */
static int use_disk(struct keeper *k, struct keeper_task *t)
{
    struct backlog *d = k->backlog;
    int rc = FL_OK;
    if (t->act == KEEPER_SPILL)
        rc = backlog_add(d, &t->parcel, t->ok, &t->error);
    else if (t->act == KEEPER_UNSPILL) {
        backlog_acknowledge(d, t->parcel.producer, t->parcel.first);
        t->parcel = (struct store_parcel){.n = t->n, .record = t->records};
        rc = backlog_read(d, t->parcel.producer, &t->parcel.first, t->records, &t->parcel.n, OUTBOX_BYTES,
                          &t->error);
    } else if (k->link && !k->student && k->p->updates.spool_mb > 0)
        backlog_open(d, &t->error);
    t->on_disk = backlog_count(d);
    t->lost = backlog_lost(d);
    return rc;
}

static int perform(struct keeper *k, struct keeper_task *t)
{
    switch (t->act) {
    case KEEPER_READ_FILES:
        if (!k->student)
            keeper_files_read(&k->files, &t->built, &t->learned);
        return use_disk(k, t);
    case KEEPER_SPILL:
    case KEEPER_UNSPILL:
        return use_disk(k, t);
    case KEEPER_SAVE:
        return keeper_files_save(&k->files, t->mine, &t->error);
    case KEEPER_LEARN:
        return learner_apply(&t->got, t->mine, t->batch.update, t->batch.n, &t->tally, &t->error);
    case KEEPER_STUDY:
        return k->student->study(k->student->arg, t->mine, &t->batch, &t->error);
    default:
        return ask_redis(k, t);
    }
}

/* Caches that can't be shared are looked up here alone. */
static void share(struct keeper *k, struct snapshot *s)
{
    struct error e;
    if (!k->student && k->p->shared_memory && strcmp(k->p->cache.placement, "service") && s->block < 0 &&
        snapshot_share(s, &e))
        log_warn("%s: stage workers ask this service", e.text);
}

/* To the look-up thread, and to who asks for counters. */
static void tell(struct keeper *k)
{
    struct snapshot *fresh = keeper_brain_take(k->brain);
    if (fresh) {
        share(k, fresh);
        snapshot_free(atomic_exchange(&k->fresh, fresh));
    }
    snapshot_free(atomic_exchange(&k->used, NULL));
    pthread_mutex_lock(&k->lock);
    k->told = keeper_brain_counters(k->brain, clock_ns());
    pthread_mutex_unlock(&k->lock);
}

/* The student's turn; when it wants another. */
static uint64_t turn(struct keeper *k)
{
    struct keeper_turn t = {.now = clock_ns(), .due_ns = UINT64_MAX};
    if (!k->student)
        return UINT64_MAX;
    t.current = keeper_brain_current(k->brain);
    t.fence = keeper_brain_fence(k->brain, t.now);
    t.offers = keeper_brain_offers(k->brain);
    k->student->turn(k->student->arg, &t);
    if (t.offer)
        keeper_brain_offer(k->brain, t.offer);
    if (t.errand)
        keeper_brain_errand(k->brain);
    return t.due_ns;
}

/* Does all that is due. Returns until when to wait then. */
static uint64_t work(struct keeper *k)
{
    struct keeper_task *t;
    uint64_t due = turn(k);
    while ((t = keeper_brain_next(k->brain, clock_ns()))->act != KEEPER_WAIT && t->act != KEEPER_END) {
        t->rc = perform(k, t);
        keeper_brain_done(k->brain, clock_ns());
        tell(k);
        due = turn(k);
    }
    tell(k);
    return t->until_ns < due ? t->until_ns : due;
}

/* --- the thread --- */

static void on_hint(void *arg, const char *text, size_t size)
{
    keeper_brain_hint(((struct keeper *)arg)->brain, text, size, clock_ns());
}

/* What came from elsewhere. */
static void hear(struct keeper *k)
{
    struct error e = {0};
    if (k->ears && redis_link_up(k->ears) && redis_link_hear(k->ears, on_hint, k, &e))
        keeper_brain_deaf(k->brain);
    if (atomic_exchange(&k->reload, false))
        keeper_brain_reload(k->brain);
    if (atomic_load(&k->leave_files))
        keeper_brain_leave_files(k->brain);
}

static void wait_until(struct keeper *k, uint64_t until)
{
    uint64_t now = clock_ns();
    struct pollfd fds[] = {{.fd = k->wake, .events = POLLIN},
                           {.fd = k->ears ? redis_link_fd(k->ears) : -1, .events = POLLIN}};
    eventfd_t count;
    int ms = -1;
    if (until <= now)
        return;
    if (until != UINT64_MAX)
        ms = until - now > WAIT_MS * NS_PER_MS ? WAIT_MS : (int)((until - now) / NS_PER_MS) + 1;
    poll(fds, sizeof fds / sizeof *fds, ms);
    eventfd_read(k->wake, &count);
}

static void *run(void *arg)
{
    struct keeper *k = arg;
    pthread_setname_np(pthread_self(), "keeper");
    slice_short(false); /* it computes */
    while (!atomic_load(&k->stop)) {
        wait_until(k, work(k));
        hear(k);
    }
    return NULL;
}

void keeper_wake(struct keeper *k)
{
    eventfd_write(k->wake, 1);
}

static int make(struct keeper **out, const struct pipeline *p, int index, const char *id,
                const struct keeper_student *student, struct error *e)
{
    struct keeper *k = calloc(1, sizeof *k);
    struct keeper_setup setup = {.pipeline = p};
    char host[64] = "?", folder[sizeof k->files.dir + 16];
    int rc;
    if (!k)
        return error_set(e, FL_NOMEM, "out of memory");
    k->p = p;
    k->student = student;
    pthread_mutex_init(&k->lock, NULL);
    k->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    snprintf(folder, sizeof folder, "%s/caches/spool-%d", p->state, index);
    if (k->wake < 0 || spool_new(&k->spool, SPOOL_COUNT, SPOOL_BYTES) ||
        backlog_new(&k->backlog, folder, (uint64_t)(p->updates.spool_mb * 1024 * 1024)))
        rc = error_set(e, FL_NOMEM, "out of memory or descriptors");
    else if (!(rc = keeper_files_init(&k->files, p->state, index, e)) && p->redis.endpoint &&
             !(rc = redis_link_new(&k->link, &p->redis, &p->security, e)) &&
             !(rc = redis_link_new(&k->ears, &p->redis, &p->security, e)))
        rc = store_new(&k->store, k->link, p->name, id, e);
    gethostname(host, sizeof host - 1);
    snprintf(setup.who, sizeof setup.who, "%s %d (pid %d) on %s", student ? "learner" : "cache", index,
             (int)getpid(), host);
    snprintf(setup.id, sizeof setup.id, "%s", id);
    setup.spool = k->spool;
    setup.student = student != NULL;
    if (rc || (rc = keeper_brain_new(&k->brain, &setup, e))) {
        keeper_free(k);
        return rc;
    }
    work(k);
    if (!student && !keeper_brain_current(k->brain))
        log_warn("no caches in %s%s: every look-up misses; run `freezeline build`, then `freezeline apply`",
                 k->files.dir, k->link ? " nor in Redis" : "");
    *out = k;
    return FL_OK;
}

int keeper_new(struct keeper **out, const struct pipeline *p, int index, const char *id, struct error *e)
{
    return make(out, p, index, id, NULL, e);
}

int keeper_new_student(struct keeper **out, const struct pipeline *p, int index, const char *id,
                       const struct keeper_student *s, struct error *e)
{
    return make(out, p, index, id, s, e);
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
        keeper_wake(k);
        pthread_join(k->thread, NULL);
        hear(k);
        keeper_brain_stop(k->brain, clock_ns());
        work(k);
    }
    keeper_brain_free(k->brain);
    snapshot_free(atomic_load(&k->fresh));
    snapshot_free(atomic_load(&k->used));
    store_free(k->store);
    redis_link_free(k->link);
    redis_link_free(k->ears);
    spool_free(k->spool);
    backlog_free(k->backlog);
    pthread_mutex_destroy(&k->lock);
    if (k->wake >= 0)
        close(k->wake);
    free(k);
}

/* --- the look-up thread's side --- */

struct snapshot *keeper_take(struct keeper *k)
{
    return atomic_exchange(&k->fresh, NULL);
}

void keeper_give_back(struct keeper *k, struct snapshot *s)
{
    if (!s)
        return;
    snapshot_free(atomic_exchange(&k->used, s));
    keeper_wake(k);
}

void keeper_push(struct keeper *k, struct update *u)
{
    if (spool_push(k->spool, u))
        keeper_wake(k);
}

void keeper_reload(struct keeper *k)
{
    atomic_store(&k->reload, true);
    keeper_wake(k);
}

void keeper_leave_files(struct keeper *k)
{
    atomic_store(&k->leave_files, true);
}

struct keeper_counters keeper_counters(struct keeper *k)
{
    struct keeper_counters c;
    pthread_mutex_lock(&k->lock);
    c = k->told;
    pthread_mutex_unlock(&k->lock);
    c.queued += (uint32_t)spool_count(k->spool);
    c.dropped += spool_dropped(k->spool);
    return c;
}
