/* keeper_follow.c - where this host stands beside Redis's head; loading what is there, publishing what is
 * here
 *
 * What to do is decided by lineage.h; here it is asked and done.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

bool keeper_lacks(const struct keeper *k)
{
    const struct manifest *m = k->current ? &k->current->manifest : NULL;
    for (int i = 0; m && i < m->n_exits; i++)
        if (m->exit[i].file[0] && !k->current->cache[i])
            return true;
    return false;
}

bool keeper_at_head(const struct keeper *k)
{
    return k->looked && k->place == LINEAGE_KEEP && k->current && k->head.text[0];
}

void keeper_come_to_head(struct keeper *k)
{
    k->looked = true;
    k->place = LINEAGE_KEEP;
    k->look_ns = clock_ns() + KEEPER_LOOK_NS;
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
    char what[HEAD_BYTES] = "";
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
    if (k->place == LINEAGE_KEEP && keeper_lacks(k))
        ask_again(k);
    if (k->place == LINEAGE_ASIDE)
        say_aside(k, there.readable);
    else
        k->said_aside[0] = '\0';
    return FL_OK;
}

int keeper_look(struct keeper *k, struct error *e)
{
    struct head before = k->head;
    int rc = store_head(k->store, &k->head, e);
    k->look_ns = clock_ns() + KEEPER_LOOK_NS;
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

uint64_t keeper_look_due(const struct keeper *k)
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
    keeper_come_to_head(k);
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
    keeper_come_to_head(k);
    return FL_OK;
}

int keeper_follow(struct keeper *k, struct error *e)
{
    int rc = k->place == LINEAGE_PUBLISH ? publish(k, e) : load(k, e);
    if (rc != FL_STALE)
        return rc;
    k->look_ns = 0; /* another was faster: see what there is now */
    return FL_OK;
}

uint64_t keeper_follow_due(const struct keeper *k)
{
    return k->looked && (k->place == LINEAGE_LOAD || k->place == LINEAGE_PUBLISH) ? 0 : UINT64_MAX;
}
