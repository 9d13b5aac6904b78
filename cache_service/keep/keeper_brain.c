/* keeper_brain.c - one round of steps after another
 *
 * A round goes through the steps in their order and begins those that are due. A step asks for one task after
 * the other; what they are is the business of follow.c, lessons.c and outbox.c.
 */
#include "keeper_brain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "lessons.h"
#include "outbox.h"
#include "trouble.h"

#define SLACK_NS (500 * NS_PER_MS) /* what is regular is done in this round if it is due so soon */
#define SAVE_NS  (10 * NS_PER_S)
#define STOP_NS  NS_PER_S
#define NEVER    UINT64_MAX

/* How far the end has come. */
enum ending { GOES_ON, SENDS, SPILLS, RELEASES, SAVES, ENDED };

struct keeper_brain {
    const struct pipeline *p;
    char who[STORE_WHO_BYTES];
    bool alone; /* without Redis */
    struct holding holding;
    struct follow follow;
    struct lessons lessons;
    struct outbox outbox;
    struct trouble trouble;
    bool up, ears; /* connected; to hints */
    bool reload, leave_files;
    uint64_t save_ns; /* not before then */
    uint64_t accepted;

    enum step step; /* in hand, or the next to look at */
    bool busy;      /* a task was given and is not done */
    struct keeper_task task;
    uint64_t given_ns; /* when */

    enum ending ending;
    uint64_t stop_ns;
};

/* --- steps --- */

static bool at_head(const struct keeper_brain *b)
{
    return follow_at_head(&b->follow, &b->holding);
}

/* Caches under a promise are taught by a learner's process. */
static bool learns(const struct keeper_brain *b)
{
    const struct snapshot *s = b->holding.current;
    if (!at_head(b) || s->manifest.promised != b->lessons.student)
        return false;
    return !b->lessons.student || manifest_teaches(&s->manifest);
}

/* Who learns there knows what to do with our updates: it is the same network, of whatever build. */
static bool are_wanted(const struct keeper_brain *b)
{
    const struct head *head = &b->follow.head;
    const struct snapshot *s = b->holding.current;
    return s && follow_placed(&b->follow, &b->holding) && head->text[0] &&
           !memcmp(head->identity, s->manifest.identity.digest, sizeof head->identity);
}

/* From when on a step has something to do. */
static uint64_t wanted(const struct keeper_brain *b, enum step step)
{
    switch (step) {
    case STEP_CONNECT: /* A look comes next: a Redis that accepts and then fails is as good as gone. */
        return b->up ? NEVER : b->trouble.step[STEP_LOOK].next_ns;
    case STEP_LOOK:
        return follow_look_due(&b->follow, &b->holding);
    case STEP_LISTEN:
        return b->ears ? NEVER : 0;
    case STEP_FOLLOW:
        return follow_due(&b->follow, &b->holding);
    case STEP_LEASE:
        return lease_due(&b->lessons.lease, learns(b));
    case STEP_APPEND:
        return are_wanted(b) ? outbox_due(&b->outbox) : NEVER;
    case STEP_LEARN:
        return lessons_due(&b->lessons, learns(b));
    case STEPS:
        break;
    }
    return NEVER;
}

/* KEEPER_ASKS_ON, or how the step ended. */
static int begin(struct keeper_brain *b, enum step step, uint64_t now)
{
    struct keeper_task *t = &b->task;
    switch (step) {
    case STEP_CONNECT:
        follow_forget(&b->follow);
        keeper_ask(t, KEEPER_CONNECT);
        return KEEPER_ASKS_ON;
    case STEP_LOOK:
        return follow_look(t);
    case STEP_LISTEN:
        keeper_ask(t, KEEPER_LISTEN);
        return KEEPER_ASKS_ON;
    case STEP_FOLLOW:
        return follow_begin(&b->follow, &b->holding, t);
    case STEP_LEASE:
        return lessons_begin_lease(&b->lessons, learns(b), t, now);
    case STEP_APPEND:
        return outbox_send(&b->outbox, t);
    case STEP_LEARN:
        return lessons_begin(&b->lessons, &b->holding, &b->follow.head, t, now);
    case STEPS:
        break;
    }
    return FL_OK;
}

static int look_done(struct keeper_brain *b, uint64_t now)
{
    enum lineage_move before = b->follow.place;
    int rc = follow_done(&b->follow, &b->holding, &b->task, now);
    if (b->follow.news) {
        b->follow.news = false;
        b->outbox.full_ns = 0; /* the learner went on: there may be room in the stream */
        if (before == LINEAGE_LOAD)
            retry_worked(&b->trouble.step[STEP_FOLLOW]); /* what could not be loaded is gone */
    }
    return rc;
}

static int append_done(struct keeper_brain *b, uint64_t now)
{
    int accepted = b->task.rc || b->task.act != KEEPER_APPEND ? 0 : b->task.accepted;
    b->accepted += (unsigned)accepted;
    b->lessons.more = b->lessons.more || accepted;
    return outbox_done(&b->outbox, &b->task, now);
}

/* The same: after a task of the step. */
static int proceed(struct keeper_brain *b, enum step step, uint64_t now)
{
    struct keeper_task *t = &b->task;
    switch (step) {
    case STEP_CONNECT:
        b->up = !t->rc;
        return t->rc;
    case STEP_LISTEN:
        b->ears = !t->rc;
        return t->rc;
    case STEP_LOOK:
        return look_done(b, now);
    case STEP_FOLLOW:
        return follow_done(&b->follow, &b->holding, t, now);
    case STEP_LEASE:
    case STEP_LEARN:
        return lessons_done(&b->lessons, &b->holding, &b->follow, t, b->given_ns, now);
    case STEP_APPEND:
        return append_done(b, now);
    case STEPS:
        break;
    }
    return FL_OK;
}

/* True when the step in hand has asked for a task; else it has ended, with that result. */
static bool goes_on(struct keeper_brain *b, int rc, uint64_t now)
{
    if (rc == KEEPER_ASKS_ON)
        return b->busy = true;
    if (rc == FL_STALE) /* lease or head are not what they were believed to be: no failure, but look again */
        follow_doubt(&b->follow);
    if (rc && rc != FL_STALE)
        trouble_failed(&b->trouble, b->step, b->task.error.text, now);
    else
        retry_worked(&b->trouble.step[b->step]);
    b->step++;
    return false;
}

/* --- rounds --- */

static bool is_due(const struct keeper_brain *b, enum step step, uint64_t now)
{
    bool regular = step == STEP_LOOK || step == STEP_LEASE;
    return retry_due(&b->trouble.step[step], now) && wanted(b, step) <= now + (regular ? SLACK_NS : 0);
}

/* False: the round is over. */
static bool go_round(struct keeper_brain *b, uint64_t now)
{
    while (b->step < STEPS) {
        if (wanted(b, b->step) == NEVER)
            retry_idle(&b->trouble.step[b->step]);
        if (b->step != STEP_CONNECT && !b->up)
            break;
        if (!is_due(b, b->step, now))
            b->step++;
        else if (goes_on(b, begin(b, b->step, now), now))
            return true;
    }
    b->step = STEP_CONNECT;
    trouble_look_up(&b->trouble, b->up);
    return false;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t redis_due(const struct keeper_brain *b)
{
    uint64_t next = NEVER;
    for (int i = STEP_CONNECT; i < (b->up ? STEPS : STEP_LOOK); i++) {
        uint64_t due = wanted(b, (enum step)i), allowed = b->trouble.step[i].next_ns;
        next = smaller(next, due > allowed ? due : allowed);
    }
    return next;
}

static uint64_t alone_due(const struct keeper_brain *b)
{
    return lessons_alone_due(&b->lessons, &b->holding, b->outbox.spool);
}

/* Redis takes no updates now. */
static bool is_stuck(const struct keeper_brain *b, uint64_t now)
{
    return !b->up || !are_wanted(b) || b->trouble.step[STEP_APPEND].failing || b->outbox.full_ns > now;
}

static uint64_t spill_due(const struct keeper_brain *b, uint64_t now)
{
    bool may = !b->alone && !b->leave_files && b->p->updates.spool_mb > 0;
    return may ? outbox_spill_due(&b->outbox, b->ending || is_stuck(b, now)) : NEVER;
}

static uint64_t save_due(const struct keeper_brain *b)
{
    return holding_to_save(&b->holding) && !b->leave_files ? b->save_ns : NEVER;
}

static void save(struct keeper_brain *b, uint64_t now)
{
    b->save_ns = now + SAVE_NS;
    b->holding.dirty = false;
    keeper_ask(&b->task, KEEPER_SAVE)->mine = b->holding.current;
    b->busy = true;
}

/* What is still queued goes out while Redis takes it; then the lease is free for another at once. */
static void end(struct keeper_brain *b, uint64_t now)
{
    uint64_t left;
    if (b->ending == SENDS) {
        b->step = STEP_APPEND;
        if (b->up && now < b->stop_ns && is_due(b, STEP_APPEND, now) &&
            goes_on(b, outbox_send(&b->outbox, &b->task), now))
            return;
        b->ending = SPILLS;
    }
    if (b->ending == SPILLS) {
        if (spill_due(b, now) != NEVER && !b->outbox.disk_fails &&
            outbox_spill(&b->outbox, &b->task) == KEEPER_ASKS_ON) {
            b->busy = true;
            return;
        }
        b->ending = RELEASES;
    }
    if (b->ending == RELEASES) {
        b->ending = SAVES;
        b->step = STEP_LEASE;
        if (b->up && goes_on(b, lessons_begin_lease(&b->lessons, false, &b->task, now), now))
            return;
    }
    if (b->ending == SAVES) {
        b->ending = ENDED;
        left = outbox_waiting(&b->outbox) - b->outbox.on_disk;
        if (left)
            log_warn("%" PRIu64 " updates were not accepted before the end", left);
        if (b->outbox.on_disk)
            log_info("%" PRIu64 " updates wait on the disk for the next start", b->outbox.on_disk);
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
        keeper_ask(&b->task, KEEPER_READ_FILES);
        b->busy = true;
        return;
    }
    if (!b->alone && go_round(b, now))
        return;
    if (b->alone && alone_due(b) <= now)
        b->busy =
            lessons_begin_alone(&b->lessons, &b->holding, b->outbox.spool, &b->task, now) == KEEPER_ASKS_ON;
    if (!b->busy && spill_due(b, now) <= now)
        b->busy = outbox_spill(&b->outbox, &b->task) == KEEPER_ASKS_ON;
    if (!b->busy && save_due(b) <= now)
        save(b, now);
    if (b->busy)
        return;
    b->task.act = KEEPER_WAIT;
    b->task.until_ns = smaller(save_due(b), b->alone ? alone_due(b) : redis_due(b));
    b->task.until_ns = smaller(b->task.until_ns, spill_due(b, now));
}

struct keeper_task *keeper_brain_next(struct keeper_brain *b, uint64_t now)
{
    if (!b->busy) {
        choose(b, now);
        b->given_ns = now;
    }
    return &b->task;
}

void keeper_brain_done(struct keeper_brain *b, uint64_t now)
{
    struct keeper_task *t = &b->task;
    if (t->act > KEEPER_LISTEN && t->rc == FL_UNAVAILABLE)
        b->up = false;
    b->busy = false; /* until another task is asked for */
    if (t->act == KEEPER_READ_FILES) {
        holding_read(&b->holding, t->built, t->learned, b->p->state);
        outbox_told(&b->outbox, t);
    } else if (t->act == KEEPER_SPILL)
        outbox_spilled(&b->outbox, t, now);
    else if (t->act == KEEPER_SAVE && t->rc)
        log_warn("caches not saved: %s", t->error.text);
    else if (t->act == KEEPER_LEARN && b->alone)
        lessons_done_alone(&b->lessons, &b->holding, t, now);
    else if (t->act > KEEPER_SAVE)
        goes_on(b, proceed(b, b->step, now), now);
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
    memcpy(b->outbox.producer, setup->id, sizeof b->outbox.producer);
    b->follow.pipeline = b->p->name;
    b->follow.who = b->who;
    b->lessons.p = b->p;
    b->reload = true;
    b->lessons.student = b->leave_files = setup->student;
    lease_init(&b->lessons.lease, KEEPER_LEASE_MS * NS_PER_MS);
    trouble_init(&b->trouble, b->p->redis.endpoint);
    return FL_OK;
}

void keeper_brain_free(struct keeper_brain *b)
{
    if (!b)
        return;
    outbox_drop(&b->outbox);
    lesson_end(&b->lessons.lesson, 0, b->lessons.lesson.began_ns);
    snapshot_free(b->lessons.offer);
    snapshot_free(b->holding.fresh);
    snapshot_free(b->holding.current);
    free(b);
}

void keeper_brain_hint(struct keeper_brain *b, const char *text, size_t size, uint64_t now)
{
    const char *known = b->follow.head.text;
    uint64_t sequence;
    switch (store_hint(text, size, &sequence)) {
    case STORE_HINT_HEAD:
        if (size != strlen(known) || memcmp(text, known, size)) /* else: our own */
            follow_doubt(&b->follow);
        break;
    case STORE_HINT_UPDATES:
        b->lessons.more = true;
        break;
    case STORE_HINT_DAMAGED:
        follow_mend(&b->follow, &b->holding, sequence, now);
        break;
    }
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

void keeper_brain_offer(struct keeper_brain *b, struct snapshot *s)
{
    lessons_offer(&b->lessons, s, &b->holding);
}

void keeper_brain_errand(struct keeper_brain *b)
{
    b->lessons.errand = true;
}

bool keeper_brain_offers(const struct keeper_brain *b)
{
    return lessons_offers(&b->lessons, &b->holding);
}

uint64_t keeper_brain_fence(const struct keeper_brain *b, uint64_t now)
{
    return lease_held(&b->lessons.lease, now) ? b->lessons.lease.fence : 0;
}

void keeper_brain_stop(struct keeper_brain *b, uint64_t now)
{
    b->ending = SENDS;
    b->stop_ns = now + STOP_NS;
}

struct snapshot *keeper_brain_take(struct keeper_brain *b)
{
    struct snapshot *s = b->holding.fresh;
    b->holding.fresh = NULL;
    return s;
}

const struct snapshot *keeper_brain_current(const struct keeper_brain *b)
{
    return b->holding.current;
}

static enum learning_state state_of(const struct keeper_brain *b)
{
    const struct snapshot *s = b->holding.current;
    bool answers = b->trouble.answers, promised = s && s->manifest.promised;
    if (!s || (!promised && !snapshot_caches(s)))
        return LEARNING_NO_CACHES;
    if (answers && follow_placed(&b->follow, &b->holding) && b->follow.place == LINEAGE_ASIDE)
        return LEARNING_ASIDE;
    if (promised && (b->alone || !b->p->updates.learn))
        return LEARNING_PROMISED;
    if (promised && !manifest_teaches(&s->manifest))
        return LEARNING_UNTAUGHT;
    if (b->alone)
        return LEARNING_ALONE;
    if (!answers)
        return LEARNING_NO_REDIS;
    if (b->trouble.step[STEP_FOLLOW].failing && b->follow.place == LINEAGE_LOAD)
        return LEARNING_DAMAGED;
    return trouble_from(&b->trouble, STEP_FOLLOW) ? LEARNING_REFUSED
           : promised                             ? LEARNING_CERTIFIED
                                                  : LEARNING_SHARED;
}

struct keeper_counters keeper_brain_counters(const struct keeper_brain *b, uint64_t now)
{
    struct keeper_counters c = {.accepted = b->accepted + b->lessons.accepted,
                                .applied = b->lessons.applied,
                                .rejected = b->lessons.rejected,
                                .epoch = b->holding.current ? snapshot_epoch(b->holding.current) : 0,
                                .queued = (uint32_t)outbox_held(&b->outbox),
                                .dropped = b->outbox.lost + b->outbox.dropped,
                                .redis_up = b->trouble.answers,
                                .learner = lease_held(&b->lessons.lease, now),
                                .state = state_of(b)};
    if (c.state == LEARNING_ASIDE)
        memcpy(c.redis_build, b->follow.head.build, sizeof c.redis_build);
    return c;
}
