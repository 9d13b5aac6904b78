/* learner.c - sort updates by exit, apply them to each cache */
#include "learner.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_MAX_COUNT 4096
#define BATCH_MAX_BYTES (64u << 20)
#define LEARNER_SHARE   20 /* learning may take one part in so many of the time */

/* The exit whose cache takes u, or -1. */
static int taker(const struct snapshot *s, const struct update *u)
{
    int i = snapshot_exit(s, u->exit);
    struct cache_info info;
    if (i < 0 || !s->cache[i] || s->manifest.promised ||
        memcmp(u->identity, s->manifest.identity.digest, sizeof u->identity))
        return -1;
    info = cache_info(s->cache[i]);
    return (uint32_t)info.dim == u->dim && u->label >= 0 && u->label < info.classes ? i : -1;
}

int learner_apply(struct snapshot **out, const struct snapshot *old, struct update *const *updates, int n,
                  struct learner_tally *tally, struct error *e)
{
    struct snapshot *s = snapshot_new(&old->manifest);
    struct cache_pair *pairs = malloc(sizeof *pairs * (size_t)(n ? n : 1));
    int *exit_of = malloc(sizeof *exit_of * (size_t)(n ? n : 1));
    int rc = FL_OK;
    memset(tally, 0, sizeof *tally);
    if (!s || !pairs || !exit_of) {
        rc = error_set(e, FL_NOMEM, "out of memory for %d updates", n);
        goto done;
    }
    s->manifest.generation++;
    for (int i = 0; i < n; i++) {
        exit_of[i] = updates[i] ? taker(old, updates[i]) : -1;
        tally->rejected += updates[i] && exit_of[i] < 0;
    }
    for (int x = 0; x < s->manifest.n_exits; x++) {
        int m = 0;
        for (int i = 0; i < n; i++)
            if (exit_of[i] == x)
                pairs[m++] =
                    (struct cache_pair){.descriptor = updates[i]->descriptor, .label = updates[i]->label};
        if (m &&
            !(rc = cache_apply(&s->cache[x], old->cache[x], pairs, m, s->manifest.exit[x].budget_bytes, e))) {
            tally->applied += m;
            tally->exits++;
            continue;
        }
        if (rc == FL_NOMEM)
            goto done;
        if (m)
            tally->rejected += m;
        rc = FL_OK;
        s->cache[x] = old->cache[x];
        if (s->cache[x])
            cache_retain(s->cache[x]);
    }
done:
    free(pairs);
    free(exit_of);
    if (rc)
        snapshot_free(s);
    else
        *out = s;
    return rc;
}

int learner_capacity(const struct snapshot *s, int wanted)
{
    size_t dim = 1, n = (size_t)(wanted < 1 ? 1 : wanted);
    for (int i = 0; i < s->manifest.n_exits; i++)
        if (s->cache[i] && (size_t)cache_info(s->cache[i]).dim > dim)
            dim = (size_t)cache_info(s->cache[i]).dim;
    if (n > BATCH_MAX_BYTES / (dim * sizeof(float)))
        n = BATCH_MAX_BYTES / (dim * sizeof(float));
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
