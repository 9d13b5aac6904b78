/* simulate_model.c - measurements know their model by its digest; older ones only by where it can be cut */
#include "simulate_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

static int other_model(const struct measured *m, const struct graph *g, const char *why, struct error *e)
{
    return error_set(e, FL_STALE, "the measurements are of another model (%s) than %s: %s", m->model, g->path,
                     why);
}

static bool same_cut(const struct measured_cut *c, const struct cut *cut, const struct graph *g)
{
    struct tensor shape = value_shape(&g->values[cut->value], 1);

    return !strcmp(c->name, cut->name) && c->bytes == (double)tensor_bytes(&shape);
}

static int looks_alike(const struct measured *m, const struct graph *g, struct error *e)
{
    struct cut *cuts = NULL;
    int n, same = 0, rc = graph_cuts(g, &cuts, &n, e);

    if (rc)
        return rc;
    for (int i = 0; i < n && i < m->n_cuts; i++)
        same += same_cut(&m->cut[i], &cuts[i], g);
    free(cuts);
    return same == n && n == m->n_cuts ? FL_OK : other_model(m, g, "its layers or their sizes differ", e);
}

int simulate_same_model(const struct measured *m, const struct graph *g, bool *sure, struct error *e)
{
    char digest[DIGEST_TEXT_BYTES];

    *sure = m->digest[0];
    if (!m->digest[0])
        return looks_alike(m, g, e);
    return strcmp(m->digest, digest_text(g->digest, digest))
               ? other_model(m, g, "measure this one, with --measure", e)
               : FL_OK;
}

void simulate_warn_of_likeness(const struct measured *m, const char *command)
{
    fprintf(stderr,
            "freezeline %s: the measurements of %s do not say by a digest of which model they are; this one "
            "has the same layers\n",
            command, m->model);
}
