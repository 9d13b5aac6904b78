/* standing.c - what was seen of Redis's head */
#include "standing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

void standing_forget(struct standing *s)
{
    s->looked = false;
    s->watch.since_ns = 0;
}

int standing_saw(struct standing *s, const struct head *head, int rc, bool *news)
{
    uint64_t sequence = s->head.sequence;
    if (rc && rc != FL_NOT_FOUND && rc != FL_PROTOCOL)
        return rc;
    *news = strcmp(s->head.text, head->text);
    s->head = *head;
    if (rc == FL_NOT_FOUND)
        s->head.sequence = sequence;
    s->there = rc != FL_NOT_FOUND;
    s->readable = !rc;
    s->holder[0] = '\0';
    return FL_OK;
}

bool standing_beside(const struct standing *s, const struct manifest *m)
{
    return m && s->readable && memcmp(m->build, s->head.build, sizeof m->build);
}

static void say_aside(struct standing *s, const struct manifest *m, const char *pipeline)
{
    char here[MANIFEST_BUILD_BYTES], there[MANIFEST_BUILD_BYTES];
    char what[HEAD_BYTES] = "";
    if (s->readable)
        manifest_build_text(s->head.build, what);
    else
        memcpy(what, s->head.text, sizeof what);
    if (!strcmp(what, s->said_aside))
        return;
    memcpy(s->said_aside, what, sizeof what);
    if (!s->readable)
        log_warn("freezeline:{%s}:epoch in Redis holds \"%.80s\", which this version does not know: nothing "
                 "is learned; if no other version uses it, delete that key",
                 pipeline, s->head.text);
    else if (m)
        log_warn("Redis holds build %s%s%s, this host has build %s on its disk: each serves its own, and "
                 "nothing is learned here until they are the same or nobody has the other",
                 manifest_build_text(s->head.build, there), s->holder[0] ? ", held by " : "", s->holder,
                 manifest_build_text(m->build, here));
}

void standing_decide(struct standing *s, const struct lineage_here *here, bool said, const char *pipeline,
                     uint64_t now)
{
    struct lineage_there there = {s->there ? &s->head : NULL, s->readable, false};
    if (standing_beside(s, here->manifest))
        there.free = lineage_free(&s->watch, s->head.build, s->holder[0], said, now);
    else
        s->watch.since_ns = 0;
    s->place = lineage_decide(here, &there);
    s->looked = true;
    if (s->place == LINEAGE_ASIDE)
        say_aside(s, here->manifest, pipeline);
    else
        s->said_aside[0] = '\0';
}

void standing_reach(struct standing *s)
{
    s->looked = true;
    s->there = s->readable = true;
    s->place = LINEAGE_KEEP;
}

void standing_published(struct standing *s, const struct head *now_there, const struct snapshot *ours)
{
    char build[MANIFEST_BUILD_BYTES], old[MANIFEST_BUILD_BYTES];
    const struct manifest *m = &ours->manifest;
    const struct head *before = &s->head;
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
    s->head = *now_there;
    s->damaged[0] = '\0';
    standing_reach(s);
}

bool standing_at_head(const struct standing *s)
{
    return s->looked && s->place == LINEAGE_KEEP && s->head.text[0];
}

bool standing_damaged(const struct standing *s)
{
    return s->head.text[0] && !strcmp(s->damaged, s->head.text);
}

void standing_mark_damaged(struct standing *s)
{
    memcpy(s->damaged, s->head.text, sizeof s->damaged);
}
