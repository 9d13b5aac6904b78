/* plan_survivors.c - the broker's counts of answers, or a report's shares, beside the places of the exits */
#include "plan_survivors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/process/running.h"
#include "deploy/tool/json_file.h"
#include "stages/place/placement.h"

#define ASK_MS 3000

static void add(struct plan_survivors *out, int node, double share, double look_ms)
{
    int at = out->n_exits;
    if (at == PIPELINE_MAX_EXITS || !(share > 0 && out->early + share <= 1))
        return;
    for (; at > 0 && out->exit[at - 1].node > node; at--)
        out->exit[at] = out->exit[at - 1];
    out->exit[at] = (struct planner_exit){node, share, look_ms};
    out->n_exits++;
    out->early += share;
}

int plan_survivors_ask(struct plan_survivors *out, const struct graph *g, const struct pipeline *p,
                       const struct pipeline_arguments *where, struct error *e)
{
    struct placement *place = calloc(1, sizeof *place);
    struct status_reply *reply = calloc(1, sizeof *reply);
    struct pipeline *running = NULL;
    int rc = place && reply ? placement_resolve(place, g, p, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && !(rc = running_load(&running, where, e)) && !(rc = running_ask(running, ASK_MS, reply, e))) {
        out->answered = reply->answered - reply->known; /* these were computed */
        for (int i = 0; i < reply->n_exits && i < place->n_exits && out->answered; i++)
            add(out, place->exit[i].cut.node, (double)reply->exit[i].answered / (double)out->answered, 0);
    }
    pipeline_free(running);
    free(reply);
    free(place);
    return rc;
}

int plan_survivors_read(struct plan_survivors *out, const struct graph *g, const char *path, struct error *e)
{
    json_t *root, *exits, *exit;
    size_t i;
    int rc = json_file_load(&root, path, e);

    if (rc)
        return rc;
    exits = json_object_get(root, "exits");
    json_array_foreach(exits, i, exit)
    {
        const char *after = json_string_value(json_object_get(exit, "after"));
        for (int n = 0; after && n < g->n_nodes; n++)
            if (g->nodes[n].name && !strcmp(g->nodes[n].name, after))
                add(out, n, json_number_value(json_object_get(exit, "share")),
                    json_number_value(json_object_get(exit, "lookup_us")) / 1e3);
    }
    if (!exits)
        rc = error_set(e, FL_USAGE, "%s is no report of freezeline eval --json: it has no exits", path);
    json_decref(root);
    return rc;
}
