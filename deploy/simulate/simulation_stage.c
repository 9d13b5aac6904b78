/* simulation_stage.c - stage workers and cache services, as in stages/worker/worker_batch.c and
 * worker_lookup.c */
#include "simulation_parts.h"

static const struct simulation_stage *stage_of(const struct state *s, const struct worker *w)
{
    return &s->s->stage[w->stage];
}

static struct simulation_stage_result *books(struct state *s, const struct worker *w)
{
    return s->closed_window ? &s->afterwards : &s->result->stage[w->stage];
}

static void compute(struct state *s, struct worker *w, double ns, double wake_ns, double width)
{
    ns += w->debt;
    w->debt = 0;
    cpu_start(s, main_thread(w->process), ns, wake_ns, width);
}

static int count_running(const struct worker *w)
{
    int n = 0;
    for (int i = 0; i < w->n_batch; i++)
        n += w->row[i].state == ROW_RUNS;
    return n;
}

/* ---- forming ---- */

static void start_segment(struct state *s, struct worker *w)
{
    const struct simulation_stage *stage = stage_of(s, w);
    const struct simulation_costs *c = &s->s->costs;
    const struct simulation_segment *g = &stage->segment[w->segment];
    double n = w->n_batch, ns = random_time(&s->times, &g->compute[w->n_batch]);

    if (w->cold)
        ns *= 1 + c->cold_share;
    if (c->crowd_share > 0)
        ns *= 1 + c->crowd_share / n * cpu_crowd(s, s->process[w->process].host);
    if (w->segment == 0)
        ns += n * (c->stage_receive_ns + c->stage_byte_ns * stage->bytes);
    if (g->exit >= 0 && w->cache != NONE)
        ns += c->stage_lookup_ns +
              n * (s->s->exit[g->exit].descriptor_ns + c->stage_byte_ns * s->s->exit[g->exit].bytes);
    w->state = WORKER_COMPUTES;
    compute(s, w, ns, AWAKE, stage->threads);
}

/* What the stage before took ends where this one's queue began. */
static void note_formed(const struct state *s, struct request *r, int stage, uint64_t queue_ns)
{
    if (stage)
        r->passed[stage - 1].own_ns = (float)(s->now - queue_ns - r->formed);
    r->passed[stage].queue_ns = (float)queue_ns;
    r->formed = s->now;
    r->n_passed = stage + 1;
}

static void send_late(struct state *s, const struct worker *w, const struct parcel *job)
{
    int request = job->request, parcel;
    uint32_t serial = job->serial;
    if ((parcel = parcel_new(s, RESULT, w->process, BROKER_PROCESS, 0)) == NONE)
        return;
    s->parcel[parcel].request = request;
    s->parcel[parcel].serial = serial;
    s->parcel[parcel].exit = LATE;
    wire_send(s, parcel);
}

static void form_batch(struct state *s, struct worker *w)
{
    struct simulation_stage_result *out = books(s, w);
    int taken = 0;
    w->n_batch = w->segment = w->sent = 0;
    w->formed = s->now;
    w->batch++;
    while (w->first != NONE && w->n_batch < stage_of(s, w)->max_batch) {
        int parcel = w->first;
        const struct parcel *p = &s->parcel[parcel];
        w->first = p->next;
        if (request_is_over(s, p->request, p->serial)) {
            out->dropped++;
        } else if (request_is_late(s, p->request, w->stage)) {
            out->dropped++;
            send_late(s, w, p);
        } else {
            note_formed(s, &s->request[p->request], w->stage, s->now - p->since);
            w->row[w->n_batch++] = (struct row){p->request, p->serial, ROW_RUNS};
            out->queue_ns += (double)(s->now - p->since);
            out->entered++;
        }
        parcel_free(s, parcel);
        taken++;
    }
    if (w->first == NONE)
        w->last = NONE;
    w->queued -= taken < w->queued ? taken : w->queued;
    for (int i = 0; i < w->n_batch; i++)
        s->request[w->row[i].request].passed[w->stage].batch = w->n_batch;
    out->batches += w->n_batch > 0;
    w->state = WORKER_IDLE;
    if (w->n_batch)
        start_segment(s, w);
    if (w->stage == 0 && taken)
        broker_send_waiting(s);
}

/* ---- look-ups ---- */

static void send_lookup(struct state *s, struct worker *w, int exit)
{
    int i, parcel, n = count_running(w);
    struct lookup *l;
    if (w->cache == NONE || !n || w->n_pending == PIPELINE_MAX_EXITS ||
        !breaker_allows(&w->breaker, s->now + 1))
        return;
    i = pool_take(s, &s->lookups, (void **)&s->lookup, sizeof *s->lookup, offsetof(struct lookup, next));
    parcel = i == NONE ? NONE : parcel_new(s, LOOKUP, w->process, w->cache, n * s->s->exit[exit].bytes);
    if (parcel == NONE)
        return;
    l = &s->lookup[i];
    *l = (struct lookup){
        .next = NONE, .worker = (int)(w - s->worker), .exit = exit, .sequence = ++w->sequence};
    for (int k = 0; k < w->n_batch; k++)
        if (w->row[k].state == ROW_RUNS)
            l->item[l->n++] = (struct asked){w->row[k].request, w->row[k].serial, false};
    s->parcel[parcel].lookup = i;
    w->pending[w->n_pending++] = (struct pending){w->sequence, s->now, false, false};
    wire_send(s, parcel);
}

static bool worth_waiting(const struct worker *w)
{
    for (int i = 0; i < w->n_pending; i++)
        if (!w->pending[i].answered && !w->pending[i].over)
            return count_running(w) > 0;
    return false;
}

static void settle_lookups(struct state *s, struct worker *w)
{
    int kept = 0;
    for (int i = 0; i < w->n_pending; i++) {
        struct pending p = w->pending[i];
        if (p.answered)
            continue;
        p.over = true;
        if ((double)(s->now - p.sent) >= s->s->wait_ns)
            breaker_late(&w->breaker, s->now + 1);
        else
            w->pending[kept++] = p;
    }
    w->n_pending = kept;
}

/* ---- the end of a batch ---- */

static void finish_batch(struct state *s, struct worker *w)
{
    w->cold = false;
    settle_lookups(s, w);
    form_batch(s, w);
}

/* Rows that are done leave. */
static void compact(struct state *s, struct worker *w)
{
    struct simulation_stage_result *out = books(s, w);
    int n = 0, rows = w->n_batch;
    for (int i = 0; i < w->n_batch; i++) {
        struct row *r = &w->row[i];
        if (r->state == ROW_RUNS && request_is_over(s, r->request, r->serial)) {
            r->state = ROW_DROPPED;
            out->dropped++;
        }
        out->hits += r->state == ROW_HIT;
        if (r->state == ROW_RUNS)
            w->row[n++] = *r;
    }
    out->service_ns += (rows - n) * (double)(s->now - w->formed);
    w->n_batch = n;
}

static void send_next(struct state *s, struct worker *w, double wake_ns)
{
    bool last = w->stage + 1 == s->s->n_stages;
    double bytes = last ? s->s->answer_bytes : s->s->stage[w->stage + 1].bytes;
    w->state = WORKER_SENDS;
    compute(s, w, s->s->costs.stage_send_ns + s->s->costs.stage_byte_ns * bytes, wake_ns, 1);
}

static void begin_sending(struct state *s, struct worker *w, double wake_ns)
{
    compact(s, w);
    if (w->n_batch)
        send_next(s, w, wake_ns);
    else
        finish_batch(s, w);
}

static void send_row(struct state *s, struct worker *w, const struct row *r)
{
    bool last = w->stage + 1 == s->s->n_stages;
    const struct request *q = &s->request[r->request];
    int parcel, to = BROKER_PROCESS;
    if (request_is_over(s, r->request, r->serial) || q->state != REQUEST_SENT)
        return; /* answered, or waiting for another attempt: the broker would drop it */
    if (!last)
        to = worker_process(s, s->first_worker[w->stage + 1] + q->route[w->stage + 1]);
    parcel = parcel_new(s, last ? RESULT : JOB, w->process, to,
                        last ? s->s->answer_bytes : s->s->stage[w->stage + 1].bytes);
    if (parcel == NONE)
        return;
    s->parcel[parcel].request = r->request;
    s->parcel[parcel].serial = r->serial;
    s->parcel[parcel].exit = last ? s->s->n_exits : NONE;
    wire_send(s, parcel);
}

static void segment_done(struct state *s, struct worker *w)
{
    const struct simulation_stage *stage = stage_of(s, w);
    int exit = stage->segment[w->segment].exit;

    if (exit >= 0)
        send_lookup(s, w, exit);
    if (w->segment + 1 < stage->n_segments) {
        compact(s, w);
        w->segment++;
        if (w->n_batch)
            start_segment(s, w);
        else
            finish_batch(s, w);
    } else if (w->stage + 1 < s->s->n_stages && worth_waiting(w) && s->s->wait_ns > 0) {
        w->state = WORKER_WAITS;
        state_schedule(s, s->now + (uint64_t)s->s->wait_ns, EVENT_PATIENCE, (int)(w - s->worker), w->batch);
    } else {
        begin_sending(s, w, AWAKE);
    }
}

/* ---- what comes in ---- */

static void on_verdict(struct state *s, struct worker *w, const struct lookup *l, double wake_ns)
{
    struct pending *p = NULL;
    for (int i = 0; i < w->n_pending; i++)
        if (w->pending[i].sequence == l->sequence)
            p = &w->pending[i];
    w->debt += s->s->costs.stage_verdict_ns;
    if (!p || p->answered)
        return;
    p->answered = true;
    breaker_answered(&w->breaker);
    for (int k = 0; k < l->n; k++)
        for (int i = 0; l->item[k].hit && i < w->n_batch; i++)
            if (w->row[i].request == l->item[k].request && w->row[i].serial == l->item[k].serial &&
                w->row[i].state == ROW_RUNS)
                w->row[i].state = ROW_HIT;
    if (w->state == WORKER_WAITS && !worth_waiting(w)) {
        begin_sending(s, w, wake_ns);
    } else if (w->state == WORKER_COMPUTES && !count_running(w) &&
               s->thread[main_thread(w->process)].slot != NONE) {
        cpu_stop(s, main_thread(w->process)); /* nobody needs the rest */
        compact(s, w);
        finish_batch(s, w);
    }
}

void worker_take(struct state *s, int worker, int parcel)
{
    struct worker *w = &s->worker[worker];
    struct parcel *p = &s->parcel[parcel];
    if (p->kind == VERDICT) {
        on_verdict(s, w, &s->lookup[p->lookup], p->wake_ns);
        parcel_free(s, parcel);
        return;
    }
    p->next = NONE;
    p->since = s->now;
    *(w->last == NONE ? &w->first : &s->parcel[w->last].next) = parcel;
    w->last = parcel;
    if (w->state == WORKER_IDLE) {
        w->state = WORKER_WAKES;
        w->cold = true;
        compute(s, w, 0, p->wake_ns, 1);
    }
}

void worker_done(struct state *s, int worker)
{
    struct worker *w = &s->worker[worker];
    s->thread[main_thread(w->process)].busy = false;
    switch (w->state) {
    case WORKER_WAKES:
        form_batch(s, w);
        break;
    case WORKER_COMPUTES:
        segment_done(s, w);
        break;
    case WORKER_SENDS:
        send_row(s, w, &w->row[w->sent++]);
        books(s, w)->service_ns += (double)(s->now - w->formed);
        if (w->sent < w->n_batch)
            send_next(s, w, AWAKE);
        else
            finish_batch(s, w);
        break;
    default:
        break;
    }
}

void worker_patience(struct state *s, int worker, uint32_t batch)
{
    struct worker *w = &s->worker[worker];
    if (w->state == WORKER_WAITS && w->batch == batch)
        begin_sending(s, w, random_time(&s->times, &s->s->costs.wake));
}

/* A new process in its place; the batch number goes on, so that old events mean nothing to it. */
void worker_reset(struct state *s, int worker)
{
    struct worker *w = &s->worker[worker];
    while (w->first != NONE) {
        int parcel = w->first;
        w->first = s->parcel[parcel].next;
        parcel_free(s, parcel);
    }
    w->last = NONE;
    w->state = WORKER_IDLE;
    w->n_batch = w->n_pending = w->queued = 0;
    w->batch++;
    w->debt = 0;
    w->breaker = (struct breaker){0, 0, 0, false};
}

/* ---- cache services ---- */

double cache_cost(const struct state *s, const struct parcel *p)
{
    const struct lookup *l = &s->lookup[p->lookup];
    const struct simulation_exit *x = &s->s->exit[l->exit];
    return s->s->costs.cache_ns + x->lookup_ns + x->lookup_row_ns * l->n;
}

static void send_hit(struct state *s, int cache, const struct asked *a, int exit)
{
    int parcel = parcel_new(s, RESULT, cache, BROKER_PROCESS, 0);
    if (parcel == NONE)
        return;
    s->parcel[parcel].request = a->request;
    s->parcel[parcel].serial = a->serial;
    s->parcel[parcel].exit = exit;
    wire_send(s, parcel);
}

void cache_handle(struct state *s, int parcel)
{
    int lookup = s->parcel[parcel].lookup, cache = s->parcel[parcel].to, back;
    struct lookup *l = &s->lookup[lookup];

    for (int i = 0; i < l->n; i++) {
        struct asked *a = &l->item[i];
        bool over = request_is_over(s, a->request, a->serial);
        a->hit = over || s->request[a->request].first_hit <= l->exit;
        if (a->hit && !over)
            send_hit(s, cache, a, l->exit);
    }
    back = parcel_new(s, VERDICT, cache, worker_process(s, l->worker), 0);
    if (back != NONE) {
        s->parcel[back].lookup = lookup;
        s->parcel[parcel].lookup = NONE;
        wire_send(s, back);
    }
    parcel_free(s, parcel);
}
