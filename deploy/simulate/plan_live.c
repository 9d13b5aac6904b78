/* plan_live.c - the broker's counts of answers, beside the places of the exits */
#include "plan_live.h"

#include <stdlib.h>

#include "deploy/launch/running.h"
#include "stages/place/placement.h"

#define ASK_MS 3000

static void take(struct plan_live *out, const struct status_reply *r, const struct placement *place)
{
    out->answered = r->answered;
    for (int i = 0; i < r->n_exits && i < place->n_exits && r->answered; i++) {
        double share = (double)r->exit[i].answered / (double)r->answered;
        out->exit[out->n++] = (struct plan_exit){place->exit[i].cut.node, share};
        out->early += share;
    }
}

int plan_live_ask(struct plan_live *out, const struct graph *g, const struct pipeline *p,
                  const struct pipeline_arguments *where, struct error *e)
{
    struct placement *place = calloc(1, sizeof *place);
    struct status_reply *reply = calloc(1, sizeof *reply);
    struct pipeline *running = NULL;
    int rc = place && reply ? placement_resolve(place, g, p, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && !(rc = running_load(&running, where, e)) && !(rc = running_ask(running, ASK_MS, reply, e)))
        take(out, reply, place);
    pipeline_free(running);
    free(reply);
    free(place);
    return rc;
}
