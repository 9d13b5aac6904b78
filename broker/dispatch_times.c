/* dispatch_times.c - where requests' time went: the durations of an answer, the spans of traced ones */
#include "base/clock.h"
#include "dispatch_inside.h"

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The largest error of comparing clocks on the way that this answer took. */
static uint64_t clock_error_ns(const struct dispatch *d, const struct result *r)
{
    const struct stage_time *t = r->trace.stage, *end = t + r->trace.n;
    const struct member *cache;
    uint64_t most = 0;

    for (; t < end; t++)
        most =
            larger(most, registry_worker(d->registry, (int)t->stage, (int)t->replica)->last.clock_error_ns);
    if (r->exit >= 0 && r->trace.n) {
        cache = registry_cache(
            d->registry,
            dispatch_cache_of(d, registry_worker(d->registry, (int)t[-1].stage, (int)t[-1].replica)));
        most = cache ? larger(most, cache->last.clock_error_ns) : most;
    }
    return most;
}

/* A sent_ns before the request was received means that the sender's clock is not ours yet: no way is told. */
uint64_t dispatch_return_ns(const struct request_entry *e, const struct result *r, uint64_t came_ns)
{
    return r->sent_ns >= e->received_ns && came_ns > r->sent_ns ? came_ns - r->sent_ns : 0;
}

/* broker_ns counts failed attempts too: it goes on until the job that answers was sent. Of an attempt that
 * was given up and answers all the same, the time of sending is not known any more: the first one's counts.
 */
void dispatch_fill_times(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                         uint64_t came_ns, uint64_t now, struct answer *a)
{
    uint64_t sent_after = r->attempt == e->attempt ? e->sent_ns - e->received_ns : e->broker_ns;
    came_ns = larger(came_ns, e->received_ns + sent_after); /* came_ns may be by another host's clock */
    a->trace = r->trace;
    a->lookup_wire_ns = r->lookup_wire_ns;
    a->lookup_queue_ns = r->lookup_queue_ns;
    a->lookup_ns = r->lookup_ns;
    a->return_ns = dispatch_return_ns(e, r, came_ns);
    a->broker_ns = sent_after + (now - came_ns);
    a->total_ns = now - e->received_ns;
    a->clock_error_ns = clock_error_ns(d, r);
}

/* A stage waits at least cache.wait_us for a verdict. The verdict's own way is not measured: half of that
 * time is left for it. */
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

void dispatch_begin_times(struct dispatch *d)
{
    struct times *t = &d->times;

    t->of[t->n++].part = TIMES_REQUEST;
    for (int stage = 0; stage < d->pipeline->n_stages; stage++)
        for (int part = TIMES_WIRE; part < TIMES_PARTS; part++)
            t->of[t->n++] = (struct times_of){.part = (uint32_t)part, .stage = (uint32_t)stage};
}

static void count(struct times *t, uint32_t part, uint32_t stage, uint64_t ns)
{
    uint32_t i = part == TIMES_REQUEST ? 0 : 1 + stage * (TIMES_PARTS - 1) + part - TIMES_WIRE;
    struct times_of *of = &t->of[i];

    of->sum_ns += ns;
    of->count[time_bucket(ns)]++;
}

void dispatch_count_total(struct dispatch *d, uint64_t ns)
{
    count(&d->times, TIMES_REQUEST, 0, ns);
}

void dispatch_count_times(struct dispatch *d, const struct answer *a)
{
    dispatch_count_total(d, a->total_ns);
    for (int i = 0; i < a->trace.n; i++) {
        const struct stage_time *t = &a->trace.stage[i];
        count(&d->times, TIMES_WIRE, t->stage, t->wire_ns);
        count(&d->times, TIMES_QUEUE, t->stage, t->queue_ns);
        count(&d->times, TIMES_COMPUTE, t->stage, t->compute_ns);
        count(&d->times, TIMES_LOOKUP, t->stage, t->lookup_ns);
    }
}

void dispatch_tell_times(struct dispatch *d, const struct peer *to)
{
    d->out.type = MESSAGE_TIMES;
    d->out.times = d->times;
    d->io.client(d->io.arg, to, &d->out, NULL);
}

void dispatch_note(struct dispatch *d, const struct request_entry *e, enum span_kind kind, uint64_t start_ns,
                   uint64_t end_ns)
{
    struct span s = {.request = e->id,
                     .attempt = e->attempt,
                     .kind = (uint32_t)kind,
                     .role = ROLE_BROKER,
                     .exit = -1,
                     .start_ns = start_ns,
                     .end_ns = end_ns};
    if (!(e->flags & JOB_TRACE) || end_ns < start_ns)
        return;
    if (kind == SPAN_REQUEST) {
        s.trace_high = e->trace_high;
        s.trace_low = e->trace_low;
        s.parent = e->parent;
        s.span = e->span;
    }
    span_log_put(&d->spans, &s);
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
