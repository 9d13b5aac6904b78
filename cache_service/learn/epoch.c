/* epoch.c - decisions to snapshots and events */
#include "epoch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct snapshot *after(const struct snapshot *now)
{
    struct snapshot *s = snapshot_with_applied(now, now->manifest.applied);
    if (s)
        s->manifest.generation++;
    return s;
}

int epoch_number(struct snapshot **out, const struct snapshot *now, uint64_t number)
{
    struct snapshot *s = after(now);
    if (!s)
        return FL_NOMEM;
    s->manifest.learned.candidate = number;
    *out = s;
    return FL_OK;
}

static double loss(const struct gap_counts *c)
{
    return c->n ? (double)(c->lost - c->won) / (double)c->n : NAN;
}

/* What the network that serves may lose against float32: audits compare with the former. */
static double precision_loss(const struct snapshot *s)
{
    const struct manifest_promise *p = &s->manifest.promise;
    return p->live.budget < p->terms.budget ? p->terms.budget - p->live.budget : 0;
}

static void describe(struct manifest_learned *l, const struct snapshot *now, const struct learner_decision *d,
                     uint64_t number, uint64_t serial)
{
    const struct gap_counts *c = &d->certified.counts;
    *l = (struct manifest_learned){.candidate = number,
                                   .serial = serial,
                                   .points = c->n,
                                   .lost = c->lost,
                                   .won = c->won,
                                   .upper = c->n ? d->certified.upper + precision_loss(now) : NAN};
    snprintf(l->why, sizeof l->why, "%.*s", (int)sizeof l->why - 1, d->why);
}

/* All caches of an epoch have the same ones, with thresholds of their own. */
static struct cache_levels levels_of(const struct snapshot *s, const struct learner_decision *d, int exit)
{
    struct cache_levels l = {.n = d->n_levels};
    for (int i = 0; i < l.n; i++)
        l.of[i] =
            (struct cache_level){promise_level_ppm(s->manifest.promise.terms.budget, i), d->level[i][exit]};
    return l;
}

static bool is_same(const struct cache *c, float threshold, const struct cache_levels *levels)
{
    struct cache_info i = c ? cache_info(c) : (struct cache_info){0};
    return c && i.threshold == threshold && !memcmp(&i.levels, levels, sizeof *levels);
}

int epoch_serve(struct snapshot **out, const struct snapshot *now, struct cache *const *caches, bool same,
                const struct learner_decision *d, uint64_t number, uint64_t serial)
{
    struct snapshot *s = after(now);
    if (!s)
        return FL_NOMEM;
    describe(&s->manifest.learned, now, d, number, serial);
    for (int i = 0; i < s->manifest.n_exits; i++) {
        struct cache *c = NULL;
        struct cache_levels levels = levels_of(now, d, i);
        if (d->placed[i] && caches[i] && isfinite(d->threshold[i])) {
            if (same && is_same(s->cache[i], d->threshold[i], &levels))
                continue;
            if (cache_sealed(&c, caches[i], d->threshold[i], &levels, serial)) {
                snapshot_free(s);
                return FL_NOMEM;
            }
        }
        snapshot_put(s, i, c);
    }
    *out = s;
    return FL_OK;
}

void epoch_event(struct history_event *out, const struct snapshot *s, const struct learner_decision *d,
                 enum history_kind kind)
{
    const struct certificate_row *row = &d->certified;
    const struct manifest *m = &s->manifest;
    history_event_now(out, kind);
    out->serial = m->learned.serial;
    memcpy(out->build, m->build, sizeof out->build);
    out->terms = m->promise.terms;
    out->points = row->counts.n;
    out->loss = loss(&row->counts);
    out->upper = row->counts.n ? row->upper + precision_loss(s) : NAN;
    out->early_share = row->counts.n ? row->share : NAN;
    snprintf(out->why, sizeof out->why, "%.*s", (int)sizeof out->why - 1, d->why);
    for (int i = 0; i < m->n_exits; i++) {
        struct history_exit *x = &out->exit[out->n_exits];
        if (!m->exit[i].file[0] && !s->cache[i])
            continue;
        memcpy(x->name, m->exit[i].name, sizeof x->name);
        x->threshold = s->cache[i] ? cache_info(s->cache[i]).threshold : INFINITY;
        x->share = row->counts.n ? (double)row->answered[i] / (double)row->counts.n : NAN;
        out->n_exits++;
    }
}
