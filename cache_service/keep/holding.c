/* holding.c - one snapshot in the place of another */
#include "holding.h"

#include <inttypes.h>

#include "base/log.h"

void holding_adopt(struct holding *h, struct snapshot *s, bool own)
{
    snapshot_free(h->fresh);
    h->fresh = snapshot_retain(s);
    snapshot_free(h->current);
    h->current = s;
    h->own = own;
    h->dirty = true;
    h->taken++;
}

/* What is in use is of this build too, and no worse. */
static bool in_use(const struct snapshot *c, const struct snapshot *s)
{
    return c && snapshot_same_build(c, s) && c->manifest.generation >= s->manifest.generation &&
           snapshot_whole(c) && snapshot_caches(c) >= snapshot_caches(s);
}

static void use(struct holding *h, struct snapshot *s, bool own, const char *from)
{
    char build[MANIFEST_BUILD_BYTES], before[MANIFEST_BUILD_BYTES];
    if (in_use(h->current, s)) {
        h->own = h->own || own;
        snapshot_free(s);
        return;
    }
    if (s->manifest.cold && !s->manifest.generation)
        log_info("nothing was built: this begins without caches for %d exits (cold start %s), until some are "
                 "certified",
                 s->manifest.n_exits, manifest_build_text(s->manifest.build, build));
    else
        log_info("loaded %d caches of %d exits from %s/caches (build %s, generation %" PRIu64 ")",
                 snapshot_caches(s), s->manifest.n_exits, from, manifest_build_text(s->manifest.build, build),
                 s->manifest.generation);
    if (h->current && !snapshot_same_build(h->current, s))
        log_info("they take the place of build %s (generation %" PRIu64 ")",
                 manifest_build_text(h->current->manifest.build, before), h->current->manifest.generation);
    holding_adopt(h, s, own);
    h->dirty = false;
}

void holding_read(struct holding *h, struct snapshot *built, struct snapshot *learned, const char *from)
{
    bool further = learned && (built ? learned->manifest.generation > built->manifest.generation &&
                                           snapshot_whole(learned)
                                     : !h->current);
    if (further)
        use(h, snapshot_retain(learned), built != NULL, from);
    else if (built)
        use(h, snapshot_retain(built), true, from);
    snapshot_free(built);
    snapshot_free(learned);
}

bool holding_to_save(const struct holding *h)
{
    return h->dirty && h->current && h->current->manifest.generation && snapshot_whole(h->current);
}
