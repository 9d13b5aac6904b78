/* dispatch_times.c - where requests' time went: the durations of an answer, the spans of traced ones */
#include "base/clock.h"
#include "dispatch.h"

/* The largest error of comparing clocks on the way that this answer took. */
static uint64_t clock_error_ns(const struct dispatch *d, const struct result *r)
{
    uint64_t most = 0;
    for (int i = 0; i < r->trace.n; i++) {
        const struct stage_time *t = &r->trace.stage[i];
        const struct worker *w, *cache;
        w = &d->registry.stage[t->stage][t->replica];
        cache = &d->registry.cache[d->pipeline->stage[t->stage].replica[t->replica].cache];
        if (w->last.clock_error_ns > most)
            most = w->last.clock_error_ns;
        if (r->exit >= 0 && i == r->trace.n - 1 && cache->last.clock_error_ns > most)
            most = cache->last.clock_error_ns;
    }
    return most;
}

/* The broker's parts of the way. With attempts before the one that answers, they lie in broker_ns; when an
 * attempt answers that was given up, its own start is not known any more. */
void dispatch_fill_times(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                         uint64_t came_ns, uint64_t now, struct answer *a)
{
    uint64_t sent_after = r->attempt == e->attempt ? e->sent_ns - e->received_ns : e->broker_ns;
    if (came_ns <
        e->received_ns + sent_after) /* an estimate, by another host's clock: not before it was sent */
        came_ns = e->received_ns + sent_after;
    a->trace = r->trace;
    a->lookup_wire_ns = r->lookup_wire_ns;
    a->lookup_queue_ns = r->lookup_queue_ns;
    a->lookup_ns = r->lookup_ns;
    /* Who claims to have sent it before there was a request does not know the time. */
    if (r->sent_ns >= e->received_ns && came_ns > r->sent_ns)
        a->return_ns = came_ns - r->sent_ns;
    a->broker_ns = sent_after + (now - came_ns);
    a->total_ns = now - e->received_ns;
    a->clock_error_ns = clock_error_ns(d, r);
}

/* A stage waits at least cache.wait_us for a verdict; half of it is left for what is not measured, the
 * verdict's own way. */
bool dispatch_verdict_in_time(const struct dispatch *d, const struct result *r)
{
    const uint64_t part[] = {r->lookup_wire_ns, r->lookup_queue_ns, r->lookup_ns, clock_error_ns(d, r)};
    uint64_t limit = (uint64_t)d->pipeline->cache.wait_us * NS_PER_US / 2, sum = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (part[i] >= limit)
            return false;
        sum += part[i];
    }
    return sum + r->lookup_wire_ns < limit;
}

void dispatch_note(struct dispatch *d, const struct request_entry *e, enum span_kind kind, uint64_t start_ns,
                   uint64_t end_ns)
{
    if (e->flags & JOB_TRACE)
        span_log_note(&d->spans, kind, e->id, e->attempt, -1, start_ns, end_ns);
}

void dispatch_keep_spans(struct dispatch *d, const struct spans *s)
{
    d->spans.lost += s->lost;
    for (int i = 0; i < s->n; i++)
        span_log_put(&d->spans, &s->span[i]);
}

/* As many as one message holds; a client asks again while some are left. */
void dispatch_hand_over_spans(struct dispatch *d, const struct peer *to)
{
    d->out.type = MESSAGE_SPANS;
    span_log_take(&d->spans, &d->out.spans);
    d->io.client(d->io.arg, to, &d->out, NULL);
}
