/* succession.c - who waits, and when it is time to move on */
#include "succession.h"

#include <string.h>

static bool same_plan(const struct hello *a, const struct hello *b)
{
    return !registry_difference(a, b);
}

struct successor *succession_find(struct succession *s, uint64_t incarnation)
{
    for (int i = 0; i < s->n; i++)
        if (s->item[i].hello.incarnation == incarnation)
            return &s->item[i];
    return NULL;
}

void succession_remove(struct succession *s, const struct successor *it)
{
    size_t at = (size_t)(it - s->item);
    memmove(s->item + at, s->item + at + 1, sizeof *s->item * ((size_t)s->n - at - 1));
    s->n--;
}

struct successor *succession_at(struct succession *s, const struct hello *h)
{
    for (int i = 0; i < s->n; i++)
        if (s->item[i].hello.stage == h->stage && s->item[i].hello.replica == h->replica)
            return &s->item[i];
    return NULL;
}

bool succession_keep(struct succession *s, const struct hello *h, const struct peer *peer, uint64_t now)
{
    struct successor *before = succession_at(s, h);
    if (!before && s->n == PIPELINE_MAX_WORKERS)
        return false;
    *(before ? before : &s->item[s->n++]) =
        (struct successor){*h, *peer, before ? before->came_ns : now, now};
    return true;
}

void succession_expire(struct succession *s, uint64_t dead_after_ns, uint64_t now)
{
    for (int i = s->n - 1; i >= 0; i--)
        if (now > s->item[i].heard_ns && now - s->item[i].heard_ns > dead_after_ns)
            succession_remove(s, &s->item[i]);
}

static bool has_successor(const struct succession *s, int stage, int replica, const struct hello *plan)
{
    for (int i = 0; i < s->n; i++) {
        const struct hello *h = &s->item[i].hello;
        if ((int)h->stage == stage && (replica < 0 || (int)h->replica == replica) &&
            (!plan || same_plan(h, plan)))
            return true;
    }
    return false;
}

/* Those that wait with that plan can serve every stage, and take over from everyone or from a pipeline that
 * lacks a stage. */
static bool complete(const struct succession *s, const struct registry *r, const struct hello *plan)
{
    bool everyone = true, lacks = false;
    for (int stage = 0; stage < registry_stages(r); stage++) {
        if (!has_successor(s, stage, -1, plan))
            return false;
        for (int i = 0; i < registry_replicas(r, stage); i++)
            everyone = everyone && (!registry_worker(r, stage, i)->alive || has_successor(s, stage, i, plan));
        lacks = lacks || registry_stage_empty(r, stage);
    }
    return everyone || lacks;
}

/* Nobody is there, and who comes there has to wait. This broker may never have seen a ready one. */
static bool is_lost(const struct succession *s, const struct registry *r, int stage, uint64_t now)
{
    uint64_t missing_ns = registry_stage_missing_ns(r, stage, now);
    if (!registry_stage_empty(r, stage) || !has_successor(s, stage, -1, NULL))
        return false;
    if (missing_ns != UINT64_MAX)
        return missing_ns >= SUCCESSION_GRACE_NS;
    for (int i = 0; i < s->n; i++)
        if ((int)s->item[i].hello.stage == stage && now - s->item[i].came_ns >= SUCCESSION_START_NS)
            return true;
    return false;
}

static const struct hello *newest_of_another_plan(const struct succession *s, const struct registry *r)
{
    for (int i = s->n - 1; i >= 0; i--)
        if (registry_other_plan(r, &s->item[i].hello, NULL))
            return &s->item[i].hello;
    return NULL;
}

enum succession_cause succession_due(const struct succession *s, const struct registry *r, uint64_t now,
                                     int *stage)
{
    const struct hello *next = newest_of_another_plan(s, r);

    if (!next || s->moving)
        return SUCCESSION_WAITS;
    if (complete(s, r, next))
        return SUCCESSION_COMPLETE;
    if (s->moved_ns && now - s->moved_ns < SUCCESSION_EVERY_NS)
        return SUCCESSION_WAITS;
    for (*stage = 0; *stage < registry_stages(r); ++*stage)
        if (is_lost(s, r, *stage, now))
            return SUCCESSION_NEEDED;
    return SUCCESSION_WAITS;
}

struct successor *succession_next(struct succession *s, const struct registry *r)
{
    for (int i = s->n - 1; i >= 0; i--) {
        const struct hello *h = &s->item[i].hello;
        bool held = !h->ready && registry_worker(r, (int)h->stage, (int)h->replica)->alive;
        if (!held && !registry_other_plan(r, h, NULL))
            return &s->item[i];
    }
    return NULL;
}
