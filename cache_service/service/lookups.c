/* lookups.c - verdicts from the snapshot in use; which hits may end their request */
#include "lookups.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "index/verdicts.h"

static const struct pending_limits ordinary = {.count = 65536, .bytes = 128u << 20, .age_ns = 60 * NS_PER_S};

struct lookups {
    struct snapshot *snapshot; /* NULL until the first */
    lookups_look look;
    void *arg;
    struct pending *pending;
    struct streams *streams; /* NULL: not followed */
    struct cache_verdict found[MESSAGE_MAX_BATCH];
    bool promised; /* caches under a promise learn too */
    struct lookups_counters counters;
};

int lookups_new(struct lookups **out, const struct pending_limits *limits, bool promised, lookups_look look,
                void *arg)
{
    struct lookups *l = calloc(1, sizeof *l);
    if (!l || pending_new(&l->pending, limits->count ? limits : &ordinary)) {
        free(l);
        return FL_NOMEM;
    }
    l->promised = promised;
    l->look = look;
    l->arg = arg;
    *out = l;
    return FL_OK;
}

void lookups_free(struct lookups *l)
{
    if (!l)
        return;
    snapshot_free(l->snapshot);
    pending_free(l->pending);
    streams_free(l->streams);
    free(l);
}

int lookups_follow_streams(struct lookups *l)
{
    return streams_new(&l->streams);
}

const struct streams *lookups_streams(const struct lookups *l)
{
    return l->streams;
}

struct snapshot *lookups_swap(struct lookups *l, struct snapshot *s)
{
    struct snapshot *before = l->snapshot;
    l->snapshot = s;
    if (l->streams)
        streams_serve(l->streams, s);
    if (!before || !s || memcmp(before->manifest.build, s->manifest.build, sizeof s->manifest.build)) {
        pending_expire(l->pending, UINT64_MAX); /* exits may have other numbers now */
        memset(&l->counters.built, 0, sizeof l->counters.built);
        memset(&l->counters.learned, 0, sizeof l->counters.learned);
    }
    return before;
}

const struct snapshot *lookups_snapshot(const struct lookups *l)
{
    return l->snapshot;
}

uint32_t lookups_learns(const struct lookups *l)
{
    const struct snapshot *s = l->snapshot;
    uint32_t learns = 0;
    for (int i = 0; s && i < s->manifest.n_exits; i++)
        if (s->manifest.promised ? l->promised && strcmp(s->manifest.exit[i].kind, "none")
                                 : s->cache[i] != NULL)
            learns |= 1u << i;
    return learns;
}

/* `found`: what the look-up gave, NULL where there is no cache. */
static void keep(struct lookups *l, const struct lookup *in, int i, const float *descriptor,
                 const struct cache_verdict *found, uint64_t now_ns)
{
    const struct manifest *m = &l->snapshot->manifest;
    struct update *u = update_new(1, &in->dim);
    if (!u)
        return;
    if (update_fill(u, 0, m->exit[in->exit].origin, descriptor)) {
        update_free(u);
        return;
    }
    memcpy(u->identity, m->identity.digest, sizeof u->identity);
    u->request = in->item[i].request;
    pending_add(l->pending, u,
                (struct pending_note){.exit = (int)in->exit,
                                      .label = found ? found->label : -1,
                                      .would_hit = found && found->hit,
                                      .learned = m->generation > 0},
                now_ns);
}

/* Where nothing is learned too, for the tally of audits. */
static void keep_all(struct lookups *l, const struct lookup *in, const float *descriptors,
                     const struct cache_verdict *found, const struct verdict *out, uint64_t now_ns)
{
    bool wanted = found || (in->exit < PIPELINE_MAX_EXITS && lookups_learns(l) >> in->exit & 1);
    for (int i = 0; wanted && descriptors && i < in->n; i++)
        if (!out->item[i].hit && in->item[i].flags & (JOB_SAMPLED | JOB_AUDIT))
            keep(l, in, i, descriptors + (size_t)i * in->dim, found ? &found[i] : NULL, now_ns);
}

/* The cache for this look-up, or why there is none. */
static int find_cache(const struct lookups *l, const struct lookup *in, struct cache **out, struct error *e)
{
    const struct manifest_exit *x;
    struct cache *cache;
    int dim;
    *out = NULL;
    if (!l->snapshot)
        return FL_OK;
    if (in->exit >= (uint32_t)l->snapshot->manifest.n_exits)
        return error_set(e, FL_NOT_FOUND,
                         "look-up for exit %u, but the caches were built for %d exits: build them again",
                         in->exit, l->snapshot->manifest.n_exits);
    x = &l->snapshot->manifest.exit[in->exit];
    cache = l->snapshot->cache[in->exit];
    dim = cache ? cache_info(cache).dim : x->dim;
    if (dim && in->dim != (uint32_t)dim)
        return error_set(e, FL_SHAPE,
                         "look-up of %u numbers at exit %s, whose cache was built for %d: build it again",
                         in->dim, x->name, dim);
    if (in->origin && in->origin != x->origin)
        return error_set(
            e, FL_STALE,
            "look-up at exit %s of another model, after another layer or with other grids than its cache "
            "was built for (%.160s, %s): `freezeline apply` takes a build that fits; or build again",
            x->name, x->after, x->layout);
    *out = cache;
    return FL_OK;
}

static struct lookup_tally *tally_of(struct lookups *l)
{
    return l->snapshot && l->snapshot->manifest.generation ? &l->counters.learned : &l->counters.built;
}

/* What a stage worker looked up itself was counted there, and is told here. */
static void tally(struct lookups *l, const struct lookup *in, const struct verdict *v)
{
    struct lookup_tally *t = tally_of(l);
    t->lookups += in->answered;
    t->hits += in->hits;
    for (int i = 0; !in->told && i < v->n; i++) {
        l->counters.hits += v->item[i].hit;
        t->hits += v->item[i].hit;
        t->lookups += !(in->item[i].flags & (JOB_AUDIT | JOB_NO_CACHE));
    }
}

int lookups_answer(struct lookups *l, const struct lookup *in, const float *descriptors, uint64_t now_ns,
                   uint64_t broker_now_ns, struct verdict *out, struct error *e)
{
    struct cache *cache;
    int rc = find_cache(l, in, &cache, e);
    struct cache_info info = cache ? cache_info(cache) : (struct cache_info){0};
    bool found = cache && in->n && !l->look(l->arg, l->snapshot, in, descriptors, l->found);
    for (int i = 0; found && descriptors && l->streams && i < in->n; i++)
        streams_look(l->streams, &in->item[i], (int)in->exit, descriptors + (size_t)i * in->dim, in->dim,
                     &l->found[i]);
    verdicts_fill(out, in, found ? l->found : NULL, &info.levels, info.epoch,
                  in->told ? UINT64_MAX : broker_now_ns);
    /* Before the first snapshot nothing is known. What is of another network is as good as not there. */
    out->absent = !cache && l->snapshot && (rc == FL_OK || rc == FL_STALE);
    l->counters.batches++;
    l->counters.items += (unsigned)in->n;
    l->counters.refused += rc ? (unsigned)in->n : 0;
    if (found)
        tally(l, in, out);
    if (!rc && (found || !cache))
        keep_all(l, in, descriptors, found ? l->found : NULL, out, now_ns);
    return rc;
}

void lookups_undo_hit(struct lookups *l)
{
    l->counters.hits--;
    tally_of(l)->hits--;
}

struct delivery {
    struct lookups *lookups;
    const struct outcome *outcome;
    void (*fn)(void *arg, struct update *u);
    void *arg;
};

/* An audit tells what the first exit that would have hit had answered. */
static void tally_audit(struct lookups_counters *c, const struct outcome *o, const struct pending_note *notes,
                        int n)
{
    struct lookup_tally *tally;
    int i = 0;
    c->audits++;
    while (i < n && !notes[i].would_hit)
        i++;
    if (i == n)
        return;
    tally = notes[i].learned ? &c->learned : &c->built;
    c->audit_hits++;
    tally->audit_hits++;
    c->audit_right += notes[i].label == o->label;
    tally->audit_right += notes[i].label == o->label;
}

static void deliver(void *arg, struct update *u, const struct pending_note *notes, int n)
{
    struct delivery *d = arg;
    if (d->outcome->audit) {
        tally_audit(&d->lookups->counters, d->outcome, notes, n);
        u->flags |= UPDATE_AUDIT;
    }
    u->label = d->outcome->label;
    if (d->outcome->original)
        u->request = d->outcome->original;
    if (lookups_learns(d->lookups))
        d->fn(d->arg, u);
    else
        update_free(u); /* such caches stay as they were certified */
}

/* A record of this request that has no exits; NULL: nothing learns here, or no memory. */
static struct update *bare_update(const struct lookups *l, uint64_t request)
{
    struct update *u = lookups_learns(l) ? update_new(0, NULL) : NULL;
    if (!u)
        return NULL;
    memcpy(u->identity, l->snapshot->manifest.identity.digest, sizeof u->identity);
    u->request = request;
    u->label = -1;
    return u;
}

static void tell_lost(struct lookups *l, const struct outcome *o, void (*fn)(void *arg, struct update *u),
                      void *arg)
{
    struct update *u = bare_update(l, o->original);
    if (!u)
        return;
    u->flags = UPDATE_AUDIT | UPDATE_LOST;
    fn(arg, u);
}

void lookups_outcome(struct lookups *l, const struct outcome *o, void (*fn)(void *arg, struct update *u),
                     void *arg)
{
    struct delivery d = {l, o, fn, arg};
    bool full = o->label >= 0 && o->hit_exit < 0;
    if (l->streams)
        streams_outcome(l->streams, o->request, full ? o->label : -1);
    pending_outcome(l->pending, o->request, o->scores, o->n_scores, full ? deliver : NULL, &d);
    if (o->audit && o->original && o->label < 0)
        tell_lost(l, o, fn, arg);
}

void lookups_feedback(struct lookups *l, const struct feedback *f, void (*fn)(void *arg, struct update *u),
                      void *arg)
{
    const struct manifest *m = l->snapshot ? &l->snapshot->manifest : NULL;
    for (int i = 0; i < f->n; i++) {
        const struct feedback_item *x = &f->item[i];
        bool known = m && x->label >= 0 && (!m->classes || x->label < m->classes);
        struct update *u = known ? bare_update(l, x->request) : NULL;
        l->counters.truths_refused += u == NULL;
        if (!u)
            continue;
        u->truth = x->label;
        fn(arg, u);
    }
}

void lookups_expire(struct lookups *l, uint64_t now_ns)
{
    pending_expire(l->pending, now_ns);
}

int lookups_pending(const struct lookups *l)
{
    return pending_count(l->pending);
}

struct lookups_counters lookups_counters(const struct lookups *l)
{
    return l->counters;
}
