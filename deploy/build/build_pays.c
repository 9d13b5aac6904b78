/* build_pays.c - whether a pipeline with these caches answers sooner than one process would */
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "config/precision.h"

/* Mean time of the calibration requests with the caches as they were built, of the network's. */
static double time_share(const struct build *b)
{
    const struct evidence *ev = &b->promised.evidence;
    float threshold[PIPELINE_MAX_EXITS];
    bool placed[PIPELINE_MAX_EXITS];
    struct promise_result r;

    for (int k = 0, i = 0; k < ev->n_exits; k++) {
        for (i = 0; i < b->place.n_exits && strcmp(b->place.exit[i].name, ev->exit[k].name); i++)
            ;
        placed[k] = i < b->place.n_exits && b->cache[i];
        threshold[k] = placed[k] ? cache_info(b->cache[i]).threshold : 0;
    }
    promise_judge(&r, ev, 0, ev->points, threshold, placed, true);
    return r.time;
}

static double value_bytes(const struct graph *g, int value)
{
    struct tensor t = value_shape(&g->values[value], 1);
    return (double)tensor_bytes(&t);
}

/* What crosses the end of each stage but the last: the value of the cut there. */
static int cut_bytes(const struct build *b, double *bytes, struct error *e)
{
    struct cut *cuts = NULL;
    int n = 0, rc = graph_cuts(b->graph, &cuts, &n, e);

    for (int s = 0; !rc && s < b->place.n_stages - 1; s++)
        for (int i = 0; i < n; i++)
            if (cuts[i].node == b->place.stage[s].last)
                bytes[s] = precision_wire_bytes(b->pipeline, value_bytes(b->graph, cuts[i].value));
    free(cuts);
    return rc;
}

int build_pays(const struct build *b, struct pays *out, bool *known, struct error *e)
{
    const struct evidence *ev = &b->promised.evidence;
    double bytes[PIPELINE_MAX_STAGES] = {0};
    struct message_cost cost;
    int rc;

    *known = ev->network_ms > 0 && ev->points > 0;
    if (!*known)
        return FL_OK;
    *out = (struct pays){
        .one_process_ms = ev->network_ms, .time_share = time_share(b), .stages = b->place.n_stages};
    if ((rc = message_cost_measure(&cost, b->pipeline, ev->network_ms / out->stages, e)) ||
        (rc = cut_bytes(b, bytes, e)))
        return rc;
    out->messages_ms =
        pays_messages_ms(&cost, value_bytes(b->graph, b->graph->inputs[0]), bytes, out->stages);
    return FL_OK;
}
