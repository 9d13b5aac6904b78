/* syllabus.c - exits of a manifest as those that are to be taught */
#include "syllabus.h"

#include <stdio.h>
#include <string.h>

void syllabus_reservoir(struct reservoir_setup *out, const struct manifest *m, const char *path, double mb)
{
    *out = (struct reservoir_setup){.path = path,
                                    .classes = m->classes,
                                    .n_exits = m->n_exits,
                                    .scores = true,
                                    .most_bytes = (size_t)(mb * 1e6)};
    memcpy(out->identity, m->identity.digest, sizeof out->identity);
    for (int i = 0; i < m->n_exits; i++) {
        out->exit[i].origin = m->exit[i].origin;
        out->exit[i].dim = manifest_teaches_exit(m, i) ? (uint32_t)m->exit[i].dim : 0;
    }
}

static struct teaching_exit exit_of(const struct manifest *m, int i)
{
    const struct manifest_exit *x = &m->exit[i];
    bool taught = manifest_teaches_exit(m, i);
    struct teaching_exit out = {.dim = taught ? x->dim : 0,
                                .map_side = x->map_side,
                                .most_work = x->most_work,
                                .budget_bytes = (size_t)x->budget_bytes,
                                .before = x->before,
                                .lookup = x->lookup,
                                .by_half = x->by_half};
    memcpy(out.name, x->name, sizeof out.name);
    snprintf(out.kind, sizeof out.kind, "%s", taught ? x->kind : "none"); /* m may be replaced meanwhile */
    return out;
}

void syllabus_teaching(struct teaching *out, const struct manifest *m, const struct pipeline *p,
                       const struct learner_decision *d, struct cache *const *from,
                       const struct textbook *book)
{
    *out = (struct teaching){.config = &p->cache,
                             .classes = m->classes,
                             .n_exits = m->n_exits,
                             .terms = m->promise.live,
                             .may_drop = p->exits_auto,
                             .since_ms = d->since_ms,
                             .teach_since_ms = d->teach_since_ms,
                             .number = d->number};
    memcpy(out->identity, m->identity.digest, sizeof out->identity);
    for (int i = 0; i < m->n_exits; i++) {
        out->exit[i] = exit_of(m, i);
        if (from && (d->what == LEARNER_TUNE || d->warm))
            out->exit[i].cache = from[i];
        if (book && book->rows[i].data)
            out->exit[i].built = (struct teaching_built){&book->rows[i], &book->scores};
    }
}
