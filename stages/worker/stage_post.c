/* stage_post.c - look-ups, results and jobs are made of rows and sent */
#include "stage_post.h"

#include <stdio.h>
#include <string.h>

/* Ends a part of the batch's time now; returns the time. */
static uint64_t lap(struct stage_post *p, enum span_kind kind, int exit)
{
    return stage_times_lap(p->times, p->rows, kind, exit, stage_talk_moment(p->talk));
}

static struct result *start_result(struct stage_post *p, uint64_t request, uint32_t attempt)
{
    struct result *out = &p->out->result;
    memset(out, 0, sizeof *out);
    p->out->type = MESSAGE_RESULT;
    out->request = request;
    out->attempt = attempt;
    out->exit = -1;
    out->label = -1;
    out->sent_ns = stage_talk_time(p->talk, stage_talk_moment(p->talk));
    return out;
}

void stage_post_error(struct stage_post *p, const struct stage_row *r, int code, const char *text)
{
    struct result *out = start_result(p, r->job.request, r->job.attempt);
    out->error = (uint32_t)code;
    out->trace = r->job.trace;
    snprintf(out->text, sizeof out->text, "%s", text);
    p->io->result(p->io->arg, p->out, NULL);
}

void stage_post_hit(struct stage_post *p, const struct told_hit *h)
{
    struct result *out = start_result(p, h->request, h->attempt);
    out->label = h->label;
    out->exit = h->exit;
    out->confidence = h->confidence;
    out->epoch = h->epoch;
    out->trace = h->trace;
    p->io->result(p->io->arg, p->out, NULL);
}

/* The rows that ask, as items of l and places in rows[]; returns how many. */
static int fill_items(struct stage_post *p, struct lookup *l, const int *rows, int n)
{
    for (int i = 0; i < n; i++) {
        const struct stage_row *r = stage_rows_at(p->rows, rows[i]);
        struct lookup_item *item = &l->item[i];
        item->request = r->job.request;
        item->attempt = r->job.attempt;
        item->flags = r->job.flags;
        item->deadline_ns = r->job.deadline_ns;
        stage_times_fill(p->times, r, p->lookups->hidden_ns, &item->trace);
    }
    return n;
}

void stage_post_lookup(struct stage_post *p, int s)
{
    const struct stage_segment *at = &p->setup->segment[s];
    struct lookup *l = &p->out->lookup;
    int rows[MESSAGE_MAX_BATCH], n = 0;
    zmq_msg_t payload;
    uint64_t now;

    for (int i = 0; i < p->rows->n_batch; i++)
        if (stage_row_asks(stage_rows_at(p->rows, i)))
            rows[n++] = i;
    if (!n || stage_talk_no_cache_at(p->talk, at->exit) ||
        !stage_lookups_allow(p->lookups, at->exit, p->times->lap_ns))
        return;
    if (p->engine->describe(p->engine->arg, s, p->rows->n_batch, rows, n, &payload)) {
        breaker_forget_probe(&p->lookups->breaker);
        return;
    }
    now = lap(p, SPAN_ASK, at->exit);
    p->out->type = MESSAGE_LOOKUP;
    l->exit = (uint32_t)at->exit;
    l->origin = at->origin;
    l->sequence = ++p->lookups->sequence;
    l->sent_ns = stage_talk_time(p->talk, now);
    l->dim = (uint32_t)at->dim;
    l->n = fill_items(p, l, rows, n);
    if (p->io->ask(p->io->arg, p->out, &payload)) {
        zmq_msg_close(&payload);
        breaker_late(&p->lookups->breaker, now);
        return;
    }
    stage_lookups_sent(p->lookups, at->exit, now);
    p->talk->beat.lookups += (uint64_t)n;
}

static void send_scores(struct stage_post *p, const struct stage_row *r, int place)
{
    struct result *out = start_result(p, r->job.request, r->job.attempt);
    zmq_msg_t payload;
    struct error e;
    int rc = p->engine->output(p->engine->arg, place, p->rows->n_batch, -1, &out->scores, &out->label,
                               &out->confidence, &payload, &e);
    if (rc) {
        stage_post_error(p, r, rc, e.text);
        return;
    }
    out->sent_ns = stage_talk_time(p->talk, lap(p, SPAN_SERIALISE, -1));
    stage_times_fill(p->times, r, p->lookups->hidden_ns, &out->trace);
    if (p->io->result(p->io->arg, p->out, &payload))
        zmq_msg_close(&payload);
}

static void send_activation(struct stage_post *p, const struct stage_row *r, int place)
{
    struct job *out = &p->out->job;
    int stage = (int)p->setup->self.stage, replica = r->job.route[stage + 1], rc;
    char text[MESSAGE_TEXT_BYTES];
    zmq_msg_t payload;
    struct error e;

    p->out->type = MESSAGE_JOB;
    *out = r->job;
    if ((rc = p->engine->output(p->engine->arg, place, p->rows->n_batch, replica, &out->activation, NULL,
                                NULL, &payload, &e))) {
        stage_post_error(p, r, rc, e.text);
        return;
    }
    out->sent_ns = stage_talk_time(p->talk, lap(p, SPAN_SERIALISE, -1));
    stage_times_fill(p->times, r, p->lookups->hidden_ns, &out->trace);
    if ((rc = p->io->next(p->io->arg, replica, p->out, &payload))) {
        zmq_msg_close(&payload);
        p->talk->reached_ns = 0; /* and tell the broker */
        snprintf(text, sizeof text, "stage %d replica %d does not reach stage %d replica %d: %s", stage,
                 (int)p->setup->self.replica, stage + 1, replica,
                 rc == FL_AGAIN ? "not connected, or its queue is full" : error_sentence(rc));
        stage_post_error(p, r, FL_UNAVAILABLE, text);
    }
}

void stage_post_outputs(struct stage_post *p)
{
    for (int i = 0; i < p->rows->n_batch; i++) {
        struct stage_row *r = stage_rows_at(p->rows, i);
        if (r->state != ROW_RUNS)
            continue;
        if (p->talk->n_next)
            send_activation(p, r, i);
        else
            send_scores(p, r, i);
        r->state = ROW_SENT;
    }
}
