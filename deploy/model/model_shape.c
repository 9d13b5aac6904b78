/* model_shape.c - a model's input and exits, without keeping the model */
#include "model_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int model_classes(const struct graph *g, int *classes, struct error *e)
{
    struct tensor t = value_shape(&g->values[g->outputs[0]], 1);
    char text[128];
    bool fits = g->n_inputs == 1 && g->n_outputs >= 1 && t.dtype == TENSOR_F32 && t.rank >= 2 &&
                t.dim[0] == 1 && t.dim[1] >= 2 && t.dim[1] <= PIPELINE_MAX_LABELS;

    for (int i = 2; i < t.rank; i++)
        fits = fits && t.dim[i] == 1;
    if (!fits)
        return error_set(
            e, FL_SHAPE,
            "%s is no classifier: one input and scores of shape 1xCLASSES or 1xCLASSESx1x1 (2 to %d) "
            "are needed, not %s",
            g->path, PIPELINE_MAX_LABELS, tensor_describe(&t, text, sizeof text));
    *classes = (int)t.dim[1];
    return FL_OK;
}

int model_shape_load(struct model_shape *out, const struct pipeline *p, struct error *e)
{
    struct placement *place = malloc(sizeof *place);
    struct graph *g = NULL;
    int rc;

    memset(out, 0, sizeof *out);
    if (!place)
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = placement_load(&g, p, e)) || (rc = model_classes(g, &out->classes, e)) ||
        (rc = placement_resolve(place, g, p, e)))
        goto done;
    out->input = value_shape(&g->values[g->inputs[0]], 1);
    out->input.data = NULL;
    identity_of(&out->identity, g->digest, p);
    plan_digest(out->plan, g, place, p);
    out->depth = place->depth;
    out->n_stages = place->n_stages;
    out->n_exits = place->n_exits;
    for (int i = 0; i < place->n_exits; i++) {
        struct model_exit *to = &out->exit[i];
        snprintf(to->name, sizeof to->name, "%s", place->exit[i].name);
        snprintf(to->kind, sizeof to->kind, "%s", place->exit[i].kind);
        to->depth = place->exit[i].cut.depth;
        to->flops_share = place->exit[i].cut.flops_share;
        to->stage = place->exit[i].stage;
        origin_of(&to->origin, g, &place->exit[i], p);
    }
done:
    free(place);
    graph_free(g);
    return rc;
}

const char *model_shape_exit(const struct model_shape *m, int exit)
{
    if (exit == -1)
        return "network";
    return exit >= 0 && exit < m->n_exits ? m->exit[exit].name : "?";
}

char *model_shape_label(const struct pipeline *p, int label, char *buf, size_t size)
{
    if (label >= 0 && label < p->n_labels)
        snprintf(buf, size, "%s", p->label[label]);
    else
        snprintf(buf, size, "%d", label);
    return buf;
}
