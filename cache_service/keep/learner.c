/* learner.c - sort updates by exit, apply them to each cache */
#include "learner.h"

#include <stdlib.h>
#include <string.h>

#include "index/half.h"

#define BATCH_MAX_COUNT 4096
#define BATCH_MAX_BYTES (64u << 20)
#define LEARNER_SHARE   20 /* learning may take one part in so many of the time */

/* Where in u stands what the cache of exit x takes, or -1. */
static int taken(const struct snapshot *s, int x, const struct update *u)
{
    int i = update_find(u, s->manifest.exit[x].origin);
    struct cache_info info;
    if (i < 0 || !s->cache[x] || s->manifest.promised ||
        memcmp(u->identity, s->manifest.identity.digest, sizeof u->identity))
        return -1;
    info = cache_info(s->cache[x]);
    return (uint32_t)info.dim == u->exit[i].dim && u->label >= 0 && u->label < info.classes ? i : -1;
}

/* Updates of one exit, as a cache takes them. */
struct lesson_pairs {
    struct cache_pair *pair;
    float *numbers;
    int *of; /* which update it was */
    int n;
};

static void pairs_free(struct lesson_pairs *p)
{
    free(p->pair);
    free(p->numbers);
    free(p->of);
}

static int pairs_collect(struct lesson_pairs *p, const struct snapshot *s, int x,
                         struct update *const *updates, int n)
{
    int dim = s->cache[x] ? cache_info(s->cache[x]).dim : 0;
    size_t many = 0;
    *p = (struct lesson_pairs){0};
    for (int i = 0; i < n; i++)
        many += updates[i] && taken(s, x, updates[i]) >= 0;
    if (!many)
        return FL_OK;
    p->pair = malloc(many * sizeof *p->pair);
    p->numbers = malloc(many * (size_t)dim * sizeof *p->numbers);
    p->of = malloc(many * sizeof *p->of);
    if (!p->pair || !p->numbers || !p->of)
        return FL_NOMEM;
    for (int i = 0; i < n; i++) {
        int at = updates[i] ? taken(s, x, updates[i]) : -1;
        float *to = p->numbers + (size_t)p->n * (size_t)dim;
        if (at < 0)
            continue;
        half_decode(updates[i]->exit[at].half, to, (size_t)dim);
        p->of[p->n] = i;
        p->pair[p->n++] = (struct cache_pair){.descriptor = to, .label = updates[i]->label};
    }
    return FL_OK;
}

/* Marks in used[] which updates exit x of `s` learned from. */
static int apply_to(struct snapshot *s, int x, const struct snapshot *old, struct update *const *updates,
                    int n, bool *used, struct error *e)
{
    struct lesson_pairs p;
    int rc = pairs_collect(&p, old, x, updates, n);
    if (!rc && p.n)
        rc = cache_apply(&s->cache[x], old->cache[x], p.pair, p.n, s->manifest.exit[x].budget_bytes, e);
    for (int i = 0; !rc && i < p.n; i++)
        used[p.of[i]] = true;
    pairs_free(&p);
    if (rc == FL_NOMEM)
        return error_set(e, FL_NOMEM, "out of memory for %d updates", n);
    if (rc || !s->cache[x]) {
        s->cache[x] = old->cache[x];
        if (s->cache[x])
            cache_retain(s->cache[x]);
    }
    return FL_OK;
}

int learner_apply(struct snapshot **out, const struct snapshot *old, struct update *const *updates, int n,
                  struct learner_tally *tally, struct error *e)
{
    struct snapshot *s = snapshot_new(&old->manifest);
    bool *used = calloc((size_t)(n ? n : 1), sizeof *used);
    int rc = FL_OK;
    memset(tally, 0, sizeof *tally);
    if (!s || !used)
        rc = error_set(e, FL_NOMEM, "out of memory for %d updates", n);
    for (int x = 0; !rc && x < s->manifest.n_exits; x++) {
        rc = apply_to(s, x, old, updates, n, used, e);
        tally->exits += !rc && s->cache[x] != old->cache[x];
    }
    for (int i = 0; !rc && i < n; i++) {
        tally->applied += used[i];
        tally->rejected += updates[i] && !used[i];
    }
    free(used);
    if (rc) {
        snapshot_free(s);
        return rc;
    }
    s->manifest.generation++;
    *out = s;
    return FL_OK;
}

int learner_capacity(const struct snapshot *s, int wanted)
{
    size_t bytes = sizeof(struct update), n = (size_t)(wanted < 1 ? 1 : wanted);
    for (int i = 0; i < s->manifest.n_exits; i++)
        if (s->cache[i])
            bytes += (size_t)cache_info(s->cache[i]).dim * (sizeof(uint16_t) + sizeof(float));
    if (n > BATCH_MAX_BYTES / bytes)
        n = BATCH_MAX_BYTES / bytes;
    return n > BATCH_MAX_COUNT ? BATCH_MAX_COUNT : n < 1 ? 1 : (int)n;
}

/* --- one batch --- */

void lesson_begin(struct lesson *l, struct store_batch *batch, const struct snapshot *s)
{
    l->batch = *batch;
    memset(batch, 0, sizeof *batch);
    l->damaged = 0;
    for (int i = 0; l->batch.id && i < l->batch.n; i++) {
        bool known = stream_id_compare(l->batch.id[i], s->manifest.applied) <= 0;
        l->damaged += !known && !l->batch.update[i];
        if (known) { /* only to be acknowledged */
            update_free(l->batch.update[i]);
            l->batch.update[i] = NULL;
        }
    }
}

void lesson_made(struct lesson *l, struct snapshot *next, const struct learner_tally *tally,
                 const struct snapshot *s)
{
    const char *last = l->batch.id ? l->batch.id[l->batch.n - 1] : "";
    l->next = next;
    l->tally = *tally;
    if (l->batch.id && !tally->applied) /* only acknowledged: nothing was learned */
        next->manifest.generation = s->manifest.generation;
    if (stream_id_compare(last, s->manifest.applied) > 0)
        memcpy(next->manifest.applied, last, sizeof next->manifest.applied);
}

void lesson_end(struct lesson *l, uint64_t interval_ns, uint64_t now_ns)
{
    uint64_t share_ns = (now_ns - l->began_ns) * LEARNER_SHARE;
    store_batch_free(&l->batch);
    snapshot_free(l->next);
    l->next = NULL;
    l->due_ns = l->began_ns + (share_ns > interval_ns ? share_ns : interval_ns);
}
