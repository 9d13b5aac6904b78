/* stage_brain.c - jobs become batches, batches run segment by segment, what comes out is handed on */
#include "stage_brain.h"

#include "base/arrival.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mishap.h"
#include "batch_limit.h"
#include "cancel_set.h"
#include "job_check.h"
#include "stage_load.h"
#include "stage_post.h"
#include "wire/hello.h"

/* A shadow begins when no other job was here for a while, or when it has waited for so many times what one
 * takes. It is put back for others a few times and then runs to its end, so where others leave no gap shadows
 * get a twentieth of the time. */
#define SHADOW_GRACE_NS (2 * NS_PER_MS)
#define SHADOW_WAITS    4
#define SHADOW_LEAST_NS (5 * NS_PER_MS) /* that it waits, and most */
#define SHADOW_MOST_NS  (250 * NS_PER_MS)
#define PUT_BACK_MOST   4

enum phase {
    IDLE,     /* no batch in hand */
    READY,    /* `segment` is to be computed */
    COMPUTES, /* it is being computed */
    HOLDS     /* all is computed: verdicts are waited for */
};

struct stage_brain {
    struct stage_setup setup;
    struct stage_io io;
    struct stage_engine engine;
    int stage;
    bool last, asks; /* the last stage; has a cache service to ask */
    struct stage_talk talk;
    struct stage_rows rows;
    struct stage_times times;
    struct stage_lookups lookups;
    struct stage_near near;
    struct stage_post post;
    struct batch_limit limit;
    struct stage_load load;
    enum phase phase;
    bool shadow; /* the batch in hand is one */
    int segment;
    uint64_t hold_until_ns;
    uint64_t others_ns; /* when jobs that are no shadows were here last */
    uint64_t shadow_ns; /* what the last shadow took */
    uint64_t due_ns;    /* when to call tick again */
    int asked;          /* to end, how often */
    struct mishap garbage;

    /* large, and not cleared as a whole */
    struct cancel_set cancelled;
    struct hit_log hits;
    struct message out, hit; /* scratch */
};

/* How long a request may take through all stages; 0: this stage's batches are not made smaller for it. */
static double target_ns(const struct pipeline *p, int stage)
{
    const struct broker_config *c = &p->broker;
    if (p->stage[stage].fixed_batch)
        return 0;
    return NS_PER_MS * (c->latency_target_ms ? c->latency_target_ms : PIPELINE_WAIT_SHARE * c->deadline_ms);
}

int stage_brain_new(struct stage_brain **out, const struct stage_setup *s, const struct stage_io *io,
                    const struct stage_engine *engine)
{
    const struct pipeline *p = s->pipeline;
    struct stage_brain *b = memory_cleared(sizeof *b, offsetof(struct stage_brain, cancelled.oldest));
    if (!b)
        return FL_NOMEM;
    b->hits.n = 0;
    b->setup = *s;
    b->io = *io;
    b->engine = *engine;
    b->stage = (int)s->self.stage;
    b->last = b->stage == p->n_stages - 1;
    b->asks = s->segment[0].exit >= 0 && p->cache.n_endpoints > 0;
    b->talk = (struct stage_talk){.pipeline = p,
                                  .io = &b->io,
                                  .out = &b->out,
                                  .self = s->self,
                                  .n_lines = pipeline_brokers(p),
                                  .n_next = b->last ? 0 : p->stage[b->stage + 1].n_replicas};
    batch_limit_init(&b->limit, s->max_batch, target_ns(p, b->stage),
                     s->share > 0 ? s->share : 1.0 / p->n_stages);
    b->post = (struct stage_post){&b->setup, &b->io,      &b->engine, &b->talk, &b->rows,
                                  &b->times, &b->lookups, &b->near,   &b->out,  &b->hit};
    b->lookups.patience_ns = (uint64_t)p->cache.wait_us * NS_PER_US;
    stage_near_init(&b->near, &p->cache);
    stage_times_init(&b->times, &b->talk);
    if (stage_rows_new(&b->rows, s->max_batch)) {
        stage_brain_free(b);
        return FL_NOMEM;
    }
    *out = b;
    return FL_OK;
}

void stage_brain_free(struct stage_brain *b)
{
    if (!b)
        return;
    stage_rows_free(&b->rows);
    stage_times_free(&b->times);
    free(b);
}

static uint64_t moment(const struct stage_brain *b)
{
    return stage_talk_moment(&b->talk);
}

static uint64_t lap(struct stage_brain *b, enum span_kind kind, int exit)
{
    return stage_times_lap(&b->times, &b->rows, kind, exit, moment(b));
}

void stage_brain_garbage(struct stage_brain *b, const char *where, const struct error *e, uint64_t now)
{
    mishap(&b->garbage, LOG_LEVEL_WARN, where, e->text, now);
}

static bool belongs(struct stage_brain *b, const struct message *m, enum message_type type, const char *where,
                    uint64_t now)
{
    if (m->type == type)
        return true;
    stage_brain_garbage(b, where, &(struct error){FL_PROTOCOL, "a message that does not belong here"}, now);
    return false;
}

/* --- jobs come --- */

int stage_brain_room(const struct stage_brain *b)
{
    return stage_rows_room(&b->rows);
}

bool stage_brain_waiting(const struct stage_brain *b)
{
    return b->rows.waiting.n > 0;
}

/* It may wait for long, so it must not keep what came after it in a lane's ring. */
static int keep_payload(struct stage_row *r, zmq_msg_t *payload)
{
    if (!stage_row_is_shadow(r)) {
        zmq_msg_move(&r->payload, payload);
        return FL_OK;
    }
    if (zmq_msg_init_size(&r->payload, zmq_msg_size(payload))) {
        zmq_msg_init(&r->payload);
        return FL_NOMEM;
    }
    memcpy(zmq_msg_data(&r->payload), zmq_msg_data(payload), zmq_msg_size(payload));
    return FL_OK;
}

/* A row that was not filled yet, and what is wrong with the job. */
static int fill_row(struct stage_brain *b, struct stage_row *r, const struct job *j, zmq_msg_t *payload,
                    struct error *e)
{
    int rc;
    r->job = *j;
    r->state = ROW_RUNS;
    r->told = r->put_back = 0;
    if ((rc = job_check(&r->job, &b->setup, b->talk.n_next, e)))
        return rc;
    if (stage_row_is_shadow(r) && b->rows.shadows.n == STAGE_MAX_SHADOWS)
        return error_set(e, FL_OVERLOADED, "%d shadows wait here", STAGE_MAX_SHADOWS);
    return keep_payload(r, payload) ? error_set(e, FL_NOMEM, "out of memory") : FL_OK;
}

void stage_brain_job(struct stage_brain *b, const struct message *m, zmq_msg_t *payload, uint64_t empty_ns,
                     uint64_t taken_ns, uint64_t now)
{
    struct arrival a;
    struct stage_row *r;
    struct error e;
    int row, rc;

    if (!belongs(b, m, MESSAGE_JOB, "jobs socket", now))
        return;
    a = arrival_of(m->job.sent_ns, stage_talk_time(&b->talk, m->job.request, empty_ns),
                   stage_talk_time(&b->talk, m->job.request, taken_ns),
                   stage_talk_time(&b->talk, m->job.request, now));
    row = stage_rows_take(&b->rows);
    r = &b->rows.row[row];
    r->wire_ns = a.wire_ns;
    r->decode_ns = a.decode_ns;
    r->received_ns = now - a.decode_ns - a.queue_ns;
    b->talk.beat.jobs++;
    if ((rc = fill_row(b, r, &m->job, payload, &e))) {
        stage_post_error(&b->post, r, rc, e.text);
        stage_rows_release(&b->rows, row);
    } else {
        stage_rows_enqueue(&b->rows, row);
    }
}

/* --- a batch is formed --- */

static bool is_over(const struct stage_brain *b, const struct stage_row *r, uint64_t now)
{
    return cancel_set_has(&b->cancelled, r->job.request) ||
           r->job.deadline_ns <= stage_talk_time(&b->talk, r->job.request, now);
}

/* Copies a waiting row into the batch, or gets rid of it. */
static void admit_row(struct stage_brain *b, int row, uint64_t now)
{
    struct stage_row *r = &b->rows.row[row];
    bool over = is_over(b, r, now);
    struct error e;
    int rc;

    if (over || job_is_late(&r->job, b->stage, stage_talk_time(&b->talk, r->job.request, now))) {
        b->talk.beat.dropped++;
        if (!over)
            stage_post_error(&b->post, r, FL_DEADLINE,
                             "not computed: what is left to do takes longer than its deadline leaves");
        stage_times_note(&b->times, r, SPAN_DROPPED, -1, r->received_ns, moment(b));
    } else if ((rc = b->engine.load(b->engine.arg, b->rows.n_batch, zmq_msg_data(&r->payload), &e))) {
        stage_post_error(&b->post, r, rc, e.text);
    } else {
        if (!stage_row_is_shadow(r)) {
            zmq_msg_close(&r->payload);
            zmq_msg_init(&r->payload);
            stage_load_waited(&b->load, now - r->received_ns);
        }
        b->rows.batch[b->rows.n_batch++] = row;
        return;
    }
    stage_rows_release(&b->rows, row);
}

/* Each of several brokers is told how much the others sent here. */
static void note_others(struct stage_brain *b)
{
    struct stage_rows *rows = &b->rows;
    uint32_t all = (uint32_t)(rows->waiting.n + rows->n_batch), own[PIPELINE_MAX_BROKERS] = {0};
    for (int i = 0; i < rows->waiting.n; i++)
        own[request_broker(stage_rows_waiting(rows, i)->job.request)]++;
    for (int i = 0; i < rows->n_batch; i++)
        own[request_broker(stage_rows_at(rows, i)->job.request)]++;
    for (int i = 0; i < b->talk.n_lines; i++)
        b->talk.line[i].others = all - own[i];
}

/* What the next heartbeat says of the queue and the cache service. */
static void note_state(struct stage_brain *b)
{
    if (b->talk.n_lines > 1)
        note_others(b);
    b->talk.beat.queued = (uint32_t)(b->rows.waiting.n + b->rows.shadows.n);
    b->talk.beat.batch = (uint32_t)batch_limit_now(&b->limit);
    b->talk.beat.cache_open = b->asks && (b->near.exits || !breaker_is_open(&b->lookups.breaker));
    b->talk.beat.epoch = b->near.epoch;
    b->talk.beat.caches = b->near.turns;
    b->talk.beat.exits = stage_near_exits(&b->near);
    b->talk.beat.exits_told = true;
}

/* Those that wait, as many as it takes. Where one wants that to be told, its broker hears which of its own
 * was the last: *tell has one of each such broker, or 0. */
static void take_jobs(struct stage_brain *b, uint64_t tell[PIPELINE_MAX_BROKERS], uint64_t now)
{
    while (b->rows.waiting.n && b->rows.n_batch < batch_limit_now(&b->limit)) {
        int row = stage_rows_dequeue(&b->rows.waiting);
        const struct job *j = &b->rows.row[row].job;
        if (j->flags & JOB_TELL)
            tell[request_broker(j->request)] = j->request;
        stage_talk_taken(&b->talk, j->request);
        b->others_ns = now;
        admit_row(b, row, now);
    }
}

/* When the oldest shadow may be computed; for ever: none waits. */
static uint64_t shadow_due(struct stage_brain *b)
{
    const struct stage_row *r = stage_rows_shadow(&b->rows);
    uint64_t quiet = b->others_ns + SHADOW_GRACE_NS, waited = SHADOW_WAITS * b->shadow_ns;
    if (!r)
        return UINT64_MAX;
    waited = waited < SHADOW_LEAST_NS ? SHADOW_LEAST_NS : waited > SHADOW_MOST_NS ? SHADOW_MOST_NS : waited;
    return quiet < r->received_ns + waited ? quiet : r->received_ns + waited;
}

static bool form_batch(struct stage_brain *b, uint64_t now)
{
    uint64_t tell[PIPELINE_MAX_BROKERS] = {0};
    take_jobs(b, tell, now);
    if (!b->rows.n_batch && now >= shadow_due(b)) /* one at a time, and never among others */
        admit_row(b, stage_rows_dequeue(&b->rows.shadows), now);
    b->shadow = stage_rows_shadow_in_hand(&b->rows) != NULL;
    if (b->rows.n_batch)
        stage_load_begin(&b->load, now);
    stage_times_begin(&b->times, &b->rows, now);
    stage_lookups_begin(&b->lookups);
    note_state(b);
    for (int i = 0; b->stage == 0 && i < b->talk.n_lines; i++)
        if (tell[i])
            stage_talk_beat(&b->talk, tell[i]);
    return b->rows.n_batch > 0;
}

/* --- look-ups and verdicts --- */

static void log_hit(struct stage_brain *b, const struct stage_row *r, const struct verdict *v,
                    const struct verdict_item *item, int exit)
{
    struct told_hit *h = hit_log_add(&b->hits);
    h->request = item->request;
    h->attempt = item->attempt;
    h->label = item->label;
    h->confidence = item->confidence;
    h->epoch = v->epoch;
    h->exit = exit;
    stage_times_fill(&b->times, r, b->lookups.hidden_ns, &h->trace);
}

static void on_item(struct stage_brain *b, const struct verdict *v, const struct verdict_item *item, int exit,
                    uint64_t sent_ns)
{
    for (int i = 0; item->hit && i < b->rows.n_batch; i++) {
        struct stage_row *r = stage_rows_at(&b->rows, i);
        if (r->job.request != item->request || r->job.attempt != item->attempt || !stage_row_can_hit(r))
            continue;
        r->state = ROW_HIT;
        r->hit_exit = exit;
        r->hit_sent_ns = sent_ns;
        b->talk.beat.hits++;
        log_hit(b, r, v, item, exit);
    }
}

void stage_brain_verdict(struct stage_brain *b, const struct message *m, uint64_t now)
{
    const struct verdict *v = &m->verdict;
    const struct pending_lookup *p;
    if (!belongs(b, m, MESSAGE_VERDICT, "cache socket", now) ||
        !(p = stage_lookups_answered(&b->lookups, v, now)))
        return;
    if (!p->over)
        stage_times_note_batch(&b->times, &b->rows, SPAN_LOOKUP, p->exit, p->sent_ns, now);
    stage_near_told(&b->near, p->exit, now - p->sent_ns, v);
    for (int k = 0; k < v->n; k++)
        on_item(b, v, &v->item[k], p->exit, p->sent_ns);
}

static void look_up(struct stage_brain *b, int exit)
{
    const struct verdict *v = stage_post_lookup(&b->post, b->segment);
    for (int k = 0; v && k < v->n; k++)
        on_item(b, v, &v->item[k], exit, b->times.lap_ns);
}

/* --- a batch runs --- */

static void drop_over(struct stage_brain *b)
{
    uint64_t now = moment(b);
    for (int i = 0; i < b->rows.n_batch; i++) {
        struct stage_row *r = stage_rows_at(&b->rows, i);
        if (r->state != ROW_RUNS || !is_over(b, r, now))
            continue;
        r->state = ROW_DROPPED;
        b->talk.beat.dropped++;
        stage_times_note(&b->times, r, SPAN_DROPPED, -1, b->times.formed_ns, now);
    }
}

/* The n rows at these places stay in the batch, the others are done. */
static void keep_rows(struct stage_brain *b, const int *keep, int n)
{
    uint64_t now = moment(b);
    for (int i = 0, k = 0; i < b->rows.n_batch; i++) {
        if (keep && k < n && keep[k] == i)
            k++;
        else
            stage_times_note_left(&b->times, stage_rows_at(&b->rows, i), now);
    }
    stage_rows_keep(&b->rows, keep, n);
}

/* Rows that are done leave the batch where its segment ends. */
static int compact(struct stage_brain *b, struct error *e)
{
    int keep[MESSAGE_MAX_BATCH], n = 0, rc;
    for (int i = 0; i < b->rows.n_batch; i++)
        if (stage_rows_at(&b->rows, i)->state == ROW_RUNS)
            keep[n++] = i;
    if (n == b->rows.n_batch)
        return FL_OK;
    if (n && (rc = b->engine.keep(b->engine.arg, b->segment, keep, n, e)))
        return rc;
    keep_rows(b, keep, n);
    return FL_OK;
}

static void fail_batch(struct stage_brain *b, int code, const char *text)
{
    log_warn("a batch of %d failed: %s", b->rows.n_batch, text);
    for (int i = 0; i < b->rows.n_batch; i++)
        if (stage_rows_at(&b->rows, i)->state == ROW_RUNS)
            stage_post_error(&b->post, stage_rows_at(&b->rows, i), code, text);
}

static void end_batch(struct stage_brain *b)
{
    uint64_t now = moment(b);
    if (!b->shadow) {
        b->talk.beat.batches++;
        b->others_ns = now;
        batch_limit_learn(&b->limit, b->times.formed, now - b->times.formed_ns);
    }
    stage_load_end(&b->load, now);
    stage_lookups_settle(&b->lookups, now);
    keep_rows(b, NULL, 0);
    b->times.traced = 0;
    b->phase = IDLE;
}

static void hand_out(struct stage_brain *b)
{
    lap(b, SPAN_HELD, -1);
    drop_over(b);
    stage_post_outputs(&b->post);
    if (b->shadow)
        b->shadow_ns = moment(b) - b->times.formed_ns;
    end_batch(b);
}

/* Until a verdict can end no row any more. */
static bool holds_back(struct stage_brain *b, uint64_t now)
{
    if (now >= b->hold_until_ns || !stage_lookups_unanswered(&b->lookups))
        return false;
    for (int i = 0; i < b->rows.n_batch; i++)
        if (stage_row_can_hit(stage_rows_at(&b->rows, i)))
            return true;
    return false;
}

static bool at_the_end(const struct stage_brain *b)
{
    return b->segment + 1 == b->setup.n_segments;
}

/* A shadow is in hand, and others have come. */
static bool must_give_way(struct stage_brain *b)
{
    const struct stage_row *r = stage_rows_shadow_in_hand(&b->rows);
    return r && b->rows.waiting.n && r->state == ROW_RUNS && r->put_back < PUT_BACK_MOST;
}

static void give_way(struct stage_brain *b)
{
    stage_rows_at(&b->rows, 0)->received_ns = moment(b); /* and waits anew */
    stage_rows_put_back(&b->rows);
    end_batch(b);
}

static void go_on(struct stage_brain *b)
{
    struct error e;
    int rc;
    drop_over(b);
    if (must_give_way(b)) {
        give_way(b);
        return;
    }
    if ((rc = compact(b, &e)))
        fail_batch(b, rc, e.text);
    if (rc || !b->rows.n_batch) {
        end_batch(b);
        return;
    }
    b->segment++;
    b->phase = READY;
}

/* It was held back for as long as that was worth it. */
static void let_go(struct stage_brain *b)
{
    if (at_the_end(b)) {
        hand_out(b);
        return;
    }
    stage_lookups_hide_again(&b->lookups, lap(b, SPAN_HELD, -1));
    go_on(b);
}

static void learn_time(struct stage_brain *b, uint64_t now)
{
    int before = b->segment ? b->setup.segment[b->segment - 1].exit : -1;
    if (before >= 0)
        stage_near_computed(&b->near, before, now - b->times.lap_ns, b->rows.n_batch);
}

void stage_brain_computed(struct stage_brain *b, int rc, const char *text, uint64_t now)
{
    int exit = b->setup.segment[b->segment].exit;
    bool holds;

    if (!rc)
        learn_time(b, now);
    stage_times_lap(&b->times, &b->rows, SPAN_COMPUTE, exit, now);
    if (rc == FL_CANCELLED && must_give_way(b)) {
        give_way(b);
        return;
    }
    if (rc) {
        if (rc != FL_CANCELLED)
            fail_batch(b, rc, text);
        end_batch(b);
        return;
    }
    if (exit >= 0 && b->asks)
        look_up(b, exit);
    now = lap(b, SPAN_ASK, exit);
    b->hold_until_ns = now + b->lookups.patience_ns;
    holds = stage_post_holds(&b->post, b->segment) && holds_back(b, now);
    if (holds || at_the_end(b))
        stage_lookups_end_hiding(&b->lookups, now);
    b->phase = HOLDS;
    if (!holds && at_the_end(b))
        hand_out(b);
    else if (!holds)
        go_on(b);
}

/* Asked to end, or sent away by one of several brokers: at once when it is asked again, when it has no place
 * yet, or when there is no broker to say that nothing is left to do. */
static bool ends(struct stage_brain *b, uint64_t now)
{
    struct stage_talk *t = &b->talk;
    if (stage_talk_over(t, now))
        return true;
    if (!b->asked && !stage_talk_dismissed(t))
        return false;
    if (b->asked > 1 || !t->self.ready || (!b->rows.waiting.n && !stage_talk_hears(t, now)))
        return true;
    if (!t->leaving)
        stage_talk_leave(t, now);
    return now >= t->leave_by_ns;
}

static uint64_t wait_until(struct stage_brain *b)
{
    uint64_t due = shadow_due(b);
    return due < b->due_ns ? due : b->due_ns;
}

struct stage_wish stage_brain_next(struct stage_brain *b, uint64_t now)
{
    switch (b->phase) {
    case HOLDS:
        if (holds_back(b, now))
            return (struct stage_wish){.what = STAGE_HOLD, .until_ns = b->hold_until_ns};
        let_go(b);
        return (struct stage_wish){.what = STAGE_WAIT, .until_ns = now};
    case IDLE:
        if (ends(b, now))
            return (struct stage_wish){.what = STAGE_END};
        if (!form_batch(b, now))
            return (struct stage_wish){.what = STAGE_WAIT, .until_ns = wait_until(b)};
        b->segment = 0;
        break;
    case READY:
    case COMPUTES:
        break;
    }
    if (b->phase != COMPUTES)
        lap(b, SPAN_SERIALISE, -1); /* copied in, compacted */
    b->phase = COMPUTES;
    return (struct stage_wish){.what = STAGE_COMPUTE, .segment = b->segment, .n = b->rows.n_batch};
}

bool stage_brain_busy(const struct stage_brain *b)
{
    return b->phase != IDLE;
}

bool stage_brain_needs(struct stage_brain *b)
{
    return (!b->lookups.n_pending || stage_rows_running(&b->rows) > 0) && !must_give_way(b);
}

bool stage_brain_gives_way(const struct stage_brain *b)
{
    return b->shadow && b->phase == COMPUTES;
}

bool stage_brain_asking(const struct stage_brain *b)
{
    return b->lookups.n_pending > 0;
}

/* --- the broker --- */

/* Some are answered: they need no more work. Of others the broker has heard nothing and asks whether they
 * were hits. */
static void on_cancel(struct stage_brain *b, const struct cancel *c)
{
    const struct told_hit *h;
    for (int i = 0; i < c->n; i++)
        cancel_set_add(&b->cancelled, c->request[i]);
    for (int i = 0; i < c->n_ask; i++)
        if ((h = hit_log_find(&b->hits, c->ask[i])))
            stage_post_hit(&b->post, h);
}

/* A broker passes on what a worker of the next stage has said: it may be one that was added since. */
static void on_neighbour(struct stage_brain *b, const struct hello *h)
{
    const char *endpoint = hello_way(h, b->setup.self.host);
    int replica = (int)h->replica;
    if ((int)h->stage != b->stage + 1 || b->last || !*endpoint || !b->io.meet ||
        b->io.meet(b->io.arg, replica, endpoint))
        return;
    if (replica >= b->talk.n_next)
        b->talk.n_next = replica + 1;
    b->talk.reached_ns = 0;
}

void stage_brain_control(struct stage_brain *b, int broker, const struct message *m, uint64_t now)
{
    struct stage_line *l = &b->talk.line[broker];
    l->heard_ns = now;
    note_state(b);
    switch (m->type) {
    case MESSAGE_CANCEL:
        on_cancel(b, &m->cancel);
        break;
    case MESSAGE_HEARTBEAT:
        stage_talk_on_heartbeat(&b->talk, broker, &m->heartbeat, now);
        break;
    case MESSAGE_HELLO:
        if (m->hello.role == ROLE_STAGE)
            on_neighbour(b, &m->hello);
        else
            stage_talk_on_hello(&b->talk, broker, &m->hello);
        break;
    default:
        l->sent_away |= belongs(b, m, MESSAGE_DRAIN, "control socket", now);
    }
}

uint64_t stage_brain_tick(struct stage_brain *b, uint64_t now)
{
    if (stage_near_expires(&b->near, now))
        log_warn("its cache service has been gone for %d ms: its caches are not used any more "
                 "(cache.near_keep_ms); every request takes all layers until it is back",
                 b->setup.pipeline->cache.near_keep_ms);
    note_state(b);
    if (b->io.idle_ns && stage_load_due(&b->load, now))
        stage_load_tell(&b->load, b->io.idle_ns(b->io.arg), now, &b->talk.beat);
    for (int i = 0; i < b->talk.n_lines; i++)
        if (now >= stage_talk_due(&b->talk, i)) /* first: who has the heartbeat has them */
            span_log_send(&b->times.spans[i], b->io.control, b->io.arg, i, &b->out);
    return b->due_ns = stage_talk_tick(&b->talk, now);
}

uint32_t stage_brain_must_greet(const struct stage_brain *b)
{
    return stage_talk_must_greet(&b->talk);
}

void stage_brain_holds(struct stage_brain *b, uint64_t epoch, uint32_t exits, uint64_t now)
{
    stage_near_holds(&b->near, epoch, exits, now);
}

/* A service that does not speak with the broker any more does not count as one. */
void stage_brain_cache_lives(struct stage_brain *b, uint64_t now)
{
    if (stage_talk_cache_known(&b->talk))
        stage_near_lives(&b->near, now);
}

void stage_brain_look(struct stage_brain *b)
{
    b->talk.reached_ns = 0;
}

void stage_brain_ready(struct stage_brain *b)
{
    b->talk.self.ready = true;
    stage_talk_hello(&b->talk, true);
}

void stage_brain_stop(struct stage_brain *b, int times)
{
    b->asked = times;
}

int stage_brain_reason(const struct stage_brain *b, struct error *e)
{
    if (!stage_talk_dismissed(&b->talk) || b->asked)
        return FL_OK;
    if (stage_talk_waits(&b->talk))
        return error_set(e, FL_STALE,
                         "the pipeline has moved on to another plan than this worker has: it ends");
    return error_set(e, FL_STALE,
                     "the broker sent this worker away: another process holds stage %d replica %d, or the "
                     "pipeline file has no such place",
                     b->stage, (int)b->setup.self.replica);
}

void stage_brain_goodbye(struct stage_brain *b)
{
    struct stage_talk *t = &b->talk;
    if (!t->self.ready && !b->asked)
        return;
    for (int i = 0; i < t->n_lines; i++)
        t->line[i].sent_away &= !b->asked;     /* who was asked to end says so to all */
    t->leaving = t->leaving || !t->self.ready; /* who has no place yet is not needed any more */
    stage_talk_hello(t, false);
}
