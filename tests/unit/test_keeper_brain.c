/* test_keeper_brain.c - keepers on a simulated Redis: each accepted update is applied once, whatever restarts
 *
 * The caches are knn caches, whose points carry the labels of what was applied, in its order; each update has
 * a label of its own. So a cache is its own ledger.
 */
#include "cache_samples.h"

#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache_service/keep/backlog.h"
#include "simulated_redis.h"

enum { SERVICES = 3, CLASSES = 4096, DIM = 2 };
enum phase { IDLE, ASKED, ANSWERED };
enum fault { NO_FAULT, LOST, REPLY_LOST, LATE };

struct service {
    struct keeper_brain *brain; /* NULL: it does not run */
    struct spool *spool;
    struct backlog *backlog; /* on its disk */
    uint64_t client;
    enum phase phase;
    uint64_t until;                 /* it sleeps, if nothing wakes it */
    struct snapshot *built, *saved; /* on its disk */
    bool deaf, student;
    uint64_t accepted; /* by those before it */
};

/* A question that reaches Redis when who asked has given it up. */
struct late {
    struct keeper_task task;
    struct update_record record[KEEPER_RECORDS];
    uint64_t client;
};

struct world {
    uint64_t seed; /* of the story, first here */
    struct sim_redis redis;
    struct service service[SERVICES];
    struct pipeline pipeline;
    struct late late;
    bool is_late;
    bool forgets;          /* Redis does, now and then */
    struct sim_redis copy; /* of Redis, as it was once */
    uint64_t now, clients;
    int32_t label; /* of the update that was made last */
    uint64_t asked[KEEPER_ERRAND + 1];
    bool studied[CLASSES]; /* labels that a student has */
    int studies;
};

static struct world w;
static char disk[] = "/dev/shm/freezeline-disk-XXXXXX";

/* --- caches, updates, files --- */

static struct snapshot *build_caches(uint8_t name)
{
    static const float point[DIM] = {1, 0};
    static const int32_t label[] = {0};
    struct manifest m = {.n_exits = 1, .identity.digest = {3}};
    struct snapshot *s;
    memset(m.build, name, sizeof m.build);
    strcpy(m.exit[0].name, "early");
    strcpy(m.exit[0].file, "early.cache");
    s = snapshot_new(&m);
    assert_non_null(s);
    s->cache[0] = sample_knn(DIM, CLASSES, 1, point, label, 1);
    return s;
}

static void push(int i)
{
    struct update *u = update_new(1, &(uint32_t){DIM});
    assert_non_null(u);
    u->identity[0] = 3;
    u->label = ++w.label;
    u->request = (uint64_t)w.label;
    assert_int_equal(update_fill(u, 0, 0, (float[]){1, 0}), FL_OK);
    if (spool_push(w.service[i].spool, u))
        w.service[i].until = 0;
}

static void save(struct service *s, const struct snapshot *mine)
{
    snapshot_free(s->saved);
    s->saved = snapshot_with_applied(mine, mine->manifest.applied);
    assert_non_null(s->saved);
}

static void study(const struct keeper_task *t)
{
    for (int i = 0; i < t->batch.n; i++)
        if (!w.studied[t->batch.update[i]->label]) {
            w.studied[t->batch.update[i]->label] = true;
            w.studies++;
        }
}

static void use_disk(struct service *s, struct keeper_task *t, enum fault fault);

static void read_files(struct service *s, struct keeper_task *t)
{
    bool fits = s->saved && (!s->built || snapshot_same_build(s->built, s->saved));
    t->built = s->built ? snapshot_retain(s->built) : NULL;
    t->learned = fits ? snapshot_retain(s->saved) : NULL;
    use_disk(s, t, NO_FAULT);
}

/* --- services --- */

static void start(int i)
{
    struct service *s = &w.service[i];
    struct keeper_setup setup = {.pipeline = &w.pipeline};
    char folder[64];
    s->client = ++w.clients;
    s->phase = IDLE;
    s->until = 0;
    s->deaf = true;
    snprintf(setup.who, sizeof setup.who, "service %d", i);
    snprintf(setup.id, sizeof setup.id, "%d", (int)s->client);
    snprintf(folder, sizeof folder, "%s/%d", disk, i);
    assert_int_equal(backlog_new(&s->backlog, folder, 1 << 20), FL_OK);
    assert_int_equal(spool_new(&s->spool, 64, 1 << 20), FL_OK);
    setup.spool = s->spool;
    setup.student = s->student;
    assert_int_equal(keeper_brain_new(&s->brain, &setup, NULL), FL_OK);
}

static void forget_answer(struct keeper_task *t)
{
    for (int i = 0; t->act == KEEPER_UNSPILL && i < t->parcel.n; i++)
        free(t->records[i].bytes);
    if (t->act == KEEPER_READ)
        store_batch_free(&t->batch);
    snapshot_free(t->got);
    snapshot_free(t->built);
    snapshot_free(t->learned);
    t->got = t->built = t->learned = NULL;
}

static void kill_service(int i)
{
    struct service *s = &w.service[i];
    if (!s->brain)
        return;
    if (s->phase == ANSWERED)
        forget_answer(keeper_brain_next(s->brain, w.now));
    s->accepted += keeper_brain_counters(s->brain, w.now).accepted;
    keeper_brain_free(s->brain);
    spool_free(s->spool);
    backlog_free(s->backlog);
    s->brain = NULL;
}

/* The question stays on its way: it is asked when who asked has given up. */
static void put_off(const struct service *s, const struct keeper_task *t)
{
    struct late *l = &w.late;
    if (w.is_late)
        return; /* lost, then */
    w.is_late = true;
    l->client = s->client;
    l->task = *t;
    l->task.mine = t->mine ? snapshot_with_applied(t->mine, t->mine->manifest.applied) : NULL;
    l->task.next = t->next ? snapshot_with_applied(t->next, t->next->manifest.applied) : NULL;
    l->task.parcel.record = l->record;
    for (int i = 0; t->act == KEEPER_APPEND && i < t->parcel.n; i++) {
        l->record[i] = t->parcel.record[i];
        l->record[i].bytes = malloc(l->record[i].size);
        assert_non_null(l->record[i].bytes);
        memcpy(l->record[i].bytes, t->parcel.record[i].bytes, l->record[i].size);
    }
}

static void ask_late(void)
{
    struct late *l = &w.late;
    if (!w.is_late)
        return;
    w.is_late = false;
    l->task.got = l->task.built = l->task.learned = NULL;
    sim_redis_do(&w.redis, l->client, &l->task);
    forget_answer(&l->task);
    snapshot_free((struct snapshot *)l->task.mine);
    snapshot_free((struct snapshot *)l->task.next);
    for (int i = 0; l->task.act == KEEPER_APPEND && i < l->task.parcel.n; i++)
        free(l->record[i].bytes);
}

static bool may_be_late(enum keeper_act act)
{
    return act == KEEPER_PUBLISH || act == KEEPER_ACQUIRE || act == KEEPER_RENEW || act == KEEPER_RELEASE ||
           act == KEEPER_APPEND || act == KEEPER_READ || act == KEEPER_COMMIT;
}

static void ask(struct service *s, struct keeper_task *t, enum fault fault)
{
    if (fault == LATE && !may_be_late(t->act))
        fault = LOST;
    if (fault && w.forgets && t->act == KEEPER_APPEND)
        fault = LOST; /* to have its answer lost and to be forgotten is too much for an update */
    if (fault == LATE)
        put_off(s, t);
    t->rc = fault == LOST || fault == LATE ? FL_UNAVAILABLE : sim_redis_do(&w.redis, s->client, t);
    if (fault == REPLY_LOST) {
        if (!t->rc)
            forget_answer(t);
        t->rc = FL_UNAVAILABLE;
    }
    if (t->act == KEEPER_LISTEN)
        s->deaf = t->rc;
    if (t->rc && !t->error.text[0])
        error_set(&t->error, (enum fl_code)t->rc, "fault %d", (int)fault);
}

/* The real one. A disk may be full at times. */
static void use_disk(struct service *s, struct keeper_task *t, enum fault fault)
{
    if (t->act == KEEPER_SPILL && fault == LOST)
        t->rc = error_set(&t->error, FL_IO, "disk full");
    else if (t->act == KEEPER_SPILL)
        t->rc = backlog_add(s->backlog, &t->parcel, false, &t->error);
    else if (t->act == KEEPER_UNSPILL) {
        backlog_acknowledge(s->backlog, t->parcel.producer, t->parcel.first);
        t->parcel = (struct store_parcel){.n = t->n, .record = t->records};
        t->rc = backlog_read(s->backlog, t->parcel.producer, &t->parcel.first, t->records, &t->parcel.n, 1000,
                             &t->error);
    } else
        backlog_open(s->backlog, &t->error);
    t->on_disk = backlog_count(s->backlog);
    t->lost = backlog_lost(s->backlog);
}

/* One move of a service: it asks, Redis does it, or the answer comes. False: it waits. */
static bool move(int i, enum fault fault)
{
    struct service *s = &w.service[i];
    struct keeper_task *t;
    if (!s->brain || w.now < s->until)
        return false;
    t = keeper_brain_next(s->brain, w.now);
    if (t->act == KEEPER_WAIT || t->act == KEEPER_END) {
        s->until = t->act == KEEPER_WAIT ? t->until_ns : UINT64_MAX;
        return false;
    }
    if (s->phase == IDLE) {
        w.asked[t->act]++;
        s->phase = ASKED;
    } else if (s->phase == ASKED) {
        s->phase = ANSWERED;
        if (t->act == KEEPER_READ_FILES)
            read_files(s, t);
        else if (t->act == KEEPER_SPILL || t->act == KEEPER_UNSPILL)
            use_disk(s, t, fault);
        else if (t->act == KEEPER_SAVE)
            save(s, t->mine);
        else if (t->act == KEEPER_STUDY)
            study(t);
        else if (t->act == KEEPER_LEARN)
            t->rc = learner_apply(&t->got, t->mine, t->batch.update, t->batch.n, &t->tally, &t->error);
        else
            ask(s, t, fault);
    } else {
        s->phase = IDLE;
        keeper_brain_done(s->brain, w.now);
        snapshot_free(keeper_brain_take(s->brain));
    }
    return true;
}

static void reload(int i)
{
    keeper_brain_reload(w.service[i].brain);
    w.service[i].until = 0;
}

static void stop(int i)
{
    keeper_brain_stop(w.service[i].brain, w.now);
    w.service[i].until = 0;
}

static void settle(int i)
{
    int moves = 0;
    while (move(i, NO_FAULT))
        assert_true(++moves < 10000);
}

/* Until the service asks for `act`; it is not done yet. */
static void until(int i, enum keeper_act act)
{
    for (int moves = 0; keeper_brain_next(w.service[i].brain, w.now)->act != act; moves++) {
        w.service[i].until = 0;
        assert_true(moves < 1000 && move(i, NO_FAULT));
    }
}

static void hear(void)
{
    for (int i = 0; i < SERVICES; i++) {
        struct service *s = &w.service[i];
        for (int k = 0; s->brain && !s->deaf && k < w.redis.n_hints; k++) {
            keeper_brain_hint(s->brain, w.redis.hint[k].text, strlen(w.redis.hint[k].text), w.now);
            s->until = 0;
        }
    }
    w.redis.n_hints = 0;
}

static void pass(uint64_t ns)
{
    w.now += ns;
    w.redis.now = w.now;
}

/* Nothing fails for so long. */
static void calm(uint64_t ns)
{
    for (uint64_t end = w.now + ns; w.now < end; pass(50 * NS_PER_MS)) {
        hear();
        for (int i = 0; i < SERVICES; i++)
            settle(i);
    }
}

static void clear_disk(void)
{
    char command[64] = "rm -rf ";
    assert_int_equal(system(strcat(strcat(command, disk), "/*")), 0);
}

static void begin(int services)
{
    memset((char *)&w + sizeof w.seed, 0, sizeof w - sizeof w.seed);
    w.now = w.redis.now = 1000 * NS_PER_S;
    w.pipeline.redis.endpoint = "simulated";
    w.pipeline.name = "p";
    w.pipeline.state = "state";
    w.pipeline.updates.batch = 8;
    w.pipeline.updates.interval_ms = 100;
    w.pipeline.updates.max_stream = w.redis.max_stream = 100;
    w.pipeline.updates.spool_mb = 1;
    clear_disk();
    log_threshold = LOG_LEVEL_ERROR + 1;
    for (int i = 0; i < services; i++) {
        w.service[i].built = build_caches(1);
        start(i);
    }
}

static void end(void)
{
    ask_late();
    for (int i = 0; i < SERVICES; i++) {
        kill_service(i);
        snapshot_free(w.service[i].built);
        snapshot_free(w.service[i].saved);
    }
    sim_redis_wipe(&w.redis);
    sim_redis_wipe(&w.copy);
}

/* --- the ledger --- */

static int applied(const struct snapshot *s)
{
    return (int)s->cache[0]->knn.points.n - 1; /* one was built */
}

static int32_t applied_label(const struct snapshot *s, int i)
{
    return s->cache[0]->knn.label[i + 1];
}

/* What is in a cache is there once, and in the stream's order. */
static void assert_once(const struct snapshot *s)
{
    int at = 0;
    for (int i = 0; i < applied(s); i++, at++) {
        while (at < w.redis.n_log && w.redis.log[at] != applied_label(s, i))
            at++;
        assert_true(at < w.redis.n_log);
    }
}

static const struct snapshot *current(int i)
{
    return keeper_brain_current(w.service[i].brain);
}

static struct keeper_counters counters(int i)
{
    return keeper_brain_counters(w.service[i].brain, w.now);
}

/* No service's update came into the stream twice. */
static void assert_appended_once(void)
{
    static uint8_t seen[CLASSES];
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < w.redis.n_log; i++)
        assert_true(!seen[w.redis.log[i]]++);
}

/* All that came into the stream is in the caches of all services, once. */
static void assert_all_applied(void)
{
    assert_appended_once();
    assert_int_equal(w.redis.n_stream, 0);
    for (int i = 0; i < SERVICES; i++)
        if (w.service[i].brain) {
            assert_int_equal(applied(current(i)), w.redis.n_log);
            assert_once(current(i));
            assert_int_equal(counters(i).queued, 0);
        }
}

/* What Redis forgot may be missing, but all have the same, and nothing twice. */
static void assert_none_twice(void)
{
    assert_appended_once();
    assert_int_equal(w.redis.n_stream, 0);
    for (int i = 0; i < SERVICES; i++) {
        assert_once(current(i));
        assert_int_equal(applied(current(i)), applied(current(0)));
    }
}

/* --- a learner's process --- */

static struct snapshot *build_promised(uint8_t name)
{
    struct snapshot *s = build_caches(name);
    struct manifest *m = &s->manifest;
    m->promised = true;
    m->classes = CLASSES;
    m->exit[0].dim = DIM;
    m->exit[0].origin = 1;
    return s;
}

/* Two cache services under a promise, and the process that learns, which is the third. */
static void begin_promised(void)
{
    begin(0);
    w.pipeline.updates.learn = true;
    for (int i = 0; i < 2; i++) {
        w.service[i].built = build_promised(1);
        start(i);
    }
    w.service[2].student = true;
    start(2);
    calm(3 * NS_PER_S);
}

/* The same caches, one generation on, as the student would have them. */
static void offer(void)
{
    struct snapshot *next = snapshot_with_applied(current(2), current(2)->manifest.applied);
    assert_non_null(next);
    next->manifest.generation++;
    next->manifest.learned.serial++;
    keeper_brain_offer(w.service[2].brain, next);
    w.service[2].until = 0;
}

static void under_a_promise_a_process_of_its_own_learns(void **state)
{
    begin_promised();
    for (int i = 0; i < 2; i++) {
        assert_false(counters(i).learner);
        assert_int_equal(counters(i).state, LEARNING_CERTIFIED);
    }
    assert_true(counters(2).learner);
    for (int k = 0; k < 20; k++)
        push(k % 2);
    calm(NS_PER_S);
    assert_int_equal(w.studies, 20); /* and then Redis need not keep them */
    assert_int_equal(w.redis.n_stream, 0);
    assert_int_equal(w.asked[KEEPER_LEARN] + w.asked[KEEPER_COMMIT], 0);
    assert_int_equal(applied(current(0)), 0);
    offer();
    calm(NS_PER_S);
    assert_false(keeper_brain_offers(w.service[2].brain));
    for (int i = 0; i < 3; i++)
        assert_true(current(i)->manifest.generation == 1 && current(i)->manifest.learned.serial == 1);
    end();
}

static void what_a_dead_student_had_read_is_read_by_the_next(void **state)
{
    begin_promised();
    push(0);
    settle(0);
    hear();
    until(2, KEEPER_STUDY);
    kill_service(2);
    start(2);
    push(1);
    calm(10 * NS_PER_S);
    assert_int_equal(w.studies, 2);
    assert_int_equal(w.redis.n_stream, 0);
    end();
}

static void an_epoch_made_of_what_serves_no_more_is_not_committed(void **state)
{
    begin_promised();
    snapshot_free(w.service[0].built); /* a new build, while the epoch waits */
    w.service[0].built = build_promised(2);
    w.service[0].built->manifest.n_replaces = 1;
    memset(w.service[0].built->manifest.replaces[0], 1, DIGEST_BYTES);
    w.redis.full = true;
    offer();
    settle(2);
    assert_true(keeper_brain_offers(w.service[2].brain));
    w.redis.full = false;
    reload(0);
    for (int i = 0; i < 10; i++) {
        settle(0);
        pass(NS_PER_S);
    }
    calm(10 * NS_PER_S);
    assert_false(keeper_brain_offers(w.service[2].brain));
    assert_int_equal(current(2)->manifest.build[0], 2);
    assert_int_equal(current(2)->manifest.learned.serial, 0);
    assert_int_equal(w.redis.held->manifest.build[0], 2);
    end();
}

static void caches_that_cannot_be_taught_are_only_followed(void **state)
{
    begin(0);
    w.pipeline.updates.learn = true;
    w.service[0].built = build_caches(1);
    w.service[0].built->manifest.promised = true; /* by a build that does not say how */
    start(0);
    w.service[2].student = true;
    start(2);
    calm(3 * NS_PER_S);
    assert_int_equal(counters(0).state, LEARNING_UNTAUGHT);
    assert_true(current(2) && !counters(2).learner && !counters(0).learner);
    end();
}

/* --- one thing at a time --- */

static void updates_go_round_once(void **state)
{
    begin(2);
    calm(NS_PER_S);
    for (int k = 0; k < 20; k++)
        push(k % 2);
    calm(2 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 20);
    assert_all_applied();
    assert_true(counters(0).learner != counters(1).learner);
    assert_int_equal(counters(0).accepted + counters(1).accepted, 20);
    assert_int_equal(counters(0).state, LEARNING_SHARED);
    end();
}

static void an_append_whose_answer_is_lost_is_repeated_in_vain(void **state)
{
    static const enum fault faults[] = {LOST, REPLY_LOST, LATE};
    for (int i = 0; i < 3; i++) {
        begin(1);
        calm(NS_PER_S);
        push(0);
        push(0);
        until(0, KEEPER_APPEND);
        move(0, faults[i]);
        move(0, faults[i]);
        push(0);
        calm(NS_PER_S);
        ask_late(); /* comes in again after all */
        calm(NS_PER_S);
        assert_int_equal(w.redis.n_log, 3);
        assert_all_applied();
        assert_int_equal(counters(0).accepted, 3);
        end();
    }
}

static void a_commit_whose_answer_is_lost_is_found_done(void **state)
{
    static const enum fault faults[] = {LOST, REPLY_LOST, LATE};
    for (int i = 0; i < 3; i++) {
        begin(2);
        calm(NS_PER_S);
        push(0);
        until(0, KEEPER_COMMIT);
        move(0, faults[i]);
        move(0, faults[i]);
        pass(100 * NS_PER_MS);
        ask_late();
        calm(5 * NS_PER_S);
        assert_all_applied();
        end();
    }
}

static void what_a_dead_learner_had_read_is_applied_by_the_next(void **state)
{
    static const enum keeper_act died[] = {KEEPER_LEARN, KEEPER_COMMIT};
    for (int i = 0; i < 2; i++) {
        begin(2);
        calm(NS_PER_S);
        push(0);
        push(1);
        settle(1);
        until(0, died[i]);
        kill_service(0);
        calm(5 * NS_PER_S);
        assert_int_equal(w.redis.n_log, 1 + (w.redis.log[0] != w.redis.log[w.redis.n_log - 1]));
        assert_all_applied();
        assert_true(counters(1).learner);
        end();
    }
}

static void a_learner_that_slept_is_fenced_off(void **state)
{
    begin(2);
    calm(NS_PER_S);
    push(0);
    until(0, KEEPER_COMMIT);
    for (int k = 0; k < 80; k++) { /* longer than its lease */
        pass(50 * NS_PER_MS);
        settle(1);
    }
    assert_true(counters(1).learner);
    assert_int_equal(applied(current(1)), 1);
    calm(2 * NS_PER_S);
    assert_false(counters(0).learner);
    assert_all_applied();
    end();
}

static void an_empty_redis_is_filled_with_what_was_learned(void **state)
{
    begin(2);
    calm(NS_PER_S);
    push(0);
    calm(NS_PER_S);
    sim_redis_wipe(&w.redis);
    push(1);
    calm(5 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 2);
    assert_all_applied();
    end();
}

static void a_full_stream_makes_updates_wait(void **state)
{
    begin(1);
    w.pipeline.updates.max_stream = w.redis.max_stream = 5;
    calm(NS_PER_S);
    for (int k = 0; k < 20; k++)
        push(0);
    calm(50 * NS_PER_MS);
    assert_true(counters(0).queued > 0);
    calm(20 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 20);
    assert_all_applied();
    end();
}

static void what_redis_refuses_puts_off_itself_alone(void **state)
{
    begin(2);
    calm(NS_PER_S);
    w.redis.full = true;
    push(0);
    calm(4 * NS_PER_S);
    assert_int_equal(counters(0).state, LEARNING_REFUSED);
    assert_int_equal(counters(0).queued, 1);
    assert_true(counters(0).redis_up); /* it is still looked at */
    w.asked[KEEPER_APPEND] = w.asked[KEEPER_HEAD] = 0;
    calm(10 * NS_PER_S);
    assert_true(w.asked[KEEPER_HEAD] >= 18 && w.asked[KEEPER_APPEND] <= 6);
    w.redis.full = false;
    calm(5 * NS_PER_S);
    assert_all_applied();
    assert_int_equal(counters(0).state, LEARNING_SHARED);
    end();
}

static void a_redis_that_is_gone_is_asked_ever_more_seldom(void **state)
{
    begin(1);
    w.redis.down = true;
    calm(20 * NS_PER_S);
    assert_int_equal(counters(0).state, LEARNING_NO_REDIS);
    assert_true(w.asked[KEEPER_CONNECT] < 20 && w.asked[KEEPER_HEAD] == 0);
    push(0);
    w.redis.down = false;
    calm(5 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 1);
    assert_all_applied();
    end();
}

static void an_idle_keeper_asks_little(void **state)
{
    begin(1);
    calm(2 * NS_PER_S);
    memset(w.asked, 0, sizeof w.asked);
    calm(10 * NS_PER_S);
    assert_true(w.asked[KEEPER_HEAD] <= 11 && w.asked[KEEPER_HOLD] <= 11 && w.asked[KEEPER_RENEW] <= 11);
    assert_true(w.asked[KEEPER_READ] <= 11 && w.asked[KEEPER_APPEND] == 0 && w.asked[KEEPER_SAVE] == 0);
    end();
}

static void another_build_stands_aside_until_nobody_has_the_first(void **state)
{
    begin(1);
    calm(NS_PER_S);
    w.service[1].built = build_caches(2);
    start(1);
    calm(5 * NS_PER_S);
    assert_int_equal(counters(1).state, LEARNING_ASIDE);
    assert_int_equal(counters(1).redis_build[0], 1);
    push(1); /* of the same network: who learns can use it */
    calm(2 * NS_PER_S);
    assert_int_equal(applied(current(0)), 1);
    assert_int_equal(applied(current(1)), 0);
    kill_service(0);
    calm(10 * NS_PER_S);
    assert_int_equal(counters(1).state, LEARNING_SHARED);
    push(1);
    calm(2 * NS_PER_S);
    assert_int_equal(applied(current(1)), 1);
    assert_once(current(1));
    end();
}

/* Damaged where one has it: another puts it there again. */
static void who_has_the_caches_whole_mends_them(void **state)
{
    begin(2);
    calm(NS_PER_S);
    push(0);
    calm(NS_PER_S);
    cache_free(w.redis.held->cache[0]);
    w.redis.held->cache[0] = NULL;
    kill_service(1);
    snapshot_free(w.service[1].built);
    w.service[1].built = NULL; /* a host without a build takes what Redis has */
    snapshot_free(w.service[1].saved);
    w.service[1].saved = NULL;
    start(1);
    calm(20 * NS_PER_S);
    assert_non_null(w.redis.held->cache[0]);
    assert_all_applied();
    end();
}

/* Who comes has a build of its own, which has learned nothing. When the other looks at the head does not
 * matter. */
static void what_was_learned_outlives_damage(void **state)
{
    for (uint64_t later = 0; later < NS_PER_S; later += 100 * NS_PER_MS) {
        begin(1);
        calm(NS_PER_S);
        push(0);
        calm(NS_PER_S + later);
        cache_free(w.redis.held->cache[0]);
        w.redis.held->cache[0] = NULL;
        w.service[1].built = build_caches(1);
        start(1);
        calm(20 * NS_PER_S);
        assert_non_null(w.redis.held->cache[0]);
        assert_int_equal(applied(current(0)), 1);
        assert_int_equal(applied(current(1)), 1);
        end();
    }
}

static void the_end_sends_what_waits_gives_the_lease_back_and_saves(void **state)
{
    begin(2);
    calm(NS_PER_S);
    push(0);
    calm(NS_PER_S);
    assert_true(counters(0).learner);
    push(0);
    stop(0);
    settle(0);
    assert_int_equal(keeper_brain_next(w.service[0].brain, w.now)->act, KEEPER_END);
    assert_int_equal(counters(0).queued, 0);
    assert_int_equal(w.service[0].saved->manifest.generation, 1);
    assert_true(w.redis.now >= w.redis.lease_until);
    kill_service(0);
    calm(2 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 2);
    assert_all_applied();
    start(0); /* begins from what it saved, and takes what is further on */
    settle(0);
    calm(2 * NS_PER_S);
    assert_all_applied();
    end();
}

static void who_left_its_files_saves_nothing(void **state)
{
    begin(1);
    calm(NS_PER_S);
    keeper_brain_leave_files(w.service[0].brain);
    push(0);
    calm(15 * NS_PER_S);
    stop(0);
    settle(0);
    assert_null(w.service[0].saved);
    end();
}

static void alone_it_learns_from_its_own_updates_and_saves(void **state)
{
    begin(0);
    w.pipeline.redis.endpoint = NULL;
    w.service[0].built = build_caches(1);
    start(0);
    calm(NS_PER_S);
    for (int k = 0; k < 20; k++)
        push(0);
    settle(0);
    assert_int_equal(applied(current(0)), 8); /* a batch, then the interval */
    calm(12 * NS_PER_S);
    assert_int_equal(applied(current(0)), 20);
    for (int k = 0; k < 20; k++)
        assert_int_equal(applied_label(current(0), k), k + 1);
    assert_int_equal(counters(0).state, LEARNING_ALONE);
    assert_int_equal(counters(0).accepted, 20);
    assert_true(w.service[0].saved && w.service[0].saved->manifest.generation == 3);
    kill_service(0);
    start(0);
    settle(0);
    assert_int_equal(applied(current(0)), 20);
    end();
}

/* --- anything at any time --- */

struct dice {
    uint64_t state;
};

static uint32_t roll(struct dice *d, uint32_t n)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(d->state >> 33) % n;
}

static enum fault some_fault(struct dice *d)
{
    return roll(d, 12) ? NO_FAULT : (enum fault)(1 + roll(d, 3));
}

/* Redis is copied, becomes what it was, or is empty. */
static void forget(struct dice *d)
{
    uint32_t what = roll(d, 5);
    if (what < 2)
        sim_redis_restore(&w.copy, &w.redis);
    else if (what < 4)
        sim_redis_restore(&w.redis, &w.copy);
    else
        sim_redis_wipe(&w.redis);
}

static void happen(struct dice *d)
{
    int i = (int)roll(d, SERVICES);
    uint32_t what = roll(d, 1000);
    if (w.forgets && !roll(d, 150))
        forget(d);
    if (what < 700)
        move(i, some_fault(d));
    else if (what < 780 && w.service[i].brain)
        push(i);
    else if (what < 940)
        pass(roll(d, 60) * NS_PER_MS);
    else if (what < 943)
        pass(4 * NS_PER_S);
    else if (what < 960)
        hear();
    else if (what < 970)
        w.redis.n_hints = 0;
    else if (what < 975)
        kill_service(i);
    else if (what < 983 && !w.service[i].brain)
        start(i);
    else if (what < 987)
        w.redis.down = !w.redis.down;
    else if (what < 991)
        w.redis.full = !w.redis.full;
    else if (what < 994 && w.service[i].brain)
        reload(i);
    else
        ask_late();
}

/* Says which it is, should it fail. */
static int note_seed(void **state)
{
    if (w.seed)
        print_message("with SEED=%d\n", (int)w.seed);
    return 0;
}

static void story(void)
{
    struct dice d = {w.seed};
    uint64_t accepted = 0;
    begin(SERVICES);
    w.pipeline.updates.max_stream = w.redis.max_stream = 5 + roll(&d, 50);
    w.forgets = roll(&d, 2);
    if (w.forgets) /* what an acknowledged parcel was numbered is forgotten: who dies then sends it again */
        w.pipeline.updates.spool_mb = 0;
    for (int k = 0; k < 1200; k++)
        happen(&d);
    w.redis.down = w.redis.full = false;
    ask_late();
    for (int i = 0; i < SERVICES; i++)
        if (!w.service[i].brain)
            start(i);
    calm(200 * NS_PER_S);
    if (w.forgets)
        assert_none_twice();
    else
        assert_all_applied();
    for (int i = 0; i < SERVICES; i++)
        accepted += w.service[i].accepted + counters(i).accepted;
    assert_true(!w.forgets || accepted <= (uint64_t)w.redis.n_log); /* of the disk some is accepted again */
    end();
}

static void each_accepted_update_is_applied_once_whatever_happens(void **state)
{
    const char *one = getenv("SEED"), *stories = getenv("STORIES");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one ? first : stories ? strtoull(stories, NULL, 10) : 300;
    for (w.seed = first; w.seed <= last; w.seed++)
        story();
    w.seed = 0;
}

/* --- the disk --- */

/* Redis is away, this process ends, the next one sends what the first had: under its numbers, once. */
static void what_waits_outlives_the_process(void **state)
{
    begin(1);
    calm(NS_PER_S);
    push(0);
    until(0, KEEPER_APPEND);
    move(0, REPLY_LOST);
    move(0, REPLY_LOST); /* Redis has it, and nobody knows */
    w.redis.down = true;
    for (int k = 0; k < 300; k++) {
        push(0);
        if (k % 50 == 0)
            calm(NS_PER_S);
    }
    calm(NS_PER_S);
    assert_int_equal(counters(0).queued, 301);
    assert_int_equal(spool_count(w.service[0].spool), 0);
    kill_service(0);
    start(0);
    push(0);
    calm(NS_PER_S);
    assert_int_equal(counters(0).queued, 302);
    w.redis.down = false;
    calm(100 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 302);
    assert_int_equal(counters(0).dropped, 0);
    assert_all_applied();
    end();
}

/* Sends what is on the disk before what is in memory, and goes back to memory alone. */
static void the_disk_is_emptied_first(void **state)
{
    begin(1);
    calm(NS_PER_S);
    w.redis.down = true;
    push(0);
    push(0);
    calm(NS_PER_S);
    push(0);
    w.redis.down = false;
    calm(5 * NS_PER_S);
    for (int k = 0; k < 3; k++)
        assert_int_equal(w.redis.log[k], k + 1);
    w.asked[KEEPER_SPILL] = w.asked[KEEPER_UNSPILL] = 0;
    push(0);
    calm(2 * NS_PER_S);
    assert_int_equal(w.asked[KEEPER_SPILL] + w.asked[KEEPER_UNSPILL], 0);
    assert_all_applied();
    end();
}

static void the_end_leaves_what_waits_on_the_disk(void **state)
{
    begin(1);
    calm(NS_PER_S);
    w.redis.down = true;
    push(0);
    stop(0);
    settle(0);
    assert_int_equal(keeper_brain_next(w.service[0].brain, w.now)->act, KEEPER_END);
    kill_service(0);
    w.redis.down = false;
    start(0);
    calm(5 * NS_PER_S);
    assert_int_equal(w.redis.n_log, 1);
    assert_all_applied();
    end();
}

static int make_disk(void **state)
{
    return mkdtemp(disk) ? 0 : -1;
}

static int remove_disk(void **state)
{
    char command[64] = "rm -rf ";
    return system(strcat(command, disk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_a_promise_a_process_of_its_own_learns),
        cmocka_unit_test(what_a_dead_student_had_read_is_read_by_the_next),
        cmocka_unit_test(an_epoch_made_of_what_serves_no_more_is_not_committed),
        cmocka_unit_test(caches_that_cannot_be_taught_are_only_followed),
        cmocka_unit_test(updates_go_round_once),
        cmocka_unit_test(an_append_whose_answer_is_lost_is_repeated_in_vain),
        cmocka_unit_test(a_commit_whose_answer_is_lost_is_found_done),
        cmocka_unit_test(what_a_dead_learner_had_read_is_applied_by_the_next),
        cmocka_unit_test(a_learner_that_slept_is_fenced_off),
        cmocka_unit_test(an_empty_redis_is_filled_with_what_was_learned),
        cmocka_unit_test(a_full_stream_makes_updates_wait),
        cmocka_unit_test(what_redis_refuses_puts_off_itself_alone),
        cmocka_unit_test(a_redis_that_is_gone_is_asked_ever_more_seldom),
        cmocka_unit_test(an_idle_keeper_asks_little),
        cmocka_unit_test(another_build_stands_aside_until_nobody_has_the_first),
        cmocka_unit_test(who_has_the_caches_whole_mends_them),
        cmocka_unit_test(what_was_learned_outlives_damage),
        cmocka_unit_test(the_end_sends_what_waits_gives_the_lease_back_and_saves),
        cmocka_unit_test(who_left_its_files_saves_nothing),
        cmocka_unit_test(what_waits_outlives_the_process),
        cmocka_unit_test(the_disk_is_emptied_first),
        cmocka_unit_test(the_end_leaves_what_waits_on_the_disk),
        cmocka_unit_test(alone_it_learns_from_its_own_updates_and_saves),
        cmocka_unit_test_teardown(each_accepted_update_is_applied_once_whatever_happens, note_seed),
    };
    return cmocka_run_group_tests(tests, make_disk, remove_disk);
}
