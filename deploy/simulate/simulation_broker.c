/* simulation_broker.c - the client and the broker: a request's life, as in broker/dispatch.c and router.c */
#include "simulation_parts.h"

#include <limits.h>
#include <math.h>

#define CLOSED_PAUSE_NS 1e6 /* a closed loop's client waits so long after a refusal */

/* ---- the client ---- */

static void count_area(struct state *s)
{
    if (s->counting && !s->closed_window)
        s->area += (double)s->in_system * (double)(s->now - s->area_since);
    s->area_since = s->now;
}

static void schedule_arrival(struct state *s)
{
    double mean = 1e9 / s->s->rate;
    double ns = s->s->even ? mean : random_exponential(&s->arrivals, mean);
    uint64_t due = s->now + (uint64_t)llround(ns);
    if (s->s->costs.client_watch_ns > 0)
        state_schedule(s, due - (uint64_t)fmin(ns, s->s->costs.client_watch_ns), EVENT_WATCH, 0, 0);
    state_schedule(s, due, EVENT_ARRIVAL, 0, 0);
}

/* Until the next request is due. */
void client_watch(struct state *s)
{
    if (s->watching)
        return;
    s->watching = true;
    cpu_others(s, s->s->client_host, 1);
}

static void stop_watching(struct state *s)
{
    if (!s->watching)
        return;
    s->watching = false;
    cpu_others(s, s->s->client_host, -1);
}

/* The exit that answers when every verdict is in time; n_exits: none. */
static int draw_exit(struct state *s)
{
    double u = random_uniform(&s->exits);
    int i = 0;
    for (; i < s->s->n_exits; i++)
        if ((u -= s->s->exit[i].share) <= 0)
            break;
    return i;
}

void client_arrival(struct state *s)
{
    int i, parcel;
    bool awake = s->watching;
    stop_watching(s);
    if (s->result->arrived >= s->s->requests || s->failed)
        return;
    count_area(s);
    i = pool_take(s, &s->requests, (void **)&s->request, sizeof *s->request, offsetof(struct request, next));
    parcel = i == NONE ? NONE : parcel_new(s, SUBMIT, CLIENT_PROCESS, CLIENT_PROCESS, 0);
    if (parcel == NONE)
        return;
    s->request[i] = (struct request){.state = REQUEST_SUBMITTED,
                                     .serial = s->request[i].serial + 1,
                                     .next = NONE,
                                     .before = NONE,
                                     .after = NONE,
                                     .first_hit = draw_exit(s),
                                     .counted = s->result->arrived >= s->s->warm_up,
                                     .due = s->now};
    s->result->arrived++;
    s->in_system++;
    s->parcel[parcel].request = i;
    s->parcel[parcel].serial = s->request[i].serial;
    if (awake)
        s->thread[main_thread(CLIENT_PROCESS)].stopped = s->now;
    wire_put(s, main_thread(CLIENT_PROCESS), parcel);
    if (s->s->rate > 0)
        schedule_arrival(s);
}

void client_start(struct state *s)
{
    if (s->s->rate > 0)
        schedule_arrival(s);
    for (int i = 0; s->s->rate <= 0 && i < s->s->closed; i++)
        state_schedule(s, 0, EVENT_ARRIVAL, 0, 0);
}

static void count_outcome(struct state *s, const struct request *r)
{
    struct simulation_result *out = s->result;
    out->refused += r->outcome == OUTCOME_REFUSED;
    out->expired += r->outcome == OUTCOME_EXPIRED;
    out->failed += r->outcome == OUTCOME_FAILED;
    out->lost += r->outcome == OUTCOME_LOST;
    if (r->outcome < 0)
        return;
    out->answered++;
    s->answers += s->counting && !s->closed_window;
    if (!r->counted)
        return;
    out->by_exit[r->outcome]++;
    histogram_record(&out->latency, s->now - r->due);
}

/* The client knows how it ended, or will never know. */
static void finish(struct state *s, int i)
{
    struct request *r = &s->request[i];
    count_area(s);
    s->in_system--;
    count_outcome(s, r);
    r->serial++;
    r->state = REQUEST_FREE;
    r->next = s->requests.free;
    s->requests.free = i;
    if (s->s->rate <= 0)
        state_schedule(s, s->now + (r->outcome < 0 ? (uint64_t)CLOSED_PAUSE_NS : 0), EVENT_ARRIVAL, 0, 0);
}

/* ---- the broker ---- */

bool request_is_over(const struct state *s, int request, uint32_t serial)
{
    const struct request *r = &s->request[request];
    return r->serial != serial || r->state == REQUEST_DONE || r->state == REQUEST_FREE;
}

static void release_route(struct state *s, const struct request *r)
{
    s->under_way -= r->state == REQUEST_SENT;
    for (int i = 0; i < s->s->n_stages && r->state == REQUEST_SENT; i++)
        s->worker[s->first_worker[i] + r->route[i]].outstanding--;
}

static void unlink_admitted(struct state *s, int i)
{
    struct request *r = &s->request[i];
    *(r->before == NONE ? &s->oldest : &s->request[r->before].after) = r->after;
    *(r->after == NONE ? &s->newest : &s->request[r->after].before) = r->before;
    s->admitted--;
}

static void link_admitted(struct state *s, int i)
{
    struct request *r = &s->request[i];
    r->before = s->newest;
    r->after = NONE;
    *(s->newest == NONE ? &s->oldest : &s->request[s->newest].after) = i;
    s->newest = i;
    s->admitted++;
}

static void wait(struct state *s, int i)
{
    s->request[i].state = REQUEST_WAITING;
    s->request[i].next = NONE;
    *(s->last_waiting == NONE ? &s->first_waiting : &s->request[s->last_waiting].next) = i;
    s->last_waiting = i;
}

/* Those that wait do so in the order of their age, but for retries: what is to leave is near the front. */
static void unwait(struct state *s, int i)
{
    int before = NONE, at = s->first_waiting;
    while (at != i) {
        before = at;
        at = s->request[at].next;
    }
    *(before == NONE ? &s->first_waiting : &s->request[before].next) = s->request[i].next;
    if (s->last_waiting == i)
        s->last_waiting = before;
}

static void send_answer(struct state *s, int i, int outcome)
{
    int parcel = parcel_new(s, ANSWER, BROKER_PROCESS, CLIENT_PROCESS, outcome < 0 ? 0 : s->s->answer_bytes);
    s->request[i].state = REQUEST_DONE;
    s->request[i].outcome = outcome;
    if (parcel == NONE)
        return;
    s->parcel[parcel].request = i;
    s->parcel[parcel].serial = s->request[i].serial;
    wire_send(s, parcel);
}

static void answer(struct state *s, int i, int outcome)
{
    release_route(s, &s->request[i]);
    if (s->request[i].state == REQUEST_WAITING)
        unwait(s, i);
    unlink_admitted(s, i);
    send_answer(s, i, outcome);
}

static void watch_deadline(struct state *s)
{
    if (s->deadline_event || s->oldest == NONE)
        return;
    s->deadline_event = s->request[s->oldest].deadline;
    state_schedule(s, s->deadline_event, EVENT_DEADLINE, 0, 0);
}

void broker_on_deadline(struct state *s)
{
    s->deadline_event = 0;
    while (s->oldest != NONE && s->request[s->oldest].deadline <= s->now) {
        if (s->request[s->oldest].state == REQUEST_SENT)
            admission_missed(&s->admission, NONE, s->now);
        answer(s, s->oldest, OUTCOME_EXPIRED);
    }
    watch_deadline(s);
}

void broker_find_room(struct state *s)
{
    const struct simulation *c = s->s;
    double start = 0, most = 0;
    for (int k = 0; k < c->n_stages; k++) {
        s->admission.replicas[k] = c->stage[k].n_replicas;
        start += 2.0 * c->stage[k].n_replicas;
        most += (double)c->batches * c->stage[k].n_replicas * c->stage[k].max_batch;
    }
    s->room = c->batches ? admission_room(&s->admission, (int)start, (int)fmin(most, INT_MAX)) : INT_MAX;
}

/* Of a replica of stage 0. */
static int queue_of(const struct state *s)
{
    const struct simulation_stage *stage = &s->s->stage[0];
    int most = s->s->batches * stage->max_batch;
    int queue = admission_queue(s->room, s->s->n_stages, stage->n_replicas, stage->max_batch);
    return !s->s->batches ? INT_MAX : queue < most ? queue : most;
}

/* The replica with the fewest requests; the turn decides among equals. NONE: none lives, or (stage 0) all
 * queues are full. */
static int choose(const struct state *s, int stage)
{
    int n = s->s->stage[stage].n_replicas, best = NONE, from = (int)(s->turn % (unsigned)n);
    const struct worker *w = &s->worker[s->first_worker[stage]];
    int queue = stage == 0 ? queue_of(s) : 0;
    for (int k = 0, i = from; k < n; k++, i = i + 1 < n ? i + 1 : 0) {
        if (w[i].known_dead || (stage == 0 && w[i].queued >= queue))
            continue;
        if (best == NONE || w[i].outstanding < w[best].outstanding)
            best = i;
    }
    return best;
}

static bool send_job(struct state *s, int i)
{
    struct request *r = &s->request[i];
    int parcel, to;
    for (int k = 0; k < s->s->n_stages; k++)
        if ((r->route[k] = choose(s, k)) == NONE)
            return false;
    to = s->first_worker[0] + r->route[0];
    parcel = parcel_new(s, JOB, BROKER_PROCESS, worker_process(s, to), s->s->stage[0].bytes);
    if (parcel == NONE)
        return false;
    s->turn++;
    unwait(s, i);
    r->state = REQUEST_SENT;
    r->sent = s->now;
    r->n_passed = 0;
    s->under_way++;
    for (int k = 0; k < s->s->n_stages; k++)
        s->worker[s->first_worker[k] + r->route[k]].outstanding++;
    s->worker[to].queued++;
    s->parcel[parcel].request = i;
    s->parcel[parcel].serial = r->serial;
    wire_send(s, parcel);
    return true;
}

static bool is_late(const struct state *s, int i)
{
    uint64_t deadline = s->request[i].deadline;
    return s->s->batches &&
           admission_is_late(&s->admission, s->under_way, deadline > s->now ? deadline - s->now : 0);
}

void broker_send_waiting(struct state *s)
{
    bool full = false;
    broker_find_room(s);
    while (s->first_waiting != NONE && !s->process[BROKER_PROCESS].dead && !full) {
        int i = s->first_waiting;
        if (is_late(s, i))
            answer(s, i, OUTCOME_EXPIRED);
        else
            full = s->under_way >= s->room || !send_job(s, i);
    }
    admission_note(&s->admission, full || 2.0 * s->under_way >= s->room);
}

static void admit(struct state *s, int i)
{
    uint64_t time_ns = (uint64_t)s->s->deadline_ns;
    admission_asked(&s->admission, time_ns);
    if (s->admitted >= s->s->max_requests ||
        (s->s->batches && admission_refuses(&s->admission, s->admitted, s->room, time_ns))) {
        send_answer(s, i, OUTCOME_REFUSED);
        return;
    }
    s->request[i].deadline = s->now + time_ns;
    link_admitted(s, i);
    wait(s, i);
    watch_deadline(s);
    broker_send_waiting(s);
}

static void requeue(struct state *s, int i)
{
    s->result->retried++;
    release_route(s, &s->request[i]);
    wait(s, i);
}

bool request_is_late(const struct state *s, int request, int stage)
{
    uint64_t deadline = s->request[request].deadline, left = deadline > s->now ? deadline - s->now : 0;
    return s->s->batches && (double)left < s->admission.rest_ns[stage];
}

static void learn(struct state *s, const struct request *r)
{
    struct passed p[PIPELINE_MAX_STAGES];
    for (int i = 0; i < r->n_passed; i++)
        p[i] = (struct passed){i, r->passed[i].batch, 0, r->passed[i].queue_ns, r->passed[i].own_ns};
    if (r->n_passed)
        p[r->n_passed - 1].own_ns = (double)(s->now - r->formed);
    if (r->state == REQUEST_SENT)
        admission_learn(&s->admission, r->n_passed, p, s->now - r->sent);
}

static void on_result(struct state *s, const struct parcel *p)
{
    int i = p->request;
    if (p->exit >= 0)
        admission_answered(&s->admission, s->now);
    if (request_is_over(s, i, p->serial))
        return;
    if (p->exit >= 0) {
        learn(s, &s->request[i]);
        answer(s, i, p->exit);
    } else if (p->exit == LATE) {
        admission_missed(&s->admission, s->request[i].n_passed, s->now);
        answer(s, i, OUTCOME_EXPIRED);
    } else if (s->request[i].state == REQUEST_SENT)
        requeue(s, i);
    broker_send_waiting(s);
}

double broker_cost(const struct state *s, const struct parcel *p)
{
    const struct simulation_costs *c = &s->s->costs;
    switch (p->kind) {
    case SUBMIT:
        return c->client_send_ns;
    case ANSWER:
        return c->client_receive_ns;
    case REQUEST:
        return c->broker_request_ns;
    default:
        return c->broker_result_ns;
    }
}

static void submit(struct state *s, int request, uint32_t serial)
{
    int parcel = parcel_new(s, REQUEST, CLIENT_PROCESS, BROKER_PROCESS, s->s->stage[0].bytes);
    if (parcel == NONE)
        return;
    s->parcel[parcel].request = request;
    s->parcel[parcel].serial = serial;
    wire_send(s, parcel);
}

void broker_handle(struct state *s, int parcel)
{
    struct parcel p = s->parcel[parcel];
    parcel_free(s, parcel);
    if (p.kind == SUBMIT)
        submit(s, p.request, p.serial);
    else if (p.kind == REQUEST)
        admit(s, p.request);
    else if (p.kind == RESULT)
        on_result(s, &p);
    else if (s->request[p.request].serial == p.serial)
        finish(s, p.request);
}

/* ---- deaths ---- */

void broker_lost_worker(struct state *s, int worker)
{
    struct worker *w = &s->worker[worker];
    int next;
    w->known_dead = true;
    for (int i = s->oldest; i != NONE; i = next) {
        struct request *r = &s->request[i];
        next = r->after;
        if (r->state != REQUEST_SENT || r->route[w->stage] != w->replica)
            continue;
        if (r->failures++ >= s->s->retries)
            answer(s, i, OUTCOME_FAILED);
        else
            requeue(s, i);
    }
    broker_send_waiting(s);
}

void broker_died(struct state *s)
{
    while (s->oldest != NONE) {
        int i = s->oldest;
        release_route(s, &s->request[i]);
        if (s->request[i].state == REQUEST_WAITING)
            unwait(s, i);
        unlink_admitted(s, i);
        s->request[i].outcome = OUTCOME_LOST;
        finish(s, i);
    }
}

/* A message that is gone. What was a request's only trace takes the request with it. */
void broker_dropped(struct state *s, int parcel)
{
    struct parcel p = s->parcel[parcel];
    parcel_free(s, parcel);
    if ((p.kind != REQUEST && p.kind != ANSWER) || s->request[p.request].serial != p.serial)
        return;
    s->request[p.request].outcome = OUTCOME_LOST;
    finish(s, p.request);
}

/* A job for a worker whose host says that nobody listens: its sender tells the broker. */
void broker_bounced(struct state *s, int parcel)
{
    struct parcel p = s->parcel[parcel];
    struct worker *w;
    int back;

    broker_dropped(s, parcel);
    if (p.kind != JOB || s->cores[s->process[p.to].host].down)
        return;
    w = &s->worker[p.to - worker_process(s, 0)];
    w->known_dead = true;
    w->queued -= w->queued > 0;
    if (p.from == BROKER_PROCESS) {
        p.exit = NONE;
        on_result(s, &p);
    } else if (!s->process[p.from].dead &&
               (back = parcel_new(s, RESULT, p.from, BROKER_PROCESS, 0)) != NONE) {
        s->parcel[back].request = p.request;
        s->parcel[back].serial = p.serial;
        wire_send(s, back);
    }
}
