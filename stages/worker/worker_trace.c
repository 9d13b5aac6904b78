/* worker_trace.c - what the worker did for traced requests, and when */
#include "worker_parts.h"

#define SHORTEST_NS NS_PER_US /* shorter ones are left out */

void worker_note(struct stage_worker *w, const struct row *r, enum span_kind kind, int exit,
                 uint64_t start_ns, uint64_t end_ns)
{
    if (r->job.flags & JOB_TRACE)
        span_log_note(&w->spans, kind, r->job.request, r->job.attempt, exit, worker_broker_time(w, start_ns),
                      worker_broker_time(w, end_ns));
}

void worker_note_batch(struct stage_worker *w, enum span_kind kind, int exit, uint64_t start_ns,
                       uint64_t end_ns)
{
    if (end_ns - start_ns < SHORTEST_NS)
        return;
    for (int i = 0; i < w->n_batch; i++)
        if (w->row[w->batch[i]].state == ROW_RUNS)
            worker_note(w, &w->row[w->batch[i]], kind, exit, start_ns, end_ns);
}

void worker_note_formed(struct stage_worker *w)
{
    w->traced = 0;
    for (int i = 0; i < w->n_batch; i++) {
        const struct row *r = &w->row[w->batch[i]];
        if (!(r->job.flags & JOB_TRACE))
            continue;
        w->traced++;
        worker_note(w, r, SPAN_WIRE, -1, r->received_ns - r->wire_ns, r->received_ns);
        worker_note(w, r, SPAN_QUEUE, -1, r->received_ns, w->formed_ns);
    }
}

void worker_note_left(struct stage_worker *w, int row)
{
    const struct row *r = &w->row[row];
    if (w->traced && r->state == ROW_HIT)
        worker_note(w, r, SPAN_SPECULATION, r->hit_exit, r->hit_sent_ns, clock_ns());
}

void worker_send_spans(struct stage_worker *w)
{
    while (span_log_take(&w->spans, &w->out.spans)) {
        uint64_t lost = w->out.spans.lost + (uint64_t)w->out.spans.n;
        w->out.type = MESSAGE_SPANS;
        if (frames_send(w->control, NULL, &w->out, NULL)) {
            w->spans.lost += lost;
            return;
        }
    }
}
