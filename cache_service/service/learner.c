/* learner.c - sort updates by exit, apply them to each cache */
#include "learner.h"

#include <stdlib.h>
#include <string.h>

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
