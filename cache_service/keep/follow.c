/* follow.c - looks at the head, loads it, publishes */
#include "follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOOK_NS NS_PER_S       /* how often the head is looked at, should hints be lost */
#define MEND_NS (5 * NS_PER_S) /* caches are published again for others at most so often */
/* So often the others are asked before copies that may have learned less go in the place of damaged caches: 7
 * s, by the waits of trouble.c. Whoever has them may be busy. */
#define ASK_TIMES 3

void follow_forget(struct follow *f)
{
    f->placed = 0;
    f->watch.since_ns = 0;
}

void follow_doubt(struct follow *f)
{
    f->look_ns = 0;
}

bool follow_placed(const struct follow *f, const struct holding *h)
{
    return f->placed && f->placed == h->taken + 1;
}

bool follow_at_head(const struct follow *f, const struct holding *h)
{
    return h->current && follow_placed(f, h) && f->place == LINEAGE_KEEP && f->head.text[0];
}

static void place(struct follow *f, const struct holding *h, enum lineage_move where)
{
    f->placed = h->taken + 1;
    f->place = where;
}

/* We put the state in use there, or took it from there. */
static void reach(struct follow *f, const struct holding *h, uint64_t now)
{
    f->there = f->readable = true;
    place(f, h, LINEAGE_KEEP);
    f->look_ns = now + LOOK_NS;
}

static bool known_damaged(const struct follow *f)
{
    return f->head.text[0] && !strcmp(f->damaged, f->head.text);
}

void follow_committed(struct follow *f, const struct holding *h, const struct head *head, uint64_t now)
{
    f->head = *head;
    reach(f, h, now);
    if (f->damaged[0]) /* what was missing still is */
        memcpy(f->damaged, f->head.text, sizeof f->damaged);
}

static int ask(struct follow *f, const struct holding *h, struct keeper_task *t, enum keeper_act act)
{
    keeper_ask(t, act)->head = f->head;
    t->mine = h->current;
    return KEEPER_ASKS_ON;
}

/* --- looking --- */

uint64_t follow_look_due(const struct follow *f, const struct holding *h)
{
    return follow_placed(f, h) ? f->look_ns : 0;
}

int follow_look(struct keeper_task *t)
{
    keeper_ask(t, KEEPER_HEAD);
    return KEEPER_ASKS_ON;
}

static bool is_own(const struct follow *f, const struct holding *h)
{
    return lineage_own(h->current ? &h->current->manifest : NULL, h->own,
                       f->there && f->readable ? &f->head : NULL);
}

static void say_aside(struct follow *f, const struct manifest *m)
{
    char here[MANIFEST_BUILD_BYTES], there[MANIFEST_BUILD_BYTES];
    char what[HEAD_BYTES] = "";
    if (f->readable)
        manifest_build_text(f->head.build, what);
    else
        memcpy(what, f->head.text, sizeof what);
    if (!strcmp(what, f->said_aside))
        return;
    memcpy(f->said_aside, what, sizeof what);
    if (!f->readable)
        log_warn("freezeline:{%s}:epoch in Redis holds \"%.80s\", which this version does not know: nothing "
                 "is learned; if no other version uses it, delete that key",
                 f->pipeline, f->head.text);
    else if (m)
        log_warn("Redis holds build %s%s%s, this host has build %s on its disk: each serves its own, and "
                 "nothing is learned here until they are the same or nobody has the other",
                 manifest_build_text(f->head.build, there), f->holder[0] ? ", held by " : "", f->holder,
                 manifest_build_text(m->build, here));
}

/* The head is of another build than ours: who holds that has to be known. */
static bool is_beside(const struct follow *f, const struct holding *h)
{
    return h->current && f->readable &&
           memcmp(h->current->manifest.build, f->head.build, sizeof f->head.build);
}

static int decide(struct follow *f, const struct holding *h, struct keeper_task *t, uint64_t now)
{
    const struct manifest *m = h->current ? &h->current->manifest : NULL;
    struct lineage_here here = {m, is_own(f, h), h->current && snapshot_whole(h->current)};
    struct lineage_there there = {f->there ? &f->head : NULL, f->readable, false};
    if (is_beside(f, h))
        there.free = lineage_free(&f->watch, f->head.build, f->holder[0], f->said, now);
    else
        f->watch.since_ns = 0;
    place(f, h, lineage_decide(&here, &there));
    if (f->place == LINEAGE_ASIDE)
        say_aside(f, m);
    else
        f->said_aside[0] = '\0';
    if (f->place == LINEAGE_KEEP && f->mends && f->mends == f->head.sequence && !snapshot_lacks(h->current))
        f->place = LINEAGE_PUBLISH; /* a look came before it was done */
    if (f->place != LINEAGE_KEEP || !snapshot_lacks(h->current))
        return FL_OK;
    if (!known_damaged(f)) { /* somebody may have put there what is missing here */
        f->place = LINEAGE_LOAD;
        return FL_OK;
    }
    f->later = (struct error){0};
    return ask(f, h, t, KEEPER_TELL_DAMAGED); /* somebody may have come who has it */
}

static int on_hold(struct follow *f, const struct holding *h, struct keeper_task *t, uint64_t now)
{
    if (!is_beside(f, h))
        return decide(f, h, t, now);
    ask(f, h, t, KEEPER_HOLDER);
    t->build = f->head.build;
    return KEEPER_ASKS_ON;
}

static int on_head(struct follow *f, const struct holding *h, struct keeper_task *t, uint64_t now)
{
    uint64_t sequence = f->head.sequence;
    f->look_ns = now + LOOK_NS;
    if (t->rc && t->rc != FL_NOT_FOUND && t->rc != FL_PROTOCOL)
        return t->rc;
    f->news = strcmp(f->head.text, t->head.text);
    f->head = t->head;
    f->there = t->rc != FL_NOT_FOUND;
    f->readable = !t->rc;
    f->holder[0] = '\0';
    f->said = false;
    if (!f->there)
        f->head.sequence = sequence;
    if (!is_own(f, h))
        return on_hold(f, h, t, now);
    ask(f, h, t, KEEPER_HOLD);
    t->build = h->current->manifest.build;
    t->who = f->who;
    return KEEPER_ASKS_ON;
}

/* --- loading and publishing --- */

uint64_t follow_due(const struct follow *f, const struct holding *h)
{
    return follow_placed(f, h) && (f->place == LINEAGE_LOAD || f->place == LINEAGE_PUBLISH) ? 0 : UINT64_MAX;
}

static int publish(struct follow *f, struct holding *h, struct keeper_task *t)
{
    /* What was applied to the caches that are replaced stays applied. */
    if (stream_id_compare(f->head.applied, h->current->manifest.applied) > 0) {
        struct snapshot *next = snapshot_with_applied(h->current, f->head.applied);
        if (!next)
            return error_set(&t->error, FL_NOMEM, "out of memory");
        holding_adopt(h, next, h->own);
    }
    return ask(f, h, t, KEEPER_PUBLISH);
}

int follow_begin(struct follow *f, struct holding *h, struct keeper_task *t)
{
    if (f->place == LINEAGE_PUBLISH)
        return publish(f, h, t);
    ask(f, h, t, KEEPER_LOAD);
    t->quiet = known_damaged(f);
    return KEEPER_ASKS_ON;
}

static void say_published(const struct head *before, const struct snapshot *ours)
{
    char build[MANIFEST_BUILD_BYTES], old[MANIFEST_BUILD_BYTES];
    const struct manifest *m = &ours->manifest;
    char instead[HEAD_BYTES + 64] = "Redis had none";
    if (before->text[0] && !before->sequence)
        snprintf(instead, sizeof instead, "in the place of \"%.80s\", which is no head of caches",
                 before->text);
    else if (before->text[0] && memcmp(before->build, m->build, sizeof m->build))
        snprintf(instead, sizeof instead, "in the place of build %s, generation %" PRIu64,
                 manifest_build_text(before->build, old), before->generation);
    else if (before->text[0])
        snprintf(instead, sizeof instead, "Redis had generation %" PRIu64, before->generation);
    log_info("published %d caches to Redis (build %s, generation %" PRIu64 "): %s", snapshot_caches(ours),
             manifest_build_text(m->build, build), m->generation, instead);
}

static int on_published(struct follow *f, const struct holding *h, const struct keeper_task *t, uint64_t now)
{
    if (t->rc)
        return t->rc;
    say_published(&f->head, h->current);
    f->head = t->head;
    f->damaged[0] = '\0';
    f->mends = 0;
    reach(f, h, now);
    return FL_OK;
}

static int on_loaded(struct follow *f, struct holding *h, struct keeper_task *t, uint64_t now)
{
    struct snapshot *s = t->got;
    const struct store_load load = t->load;
    bool replaces = load.damaged > load.lost; /* ours are of the same build */
    if (t->rc == FL_STALE || t->rc == FL_UNAVAILABLE || t->rc == FL_NOMEM)
        return t->rc;
    if (!known_damaged(f))
        f->asked = 0;
    memcpy(f->damaged, f->head.text, sizeof f->damaged);
    if (load.damaged && f->asked < (replaces ? ASK_TIMES : 1)) { /* another may have them as they were */
        f->asked++;
        snapshot_free(s);
        error_set(&f->later, FL_CORRUPT, "caches are damaged there: the other services are asked for them");
        return ask(f, h, t, KEEPER_TELL_DAMAGED);
    }
    if (t->rc)
        return t->rc;
    if (replaces) {
        s->manifest.generation++;
        holding_adopt(h, s, h->own);
        log_info("damaged caches in Redis are replaced by those of this process");
        return publish(f, h, t);
    }
    log_info("%d caches from Redis in use (generation %" PRIu64 ")", snapshot_caches(s),
             s->manifest.generation);
    holding_adopt(h, s, h->own && snapshot_same_build(h->current, s));
    reach(f, h, now);
    return FL_OK;
}

int follow_done(struct follow *f, struct holding *h, struct keeper_task *t, uint64_t now)
{
    switch (t->act) {
    case KEEPER_HEAD:
        return on_head(f, h, t, now);
    case KEEPER_HOLD: /* fails where Redis takes no writes */
        f->said = !t->rc;
        return t->rc == FL_UNAVAILABLE ? t->rc : on_hold(f, h, t, now);
    case KEEPER_HOLDER:
        memcpy(f->holder, t->holder, sizeof f->holder);
        return t->rc ? t->rc : decide(f, h, t, now);
    case KEEPER_LOAD:
        return on_loaded(f, h, t, now);
    case KEEPER_PUBLISH:
        return on_published(f, h, t, now);
    default: /* KEEPER_TELL_DAMAGED */
        t->error = f->later;
        return f->later.code;
    }
}

void follow_mend(struct follow *f, const struct holding *h, uint64_t sequence, uint64_t now)
{
    if (!follow_at_head(f, h) || snapshot_lacks(h->current) || sequence != f->head.sequence ||
        now < f->mend_ns)
        return;
    f->mend_ns = now + MEND_NS;
    f->mends = sequence;
    f->place = LINEAGE_PUBLISH;
    log_info("another cache service can't use the caches in Redis: they are published again");
}
