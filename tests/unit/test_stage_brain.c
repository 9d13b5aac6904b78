/* test_stage_brain.c - the stage worker's brain with a clock, layers and peers of this test: no socket, no
 * thread */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "index/verdicts.h"
#include "stages/brain/breaker.h"
#include "stages/brain/stage_brain.h"

#define BATCH 4
#define WAIT  (1 * NS_PER_MS)

static const char yaml[] = "model: tiny.onnx\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {last: block2.out}\n"
                           "  - {replicas: 2}\n"
                           "cache: {kind: kmeans, wait_us: 1000}\n"
                           "broker: {heartbeat_ms: 100, dead_after_ms: 1000}\n";

/* Of stage 1 of 3, with exits 0 and 1 and something to compute after them. */
static struct world {
    struct pipeline *pipeline;
    struct stage_setup setup;
    struct stage_brain *b;
    uint64_t now;
    float batch[BATCH]; /* the first number of each row that the layers have */
    int loaded, kept, described;
    int results, jobs, lookups, hellos, beats, spans; /* sent */
    struct result result;                             /* the latest of each */
    struct job job;
    int replica;
    struct lookup lookup;
    struct hello hello;
    struct heartbeat beat;
    int next_rc, ask_rc, result_rc; /* what sending answers */
    uint64_t near_hit;              /* the request that its own caches have an answer to */
    int looked;                     /* look-ups there */
    uint32_t reaches;
    bool connected;
    int met; /* the replica of the next stage that it was told of last */
    int to;  /* broker that was told last */
    struct heartbeat beat_to[2];
    bool deaf[2]; /* brokers that are not reached */
} w;

static int send_control(void *arg, int broker, const struct message *m)
{
    (void)arg;
    if (!w.connected || w.deaf[broker])
        return FL_AGAIN;
    w.to = broker;
    if (m->type == MESSAGE_HELLO)
        w.hello = m->hello, w.hellos++;
    else if (m->type == MESSAGE_HEARTBEAT)
        w.beat = w.beat_to[broker] = m->heartbeat, w.beats++;
    else
        w.spans += m->spans.n;
    return FL_OK;
}

static int send_result(void *arg, const struct message *m, zmq_msg_t *payload)
{
    (void)arg;
    if (w.result_rc)
        return w.result_rc;
    w.result = m->result;
    w.results++;
    if (payload)
        zmq_msg_close(payload);
    return FL_OK;
}

static int send_next(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    (void)arg;
    if (w.next_rc)
        return w.next_rc;
    w.job = m->job;
    w.replica = replica;
    w.jobs++;
    zmq_msg_close(payload);
    return FL_OK;
}

static int send_lookup(void *arg, const struct message *m, zmq_msg_t *payload)
{
    (void)arg;
    if (w.ask_rc)
        return w.ask_rc;
    assert_int_equal(zmq_msg_size(payload), message_payload_bytes(m));
    w.lookup = m->lookup;
    w.lookups++;
    zmq_msg_close(payload);
    return FL_OK;
}

static int look(void *arg, const struct lookup *in, const float *descriptors, uint64_t broker_now,
                struct verdict *out)
{
    struct cache_verdict found[BATCH];
    (void)arg, (void)descriptors;
    for (int i = 0; i < in->n; i++)
        found[i] = (struct cache_verdict){5, 3, in->item[i].request == w.near_hit};
    verdicts_fill(out, in, found, &(struct cache_levels){0}, 8, broker_now);
    w.now += 40 * NS_PER_US;
    w.looked++;
    return FL_OK;
}

static uint32_t reaches(void *arg)
{
    (void)arg;
    return w.reaches;
}

static bool connected(void *arg, int broker)
{
    (void)arg;
    return w.connected && !w.deaf[broker];
}

static int meet(void *arg, int replica, const char *endpoint)
{
    (void)arg;
    assert_string_equal(endpoint, "ipc:///five");
    w.met = replica;
    return FL_OK;
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return w.now;
}

static void use(void *arg, struct heartbeat *beat)
{
    (void)arg;
    beat->resident_bytes = 77;
    beat->cpu_ms = 5;
}

static int load(void *arg, int row, const void *input, struct error *e)
{
    (void)arg;
    memcpy(&w.batch[row], input, sizeof *w.batch);
    w.loaded++;
    return w.batch[row] < 0 ? error_set(e, FL_VALUE, "not finite") : FL_OK;
}

static int keep(void *arg, int segment, const int *rows, int n, struct error *e)
{
    (void)arg;
    (void)segment;
    (void)e;
    for (int i = 0; i < n; i++)
        w.batch[i] = w.batch[rows[i]];
    w.kept++;
    return FL_OK;
}

static int describe(void *arg, int segment, int batch, const int *rows, int n, zmq_msg_t *out)
{
    (void)arg;
    (void)batch;
    (void)rows;
    w.described = n;
    return zmq_msg_init_size(out, (size_t)(n * w.setup.segment[segment].dim) * sizeof(float));
}

static int output(void *arg, int row, int batch, int to, struct tensor *shape, int32_t *label,
                  float *confidence, zmq_msg_t *out, struct error *e)
{
    (void)arg;
    (void)batch, (void)to;
    (void)e;
    *shape = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 1}};
    if (label)
        *label = (int32_t)w.batch[row], *confidence = 0.5f;
    return zmq_msg_init_size(out, sizeof(float));
}

/* A brain of `stage`; it has said hello to so many brokers. */
static void begin_with(int stage, int brokers)
{
    static const struct stage_io io = {.control = send_control,
                                       .result = send_result,
                                       .next = send_next,
                                       .ask = send_lookup,
                                       .reaches = reaches,
                                       .connected = connected,
                                       .moment = moment,
                                       .use = use,
                                       .look = look,
                                       .meet = meet};
    static const struct stage_engine engine = {NULL, load, keep, describe, output};
    struct error e;
    log_threshold = LOG_LEVEL_ERROR + 1;
    memset(&w, 0, sizeof w);
    if (pipeline_parse(&w.pipeline, yaml, sizeof yaml - 1, "test.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    w.pipeline->broker.n_replicas = brokers;
    w.now = 5000 * NS_PER_S;
    w.connected = true;
    w.reaches = 3;
    w.setup = (struct stage_setup){.pipeline = w.pipeline,
                                   .self = {.role = ROLE_STAGE,
                                            .stage = (uint32_t)stage,
                                            .incarnation = 11,
                                            .boot_id = "here",
                                            .ready = true},
                                   .max_batch = BATCH,
                                   .expects = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 1}},
                                   .n_segments = 3,
                                   .segment = {{0, 2, 100, 1}, {1, 3, 101, 1}, {-1, 0, 0, 1}}};
    assert_int_equal(stage_brain_new(&w.b, &w.setup, &io, &engine), FL_OK);
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.hellos, brokers);
}

static void begin(int stage)
{
    begin_with(stage, 1);
}

static void end(void)
{
    stage_brain_free(w.b);
    pipeline_free(w.pipeline);
}

static struct message m;

/* One that is fine for stage `setup.self.stage`; change m.job before give_job sends it. */
static void make_job(uint64_t id)
{
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_JOB;
    m.job = (struct job){.request = id,
                         .attempt = 1,
                         .deadline_ns = w.now + NS_PER_S,
                         .sent_ns = w.now,
                         .n_route = 3,
                         .route = {0, 0, 1},
                         .trace = {.n = (int)w.setup.self.stage, .stage = {{.stage = 0}, {.stage = 1}}},
                         .activation = w.setup.expects};
}

static void give_value(float value)
{
    zmq_msg_t payload;
    zmq_msg_init_size(&payload, sizeof value);
    memcpy(zmq_msg_data(&payload), &value, sizeof value);
    stage_brain_job(w.b, &m, &payload, w.now, w.now, w.now);
    zmq_msg_close(&payload);
}

static void give(uint64_t id)
{
    make_job(id);
    give_value((float)id);
}

static void verdict(uint64_t sequence, uint64_t hit, bool absent)
{
    m.type = MESSAGE_VERDICT;
    m.verdict =
        (struct verdict){.exit = w.lookup.exit, .sequence = sequence, .epoch = 9, .absent = absent, .n = 1};
    m.verdict.item[0] =
        (struct verdict_item){.request = hit, .attempt = 1, .label = 3, .confidence = 2, .hit = hit != 0};
    stage_brain_verdict(w.b, &m, w.now);
}

static void cancel(uint64_t id, uint64_t asked)
{
    m.type = MESSAGE_CANCEL;
    m.cancel = (struct cancel){.n = id != 0, .n_ask = asked != 0, .request = {id}, .ask = {asked}};
    stage_brain_control(w.b, 0, &m, w.now);
}

static void broker_says_hello(const char *boot_id, bool serves)
{
    m.type = MESSAGE_HELLO;
    m.hello = (struct hello){.role = ROLE_BROKER, .incarnation = 5, .ready = serves};
    strcpy(m.hello.boot_id, boot_id);
    stage_brain_control(w.b, 0, &m, w.now);
}

static struct stage_wish next(void)
{
    return stage_brain_next(w.b, w.now);
}

/* It wants to compute `segment` for n rows, and takes `us`. */
static void compute(int segment, int n, int us)
{
    struct stage_wish wish = next();
    assert_int_equal(wish.what, STAGE_COMPUTE);
    assert_int_equal(wish.segment, segment);
    assert_int_equal(wish.n, n);
    w.now += (uint64_t)us * NS_PER_US;
    stage_brain_computed(w.b, FL_OK, NULL, w.now);
}

static void compute_all(int n)
{
    for (int i = 0; i < 3; i++)
        compute(i, n, 10);
}

static void test_what_waits_becomes_a_batch(void **state)
{
    begin(1);
    assert_int_equal(next().what, STAGE_WAIT);
    for (uint64_t id = 1; id <= 6; id++)
        give(id);
    compute(0, BATCH, 100);
    assert_int_equal(w.lookups, 1);
    assert_int_equal(w.lookup.n, BATCH);
    assert_int_equal(w.lookup.origin, 100);
    compute(1, BATCH, 100);
    compute(2, BATCH, 100);
    assert_int_equal(next().what, STAGE_HOLD);
    w.now += WAIT;
    assert_int_equal(next().what, STAGE_WAIT);
    assert_int_equal(w.jobs, 4);
    assert_int_equal(w.job.request, 4);
    assert_int_equal(w.replica, 1);
    assert_int_equal(w.job.trace.n, 2);
    assert_int_equal(w.job.trace.stage[1].batch, BATCH);
    assert_int_equal(w.job.trace.stage[1].compute_ns, 300 * NS_PER_US);
    assert_int_equal(w.job.trace.stage[1].lookup_ns, WAIT);
    assert_int_equal(w.job.trace.stage[1].hidden_ns, 200 * NS_PER_US);
    compute(0, 2, 100);
    end();
}

static void give_last(uint64_t id)
{
    make_job(id);
    m.job.route[2] = 0;
    give_value((float)id);
}

/* Requests have 5 s and pass three stages: a batch may take 541 ms here. */
static void test_batches_keep_to_the_latency_target(void **state)
{
    begin(2);
    for (uint64_t id = 1; id <= 7; id++)
        give_last(id);
    compute(0, BATCH, 600000);
    compute(1, BATCH, 10);
    compute(2, BATCH, 10);
    assert_int_equal(w.results, BATCH);
    stage_brain_tick(w.b, w.now + NS_PER_S);
    assert_int_equal(w.beat.batch, BATCH - 1);
    compute_all(BATCH - 1); /* full, and in time: one more may come in */
    for (uint64_t id = 11; id <= 17; id++)
        give_last(id);
    compute_all(BATCH);
    assert_int_equal(w.results, 2 * BATCH + BATCH - 1);
    end();
}

/* Two batches lose two requests each at an exit: what is left of both is one batch in the next stage. */
static void test_survivors_of_several_batches_form_one(void **state)
{
    uint64_t left[BATCH];
    begin(1);
    for (uint64_t id = 1; id <= 2 * BATCH; id++)
        give(id);
    for (int k = 0; k < 2; k++) {
        uint64_t first;
        compute(0, BATCH, 10);
        first = w.lookup.item[0].request;
        verdict(w.lookup.sequence, first, false);
        compute(1, BATCH, 10);
        verdict(w.lookup.sequence, first + 1, false);
        compute(2, BATCH - 1, 10);
        left[2 * k] = first + 2;
        left[2 * k + 1] = first + 3;
    }
    assert_int_equal(w.jobs, 4);
    end();
    begin(2);
    for (int i = 0; i < BATCH; i++)
        give_last(left[i]);
    compute_all(BATCH);
    assert_int_equal(w.results, BATCH);
    end();
}

static void test_a_hit_leaves_the_batch(void **state)
{
    begin(1);
    for (uint64_t id = 1; id <= 3; id++)
        give(id);
    compute(0, 3, 10);
    assert_int_equal(next().what, STAGE_COMPUTE);
    assert_true(stage_brain_asking(w.b));
    verdict(w.lookup.sequence, 2, false);
    assert_true(stage_brain_needs(w.b));
    stage_brain_computed(w.b, FL_OK, NULL, w.now);
    assert_int_equal(w.kept, 1);
    assert_int_equal(w.lookup.n, 2);
    assert_true(w.batch[0] == 1 && w.batch[1] == 3);
    compute(2, 2, 10);
    verdict(w.lookup.sequence, 0, false);
    assert_int_equal(next().what, STAGE_WAIT); /* every verdict is there: nothing is held back */
    assert_int_equal(w.jobs, 2);
    assert_int_equal(w.results, 0); /* the cache service tells */
    assert_int_equal(stage_brain_room(w.b), 2 * BATCH);
    end();
}

static void test_all_hits_stop_computing(void **state)
{
    begin(1);
    give(1);
    compute(0, 1, 10);
    assert_int_equal(next().what, STAGE_COMPUTE);
    verdict(w.lookup.sequence, 1, false);
    assert_false(stage_brain_needs(w.b));
    stage_brain_computed(w.b, FL_CANCELLED, "stopped", w.now);
    assert_false(stage_brain_busy(w.b));
    assert_int_equal(w.jobs + w.results, 0);
    cancel(0, 1); /* the broker never heard of it */
    assert_int_equal(w.results, 1);
    assert_int_equal(w.result.request, 1);
    assert_int_equal(w.result.exit, 0);
    assert_int_equal(w.result.label, 3);
    assert_int_equal(w.result.epoch, 9);
    cancel(0, 2);
    assert_int_equal(w.results, 1);
    end();
}

/* With caches of its own it decides itself, tells the broker, and asks nobody. */
static void test_a_hit_in_near_caches_is_told_by_the_stage(void **state)
{
    begin(1);
    stage_brain_holds(w.b, 8, 1, w.now);
    for (w.near_hit = 1; w.near_hit <= 3; w.near_hit++)
        give(w.near_hit);
    w.near_hit = 2;
    compute(0, 3, 10);
    assert_int_equal(w.looked, 1);
    assert_int_equal(w.lookups, 0);
    assert_int_equal(w.results, 1);
    assert_int_equal(w.result.request, 2);
    assert_int_equal(w.result.exit, 0);
    assert_int_equal(w.result.label, 5);
    assert_int_equal(w.result.epoch, 8);
    assert_int_equal(w.result.lookup_ns, 40 * NS_PER_US);
    assert_int_equal(w.result.trace.n, 2);
    assert_int_equal(w.result.trace.stage[1].compute_ns, 10 * NS_PER_US);
    assert_int_equal(w.result.trace.stage[1].lookup_ns, 0); /* the look-up itself is told beside it */
    compute(1, 2, 10);                                      /* it has left the batch at once */
    assert_int_equal(w.lookups, 1);                         /* no cache of its own at that exit */
    compute(2, 2, 10);
    verdict(w.lookup.sequence, 0, false);
    next();
    assert_int_equal(w.jobs, 2);
    assert_int_equal(w.job.trace.stage[1].lookup_ns, 40 * NS_PER_US); /* a miss waits for it */
    cancel(0, 2);                                                     /* should the broker have missed it */
    assert_int_equal(w.results, 2);
    w.now += NS_PER_S;
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat.epoch, 8);
    assert_int_equal(w.beat.exits, 1);
    assert_int_equal(w.beat.hits, 1);
    end();
}

/* The service knows what came before in a video; where it can't be asked, near caches are as good. */
static void test_frames_of_a_video_are_looked_up_by_the_service(void **state)
{
    begin(1);
    stage_brain_holds(w.b, 8, 1, w.now);
    for (uint64_t i = 1; i <= 2; i++) {
        make_job(i);
        m.job.stream = i == 2 ? 77 : 0;
        give_value(1);
    }
    compute(0, 2, 10);
    assert_int_equal(w.looked, 0);
    assert_int_equal(w.lookups, 1);
    assert_true(!w.lookup.told && w.lookup.item[0].stream == 0 && w.lookup.item[1].stream == 77);
    end();
    begin(1);
    stage_brain_holds(w.b, 8, 1, w.now);
    w.ask_rc = FL_AGAIN;
    make_job(1);
    m.job.stream = 77;
    give_value(1);
    compute(0, 1, 10);
    assert_int_equal(w.looked, 1);
    end();
}

/* One that can't be told goes on. */
static void test_a_near_hit_that_cannot_be_told_is_a_miss(void **state)
{
    begin(1);
    stage_brain_holds(w.b, 8, 1, w.now);
    w.near_hit = 1;
    w.result_rc = FL_AGAIN;
    give(1);
    compute_all(1);
    verdict(w.lookup.sequence, 0, false);
    next();
    assert_int_equal(w.jobs, 1);
    end();
}

/* What is sampled or audited still reaches the service: only that, once, and it wants no verdict. */
static void test_the_service_learns_from_what_was_looked_up_near(void **state)
{
    static const uint32_t flags[] = {JOB_SAMPLED, JOB_SAMPLED, 0, JOB_AUDIT};
    begin(1);
    stage_brain_holds(w.b, 8, 1, w.now);
    w.near_hit = 1;
    for (int i = 0; i < 4; i++) {
        make_job((uint64_t)i + 1);
        m.job.flags = flags[i];
        give_value(1);
    }
    compute(0, 4, 10);
    assert_int_equal(w.results, 1); /* the hit needs no lesson: it has no full answer */
    assert_int_equal(w.lookups, 1);
    assert_true(w.lookup.told);
    assert_int_equal(w.lookup.n, 2);
    assert_int_equal(w.lookup.item[0].request, 2);
    assert_int_equal(w.lookup.item[1].request, 4);
    assert_int_equal(w.lookup.answered, 3); /* an audit ends nowhere */
    assert_int_equal(w.lookup.hits, 1);
    assert_false(stage_brain_asking(w.b));
    end();
}

/* A service that is gone: its caches for a while, then every layer, until it is back. */
static void test_near_caches_expire(void **state)
{
    begin(1);
    stage_brain_holds(w.b, 8, 1, w.now);
    w.ask_rc = FL_AGAIN;
    w.now += 10 * NS_PER_S;
    stage_brain_tick(w.b, w.now);
    give(1);
    compute_all(1);
    assert_int_equal(w.looked, 1);
    w.now += 1;
    stage_brain_tick(w.b, w.now);
    next();
    give(2);
    compute_all(1);
    next();
    assert_int_equal(w.looked, 1);
    stage_brain_holds(w.b, 9, 1, w.now);
    give(3);
    compute_all(1);
    assert_int_equal(w.looked, 2);
    assert_int_equal(w.jobs, 3);
    end();
}

/* Where nearly all hit, more is computed only for those that don't. */
static void test_a_batch_waits_where_most_hit(void **state)
{
    begin(1);
    for (uint64_t id = 1; id <= 32; id++) {
        give(id);
        compute(0, 1, 10);
        assert_int_equal(next().what, STAGE_COMPUTE); /* too little is known */
        w.now += 100 * NS_PER_US;
        if (id == 1) { /* how long that takes is known, too */
            stage_brain_computed(w.b, FL_OK, NULL, w.now);
            verdict(1, 1, false);
            compute(2, 1, 10);
            next();
            continue;
        }
        verdict(w.lookup.sequence, id, false);
        stage_brain_computed(w.b, FL_CANCELLED, "", w.now);
        next();
    }
    give(41);
    compute(0, 1, 10);
    assert_int_equal(next().what, STAGE_HOLD);
    w.now += 50 * NS_PER_US;
    verdict(w.lookup.sequence, 41, false);
    assert_int_equal(next().what, STAGE_WAIT);
    assert_false(stage_brain_busy(w.b));
    give(42);
    compute(0, 1, 10);
    w.now += 50 * NS_PER_US;
    verdict(w.lookup.sequence, 0, false);
    assert_int_equal(next().what, STAGE_WAIT);
    compute(1, 1, 10);
    compute(2, 1, 10);
    w.now += WAIT;
    next();
    assert_int_equal(w.job.request, 42);
    assert_int_equal(w.job.trace.stage[1].hidden_ns, 10 * NS_PER_US); /* what it waited for was not hidden */
    assert_int_equal(w.job.trace.stage[1].lookup_ns, 50 * NS_PER_US + WAIT);
    end();
}

static void test_audits_are_asked_for_and_run_to_the_end(void **state)
{
    begin(1);
    make_job(1);
    m.job.flags = JOB_AUDIT;
    give_value(1);
    make_job(2);
    m.job.flags = JOB_NO_CACHE;
    give_value(2);
    compute(0, 2, 10);
    assert_int_equal(w.lookup.n, 1);
    assert_int_equal(w.lookup.item[0].request, 1);
    verdict(w.lookup.sequence, 1, false);
    compute(1, 2, 10);
    compute(2, 2, 10);
    assert_int_equal(w.jobs, 2); /* no verdict could end one: nothing is held back */
    end();
}

static void echo(uint32_t exits, uint32_t learns)
{
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat = (struct heartbeat){
        .incarnation = 11, .worker_ns = w.now, .exits_told = true, .exits = exits, .learns = learns};
    stage_brain_control(w.b, 0, &m, w.now);
}

/* Where no cache stands, and one is to be made, the service is told of what is sampled, and of nothing else.
 */
static void test_exits_without_caches_are_learned(void **state)
{
    static const uint32_t flags[] = {0, JOB_SAMPLED, JOB_NO_CACHE, JOB_AUDIT};
    begin(1);
    echo(0, 2);
    for (int i = 0; i < 4; i++) {
        make_job((uint64_t)i + 1);
        m.job.flags = flags[i];
        give_value(1);
    }
    compute(0, 4, 10);
    assert_int_equal(w.lookups, 0);
    compute(1, 4, 10);
    assert_int_equal(w.lookups, 1);
    assert_true(w.lookup.told);
    assert_int_equal(w.lookup.exit, 1);
    assert_int_equal(w.lookup.origin, 101);
    assert_int_equal(w.lookup.n, 2);
    assert_int_equal(w.described, 2);
    assert_int_equal(w.lookup.item[0].request, 2);
    assert_int_equal(w.lookup.item[1].request, 4);
    assert_false(stage_brain_asking(w.b));
    compute(2, 4, 10);
    assert_int_equal(w.jobs, 4); /* nothing is waited for */
    give(5);
    compute_all(1);
    assert_int_equal(w.lookups, 1); /* nothing of it is sampled */
    end();
}

static void give_shadow(uint64_t id)
{
    make_job(id);
    m.job.flags = JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW;
    m.job.deadline_ns = w.now + 100 * NS_PER_S;
    give_value((float)id);
}

/* Alone, and after the others, when those have been away for a while. */
static void test_shadows_come_last(void **state)
{
    begin(1);
    w.now += NS_PER_S;
    give_shadow(7);
    give_shadow(8);
    give(1);
    give(2);
    compute_all(2);
    w.now += WAIT;
    next();
    assert_int_equal(w.jobs, 2);
    assert_int_equal(next().what, STAGE_WAIT);
    w.now += 2 * NS_PER_MS;
    compute_all(1);
    assert_int_equal(w.jobs, 3);
    assert_int_equal(w.job.request, 7);
    assert_int_equal(w.job.flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    compute_all(1);
    assert_int_equal(w.job.request, 8);
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat.taken, 2); /* nobody asks for shadows */
    end();
}

/* They leave every place to others, and are refused when there are too many. */
static void test_shadows_take_no_room(void **state)
{
    begin(1);
    give(1);
    next();
    for (uint64_t i = 0; i < PIPELINE_MAX_REPLICAS; i++)
        give_shadow(100 + i);
    assert_int_equal(stage_brain_room(w.b), 2 * BATCH);
    assert_int_equal(w.results, 0);
    give_shadow(200);
    assert_int_equal(w.result.request, 200);
    assert_int_equal(w.result.error, FL_OVERLOADED);
    for (uint64_t i = 0; i < 2 * BATCH; i++)
        give(10 + i);
    assert_int_equal(stage_brain_room(w.b), 0);
    end();
}

/* One that is computed waits again when others come, and its descriptors are told once. */
static void test_shadows_give_way(void **state)
{
    int jobs = 0;
    begin(1);
    give_shadow(7);
    compute(0, 1, 10);
    assert_int_equal(w.lookups, 1);
    for (uint64_t i = 0; i < 4; i++) {
        int at = i < 2 ? 1 : 0;
        assert_int_equal(next().what, STAGE_COMPUTE);
        assert_int_equal(next().segment, at);
        assert_true(stage_brain_gives_way(w.b));
        assert_true(stage_brain_needs(w.b));
        give(i + 1);
        assert_false(stage_brain_needs(w.b));
        stage_brain_computed(w.b, i % 2 ? FL_CANCELLED : FL_OK, NULL,
                             w.now); /* its node may have been the last */
        assert_false(stage_brain_busy(w.b));
        compute_all(1);
        w.now += WAIT;
        next();
        assert_int_equal(w.jobs, ++jobs);
        assert_int_equal(w.job.request, i + 1);
        w.now += 2 * NS_PER_MS;
        if (i < 1)
            compute(0, 1, 10);
    }
    compute(0, 1, 10); /* it was put back often enough */
    give(9);
    assert_true(stage_brain_needs(w.b));
    compute(1, 1, 10);
    compute(2, 1, 10);
    assert_int_equal(w.job.request, 7);
    assert_int_equal(w.job.attempt, 1);
    end();
}

/* Where others never leave a gap, a shadow has its turn all the same. */
static void test_shadows_do_not_wait_for_ever(void **state)
{
    int turns = 0;
    begin(1);
    give(1);
    give_shadow(100);
    for (uint64_t id = 2; w.job.request != 100 && turns < 5000; id++, turns++) {
        while (next().what == STAGE_COMPUTE) {
            w.now += 100 * NS_PER_US;
            stage_brain_computed(w.b, stage_brain_needs(w.b) ? FL_OK : FL_CANCELLED, NULL, w.now);
        }
        w.now += WAIT;
        next();
        give(id);
    }
    assert_int_equal(w.job.request, 100);
    end();
}

static void test_cancelled_requests_end(void **state)
{
    begin(1);
    give(1);
    give(2);
    give(3);
    cancel(1, 0);
    compute(0, 2, 10); /* 1 was never taken in */
    cancel(3, 0);
    compute(1, 2, 10);
    compute(2, 1, 10);
    w.now += WAIT;
    next();
    assert_int_equal(w.jobs, 1);
    assert_int_equal(w.job.request, 2);
    assert_int_equal(w.results, 0);
    end();
}

static void test_deadlines_end_requests(void **state)
{
    begin(1);
    make_job(1);
    m.job.deadline_ns = w.now + 15 * NS_PER_US;
    give_value(1);
    make_job(2);
    m.job.n_rest = 3;
    m.job.rest_us[1] = 2000000; /* alone it takes longer than it has */
    give_value(2);
    compute(0, 1, 10);
    assert_int_equal(w.results, 1);
    assert_int_equal(w.result.request, 2);
    assert_int_equal(w.result.error, FL_DEADLINE);
    compute(1, 1, 10);
    assert_false(stage_brain_busy(w.b)); /* and 1 is over here */
    assert_int_equal(w.jobs, 0);
    w.now += NS_PER_S;
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat.dropped, 2);
    end();
}

static void test_a_batch_is_held_back_at_most_so_long(void **state)
{
    struct stage_wish wish;
    begin(1);
    give(1);
    compute_all(1);
    wish = next();
    assert_int_equal(wish.what, STAGE_HOLD);
    assert_int_equal(wish.until_ns, w.now + WAIT);
    w.now += WAIT - 1;
    assert_int_equal(next().what, STAGE_HOLD);
    verdict(w.lookup.sequence, 1, false); /* just in time */
    assert_int_equal(next().what, STAGE_WAIT);
    assert_int_equal(w.jobs, 0);
    give(2);
    compute_all(1);
    w.now += WAIT;
    next();
    assert_int_equal(w.jobs, 1);
    end();
}

static void test_nothing_is_held_back_behind_the_last_stage(void **state)
{
    begin(2);
    make_job(7);
    m.job.route[2] = 0;
    give_value(7);
    compute_all(1);
    assert_false(stage_brain_busy(w.b));
    assert_int_equal(w.results, 1);
    assert_int_equal(w.result.label, 7);
    assert_int_equal(w.result.exit, -1);
    assert_int_equal(w.result.trace.n, 3);
    end();
}

/* Each batch is done before its verdicts come; five late ones in a row, and nobody is asked. */
static void test_late_verdicts_open_the_breaker(void **state)
{
    uint64_t probe;
    begin(1);
    for (uint64_t id = 1; w.lookups < BREAKER_FAILURES; id++) {
        give(id);
        compute_all(1);
        w.now += 2 * WAIT;
        next();
    }
    give(100);
    compute_all(1);
    assert_int_equal(w.lookups, 6); /* both of the third batch were sent before one of them was late */
    assert_int_equal(w.jobs, 4);    /* and the fourth one was not held back */
    w.now += 100 * NS_PER_MS;
    stage_brain_tick(w.b, w.now);
    assert_false(w.beat.cache_open);
    give(101);
    compute(0, 1, 10);
    assert_int_equal(w.lookups, 7); /* a probe */
    probe = w.lookup.sequence;
    compute(1, 1, 10);
    assert_int_equal(w.lookups, 7);
    verdict(probe, 0, false);
    verdict(probe, 0, false); /* twice: counts once */
    compute(2, 1, 10);
    give(102);
    compute_all(1);
    assert_int_equal(w.lookups, 9);
    end();
}

static void test_nobody_is_asked_where_no_cache_stands(void **state)
{
    begin(1);
    give(1);
    compute(0, 1, 10);
    verdict(w.lookup.sequence, 0, true);
    compute(1, 1, 10);
    verdict(w.lookup.sequence, 0, true);
    compute(2, 1, 10);
    assert_int_equal(w.lookups, 2);
    give(2);
    compute_all(1);
    assert_int_equal(w.lookups, 2);
    w.now += 2 * NS_PER_S; /* one may stand there by now */
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat = (struct heartbeat){.incarnation = 11, .worker_ns = 1, .exits_told = true, .exits = 2};
    stage_brain_control(w.b, 0, &m, w.now);
    give(3);
    compute_all(1);
    assert_int_equal(w.lookups, 3);
    assert_int_equal(w.lookup.exit, 1);
    end();
}

static void expect_error(int code, int results)
{
    give_value(1);
    assert_int_equal(w.results, results);
    assert_int_equal(w.result.error, code);
    assert_int_equal(stage_brain_room(w.b), 2 * BATCH);
    make_job(1);
}

static void test_wrong_jobs_are_refused_by_name(void **state)
{
    begin(1);
    w.setup.self.plan[0] = 1;
    make_job(1);
    m.job.n_route = 2;
    expect_error(FL_PROTOCOL, 1);
    m.job.route[1] = 1;
    expect_error(FL_PROTOCOL, 2);
    m.job.route[2] = 2;
    expect_error(FL_PROTOCOL, 3);
    m.job.trace.n = 0;
    expect_error(FL_PROTOCOL, 4);
    m.job.plan = 99;
    expect_error(FL_STALE, 5);
    m.job.activation.dtype = TENSOR_U8;
    expect_error(FL_DTYPE, 6);
    m.job.activation.dim[1] = 2;
    expect_error(FL_SHAPE, 7);
    give_value(-1); /* the layers do not take it */
    assert_int_equal(next().what, STAGE_WAIT);
    assert_int_equal(w.result.error, FL_VALUE);
    m.type = MESSAGE_DRAIN; /* garbage there */
    give_value(1);
    verdict(12345, 1, false); /* never asked */
    m.type = MESSAGE_JOB;
    stage_brain_verdict(w.b, &m, w.now);
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(next().what, STAGE_WAIT);
    assert_int_equal(w.results, 8);
    end();
}

/* A broker tells of workers of the next stage that the pipeline file does not have. */
static void test_neighbours_that_were_added_are_met(void **state)
{
    begin(1);
    m.type = MESSAGE_HELLO;
    memset(&m.hello, 0, sizeof m.hello);
    m.hello = (struct hello){.role = ROLE_STAGE, .stage = 2, .replica = 5, .incarnation = 9};
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(w.met, 0); /* it does not tell where it is */
    snprintf(m.hello.endpoint, sizeof m.hello.endpoint, "ipc:///five");
    m.hello.stage = 1;
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(w.met, 0); /* it is of this stage */
    m.hello.stage = 2;
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(w.met, 5);
    w.reaches = 1 << 5;
    stage_brain_tick(w.b, w.now);
    assert_true(w.beat.reaches == (REACHES_TOLD | 1 << 5));
    make_job(1);
    m.job.route[2] = 5;
    give_value(1);
    assert_int_equal(w.results, 0); /* it is not refused */
    end();
}

static void test_the_queue_is_bounded(void **state)
{
    begin(1);
    for (uint64_t id = 1; stage_brain_room(w.b); id++)
        give(id);
    assert_int_equal(next().what, STAGE_COMPUTE);
    assert_int_equal(stage_brain_room(w.b), BATCH);
    for (uint64_t id = 101; stage_brain_room(w.b); id++)
        give(id);
    stage_brain_computed(w.b, FL_INTERNAL, "a node failed", w.now);
    assert_int_equal(w.results, BATCH);
    assert_int_equal(w.result.error, FL_INTERNAL);
    assert_int_equal(stage_brain_room(w.b), 0);
    for (int i = 0; i < 2; i++)
        next(), stage_brain_computed(w.b, FL_INTERNAL, "a node failed", w.now);
    assert_int_equal(w.results, 3 * BATCH);
    assert_int_equal(stage_brain_room(w.b), 2 * BATCH);
    end();
}

static void test_a_link_that_breaks_is_told(void **state)
{
    begin(1);
    w.next_rc = FL_AGAIN;
    w.ask_rc = FL_AGAIN; /* nothing to hold back for */
    w.reaches = 1;
    give(1);
    compute_all(1);
    assert_int_equal(w.result.error, FL_UNAVAILABLE);
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat.reaches, REACHES_TOLD | 1);
    w.reaches = 3;
    w.now += 10 * NS_PER_MS;
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat.reaches, REACHES_TOLD | 3);
    end();
}

static void test_hello_comes_first_and_again(void **state)
{
    uint64_t due;
    begin(1);
    due = stage_brain_tick(w.b, w.now);
    assert_int_equal(due, w.now + 100 * NS_PER_MS);
    assert_int_equal(w.beats, 1);
    assert_int_equal(w.beat.resident_bytes, 77);
    assert_int_equal(w.beat.cpu_ms, 5);
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat =
        (struct heartbeat){.incarnation = 12}; /* of another worker: the broker does not know this one */
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(w.hellos, 2);
    assert_int_equal(w.hello.incarnation, 11);
    m.heartbeat.incarnation = 11; /* it asks for one */
    stage_brain_control(w.b, 0, &m, w.now);
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beats, 2);
    end();
}

/* Before its first job a worker on another host knows the broker's clock: it asks often at first. */
static void test_the_clock_of_another_host_is_learned(void **state)
{
    const uint64_t ahead = 3600 * NS_PER_S;
    begin(1);
    broker_says_hello("there", true);
    for (int i = 0; i < 8; i++) {
        w.now = stage_brain_tick(w.b, w.now);
        m.type = MESSAGE_HEARTBEAT;
        m.heartbeat =
            (struct heartbeat){.incarnation = 11, .worker_ns = w.now, .broker_ns = w.now + ahead + 1000};
        w.now += 2000; /* there and back */
        stage_brain_control(w.b, 0, &m, w.now);
    }
    assert_true(w.now < 5001 * NS_PER_S);
    make_job(1);
    m.job.sent_ns = w.now + ahead;
    m.job.deadline_ns = w.now + ahead + NS_PER_S;
    give_value(1);
    compute(0, 1, 10);
    assert_int_equal(w.lookup.sent_ns, w.now + ahead);
    end();
}

static void test_who_leaves_finishes_what_it_has(void **state)
{
    struct error e;
    begin(1);
    broker_says_hello("here", true);
    give(1);
    stage_brain_stop(w.b, 1);
    compute(0, 1, 10);
    assert_true(w.hello.leaving && w.hello.ready);
    compute(1, 1, 10);
    compute(2, 1, 10);
    w.now += WAIT;
    next();
    assert_int_equal(w.jobs, 1);
    assert_true(stage_brain_tick(w.b, w.now) <= w.now + 20 * NS_PER_MS);
    assert_int_equal(next().what, STAGE_WAIT); /* something may still be on its way here */
    m.type = MESSAGE_DRAIN;
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(next().what, STAGE_END);
    assert_int_equal(stage_brain_reason(w.b, &e), FL_OK);
    stage_brain_goodbye(w.b);
    assert_false(w.hello.ready);
    end();
}

static void test_who_leaves_does_not_wait_for_ever(void **state)
{
    begin(1);
    broker_says_hello("here", true);
    stage_brain_stop(w.b, 1);
    assert_int_equal(next().what, STAGE_WAIT);
    w.connected = false; /* the broker is gone */
    assert_int_equal(next().what, STAGE_END);
    w.connected = true;
    assert_int_equal(next().what, STAGE_WAIT);
    give(1);
    stage_brain_stop(w.b, 2); /* asked again */
    assert_int_equal(next().what, STAGE_END);
    end();
    begin(1);
    broker_says_hello("here", true);
    stage_brain_stop(w.b, 1);
    for (int i = 0; next().what != STAGE_END; i++) {
        assert_true(i < 100);
        w.now += 100 * NS_PER_MS;
        m.type = MESSAGE_OUTCOME; /* it says nothing of use */
        stage_brain_control(w.b, 0, &m, w.now);
    }
    end();
}

static void test_who_is_sent_away_says_why(void **state)
{
    struct error e;
    int hellos;
    begin(1);
    broker_says_hello("here", false);
    m.type = MESSAGE_DRAIN;
    stage_brain_control(w.b, 0, &m, w.now);
    assert_int_equal(next().what, STAGE_END);
    assert_int_equal(stage_brain_reason(w.b, &e), FL_STALE);
    assert_non_null(strstr(e.text, "another plan"));
    hellos = w.hellos;
    stage_brain_goodbye(w.b);
    assert_int_equal(w.hellos, hellos);
    end();
}

/* --- two brokers --- */

#define OF_SECOND (1ull << REQUEST_BROKER_SHIFT)

static void says(int broker, enum message_type type)
{
    m.type = type;
    if (type == MESSAGE_HELLO)
        m.hello = (struct hello){.role = ROLE_BROKER,
                                 .replica = (uint32_t)broker,
                                 .incarnation = 5 + (uint64_t)broker,
                                 .boot_id = "here",
                                 .ready = true};
    stage_brain_control(w.b, broker, &m, w.now);
}

static void test_each_broker_has_its_clock(void **state)
{
    begin_with(2, 2);
    says(0, MESSAGE_HELLO);
    m.hello = (struct hello){
        .role = ROLE_BROKER, .replica = 1, .incarnation = 6, .boot_id = "elsewhere", .ready = true};
    stage_brain_control(w.b, 1, &m, w.now);
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat =
        (struct heartbeat){.incarnation = 11, .worker_ns = w.now, .broker_ns = w.now - 1000 * NS_PER_S};
    stage_brain_control(w.b, 1, &m, w.now);
    make_job(1);
    m.job.route[2] = 0;
    give_value(1);
    make_job(OF_SECOND | 2);
    m.job.route[2] = 0; /* its times are by that clock */
    m.job.deadline_ns -= 1000 * NS_PER_S;
    m.job.sent_ns -= 1000 * NS_PER_S;
    give_value(2);
    compute(0, 2, 10);
    assert_int_equal(w.lookup.n, 2);
    assert_int_equal(w.lookup.item[0].deadline_ns, w.lookup.item[1].deadline_ns); /* by one clock */
    compute(1, 2, 10);
    assert_int_equal(next().what, STAGE_COMPUTE);
    stage_brain_computed(w.b, FL_OK, NULL, w.now);
    next();
    assert_int_equal(w.results, 2);
    assert_int_equal(w.result.request, OF_SECOND | 2);
    assert_true(w.result.sent_ns < 4001 * NS_PER_S);
    assert_int_equal(w.result.trace.stage[2].wire_ns, 0);
    end();
}

static void test_each_broker_hears_what_others_sent(void **state)
{
    begin_with(0, 2);
    says(0, MESSAGE_HELLO);
    says(1, MESSAGE_HELLO);
    give(1);
    give(2);
    make_job(OF_SECOND | 7);
    m.job.flags = JOB_TELL;
    give_value(7);
    w.now += NS_PER_S;
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat_to[0].others, 1);
    assert_int_equal(w.beat_to[1].others, 2);
    assert_int_equal(w.beat_to[1].brokers, 2);
    w.beats = 0;
    next();
    assert_int_equal(w.beats, 1); /* to whom it may concern */
    assert_int_equal(w.to, 1);
    assert_int_equal(w.beat.taken, OF_SECOND | 7);
    w.deaf[1] = true;
    w.now += NS_PER_S;
    says(0, MESSAGE_HELLO);
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.beat_to[0].brokers, 1);
    end();
}

/* The pipeline does not split: who is sent away by one leaves the other, and serves it till then. */
static void test_who_is_sent_away_by_one_leaves_the_other(void **state)
{
    struct error e;
    begin_with(1, 2);
    says(0, MESSAGE_HELLO);
    says(1, MESSAGE_HELLO);
    give(OF_SECOND | 1);
    assert_int_equal(next().what, STAGE_COMPUTE);
    says(0, MESSAGE_DRAIN);
    stage_brain_computed(w.b, FL_OK, NULL, w.now);
    compute(1, 1, 10);
    compute(2, 1, 10);
    w.now += WAIT;
    next();
    assert_int_equal(w.jobs, 1);
    assert_int_equal(next().what, STAGE_WAIT);
    assert_true(w.hello.leaving && w.hello.ready);
    assert_int_equal(w.to, 1);
    says(1, MESSAGE_DRAIN);
    assert_int_equal(next().what, STAGE_END);
    assert_int_equal(stage_brain_reason(w.b, &e), FL_STALE);
    end();
    begin_with(1, 2); /* one that is gone has no say */
    says(0, MESSAGE_HELLO);
    says(1, MESSAGE_HELLO);
    says(0, MESSAGE_DRAIN);
    w.deaf[1] = true;
    assert_int_equal(next().what, STAGE_END);
    end();
}

static void test_a_broker_that_is_not_there_holds_up_nobody(void **state)
{
    begin_with(1, 2);
    w.deaf[1] = true;
    says(0, MESSAGE_HELLO);
    assert_int_equal(stage_brain_must_greet(w.b), 0);
    w.now += NS_PER_S;
    m.type = MESSAGE_HEARTBEAT; /* the second has been started again, and is gone */
    m.heartbeat = (struct heartbeat){.incarnation = 0};
    stage_brain_control(w.b, 1, &m, w.now);
    stage_brain_tick(w.b, w.now);
    assert_int_equal(stage_brain_must_greet(w.b), 2);
    stage_brain_stop(w.b, 1);
    assert_int_equal(next().what, STAGE_WAIT);
    says(0, MESSAGE_DRAIN);
    assert_int_equal(next().what, STAGE_END);
    end();
}

static void test_traced_requests_leave_spans(void **state)
{
    begin(1);
    make_job(1);
    m.job.flags = JOB_TRACE;
    give_value(1);
    compute(0, 1, 10);
    assert_int_equal(next().what, STAGE_COMPUTE);
    w.now += 10 * NS_PER_US;
    verdict(w.lookup.sequence, 1, false);
    stage_brain_computed(w.b, FL_CANCELLED, "stopped", w.now);
    w.now += NS_PER_S;
    stage_brain_tick(w.b, w.now);
    assert_int_equal(w.spans, 5); /* wire, queue, computed, look-up, speculation */
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_becomes_a_batch),
        cmocka_unit_test(test_batches_keep_to_the_latency_target),
        cmocka_unit_test(test_survivors_of_several_batches_form_one),
        cmocka_unit_test(test_a_hit_leaves_the_batch),
        cmocka_unit_test(test_all_hits_stop_computing),
        cmocka_unit_test(test_a_hit_in_near_caches_is_told_by_the_stage),
        cmocka_unit_test(test_frames_of_a_video_are_looked_up_by_the_service),
        cmocka_unit_test(test_a_near_hit_that_cannot_be_told_is_a_miss),
        cmocka_unit_test(test_the_service_learns_from_what_was_looked_up_near),
        cmocka_unit_test(test_near_caches_expire),
        cmocka_unit_test(test_a_batch_waits_where_most_hit),
        cmocka_unit_test(test_audits_are_asked_for_and_run_to_the_end),
        cmocka_unit_test(test_exits_without_caches_are_learned),
        cmocka_unit_test(test_shadows_come_last),
        cmocka_unit_test(test_shadows_take_no_room),
        cmocka_unit_test(test_shadows_give_way),
        cmocka_unit_test(test_shadows_do_not_wait_for_ever),
        cmocka_unit_test(test_cancelled_requests_end),
        cmocka_unit_test(test_deadlines_end_requests),
        cmocka_unit_test(test_a_batch_is_held_back_at_most_so_long),
        cmocka_unit_test(test_nothing_is_held_back_behind_the_last_stage),
        cmocka_unit_test(test_late_verdicts_open_the_breaker),
        cmocka_unit_test(test_nobody_is_asked_where_no_cache_stands),
        cmocka_unit_test(test_wrong_jobs_are_refused_by_name),
        cmocka_unit_test(test_neighbours_that_were_added_are_met),
        cmocka_unit_test(test_the_queue_is_bounded),
        cmocka_unit_test(test_a_link_that_breaks_is_told),
        cmocka_unit_test(test_hello_comes_first_and_again),
        cmocka_unit_test(test_the_clock_of_another_host_is_learned),
        cmocka_unit_test(test_who_leaves_finishes_what_it_has),
        cmocka_unit_test(test_who_leaves_does_not_wait_for_ever),
        cmocka_unit_test(test_who_is_sent_away_says_why),
        cmocka_unit_test(test_each_broker_has_its_clock),
        cmocka_unit_test(test_each_broker_hears_what_others_sent),
        cmocka_unit_test(test_who_is_sent_away_by_one_leaves_the_other),
        cmocka_unit_test(test_a_broker_that_is_not_there_holds_up_nobody),
        cmocka_unit_test(test_traced_requests_leave_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
