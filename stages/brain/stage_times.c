/* stage_times.c - laps of a batch, spans of traced requests */
#include "stage_times.h"

#include "base/clock.h"

#define STAGE_SPANS 4096      /* until the next heartbeat */
#define SHORTEST_NS NS_PER_US /* shorter ones are left out */

void stage_times_init(struct stage_times *t, const struct stage_talk *talk)
{
    t->talk = talk;
    for (int i = 0; i < talk->n_lines; i++)
        span_log_init(&t->spans[i], STAGE_SPANS, ROLE_STAGE, talk->self.stage, talk->self.replica);
}

void stage_times_free(struct stage_times *t)
{
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++)
        span_log_free(&t->spans[i]);
}

void stage_times_note(struct stage_times *t, const struct stage_row *r, enum span_kind kind, int exit,
                      uint64_t start_ns, uint64_t end_ns)
{
    uint64_t request = r->job.request;
    if (r->job.flags & JOB_TRACE) /* a log without room counts those of brokers that there are not as lost */
        span_log_note(&t->spans[request_broker(request)], kind, request, r->job.attempt, exit,
                      stage_talk_time(t->talk, request, start_ns), stage_talk_time(t->talk, request, end_ns));
}

void stage_times_note_batch(struct stage_times *t, struct stage_rows *rows, enum span_kind kind, int exit,
                            uint64_t start_ns, uint64_t end_ns)
{
    if (!t->traced || end_ns - start_ns < SHORTEST_NS)
        return;
    for (int i = 0; i < rows->n_batch; i++)
        if (stage_rows_at(rows, i)->state == ROW_RUNS)
            stage_times_note(t, stage_rows_at(rows, i), kind, exit, start_ns, end_ns);
}

void stage_times_begin(struct stage_times *t, struct stage_rows *rows, uint64_t now)
{
    t->formed = rows->n_batch;
    t->formed_ns = t->lap_ns = now;
    t->compute_ns = t->lookup_ns = t->serialise_ns = 0;
    t->traced = 0;
    for (int i = 0; i < rows->n_batch; i++) {
        const struct stage_row *r = stage_rows_at(rows, i);
        t->traced += (r->job.flags & JOB_TRACE) != 0;
        stage_times_note(t, r, SPAN_WIRE, -1, r->received_ns - r->wire_ns, r->received_ns);
        stage_times_note(t, r, SPAN_QUEUE, -1, r->received_ns, now);
    }
}

uint64_t stage_times_lap(struct stage_times *t, struct stage_rows *rows, enum span_kind kind, int exit,
                         uint64_t now)
{
    uint64_t *part = kind == SPAN_COMPUTE     ? &t->compute_ns
                     : kind == SPAN_SERIALISE ? &t->serialise_ns
                                              : &t->lookup_ns;
    *part += now - t->lap_ns;
    stage_times_note_batch(t, rows, kind, exit, t->lap_ns, now);
    return t->lap_ns = now;
}

void stage_times_fill(const struct stage_times *t, const struct stage_row *r, uint64_t hidden_ns,
                      struct trace *out)
{
    uint64_t ready = r->received_ns + r->decode_ns;
    *out = r->job.trace;
    if (out->n >= PIPELINE_MAX_STAGES)
        return;
    out->stage[out->n++] = (struct stage_time){.stage = t->talk->self.stage,
                                               .replica = t->talk->self.replica,
                                               .batch = (uint32_t)t->formed,
                                               .wire_ns = r->wire_ns,
                                               .queue_ns = t->formed_ns > ready ? t->formed_ns - ready : 0,
                                               .compute_ns = t->compute_ns,
                                               .lookup_ns = t->lookup_ns,
                                               .serialise_ns = r->decode_ns + t->serialise_ns,
                                               .hidden_ns = hidden_ns};
}

void stage_times_note_left(struct stage_times *t, const struct stage_row *r, uint64_t now)
{
    if (t->traced && r->state == ROW_HIT)
        stage_times_note(t, r, SPAN_SPECULATION, r->hit_exit, r->hit_sent_ns, now);
}
