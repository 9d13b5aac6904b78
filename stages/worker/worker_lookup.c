/* worker_lookup.c - asking the cache service while computing goes on */
#include <poll.h>
#include <string.h>
#include <time.h>

#include "stages/place/descriptor.h"
#include "worker_parts.h"

#define SLICE_NS  (10 * NS_PER_MS)
#define ABSENT_NS (1 * NS_PER_S) /* a cache may be built meanwhile */

static bool asks(const struct row *r)
{
    return r->state == ROW_RUNS && !(r->job.flags & JOB_NO_CACHE);
}

/* A verdict can still end this row here. */
static bool can_hit(const struct row *r)
{
    return asks(r) && !(r->job.flags & JOB_AUDIT);
}

static int fill_items(struct stage_worker *w, struct lookup *l, const float *descriptors, size_t dim,
                      float *to)
{
    int n = 0;
    for (int i = 0; i < w->n_batch; i++) {
        const struct row *r = &w->row[w->batch[i]];
        struct lookup_item *item = &l->item[n];
        if (!asks(r))
            continue;
        item->request = r->job.request;
        item->attempt = r->job.attempt;
        item->flags = r->job.flags;
        item->deadline_ns = r->job.deadline_ns;
        worker_fill_time(w, r, &item->trace);
        memcpy(to + (size_t)n * dim, descriptors + (size_t)i * dim, dim * sizeof *to);
        n++;
    }
    return n;
}

static int count_asking(const struct stage_worker *w)
{
    int n = 0;
    for (int i = 0; i < w->n_batch; i++)
        n += asks(&w->row[w->batch[i]]);
    return n;
}

/* Nobody is asked at an exit without a cache: the broker tells where caches stand as soon as it knows, else a
 * verdict. */
static bool nothing_stands_at(const struct stage_worker *w, int exit, uint64_t now)
{
    return (w->exits_told && !(w->exits >> exit & 1)) || now < w->absent_until_ns[exit];
}

/* Sends the descriptors at the cut where segment s ended. What can't be sent is a miss. */
void worker_send_lookup(struct stage_worker *w, const struct segment *s)
{
    const struct descriptor_config *config = &w->pipeline->cache.descriptor;
    struct lookup *l = &w->out.lookup;
    struct tensor cut;
    zmq_msg_t payload;
    size_t dim;
    int n = count_asking(w);
    uint64_t now = clock_ns();

    if (!w->cache || !n || w->n_pending == PIPELINE_MAX_EXITS || nothing_stands_at(w, s->exit, now) ||
        !breaker_allows(&w->breaker, now))
        return;
    if (exec_cut(w->exec, s->last, w->n_batch, &cut, NULL)) {
        breaker_forget_probe(&w->breaker);
        return;
    }
    dim = (size_t)descriptor_dim(&cut, config);
    descriptor_compute(&cut, config, w->descriptors);
    if (zmq_msg_init_size(&payload, (size_t)n * dim * sizeof(float))) {
        breaker_forget_probe(&w->breaker);
        return;
    }
    now = worker_lap(w, SPAN_ASK, s->exit);
    w->out.type = MESSAGE_LOOKUP;
    l->exit = (uint32_t)s->exit;
    l->origin = s->origin;
    l->sequence = ++w->sequence;
    l->sent_ns = worker_broker_time(w, now);
    l->dim = (uint32_t)dim;
    l->n = fill_items(w, l, w->descriptors, dim, zmq_msg_data(&payload));
    if (frames_send(w->cache, NULL, &w->out, &payload)) {
        zmq_msg_close(&payload);
        breaker_late(&w->breaker, now);
        return;
    }
    w->pending[w->n_pending++] = (struct pending_lookup){w->sequence, now, s->exit, false, false};
    w->counts.lookups += (uint64_t)n;
}

/* The look-up was on its way until now while layers were computed. What two of them share counts once. */
static void note_hidden(struct stage_worker *w, const struct pending_lookup *p, uint64_t now)
{
    uint64_t from = p->sent_ns > w->hidden_until_ns ? p->sent_ns : w->hidden_until_ns;
    if (p->over || now <= from)
        return;
    w->hidden_ns += now - from;
    w->hidden_until_ns = now;
}

void worker_end_hiding(struct stage_worker *w)
{
    uint64_t now = clock_ns();
    for (int i = 0; i < w->n_pending; i++)
        if (!w->pending[i].answered)
            note_hidden(w, &w->pending[i], now);
    w->hidden_until_ns = UINT64_MAX;
}

static void log_hit(struct stage_worker *w, const struct row *r, const struct verdict *v,
                    const struct verdict_item *item, int exit)
{
    struct told_hit *h = hit_log_add(&w->hits);
    h->request = item->request;
    h->attempt = item->attempt;
    h->label = item->label;
    h->confidence = item->confidence;
    h->epoch = v->epoch;
    h->exit = exit;
    worker_fill_time(w, r, &h->trace);
}

static void on_verdict(struct stage_worker *w, const struct verdict *v)
{
    struct pending_lookup *p = NULL;
    uint64_t now = clock_ns();
    for (int i = 0; i < w->n_pending; i++)
        if (w->pending[i].sequence == v->sequence)
            p = &w->pending[i];
    if (!p || p->answered)
        return; /* too late: counted as such */
    p->answered = true;
    note_hidden(w, p, now);
    if (w->traced && !p->over)
        worker_note_batch(w, SPAN_LOOKUP, p->exit, p->sent_ns, now);
    breaker_answered(&w->breaker);
    if (v->absent)
        w->absent_until_ns[p->exit] = now + ABSENT_NS;
    for (int k = 0; k < v->n; k++)
        for (int i = 0; v->item[k].hit && i < w->n_batch; i++) {
            struct row *r = &w->row[w->batch[i]];
            if (r->job.request == v->item[k].request && r->job.attempt == v->item[k].attempt && can_hit(r)) {
                r->state = ROW_HIT;
                r->hit_exit = p->exit;
                r->hit_sent_ns = p->sent_ns;
                w->counts.hits++;
                log_hit(w, r, v, &v->item[k], p->exit);
            }
        }
}

void worker_receive_verdicts(struct stage_worker *w)
{
    struct error e;
    int rc;
    while ((rc = frames_recv(w->cache, NULL, &w->in, &w->payload, &e)) != FL_AGAIN && rc != FL_IO) {
        if (rc == FL_OK && w->in.type == MESSAGE_VERDICT)
            on_verdict(w, &w->in.verdict);
        else
            worker_garbage(w, "cache",
                           rc ? &e : &(struct error){FL_PROTOCOL, "a message that is no verdict"});
    }
}

static bool worth_waiting(const struct stage_worker *w)
{
    bool unanswered = false;
    for (int i = 0; i < w->n_pending; i++)
        unanswered |= !w->pending[i].answered && !w->pending[i].over;
    for (int i = 0; unanswered && i < w->n_batch; i++)
        if (can_hit(&w->row[w->batch[i]]))
            return true;
    return false;
}

/* Sleeps until the cache socket has news, at most `ns`. The socket must just have been found empty: then its
 * descriptor tells. */
static void sleep_on_cache(const struct stage_worker *w, uint64_t ns)
{
    struct pollfd fd = {.fd = w->cache_fd, .events = POLLIN};
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    ppoll(&fd, 1, &t, NULL);
}

/* Holding back saves the next stages' work; behind the last stage there is nothing to save. */
void worker_await_verdicts(struct stage_worker *w)
{
    uint64_t start = clock_ns(), now = start;
    uint64_t end = start + (uint64_t)w->pipeline->cache.wait_us * NS_PER_US;
    while (!w->last_stage && worth_waiting(w) && now < end) {
        worker_receive_verdicts(w);
        if (worth_waiting(w))
            sleep_on_cache(w, end - now < SLICE_NS ? end - now : SLICE_NS);
        now = clock_ns();
        if (now - w->polled_ns >= SLICE_NS) {
            w->polled_ns = now;
            worker_poll_control(w, now); /* a long wait is no death */
        }
    }
}

/* What is unanswered was a miss. It counts as late once it is older than the patience, which may be long
 * after its batch. */
void worker_settle_lookups(struct stage_worker *w)
{
    uint64_t now = clock_ns(), patience = (uint64_t)w->pipeline->cache.wait_us * NS_PER_US;
    int kept = 0;
    for (int i = 0; i < w->n_pending; i++) {
        struct pending_lookup p = w->pending[i];
        if (p.answered)
            continue;
        p.over = true;
        if (now - p.sent_ns >= patience)
            breaker_late(&w->breaker, now);
        else
            w->pending[kept++] = p;
    }
    w->n_pending = kept;
}
