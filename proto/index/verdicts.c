/* verdicts.c - verdicts from what a cache said */
#include "verdicts.h"

#include <string.h>

/* Whether a hit may end this request at `broker_now`: not an audit's, not one without caches, not too late.
 */
static bool verdicts_may_end(const struct lookup_item *item, uint64_t broker_now)
{
    return !(item->flags & (JOB_AUDIT | JOB_NO_CACHE)) && broker_now < item->deadline_ns;
}

/* Whether a cache's answer is certified for the loss that its request allows. */
static bool is_hit(const struct cache_verdict *v, const struct cache_levels *levels, uint32_t loss_allowed)
{
    int i = 0;
    if (!loss_allowed)
        return v->hit;
    while (i < levels->n && levels->of[i].loss_ppm >= loss_allowed) /* it is one more than millionths */
        i++;
    return i < levels->n && v->label >= 0 && v->confidence > levels->of[i].threshold;
}

void verdicts_fill(struct verdict *out, const struct lookup *in, const struct cache_verdict *found,
                   const struct cache_levels *levels, uint64_t epoch, uint64_t broker_now)
{
    out->exit = in->exit;
    out->sequence = in->sequence;
    out->epoch = epoch;
    out->n = in->n;
    for (int i = 0; i < in->n; i++) {
        const struct lookup_item *item = &in->item[i];
        out->item[i] = (struct verdict_item){.request = item->request, .attempt = item->attempt, .label = -1};
        if (!found)
            continue;
        out->item[i].label = found[i].label;
        out->item[i].confidence = found[i].confidence;
        out->item[i].hit =
            is_hit(&found[i], levels, item->loss_allowed) && verdicts_may_end(item, broker_now);
    }
}

void verdicts_result(struct result *out, const struct lookup *in, const struct verdict *v, int i,
                     uint64_t sent_ns)
{
    memset(out, 0, sizeof *out);
    out->request = in->item[i].request;
    out->attempt = in->item[i].attempt;
    out->label = v->item[i].label;
    out->exit = (int32_t)v->exit;
    out->confidence = v->item[i].confidence;
    out->epoch = v->epoch;
    out->lookup_ns = v->lookup_ns;
    out->sent_ns = sent_ns;
    out->trace = in->item[i].trace;
}
