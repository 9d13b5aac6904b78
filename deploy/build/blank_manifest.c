/* blank_manifest.c - exits as the placement has them, in a manifest */
#include "blank_manifest.h"

#include <stdio.h>
#include <string.h>

#include "deploy/model/model_shape.h"
#include "stages/place/origin.h"

#define LOOKUP_WORK 0.006 /* of the network's */

int64_t blank_most_work(const struct graph *g)
{
    double flops = 0;

    for (int i = 0; i < g->n_nodes; i++)
        flops += graph_node_flops(g, i, 1);
    return (int64_t)(LOOKUP_WORK * flops / 2);
}

static void describe_exit(struct manifest_exit *to, const struct placed_exit *exit, const struct graph *g,
                          const struct placement *place, const struct pipeline *p)
{
    struct tensor activation = origin_activation(g, exit);
    struct origin origin;

    origin_of(&origin, g, exit, p);
    *to = (struct manifest_exit){.origin = origin.digest, .by_half = 2 * exit->cut.depth <= place->depth};
    snprintf(to->name, sizeof to->name, "%s", exit->name);
    snprintf(to->kind, sizeof to->kind, "%s", exit->kind);
    memcpy(to->after, origin.after, sizeof origin.after);
    memcpy(to->layout, origin.layout, sizeof origin.layout);
    if (!placed_has_cache(exit))
        return;
    to->dim = descriptor_dim(&activation, &p->cache.descriptor);
    to->map_side = descriptor_side(&activation, &p->cache.descriptor);
    to->most_work = blank_most_work(g);
    to->before = exit->cut.flops_share;
    to->lookup = LOOKUP_WORK;
}

int blank_manifest(struct manifest *m, const struct graph *g, const struct placement *place,
                   const struct pipeline *p, struct error *e)
{
    int rc = model_classes(g, &m->classes, e);

    if (rc)
        return rc;
    identity_of(&m->identity, g->digest, p);
    m->n_exits = place->n_exits;
    for (int i = 0; i < place->n_exits; i++)
        describe_exit(&m->exit[i], &place->exit[i], g, place, p);
    return FL_OK;
}
