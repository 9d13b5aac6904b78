/* dispatch_trace.c - spans of traced requests: the broker's own, the workers', and handing them over */
#include "dispatch.h"

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
