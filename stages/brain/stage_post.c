/* stage_post.c - look-ups, results and jobs are made of rows and sent */
#include "stage_post.h"

#include <stdio.h>
#include <string.h>

#include "index/verdicts.h"

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
    out->sent_ns = stage_talk_time(p->talk, request, stage_talk_moment(p->talk));
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

/* A deadline by the clock of the broker of `base`, the first item: several may have sent requests of a batch.
 */
static uint64_t deadline_by(const struct stage_post *p, const struct job *j, uint64_t base)
{
    if (request_broker(j->request) == request_broker(base))
        return j->deadline_ns;
    return j->deadline_ns - stage_talk_time(p->talk, j->request, 0) + stage_talk_time(p->talk, base, 0);
}

/* The rows that ask, as items of l and places in rows[]; returns how many. */
static int fill_items(struct stage_post *p, struct lookup *l, const int *rows, int n)
{
    uint64_t base = stage_rows_at(p->rows, rows[0])->job.request;
    for (int i = 0; i < n; i++) {
        const struct stage_row *r = stage_rows_at(p->rows, rows[i]);
        struct lookup_item *item = &l->item[i];
        item->request = r->job.request;
        item->attempt = r->job.attempt;
        item->flags = r->job.flags;
        item->loss_allowed = r->job.loss_allowed;
        item->stream = r->job.stream;
        item->deadline_ns = deadline_by(p, &r->job, base);
        stage_times_fill(p->times, r, p->lookups->hidden_ns, &item->trace);
    }
    return n;
}

static void start_lookup(struct stage_post *p, const struct stage_segment *at, const int *rows, int n)
{
    struct lookup *l = &p->out->lookup;
    p->out->type = MESSAGE_LOOKUP;
    l->exit = (uint32_t)at->exit;
    l->origin = at->origin;
    l->sequence = 0;
    l->sent_ns = stage_talk_time(p->talk, stage_rows_at(p->rows, rows[0])->job.request, p->times->lap_ns);
    l->dim = (uint32_t)at->dim;
    l->told = false;
    l->answered = l->hits = 0;
    l->n = fill_items(p, l, rows, n);
}

/* False: the payload is still here. */
static bool ask_service(struct stage_post *p, zmq_msg_t *payload)
{
    int exit = (int)p->out->lookup.exit;
    uint64_t now = p->times->lap_ns;
    p->out->lookup.sequence = ++p->lookups->sequence;
    if (p->io->ask(p->io->arg, p->out, payload)) {
        breaker_late(&p->lookups->breaker, now);
        return false;
    }
    p->talk->beat.lookups += (uint64_t)p->out->lookup.n;
    stage_lookups_sent(p->lookups, exit, now);
    stage_near_asked(p->near, exit, stage_talk_moment(p->talk) - now);
    return true;
}

/* --- look-ups here --- */

static bool send_hit(struct stage_post *p, const struct verdict *v, int i)
{
    struct message *out = p->hit;
    out->type = MESSAGE_RESULT;
    verdicts_result(&out->result, &p->out->lookup, v, i,
                    stage_talk_time(p->talk, v->item[i].request, p->times->lap_ns));
    return !p->io->result(p->io->arg, out, NULL);
}

/* The items that the cache service learns from stay in *l; places[] gets where they were. */
static void keep_lessons(struct stage_near *near, struct lookup *l, const struct verdict *v, int *places)
{
    int n = 0;
    for (int i = 0; i < v->n; i++) {
        uint32_t flags = l->item[i].flags;
        near->answered += !(flags & JOB_AUDIT);
        near->hits += v->item[i].hit;
        if (v->item[i].hit || !(flags & (JOB_SAMPLED | JOB_AUDIT)))
            continue;
        places[n] = i;
        l->item[n++] = l->item[i];
    }
    l->n = n;
}

/* Best effort: a lesson that is lost is one less. */
static void teach(struct stage_post *p, const struct verdict *v, const float *descriptors)
{
    struct lookup *l = &p->out->lookup;
    size_t dim = l->dim;
    int places[MESSAGE_MAX_BATCH];
    zmq_msg_t some;
    keep_lessons(p->near, l, v, places);
    if (!l->n || zmq_msg_init_size(&some, (size_t)l->n * dim * sizeof *descriptors))
        return;
    for (int i = 0; i < l->n; i++)
        memcpy((float *)zmq_msg_data(&some) + (size_t)i * dim, descriptors + (size_t)places[i] * dim,
               dim * sizeof *descriptors);
    l->told = true;
    l->answered = p->near->answered;
    l->hits = p->near->hits;
    if (p->io->ask(p->io->arg, p->out, &some))
        zmq_msg_close(&some);
    else
        p->near->answered = p->near->hits = 0;
}

/* Where no cache stands and one is to be made. As teach: best effort. */
static void tell_lessons(struct stage_post *p, int s, const int *rows, int n)
{
    const struct stage_segment *at = &p->setup->segment[s];
    int some[MESSAGE_MAX_BATCH], n_some = 0;
    zmq_msg_t payload;
    for (int i = 0; i < n; i++)
        if (stage_rows_at(p->rows, rows[i])->job.flags & (JOB_SAMPLED | JOB_AUDIT))
            some[n_some++] = rows[i];
    if (!n_some || p->engine->describe(p->engine->arg, s, p->rows->n_batch, some, n_some, &payload))
        return;
    lap(p, SPAN_ASK, at->exit);
    start_lookup(p, at, some, n_some);
    p->out->lookup.told = true;
    if (p->io->ask(p->io->arg, p->out, &payload))
        zmq_msg_close(&payload);
}

static const struct verdict *look_here(struct stage_post *p, zmq_msg_t *payload)
{
    const struct lookup *l = &p->out->lookup;
    struct verdict *v = &p->near->verdict;
    uint64_t from = p->times->lap_ns;
    int exit = (int)l->exit, rc = p->io->look(p->io->arg, l, zmq_msg_data(payload), l->sent_ns, v);
    if (!rc) {
        v->lookup_ns = lap(p, SPAN_LOOKUP, exit) - from;
        for (int i = 0; i < v->n; i++)
            v->item[i].hit = v->item[i].hit && send_hit(p, v, i);
        p->talk->beat.lookups += (uint64_t)v->n;
        stage_near_looked(p->near, exit, v->lookup_ns, v);
        teach(p, v, zmq_msg_data(payload));
    }
    zmq_msg_close(payload);
    return rc ? NULL : v;
}

bool stage_post_holds(const struct stage_post *p, int s)
{
    if (s + 1 == p->setup->n_segments)
        return p->talk->n_next > 0; /* behind the last stage there is nothing to save */
    return !stage_near_runs_on(p->near, p->setup->segment[s].exit, p->rows->n_batch,
                               p->setup->segment[s + 1].nodes);
}

/* The rows that are to be looked up where segment s ends, in rows[]. A shadow that was put back is told once.
 */
static int rows_that_ask(struct stage_post *p, int s, int *rows)
{
    int n = 0;
    for (int i = 0; i < p->rows->n_batch; i++) {
        struct stage_row *r = stage_rows_at(p->rows, i);
        if (!stage_row_asks(r) || r->told > s)
            continue;
        if (stage_row_is_shadow(r))
            r->told = s + 1;
        rows[n++] = i;
    }
    return n;
}

/* Frames of a video are looked up by the service where it can be asked: it knows what came before. */
static bool has_stream(const struct stage_post *p, const int *rows, int n)
{
    for (int i = 0; i < n; i++)
        if (stage_rows_at(p->rows, rows[i])->job.stream)
            return true;
    return false;
}

const struct verdict *stage_post_lookup(struct stage_post *p, int s)
{
    const struct stage_segment *at = &p->setup->segment[s];
    int rows[MESSAGE_MAX_BATCH], n = rows_that_ask(p, s, rows);
    bool none = stage_talk_no_cache_at(p->talk, at->exit), here, there;
    zmq_msg_t payload;

    if (!n)
        return NULL;
    here = !has_stream(p, rows, n) && stage_near_answers(p->near, at->exit, stage_post_holds(p, s));
    there = !here && !none && stage_lookups_allow(p->lookups, at->exit, p->times->lap_ns);
    here = here || (!there && stage_near_has(p->near, at->exit));
    if (!here && !there) {
        if (none && stage_talk_learns_at(p->talk, at->exit))
            tell_lessons(p, s, rows, n);
        return NULL;
    }
    if (p->engine->describe(p->engine->arg, s, p->rows->n_batch, rows, n, &payload)) {
        if (there)
            breaker_forget_probe(&p->lookups->breaker);
        return NULL;
    }
    lap(p, SPAN_ASK, at->exit);
    start_lookup(p, at, rows, n);
    if (there && ask_service(p, &payload))
        return NULL;
    if (stage_near_has(p->near, at->exit))
        return look_here(p, &payload);
    zmq_msg_close(&payload);
    return NULL;
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
    out->sent_ns = stage_talk_time(p->talk, r->job.request, lap(p, SPAN_SERIALISE, -1));
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
    out->sent_ns = stage_talk_time(p->talk, r->job.request, lap(p, SPAN_SERIALISE, -1));
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
