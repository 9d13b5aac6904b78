/* lineage.c - one build against another */
#include "lineage.h"

#include <string.h>

static enum lineage_move within_build(const struct lineage_here *here, const struct head *head)
{
    const struct manifest *m = here->manifest;
    if (m->generation > head->generation && here->whole)
        return LINEAGE_PUBLISH;
    if (m->generation != head->generation || !here->whole || stream_id_compare(m->applied, head->applied))
        return LINEAGE_LOAD;
    return LINEAGE_KEEP;
}

bool lineage_own(const struct manifest *m, bool on_disk, const struct head *head)
{
    return m && on_disk &&
           (!m->cold || !head || memcmp(m->identity.digest, head->identity, sizeof head->identity) ||
            manifest_replaces(m, head->build));
}

enum lineage_move lineage_decide(const struct lineage_here *here, const struct lineage_there *there)
{
    const struct manifest *m = here->manifest;
    const struct head *head = there->head;
    if (!head)
        return m && here->whole ? LINEAGE_PUBLISH : LINEAGE_KEEP;
    if (!there->readable) /* nobody can use it */
        return m && here->own && here->whole && head->text[0] ? LINEAGE_PUBLISH : LINEAGE_ASIDE;
    if (!m)
        return LINEAGE_LOAD;
    if (!memcmp(m->build, head->build, sizeof m->build))
        return within_build(here, head);
    if (!here->own)
        return LINEAGE_LOAD;
    return here->whole && (there->free || manifest_replaces(m, head->build)) ? LINEAGE_PUBLISH
                                                                             : LINEAGE_ASIDE;
}

bool lineage_free(struct lineage_watch *w, const uint8_t build[DIGEST_BYTES], bool held, bool said,
                  uint64_t now_ns)
{
    if (held || !said) {
        w->since_ns = 0;
        return false;
    }
    if (!w->since_ns || memcmp(w->build, build, sizeof w->build)) {
        memcpy(w->build, build, sizeof w->build);
        w->since_ns = now_ns;
    }
    return now_ns - w->since_ns >= LINEAGE_WATCH_NS;
}
