/* dispatch_audit.c - audits: requests of which everything is seen
 *
 * An audit that no exit answered has shown all it has. One that an exit answered becomes a shadow: the same
 * input once more, in the background, past every exit. A shadow has an id of its own, so that cancelling the
 * first run does not stop it, and no client. It takes no place of an admitted request.
 *
 * Audits have to be a fair sample of the traffic, so none is given up because of what it is: whether there is
 * a place for one is known before anything is known of it, and a shadow that waits for its turn is not late.
 * Where bytes are short, all that are drawn and not told go together (audit_line.h). A shadow that fails goes
 * to other workers, and one that fails for good is told of as lost.
 */
#include "base/clock.h"
#include "dispatch_inside.h"
#include "broker/state/sampling.h"

#define SHADOW_DEADLINES 10              /* a shadow that was sent has so many times broker.deadline_ms, .. */
#define SHADOW_LEAST_NS  (10 * NS_PER_S) /* .. at least this */

/* What a living learner asks for; 0: no more than the file says. */
static double wanted(const struct dispatch *d)
{
    uint32_t ppm = 0;
    for (int i = 0; i < REGISTRY_LEARNERS; i++) {
        const struct member *m = registry_learner(d->registry, i);
        if (m->alive && m->last.audit_ppm > ppm)
            ppm = m->last.audit_ppm;
    }
    return d->pipeline->updates.audit * SHARE_PPM < ppm ? (double)ppm / SHARE_PPM : 0;
}

/* A client's own JOB_AUDIT is no fair draw. While a learner wants more audits than usual, every request that
 * no exit answers teaches: its full answer is there for nothing. */
void dispatch_draw(struct dispatch *d, struct request_entry *e, uint32_t asked)
{
    double more = wanted(d), share = more > 0 ? more : d->pipeline->updates.audit;
    e->flags = sampling_flags(e->id, asked, more > 0 ? 1 : d->pipeline->updates.sample);
    if (e->stream && !e->loss_allowed && !(e->flags & (JOB_NO_CACHE | JOB_AUDIT)) && sampling_keys(e->id))
        e->flags |= JOB_KEY | JOB_AUDIT | JOB_SAMPLED;
    if (e->flags & (JOB_NO_CACHE | JOB_AUDIT) || !registry_caches(d->registry) ||
        !sampling_audits(e->id, share))
        return;
    e->audit = audit_line_length(&d->line) < d->most_audits && requests_roomy(d->requests);
    if (e->audit)
        e->flags |= JOB_SAMPLED;
    else
        d->counters.audits_refused++;
}

void dispatch_audit_begins(struct dispatch *d, struct request_entry *e)
{
    if (!e->audit)
        return;
    e->ticket = audit_line_join(&d->line);
    d->counters.audits_drawn++;
}

void dispatch_audit_answered(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    struct request_entry *shadow;
    if (!e->audit || audit_line_given_up(&d->line, e->ticket))
        return;
    shadow = requests_shadow(d->requests, e);
    shadow->flags = JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW;
    shadow->audit = true;
    shadow->ticket = e->ticket;
    shadow->received_ns = now;
    shadow->deadline_ns = UINT64_MAX;
    e->audit = false;
}

uint64_t dispatch_shadow_deadline(const struct dispatch *d, uint64_t now)
{
    uint64_t ns = (uint64_t)d->pipeline->broker.deadline_ms * NS_PER_MS * SHADOW_DEADLINES;
    return now + (ns > SHADOW_LEAST_NS ? ns : SHADOW_LEAST_NS);
}

void dispatch_shadow_failed(struct dispatch *d, struct request_entry *e, bool counts)
{
    e->failures += counts;
    if (e->failures > (uint32_t)d->pipeline->broker.retries) {
        dispatch_shadow_ended(d, e, -1, NULL);
        return;
    }
    dispatch_release_route(d, e);
    e->deadline_ns = UINT64_MAX;
    requests_wake_at(d->requests, e, e->deadline_ns);
    requests_prepend(d->requests, e, REQUESTS_SHADOWS);
}

void dispatch_shadow_ended(struct dispatch *d, struct request_entry *e, int32_t label,
                           const struct tensor *scores)
{
    dispatch_tell_outcome(d, e, label, -1, scores);
    if (label < 0)
        dispatch_cancel(d, e, -1);
    dispatch_finish(d, e);
}

bool dispatch_shadows_give_way(struct dispatch *d)
{
    struct request_entry *e = requests_first(d->requests, REQUESTS_SHADOWS);
    if (!e)
        return false;
    audit_line_give_up(&d->line);
    for (; e; e = requests_first(d->requests, REQUESTS_SHADOWS))
        dispatch_shadow_ended(d, e, -1, NULL);
    return true;
}
