/* test_overload.c - more requests than a pipeline can answer: the broker's real brain before simulated
 * workers
 *
 * Time is virtual and randomness has a seed, so that every run is the same. Workers queue, form batches, drop
 * what is late and tell what they took, as those in stages/worker do; what they compute is a duration.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "broker/dispatch_inside.h"

#define MS      NS_PER_MS
#define S       NS_PER_S
#define NEVER   UINT64_MAX
#define WIRE_NS (MS / 5)

enum { MOST_JOBS = 1024, MOST_STAGES = 3, MOST_REPLICAS = 2, MOST_REQUESTS = 200000 };

/* What a pipeline is and what is asked of it. */
struct scene {
    int stages, replicas, batch;
    double batch_ms, row_ms;   /* what a stage takes: for each batch, for each row in it */
    double last_factor;        /* of the last stage's time; 0: 1 */
    double hit_share;          /* answered by stage 0 */
    int target_ms, default_ms; /* keys of the pipeline file; default_ms 0: as deadline_ms */
    int deadline_ms, other_ms; /* of requests; other_ms: of every second one, if not 0 */
    double rate;               /* per second, Poisson; 0: closed loop of `closed` */
    int closed;
    double seconds;
    double (*slowness)(double s); /* of all computing over time; NULL: 1 */
};

struct worker_model {
    int n, batch; /* jobs in its queue, and being computed */
    struct job queue[MOST_JOBS], hand[MESSAGE_MAX_BATCH];
    uint64_t formed_ns, done_ns;
    int most_queued;
};

struct flight {
    uint64_t due_ns;
    int stage;
    struct job job;
};

struct asked {
    uint64_t at_ns;
    uint32_t time_ms;
    bool answered;
};

struct world {
    const struct scene *scene;
    struct pipeline pipeline;
    struct dispatch *d;
    uint64_t now, seed, arrival_ns, end_ns;
    struct worker_model worker[MOST_STAGES][MOST_REPLICAS];
    struct flight flight[MOST_JOBS]; /* ring, by time */
    unsigned first_flight, n_flights;
    struct asked asked[MOST_REQUESTS];
    int n_asked, open; /* asked and not answered */
    int again;         /* closed loop: to be asked anew */
    /* what came of it; of short and of other deadlines */
    int good[2], sent[2], late, refused, dropped, computed;
    int without_hint; /* refusals that do not say when to try again */
    uint64_t worst_ns, sum_ns;
    int most_waiting, most_under_way;
};

static double uniform(struct world *w)
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return ((double)(w->seed >> 11) + 1) / 9007199254740993.0;
}

static struct peer peer_named(uint64_t n)
{
    struct peer p = {.size = 8};
    memcpy(p.id, &n, 8);
    return p;
}

static uint64_t incarnation_of(int stage, int replica)
{
    return (uint64_t)(100 + 10 * stage + replica);
}

/* ---- workers ---- */

static void send_result(struct world *w, const struct job *j, uint32_t error, int exit)
{
    struct result r = {.request = j->request,
                       .attempt = j->attempt,
                       .error = error,
                       .exit = exit,
                       .label = 1,
                       .sent_ns = w->now,
                       .trace = j->trace};
    struct error e;
    zmq_msg_t none;
    zmq_msg_init(&none);
    assert_int_equal(dispatch_result(w->d, &r, &none, w->now, w->now, &e), FL_OK);
    zmq_msg_close(&none);
}

static void tell_taken(struct world *w, int replica, const struct job *j)
{
    struct message m;
    struct peer p = peer_named(incarnation_of(0, replica));
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat = (struct heartbeat){.incarnation = incarnation_of(0, replica), .taken = j->request};
    dispatch_control(w->d, &p, &m, w->now);
}

/* What a batch takes without noise. */
static double batch_ns(const struct world *w, int stage, int rows)
{
    const struct scene *s = w->scene;
    double ms = s->batch_ms + rows * s->row_ms;
    if (stage + 1 == s->stages && s->last_factor > 0)
        ms *= s->last_factor;
    if (s->slowness)
        ms *= s->slowness((double)w->now / S);
    return ms * MS;
}

static void take_in_hand(struct world *w, struct worker_model *k, int stage, int replica,
                         const struct job *from)
{
    struct job *j = &k->hand[k->batch++];
    *j = *from;
    j->trace.stage[j->trace.n++] = (struct stage_time){.stage = (uint32_t)stage,
                                                       .replica = (uint32_t)replica,
                                                       .wire_ns = WIRE_NS,
                                                       .queue_ns = w->now - j->sent_ns - WIRE_NS};
}

static void form_batch(struct world *w, int stage, int replica)
{
    struct worker_model *k = &w->worker[stage][replica];
    bool tell = false;
    int taken = 0;
    if (k->batch)
        return;
    for (; taken < k->n && k->batch < w->scene->batch; taken++) {
        const struct job *j = &k->queue[taken];
        tell = tell || j->flags & JOB_TELL;
        if (!job_is_late(j, stage, w->now))
            take_in_hand(w, k, stage, replica, j);
        else if (j->deadline_ns > w->now)
            send_result(w, j, FL_DEADLINE, -1);
    }
    if (tell && stage == 0)
        tell_taken(w, replica, &k->queue[taken - 1]);
    memmove(k->queue, &k->queue[taken], (size_t)(k->n - taken) * sizeof *k->queue);
    k->n -= taken;
    k->formed_ns = w->now;
    if (k->batch)
        k->done_ns = w->now + (uint64_t)(batch_ns(w, stage, k->batch) * (0.8 + 0.4 * uniform(w)));
    w->computed += k->batch;
}

static void fly(struct world *w, int stage, const struct job *j)
{
    assert_true(w->n_flights < MOST_JOBS);
    w->flight[(w->first_flight + w->n_flights++) % MOST_JOBS] = (struct flight){w->now + WIRE_NS, stage, *j};
    w->flight[(w->first_flight + w->n_flights - 1) % MOST_JOBS].job.sent_ns = w->now;
}

static void land(struct world *w)
{
    struct flight *f = &w->flight[w->first_flight];
    struct worker_model *k = &w->worker[f->stage][f->job.route[f->stage]];
    w->first_flight = (w->first_flight + 1) % MOST_JOBS;
    w->n_flights--;
    assert_true(k->n < MOST_JOBS);
    k->queue[k->n++] = f->job;
    k->most_queued = k->n > k->most_queued ? k->n : k->most_queued;
    form_batch(w, f->stage, f->job.route[f->stage]);
}

static void finish_batch(struct world *w, int stage, int replica)
{
    struct worker_model *k = &w->worker[stage][replica];
    int rows = k->batch;
    for (int i = 0; i < rows; i++) {
        struct job *j = &k->hand[i];
        j->trace.stage[j->trace.n - 1].compute_ns = w->now - k->formed_ns;
        j->trace.stage[j->trace.n - 1].batch = (uint32_t)rows;
        if (stage == 0 && uniform(w) < w->scene->hit_share)
            send_result(w, j, FL_OK, 0);
        else if (stage + 1 == w->scene->stages)
            send_result(w, j, FL_OK, -1);
        else
            fly(w, stage + 1, j);
    }
    k->batch = 0;
    k->done_ns = NEVER;
    form_batch(w, stage, replica);
}

/* ---- what the broker sends ---- */

static int take_job(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    (void)replica;
    zmq_msg_close(payload);
    fly(arg, 0, &m->job);
    return FL_OK;
}

static int take_answer(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    struct world *w = arg;
    const struct answer *a = &m->answer;
    struct asked *q = &w->asked[a->id];
    uint64_t took_ns = w->now - q->at_ns;
    bool in_time = took_ns <= q->time_ms * MS;
    (void)to, (void)payload;
    assert_int_equal(m->type, MESSAGE_ANSWER);
    assert_false(q->answered); /* exactly one */
    q->answered = true;
    w->open--;
    w->again++;
    assert_true(in_time); /* an answer or a clear error by then */
    if (a->error == FL_OK) {
        w->good[a->id % 2] += w->now < w->end_ns || !w->scene->closed;
        w->sum_ns += took_ns;
        w->worst_ns = took_ns > w->worst_ns ? took_ns : w->worst_ns;
    } else if (a->error == FL_OVERLOADED) {
        w->refused++;
        w->without_hint += !a->retry_after_ms;
        assert_int_equal(took_ns, 0); /* at once */
    } else {
        assert_int_equal(a->error, FL_DEADLINE);
        w->late += took_ns >= q->time_ms * MS;
        w->dropped += took_ns < q->time_ms * MS;
    }
    return FL_OK;
}

static int take_control(void *arg, const struct peer *to, const struct message *m)
{
    (void)arg, (void)to, (void)m;
    return FL_OK;
}

static void take_reset(void *arg, int replica)
{
    (void)arg, (void)replica;
}

/* ---- the client ---- */

static void ask(struct world *w)
{
    int id = w->n_asked++;
    const struct scene *s = w->scene;
    struct message m;
    struct peer p = peer_named(1);
    zmq_msg_t payload;
    assert_true(w->n_asked < MOST_REQUESTS);
    w->asked[id] =
        (struct asked){w->now, (uint32_t)(id % 2 && s->other_ms ? s->other_ms : s->deadline_ms), false};
    w->sent[id % 2]++;
    w->open++;
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_REQUEST;
    m.request = (struct request){.id = (uint64_t)id,
                                 .deadline_ms = w->asked[id].time_ms,
                                 .input = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 4}}};
    zmq_msg_init_size(&payload, 16);
    dispatch_client(w->d, &p, &m, &payload, w->now);
    zmq_msg_close(&payload);
}

static void schedule(struct world *w)
{
    w->arrival_ns = w->scene->rate > 0 ? w->now + (uint64_t)(-log(uniform(w)) * S / w->scene->rate) : NEVER;
    if (w->now >= w->end_ns)
        w->arrival_ns = NEVER;
}

/* ---- the world ---- */

static void start(struct world *w)
{
    const struct scene *s = w->scene;
    struct dispatch_io io = {w, take_job, take_answer, take_control, take_reset, NULL, NULL, NULL};
    const struct hello self = {.role = ROLE_BROKER, .incarnation = 5, .boot_id = "B"};
    w->pipeline.n_stages = s->stages;
    for (int i = 0; i < s->stages; i++)
        w->pipeline.stage[i] = (struct stage_config){.n_replicas = s->replicas, .max_batch = s->batch};
    w->pipeline.broker = (struct broker_config){.max_requests = 4096,
                                                .max_memory_mb = 1024,
                                                .deadline_ms = s->default_ms ? s->default_ms : s->deadline_ms,
                                                .latency_target_ms = s->target_ms,
                                                .retries = 2,
                                                .heartbeat_ms = 200,
                                                .dead_after_ms = 600000};
    w->now = 1;
    w->seed = 88172645463325252u;
    w->end_ns = (uint64_t)(s->seconds * S);
    assert_int_equal(dispatch_new(&w->d, &w->pipeline, &io, &self, w->now), FL_OK);
    for (int i = 0; i < s->stages * s->replicas; i++) {
        int stage = i / s->replicas, replica = i % s->replicas;
        uint64_t incarnation = incarnation_of(stage, replica);
        struct peer p = peer_named(incarnation);
        struct message m;
        memset(&m, 0, sizeof m);
        m.type = MESSAGE_HELLO;
        m.hello = (struct hello){.role = ROLE_STAGE,
                                 .stage = (uint32_t)stage,
                                 .replica = (uint32_t)replica,
                                 .incarnation = incarnation,
                                 .boot_id = "B",
                                 .ready = true};
        dispatch_control(w->d, &p, &m, w->now);
        w->worker[stage][replica].done_ns = NEVER;
    }
    w->again = s->rate > 0 ? 0 : s->closed;
    schedule(w);
}

/* Moves on to the next thing that happens, and does it. */
static void step(struct world *w, uint64_t wake)
{
    struct worker_model *done = NULL;
    uint64_t next = wake < w->arrival_ns ? wake : w->arrival_ns;
    int at = 0;
    if (w->n_flights && w->flight[w->first_flight].due_ns < next)
        next = w->flight[w->first_flight].due_ns;
    for (int i = 0; i < w->scene->stages * w->scene->replicas; i++) {
        struct worker_model *k = &w->worker[i / w->scene->replicas][i % w->scene->replicas];
        if (k->done_ns > next)
            continue;
        next = k->done_ns;
        done = k;
        at = i;
    }
    w->now = next;
    if (done)
        finish_batch(w, at / w->scene->replicas, at % w->scene->replicas);
    else if (w->n_flights && w->flight[w->first_flight].due_ns == next)
        land(w);
    else if (w->arrival_ns == next) {
        ask(w);
        schedule(w);
    }
    for (; w->scene->rate <= 0 && w->again && w->now < w->end_ns; w->again--)
        ask(w);
}

static struct world *run(const struct scene *s)
{
    struct world *w = calloc(1, sizeof *w);
    uint64_t wake;
    assert_non_null(w);
    w->scene = s;
    start(w);
    wake = w->now;
    while (w->now < w->end_ns || w->open) {
        int under_way, waiting;
        step(w, wake);
        wake = dispatch_tick(w->d, w->now);
        waiting = requests_listed(w->d->requests, REQUESTS_WAITING);
        under_way = dispatch_under_way(w->d);
        w->most_waiting = waiting > w->most_waiting ? waiting : w->most_waiting;
        w->most_under_way = under_way > w->most_under_way ? under_way : w->most_under_way;
    }
    return w;
}

static void end(struct world *w)
{
    dispatch_free(w->d);
    free(w);
}

static double per_second(const struct world *w)
{
    return (w->good[0] + w->good[1]) / w->scene->seconds;
}

/* What a closed loop with enough in flight gets answered. */
static double capacity_of(struct scene s)
{
    struct world *w;
    double most = 0;
    s.rate = 0;
    s.seconds = 3;
    s.deadline_ms = s.default_ms = 60000;
    s.other_ms = s.target_ms = 0;
    for (s.closed = 8; s.closed <= 64; s.closed *= 2) {
        w = run(&s);
        most = fmax(most, per_second(w));
        end(w);
    }
    return most;
}

static struct world *run_at(struct scene s, double rate, double seconds)
{
    static struct scene kept;
    s.rate = rate;
    s.seconds = seconds;
    kept = s;
    return run(&kept);
}

/* Stages like those of the embedded network and of a ResNet-18, a batch of which takes little more than its
 * rows. */
static const struct scene demo = {
    .stages = 3, .replicas = 1, .batch = 8, .batch_ms = 0.3, .row_ms = 1.2, .deadline_ms = 100};
static const struct scene resnet = {
    .stages = 3, .replicas = 1, .batch = 8, .batch_ms = 0.5, .row_ms = 4, .deadline_ms = 100};

static struct scene with(struct scene s, int replicas, int batch, double last_factor, double hit_share)
{
    s.replicas = replicas;
    s.batch = batch;
    s.last_factor = last_factor;
    s.hit_share = hit_share;
    return s;
}

/* Three times what it can do, a deadline of 100 ms, 30 s. That no answer comes late, refusals come at once
 * and each request ends once is asserted wherever requests are asked. */
static void keeps(struct scene s, double share)
{
    double capacity = capacity_of(s);
    struct world *w = run_at(s, 3 * capacity, 30);
    if (per_second(w) < share * capacity)
        fail_msg("%.1f of %.1f per second in time; %d refused, %d dropped, %d late", per_second(w), capacity,
                 w->refused, w->dropped, w->late);
    assert_int_equal(w->without_hint, 0);
    assert_in_range(w->sum_ns / (uint64_t)(w->good[0] + w->good[1]), 0, 85 * MS);
    end(w);
}

static void test_three_times_the_capacity_keeps_it(void **state)
{
    struct scene gpu = {
        .stages = 2, .replicas = 1, .batch = 32, .batch_ms = 5, .row_ms = 0.2, .deadline_ms = 100};
    struct scene one = resnet;
    one.stages = 1;
    keeps(demo, 0.97);
    keeps(resnet, 0.95);
    keeps(with(resnet, 1, 1, 1, 0), 0.97);   /* no batches */
    keeps(with(resnet, 1, 8, 0.5, 0), 0.95); /* the last stage idles */
    keeps(with(resnet, 1, 8, 2, 0), 0.95);   /* all wait for the last stage */
    keeps(with(resnet, 2, 8, 1, 0), 0.95);
    keeps(with(resnet, 1, 8, 1, 0.6), 0.95); /* a cache answers most after the first stage */
    keeps(with(demo, 1, 8, 5, 0.6), 0.85);   /* and the others take five times as long at the end */
    keeps(one, 0.95);
    keeps(gpu, 0.95);
}

static void test_little_is_refused_below_the_capacity(void **state)
{
    double capacity = capacity_of(resnet);
    struct world *w = run_at(resnet, 0.8 * capacity, 30);
    assert_in_range(w->good[0] + w->good[1], (int)(0.97 * w->n_asked), w->n_asked);
    end(w);
}

/* A burst that fits its deadline is no overload, even the first thing that ever comes. */
static void test_a_burst_is_queued(void **state)
{
    struct scene s = resnet;
    struct world *w;
    s.closed = 12;
    s.rate = 0;
    s.seconds = 0.001;
    w = run(&s);
    assert_int_equal(w->n_asked, 12);
    assert_int_equal(w->refused + w->dropped + w->late, 0);
    end(w);
}

static void test_a_long_deadline_makes_no_long_queue(void **state)
{
    struct scene s = resnet;
    double capacity = capacity_of(s);
    struct world *w;
    s.deadline_ms = 5000;
    s.target_ms = 200;
    w = run_at(s, 3 * capacity, 30);
    assert_true(per_second(w) > 0.95 * capacity);
    assert_in_range(w->worst_ns, 0, 2 * 200 * MS);
    assert_in_range(w->most_waiting + w->most_under_way, 0, (int)(0.2 * capacity * 1.5));
    assert_int_equal(w->without_hint, 0);
    end(w);
    s.target_ms = 0; /* by the deadline: most of it, never all of it */
    w = run_at(s, 3 * capacity, 30);
    assert_true(per_second(w) > 0.95 * capacity);
    assert_in_range(w->worst_ns, 2000 * MS, 4000 * MS);
    end(w);
}

/* What asks for the impossible does not keep the others from being answered. */
static void test_hopeless_deadlines_harm_no_others(void **state)
{
    struct scene s = resnet;
    double capacity = capacity_of(s);
    struct world *w;
    s.other_ms = 5; /* it takes 14 */
    w = run_at(s, 3 * capacity, 30);
    assert_int_equal(w->good[1], 0);
    assert_true(w->good[0] > 0.8 * 30 * capacity);
    end(w);
}

/* Of a pipeline whose default is long, whoever asks for less time gets it while it is not overloaded. */
static void test_short_deadlines_beside_long_ones(void **state)
{
    struct scene s = resnet;
    double capacity = capacity_of(s);
    struct world *w;
    s.default_ms = s.other_ms = 5000;
    w = run_at(s, 0.8 * capacity, 30);
    assert_in_range(w->good[0], (int)(0.95 * w->sent[0]), w->sent[0]);
    assert_in_range(w->good[1], (int)(0.99 * w->sent[1]), w->sent[1]);
    end(w);
}

static double half_speed(double s)
{
    return s > 10 && s < 20 ? 2 : 1;
}

static double standstill(double s)
{
    return s > 10 && s < 10.5 ? 20 : 1;
}

/* Something else takes the cores for a while: what is measured follows, down and up again. */
static void test_follows_what_the_machine_gives(void **state)
{
    struct scene s = resnet;
    double capacity = capacity_of(s);
    struct world *w;
    s.slowness = half_speed;
    w = run_at(s, 3 * capacity, 30);
    assert_true(per_second(w) > 0.87 * capacity * (20 + 10 * 0.5) / 30);
    end(w);
    s.slowness = standstill;
    w = run_at(s, 3 * capacity, 30);
    assert_true(per_second(w) > 0.85 * capacity);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_times_the_capacity_keeps_it),
        cmocka_unit_test(test_little_is_refused_below_the_capacity),
        cmocka_unit_test(test_a_burst_is_queued),
        cmocka_unit_test(test_a_long_deadline_makes_no_long_queue),
        cmocka_unit_test(test_hopeless_deadlines_harm_no_others),
        cmocka_unit_test(test_short_deadlines_beside_long_ones),
        cmocka_unit_test(test_follows_what_the_machine_gives),
    };
    log_threshold = LOG_LEVEL_ERROR + 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
