/* keeper_brain.c - rounds of steps, each a chain of tasks
 *
 * A round goes through the steps in their order and begins those that are due. A step's first task is given
 * by its `begin`, the next one by what the one before gave; end_step ends it.
 */
#include "keeper_brain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cache_service/store/lease.h"
#include "outbox.h"
#include "standing.h"
#include "trouble.h"

#define LOOK_NS  NS_PER_S          /* how often the head is looked at, should hints be lost */
#define SLACK_NS (500 * NS_PER_MS) /* what is regular is done in this round if it is due so soon */
#define SAVE_NS  (10 * NS_PER_S)
#define STOP_NS  NS_PER_S
#define MEND_NS  (5 * NS_PER_S) /* caches are published again for others at most so often */
#define NEVER    UINT64_MAX

/* How far the end has come. */
enum ending { GOES_ON, SENDS, RELEASES, SAVES, ENDED };

struct keeper_brain {
    const struct pipeline *p;
    char who[STORE_WHO_BYTES];
    bool alone;               /* without Redis */
    struct snapshot *current; /* NULL: no caches known */
    struct snapshot *fresh;   /* not taken yet by who answers look-ups */
    bool own;                 /* of the build on this host's disk */
    bool dirty;               /* newer than what is saved */
    bool reload, leave_files;
    uint64_t save_ns, look_ns, append_ns, mend_ns; /* not before then */

    bool up, ears; /* connected; to hints */
    struct standing standing;
    struct outbox outbox;
    bool more; /* there may be updates in the stream */
    struct lease lease;
    struct lesson lesson;

    struct trouble trouble;
    enum step step; /* in hand, or the next to look at */
    bool busy;      /* a task was given and is not done */
    struct keeper_task task;
    uint64_t given_ns;  /* when */
    bool held;          /* the lease, when its step began */
    bool said;          /* Redis took it that this host has this build on its disk */
    struct error later; /* how the step ends after its last task */

    enum ending ending;
    uint64_t stop_ns;
    struct keeper_counters counters;
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Clears the task for the next one. */
static struct keeper_task *ask(struct keeper_brain *b, enum keeper_act act)
{
    b->task.act = act;
    b->task.mine = b->current;
    b->task.head = b->standing.head;
    b->task.fence = b->lease.fence;
    b->task.next = NULL;
    b->task.got = b->task.built = b->task.learned = NULL;
    memset(&b->task.load, 0, sizeof b->task.load);
    memset(&b->task.batch, 0, sizeof b->task.batch);
    b->task.rc = FL_OK;
    b->task.error.text[0] = '\0';
    b->busy = true;
    return &b->task;
}

/* --- the state in use --- */

/* Takes s (one reference) into use. `own`: it is of the build on this host's disk. */
static void adopt(struct keeper_brain *b, struct snapshot *s, bool own)
{
    snapshot_free(b->fresh);
    b->fresh = snapshot_retain(s);
    snapshot_free(b->current);
    b->current = s;
    b->own = own;
    b->dirty = true;
    b->standing.looked = false; /* what is in Redis is beside something else now */
    b->look_ns = 0;
    b->counters.epoch = snapshot_epoch(s);
    b->counters.epochs++;
}

static bool at_head(const struct keeper_brain *b)
{
    return b->current && standing_at_head(&b->standing);
}

static void reach_head(struct keeper_brain *b, uint64_t now)
{
    standing_reach(&b->standing);
    b->look_ns = now + LOOK_NS;
}

/* --- files --- */

/* What is in use is of this build too, and no worse. */
static bool in_use(const struct snapshot *c, const struct snapshot *s)
{
    return c && snapshot_same_build(c, s) && c->manifest.generation >= s->manifest.generation &&
           snapshot_whole(c) && snapshot_caches(c) >= snapshot_caches(s);
}

/* Takes s. */
static void use(struct keeper_brain *b, struct snapshot *s, bool own)
{
    char build[MANIFEST_BUILD_BYTES], before[MANIFEST_BUILD_BYTES];
    if (in_use(b->current, s)) {
        b->own = b->own || own;
        snapshot_free(s);
        return;
    }
    log_info("loaded %d caches of %d exits from %s/caches (build %s, generation %" PRIu64 ")",
             snapshot_caches(s), s->manifest.n_exits, b->p->state,
             manifest_build_text(s->manifest.build, build), s->manifest.generation);
    if (b->current && !snapshot_same_build(b->current, s))
        log_info("they take the place of build %s (generation %" PRIu64 ")",
                 manifest_build_text(b->current->manifest.build, before), b->current->manifest.generation);
    adopt(b, s, own);
    b->dirty = false;
}

/* Of the build and what was learned from it, what is further on. Without a build what is in use stays. */
static void on_files(struct keeper_brain *b)
{
    struct snapshot *built = b->task.built, *learned = b->task.learned;
    bool further =
        learned &&
        (!built || (learned->manifest.generation > built->manifest.generation && snapshot_whole(learned)));
    if (further && (built || !b->current))
        use(b, snapshot_retain(learned), built != NULL);
    else if (built)
        use(b, snapshot_retain(built), true);
    snapshot_free(built);
    snapshot_free(learned);
}

static uint64_t save_due(const struct keeper_brain *b)
{
    return b->dirty && !b->leave_files && b->current && b->current->manifest.generation &&
                   snapshot_whole(b->current)
               ? b->save_ns
               : NEVER;
}

static void save(struct keeper_brain *b, uint64_t now)
{
    b->save_ns = now + SAVE_NS;
    b->dirty = false;
    ask(b, KEEPER_SAVE);
}

/* --- learning --- */

/* A batch was made ready, from the stream or (alone) from the spool. */
static void learn(struct keeper_brain *b, struct store_batch *batch)
{
    lesson_begin(&b->lesson, batch, b->current);
    ask(b, KEEPER_LEARN)->batch = b->lesson.batch;
}

static void end_lesson(struct keeper_brain *b, uint64_t now)
{
    lesson_end(&b->lesson, (uint64_t)b->p->updates.interval_ms * NS_PER_MS, now);
}

/* What was learned counts now. */
static void take_lesson(struct keeper_brain *b)
{
    const struct learner_tally *t = &b->lesson.tally;
    int rejected = t->rejected + b->lesson.damaged;
    adopt(b, b->lesson.next, b->own);
    b->lesson.next = NULL;
    b->counters.applied += (unsigned)t->applied;
    b->counters.rejected += (unsigned)rejected;
    if (rejected)
        log_warn("%d updates can't be applied (another identity, exit or size) and are left out", rejected);
    if (t->applied)
        log_info("learned %d updates into %d caches: epoch %" PRIu64, t->applied, t->exits,
                 b->counters.epoch);
}

static uint64_t alone_due(const struct keeper_brain *b)
{
    return b->current && spool_count(b->outbox.spool) ? b->lesson.due_ns : NEVER;
}

/* Without Redis: the same learning, straight from the spool. */
static bool begin_alone(struct keeper_brain *b, uint64_t now)
{
    struct store_batch batch = {0};
    int capacity;
    if (now < alone_due(b))
        return false;
    capacity = learner_capacity(b->current, b->p->updates.batch);
    if (!(batch.update = malloc(sizeof *batch.update * (size_t)capacity)))
        return false;
    batch.n = spool_pop(b->outbox.spool, batch.update, capacity);
    b->counters.accepted += (unsigned)batch.n;
    b->lesson.began_ns = now;
    learn(b, &batch);
    return true;
}

static void on_learned_alone(struct keeper_brain *b, uint64_t now)
{
    if (b->task.rc)
        log_warn("%d updates not applied: %s", b->lesson.batch.n, b->task.error.text);
    else {
        lesson_made(&b->lesson, b->task.got, &b->task.tally, b->current);
        take_lesson(b);
    }
    end_lesson(b, now);
}

/* --- steps with Redis: how they end --- */

static void end_step(struct keeper_brain *b, int rc, const char *text, uint64_t now)
{
    enum step step = b->step++;
    if (rc)
        trouble_failed(&b->trouble, step, text, now);
    else
        retry_worked(&b->trouble.step[step]);
}

static void end_as_task(struct keeper_brain *b, uint64_t now)
{
    end_step(b, b->task.rc, b->task.error.text, now);
}

/* Lease or head are not what they were believed to be: no failure, but look again. */
static bool is_stale(struct keeper_brain *b, uint64_t now)
{
    if (b->task.rc != FL_STALE)
        return false;
    b->look_ns = 0;
    end_step(b, FL_OK, NULL, now);
    return true;
}

/* --- connecting, listening --- */

static bool begin_connect(struct keeper_brain *b, uint64_t now)
{
    (void)now;
    standing_forget(&b->standing);
    b->look_ns = 0;
    ask(b, KEEPER_CONNECT);
    return true;
}

static uint64_t connect_due(const struct keeper_brain *b)
{
    /* A look comes next: a Redis that accepts and then fails is as good as gone. */
    return b->up ? NEVER : b->trouble.step[STEP_LOOK].next_ns;
}

static bool begin_listen(struct keeper_brain *b, uint64_t now)
{
    (void)now;
    ask(b, KEEPER_LISTEN);
    return true;
}

static uint64_t listen_due(const struct keeper_brain *b)
{
    return b->ears ? NEVER : 0;
}

/* --- looking at the head --- */

static bool begin_look(struct keeper_brain *b, uint64_t now)
{
    (void)now;
    ask(b, KEEPER_HEAD);
    return true;
}

static uint64_t look_due(const struct keeper_brain *b)
{
    return b->look_ns;
}

static void decide(struct keeper_brain *b, uint64_t now)
{
    struct standing *s = &b->standing;
    const struct lineage_here here = {b->current ? &b->current->manifest : NULL, b->own,
                                      b->current && snapshot_whole(b->current)};
    standing_decide(s, &here, b->said, b->p->name, now);
    if (s->place == LINEAGE_KEEP &&
        snapshot_lacks(b->current)) { /* somebody may have come who has them, or put them there */
        if (standing_damaged(s)) {
            b->later = (struct error){0};
            ask(b, KEEPER_TELL_DAMAGED);
            return;
        }
        s->place = LINEAGE_LOAD;
    }
    end_step(b, FL_OK, NULL, now);
}

/* Redis does not take it that this host has its build where it takes no writes. */
static void find_holder(struct keeper_brain *b, bool said, uint64_t now)
{
    b->said = said;
    if (standing_beside(&b->standing, b->current ? &b->current->manifest : NULL))
        ask(b, KEEPER_HOLDER)->build = b->standing.head.build;
    else
        decide(b, now);
}

static void on_head(struct keeper_brain *b, uint64_t now)
{
    bool news;
    b->look_ns = now + LOOK_NS;
    if (standing_saw(&b->standing, &b->task.head, b->task.rc, &news)) {
        end_as_task(b, now);
        return;
    }
    if (news) {
        b->append_ns = 0; /* the learner went on: there may be room in the stream */
        if (b->standing.place == LINEAGE_LOAD)
            retry_worked(&b->trouble.step[STEP_FOLLOW]); /* what could not be loaded is gone */
    }
    if (!b->current || !b->own) {
        find_holder(b, false, now);
        return;
    }
    ask(b, KEEPER_HOLD)->build = b->current->manifest.build;
    b->task.who = b->who;
}

static void on_holder(struct keeper_brain *b, uint64_t now)
{
    if (b->task.rc) {
        end_as_task(b, now);
        return;
    }
    memcpy(b->standing.holder, b->task.holder, sizeof b->standing.holder);
    decide(b, now);
}

/* --- following it --- */

static void publish(struct keeper_brain *b, uint64_t now)
{
    const char *applied = b->standing.head.applied;
    /* What was applied to the caches that are replaced stays applied. */
    if (stream_id_compare(applied, b->current->manifest.applied) > 0) {
        struct snapshot *next = snapshot_with_applied(b->current, applied);
        if (!next) {
            end_step(b, FL_NOMEM, "out of memory", now);
            return;
        }
        adopt(b, next, b->own);
    }
    ask(b, KEEPER_PUBLISH);
}

static void on_published(struct keeper_brain *b, uint64_t now)
{
    if (is_stale(b, now)) /* another was faster: see what there is now */
        return;
    if (!b->task.rc) {
        standing_published(&b->standing, &b->task.head, b->current);
        b->look_ns = now + LOOK_NS;
    }
    end_as_task(b, now);
}

static bool begin_follow(struct keeper_brain *b, uint64_t now)
{
    if (b->standing.place == LINEAGE_PUBLISH)
        publish(b, now);
    else
        ask(b, KEEPER_LOAD)->quiet = standing_damaged(&b->standing);
    return true;
}

static uint64_t follow_due(const struct keeper_brain *b)
{
    const struct standing *s = &b->standing;
    return s->looked && (s->place == LINEAGE_LOAD || s->place == LINEAGE_PUBLISH) ? 0 : NEVER;
}

static void on_loaded(struct keeper_brain *b, uint64_t now)
{
    struct snapshot *s = b->task.got;
    const struct store_load *load = &b->task.load;
    int rc = b->task.rc;
    if (is_stale(b, now))
        return;
    if (rc == FL_UNAVAILABLE || rc == FL_NOMEM) {
        end_as_task(b, now);
        return;
    }
    standing_mark_damaged(&b->standing);
    if (load->damaged && !b->task.quiet) { /* another service may have them as they were */
        snapshot_free(s);
        error_set(&b->later, FL_CORRUPT, "caches are damaged there: the other services are asked for them");
        ask(b, KEEPER_TELL_DAMAGED);
    } else if (rc)
        end_as_task(b, now);
    else if (load->damaged > load->lost) { /* ours go back there */
        s->manifest.generation++;
        adopt(b, s, b->own);
        log_info("damaged caches in Redis are replaced by those of this process");
        publish(b, now);
    } else {
        log_info("%d caches from Redis in use (generation %" PRIu64 ")", snapshot_caches(s),
                 s->manifest.generation);
        adopt(b, s, b->own);
        reach_head(b, now);
        end_as_task(b, now);
    }
}

/* Somebody could not use the caches of the head: put them there again, if they are ours whole. */
static void mend(struct keeper_brain *b, uint64_t sequence, uint64_t now)
{
    if (!at_head(b) || snapshot_lacks(b->current) || sequence != b->standing.head.sequence ||
        now < b->mend_ns)
        return;
    b->mend_ns = now + MEND_NS;
    b->standing.place = LINEAGE_PUBLISH;
    log_info("another cache service can't use the caches in Redis: they are published again");
}

void keeper_brain_hint(struct keeper_brain *b, const char *text, size_t size, uint64_t now)
{
    const char *known = b->standing.head.text;
    uint64_t sequence;
    switch (store_hint(text, size, &sequence)) {
    case STORE_HINT_HEAD:
        if (size != strlen(known) || memcmp(text, known, size)) /* else: our own */
            b->look_ns = 0;
        break;
    case STORE_HINT_UPDATES:
        b->more = true;
        break;
    case STORE_HINT_DAMAGED:
        mend(b, sequence, now);
        break;
    }
}

/* --- the learner's lease --- */

static bool begin_lease(struct keeper_brain *b, uint64_t now)
{
    static const enum keeper_act acts[] = {
        [LEASE_ACQUIRE] = KEEPER_ACQUIRE, [LEASE_RENEW] = KEEPER_RENEW, [LEASE_RELEASE] = KEEPER_RELEASE};
    enum lease_action action;
    b->held = lease_held(&b->lease, now);
    action = lease_next(&b->lease, at_head(b), now, SLACK_NS);
    if (action != LEASE_IDLE)
        ask(b, acts[action]);
    return action != LEASE_IDLE;
}

static uint64_t lease_step_due(const struct keeper_brain *b)
{
    return lease_due(&b->lease, at_head(b));
}

static void on_lease(struct keeper_brain *b, uint64_t now)
{
    bool holds;
    if (b->task.act == KEEPER_RELEASE) /* whatever came of it */
        lease_lost(&b->lease, b->given_ns);
    else if (!b->task.rc && b->task.act == KEEPER_ACQUIRE)
        lease_acquired(&b->lease, b->task.fence, b->given_ns);
    else if (!b->task.rc)
        lease_renewed(&b->lease, b->task.ok, b->given_ns);
    b->more = b->more || b->task.act == KEEPER_RENEW; /* hints may be lost */
    holds = lease_held(&b->lease, now);
    if (b->held != holds) {
        if (holds)
            log_info("the learner (fence %" PRIu64 ")", b->lease.fence);
        else
            log_info("no longer the learner");
        b->more = true;
        b->look_ns = holds ? 0 : b->look_ns; /* begin from the newest state */
    }
    end_as_task(b, now);
}

/* --- updates into the stream --- */

/* Who learns there knows what to do with ours: it is the same network, of whatever build. */
static bool are_wanted(const struct keeper_brain *b)
{
    const struct head *head = &b->standing.head;
    return b->standing.looked && b->current && head->text[0] &&
           !memcmp(head->identity, b->current->manifest.identity.digest, sizeof head->identity);
}

static bool begin_append(struct keeper_brain *b, uint64_t now)
{
    struct keeper_task *t;
    (void)now;
    if (!outbox_fill(&b->outbox))
        return false;
    t = ask(b, KEEPER_APPEND);
    t->updates = b->outbox.update;
    t->n = b->outbox.n;
    t->sequence = b->outbox.acknowledged + 1;
    return true;
}

static uint64_t append_due(const struct keeper_brain *b)
{
    return are_wanted(b) && outbox_waiting(&b->outbox) ? b->append_ns : NEVER;
}

static void on_appended(struct keeper_brain *b, uint64_t now)
{
    int accepted = b->task.rc ? 0 : b->task.accepted;
    bool all = accepted == b->outbox.n;
    b->counters.accepted += (unsigned)accepted;
    outbox_remove(&b->outbox, accepted);
    b->more = b->more || accepted;
    if (!b->task.rc && !all) /* the stream is full: they wait */
        b->append_ns = now + LOOK_NS;
    if (!all || b->ending || !begin_append(b, now))
        end_as_task(b, now);
}

/* --- updates out of the stream, into caches --- */

static bool begin_learn(struct keeper_brain *b, uint64_t now)
{
    if (!lease_held(&b->lease, now))
        return false;
    b->lesson.began_ns = now;
    ask(b, KEEPER_READ)->n = learner_capacity(b->current, b->p->updates.batch);
    return true;
}

static uint64_t learn_due(const struct keeper_brain *b)
{
    return at_head(b) && b->more && b->lease.fence ? b->lesson.due_ns : NEVER;
}

static bool is_fenced_off(struct keeper_brain *b, uint64_t now)
{
    if (!is_stale(b, now))
        return false;
    lease_lost(&b->lease, now);
    return true;
}

static void on_read(struct keeper_brain *b, uint64_t now)
{
    if (is_fenced_off(b, now))
        return;
    if (!b->task.rc && b->task.batch.n) {
        learn(b, &b->task.batch);
        return;
    }
    store_batch_free(&b->task.batch);
    b->more = b->more && b->task.rc;
    end_as_task(b, now);
}

static void on_learned(struct keeper_brain *b, uint64_t now)
{
    if (b->task.rc) {
        end_lesson(b, now);
        end_as_task(b, now);
        return;
    }
    lesson_made(&b->lesson, b->task.got, &b->task.tally, b->current);
    ask(b, KEEPER_COMMIT)->next = b->lesson.next;
    b->task.batch = b->lesson.batch;
}

static void on_committed(struct keeper_brain *b, uint64_t now)
{
    if (!b->task.rc) {
        bool damaged = b->standing.damaged[0];
        b->standing.head = b->task.head;
        take_lesson(b);
        reach_head(b, now);
        if (damaged) /* what was missing still is */
            standing_mark_damaged(&b->standing);
    }
    end_lesson(b, now);
    if (!is_fenced_off(b, now))
        end_as_task(b, now);
}

/* --- rounds --- */

/* `due`: from when on, NEVER: there is nothing to do. `begin`: false, there is nothing to do after all. */
static const struct {
    bool (*begin)(struct keeper_brain *b, uint64_t now);
    uint64_t (*due)(const struct keeper_brain *b);
    bool regular;
} steps[STEPS] = {
    [STEP_CONNECT] = {begin_connect, connect_due, false}, [STEP_LOOK] = {begin_look, look_due, true},
    [STEP_LISTEN] = {begin_listen, listen_due, false},    [STEP_FOLLOW] = {begin_follow, follow_due, false},
    [STEP_LEASE] = {begin_lease, lease_step_due, true},   [STEP_APPEND] = {begin_append, append_due, false},
    [STEP_LEARN] = {begin_learn, learn_due, false},
};

static bool is_due(const struct keeper_brain *b, enum step step, uint64_t now)
{
    uint64_t slack = steps[step].regular ? SLACK_NS : 0;
    return retry_due(&b->trouble.step[step], now) && steps[step].due(b) <= now + slack;
}

/* False: the round is over. */
static bool go_on(struct keeper_brain *b, uint64_t now)
{
    for (; b->step < STEPS; b->step++) {
        if (steps[b->step].due(b) == NEVER)
            retry_idle(&b->trouble.step[b->step]);
        if (b->step != STEP_CONNECT && !b->up)
            break;
        if (is_due(b, b->step, now) && steps[b->step].begin(b, now))
            return true;
    }
    b->step = STEP_CONNECT;
    trouble_look_up(&b->trouble, b->up);
    return false;
}

static uint64_t redis_due(const struct keeper_brain *b)
{
    uint64_t next = NEVER;
    for (int i = STEP_CONNECT; i < (b->up ? STEPS : STEP_LOOK); i++) {
        uint64_t due = steps[i].due(b), allowed = b->trouble.step[i].next_ns;
        next = smaller(next, due > allowed ? due : allowed);
    }
    return next;
}

/* What is still queued goes out while Redis takes it; then the lease is free for another at once. */
static void end(struct keeper_brain *b, uint64_t now)
{
    int left = outbox_waiting(&b->outbox);
    if (b->ending == SENDS) {
        if (b->up && b->trouble.step[STEP_APPEND].next_ns <= now && append_due(b) <= now &&
            now < b->stop_ns && begin_append(b, now)) {
            b->step = STEP_APPEND;
            return;
        }
        b->ending = RELEASES;
    }
    if (b->ending == RELEASES) {
        b->ending = SAVES;
        b->step = STEP_LEASE;
        if (b->up && b->lease.fence) {
            ask(b, KEEPER_RELEASE);
            return;
        }
    }
    if (b->ending == SAVES) {
        b->ending = ENDED;
        if (left)
            log_warn("%d updates were not accepted before the end", left);
        if (save_due(b) != NEVER) {
            save(b, now);
            return;
        }
    }
    b->task.act = KEEPER_END;
}

static void choose(struct keeper_brain *b, uint64_t now)
{
    if (b->ending) {
        end(b, now);
        return;
    }
    if (b->reload) {
        b->reload = false;
        ask(b, KEEPER_READ_FILES);
        return;
    }
    if (b->alone ? begin_alone(b, now) : go_on(b, now))
        return;
    if (save_due(b) <= now) {
        save(b, now);
        return;
    }
    b->task.act = KEEPER_WAIT;
    b->task.until_ns = smaller(save_due(b), b->alone ? alone_due(b) : redis_due(b));
}

struct keeper_task *keeper_brain_next(struct keeper_brain *b, uint64_t now)
{
    if (!b->busy) {
        choose(b, now);
        b->given_ns = now;
    }
    return &b->task;
}

static void on_done(struct keeper_brain *b, enum keeper_act act, uint64_t now)
{
    switch (act) {
    case KEEPER_READ_FILES:
        on_files(b);
        break;
    case KEEPER_SAVE:
        if (b->task.rc)
            log_warn("caches not saved: %s", b->task.error.text);
        break;
    case KEEPER_CONNECT:
        b->up = !b->task.rc;
        end_as_task(b, now);
        break;
    case KEEPER_LISTEN:
        b->ears = !b->task.rc;
        end_as_task(b, now);
        break;
    case KEEPER_HEAD:
        on_head(b, now);
        break;
    case KEEPER_HOLD:
        find_holder(b, !b->task.rc, now);
        break;
    case KEEPER_HOLDER:
        on_holder(b, now);
        break;
    case KEEPER_LOAD:
        on_loaded(b, now);
        break;
    case KEEPER_TELL_DAMAGED:
        end_step(b, b->later.code, b->later.text, now);
        break;
    case KEEPER_PUBLISH:
        on_published(b, now);
        break;
    case KEEPER_ACQUIRE:
    case KEEPER_RENEW:
    case KEEPER_RELEASE:
        on_lease(b, now);
        break;
    case KEEPER_APPEND:
        on_appended(b, now);
        break;
    case KEEPER_READ:
        on_read(b, now);
        break;
    case KEEPER_LEARN:
        b->alone ? on_learned_alone(b, now) : on_learned(b, now);
        break;
    case KEEPER_COMMIT:
        on_committed(b, now);
        break;
    case KEEPER_WAIT:
    case KEEPER_END:
        break;
    }
}

void keeper_brain_done(struct keeper_brain *b, uint64_t now)
{
    enum keeper_act act = b->task.act;
    if (act > KEEPER_LISTEN && b->task.rc == FL_UNAVAILABLE)
        b->up = false;
    b->busy = false; /* until another task is asked for */
    on_done(b, act, now);
}

/* --- life, and what happens meanwhile --- */

int keeper_brain_new(struct keeper_brain **out, const struct keeper_setup *setup, struct error *e)
{
    struct keeper_brain *b = calloc(1, sizeof *b);
    *out = b;
    if (!b)
        return error_set(e, FL_NOMEM, "out of memory");
    b->p = setup->pipeline;
    b->alone = !b->p->redis.endpoint;
    memcpy(b->who, setup->who, sizeof b->who);
    b->outbox.spool = setup->spool;
    b->reload = true;
    lease_init(&b->lease, KEEPER_LEASE_MS * NS_PER_MS);
    trouble_init(&b->trouble, b->p->redis.endpoint);
    return FL_OK;
}

void keeper_brain_free(struct keeper_brain *b)
{
    if (!b)
        return;
    outbox_remove(&b->outbox, b->outbox.n);
    lesson_end(&b->lesson, 0, b->lesson.began_ns);
    snapshot_free(b->fresh);
    snapshot_free(b->current);
    free(b);
}

void keeper_brain_deaf(struct keeper_brain *b)
{
    b->ears = false;
}

void keeper_brain_reload(struct keeper_brain *b)
{
    b->reload = true;
}

void keeper_brain_leave_files(struct keeper_brain *b)
{
    b->leave_files = true;
}

void keeper_brain_stop(struct keeper_brain *b, uint64_t now)
{
    b->ending = SENDS;
    b->stop_ns = now + STOP_NS;
}

struct snapshot *keeper_brain_take(struct keeper_brain *b)
{
    struct snapshot *s = b->fresh;
    b->fresh = NULL;
    return s;
}

const struct snapshot *keeper_brain_current(const struct keeper_brain *b)
{
    return b->current;
}

static enum learning_state state_of(const struct keeper_brain *b)
{
    bool answers = b->trouble.answers;
    if (!b->current || !snapshot_caches(b->current))
        return LEARNING_NO_CACHES;
    if (answers && b->standing.looked && b->standing.place == LINEAGE_ASIDE)
        return LEARNING_ASIDE;
    if (b->current->manifest.promised)
        return LEARNING_PROMISED;
    if (b->alone)
        return LEARNING_ALONE;
    if (!answers)
        return LEARNING_NO_REDIS;
    if (b->trouble.step[STEP_FOLLOW].failing && b->standing.place == LINEAGE_LOAD)
        return LEARNING_DAMAGED;
    return trouble_from(&b->trouble, STEP_FOLLOW) ? LEARNING_REFUSED : LEARNING_SHARED;
}

struct keeper_counters keeper_brain_counters(const struct keeper_brain *b, uint64_t now)
{
    struct keeper_counters c = b->counters;
    c.queued = (uint32_t)b->outbox.n;
    c.redis_up = b->trouble.answers;
    c.learner = lease_held(&b->lease, now);
    c.state = state_of(b);
    if (c.state == LEARNING_ASIDE)
        memcpy(c.redis_build, b->standing.head.build, sizeof c.redis_build);
    return c;
}
