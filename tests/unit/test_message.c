/* test_message.c - every message survives the wire; what is out of bounds is refused by name */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "freezeline.pb-c.h"
#include "wire/message.h"

static struct message in, out;
static uint8_t buf[MESSAGE_MAX_ENCODED];

static uint64_t seed = 88172645463325252ull;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static struct message *fresh(enum message_type type)
{
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    in.type = type;
    return &in;
}

/* Encodes `in`, decodes to `out` (both zeroed before, so that whole structs compare). */
static void travel(void)
{
    struct error e = {0};
    size_t size = 0;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    if (message_decode(&out, buf, size, &e))
        fail_msg("%s", e.text);
    assert_memory_equal(&in, &out, sizeof in);
}

static struct tensor image(void)
{
    return (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}};
}

static void fill_trace(struct trace *t, int n)
{
    t->n = n;
    for (int i = 0; i < n; i++)
        t->stage[i] = (struct stage_time){(uint32_t)i, 3, 8, next(), next(), next(), next(), next(), next()};
}

static void test_request(void **state)
{
    fresh(MESSAGE_REQUEST)->request = (struct request){.id = UINT64_MAX,
                                                       .deadline_ms = 250,
                                                       .flags = JOB_AUDIT | JOB_SAMPLED,
                                                       .input = image(),
                                                       .sent_ns = next(),
                                                       .clock = next(),
                                                       .key_low = next(),
                                                       .key_high = next(),
                                                       .priority = REQUEST_PRIORITIES,
                                                       .loss_allowed = 1 + SHARE_PPM,
                                                       .trace_high = next(),
                                                       .trace_low = next(),
                                                       .parent = next(),
                                                       .span = next(),
                                                       .context = next(),
                                                       .stream = next()};
    travel();
}

static void test_answer(void **state)
{
    struct answer *a = &fresh(MESSAGE_ANSWER)->answer;
    a->id = 1;
    a->error = FL_OVERLOADED;
    strcpy(a->text, "caf\xc3\xa9: too many");
    a->scores = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}};
    a->label = -1;
    a->exit = -1;
    a->confidence = 0.25f;
    a->epoch = 7;
    a->attempts = 2;
    fill_trace(&a->trace, PIPELINE_MAX_STAGES);
    a->lookup_ns = 9;
    a->broker_ns = 8;
    a->total_ns = UINT64_MAX;
    a->lookup_wire_ns = next();
    a->lookup_queue_ns = next();
    a->return_ns = next();
    a->clock_error_ns = next();
    a->request = next();
    a->retry_after_ms = 40;
    strcpy(a->variant, "int8");
    travel();
}

static void test_job(void **state)
{
    struct job *j = &fresh(MESSAGE_JOB)->job;
    j->request = 5;
    j->attempt = 2;
    j->flags = JOB_NO_CACHE;
    j->deadline_ns = next();
    j->sent_ns = next();
    j->n_route = PIPELINE_MAX_STAGES;
    for (int i = 0; i < j->n_route; i++)
        j->route[i] = (uint8_t)(i % PIPELINE_MAX_REPLICAS);
    fill_trace(&j->trace, 2);
    j->activation = image();
    j->n_rest = PIPELINE_MAX_STAGES;
    for (int i = 0; i < j->n_rest; i++)
        j->rest_us[i] = (uint32_t)next();
    travel();
}

static void fill_lookup(struct lookup *l)
{
    l->exit = 3;
    l->sequence = next();
    l->sent_ns = next();
    l->dim = 1344;
    l->origin = UINT64_MAX - 5;
    l->told = true;
    l->answered = 1000;
    l->hits = 999;
    l->n = MESSAGE_MAX_BATCH;
    for (int i = 0; i < l->n; i++) {
        l->item[i].request = next();
        l->item[i].attempt = 1;
        l->item[i].flags = JOB_SAMPLED;
        l->item[i].deadline_ns = next();
        l->item[i].loss_allowed = 1 + SHARE_PPM;
        l->item[i].stream = next();
        fill_trace(&l->item[i].trace, PIPELINE_MAX_STAGES);
    }
}

static void test_lookup(void **state)
{
    fill_lookup(&fresh(MESSAGE_LOOKUP)->lookup);
    travel();
    assert_int_equal(message_payload_bytes(&out), 64 * 1344 * 4);
}

static void test_verdict(void **state)
{
    struct verdict *v = &fresh(MESSAGE_VERDICT)->verdict;
    v->exit = 1;
    v->sequence = 99;
    v->epoch = 12;
    v->lookup_ns = 12345;
    v->absent = true;
    v->n = 3;
    v->item[0] =
        (struct verdict_item){.request = 1, .attempt = 1, .label = 9, .confidence = 0.5f, .hit = true};
    v->item[1] =
        (struct verdict_item){.request = 2, .attempt = 2, .label = -1, .confidence = 0, .hit = false};
    travel();
}

static void test_result(void **state)
{
    struct result *r = &fresh(MESSAGE_RESULT)->result;
    r->request = 77;
    r->attempt = 3;
    r->error = FL_VALUE;
    strcpy(r->text, "input has a NaN");
    r->label = 4;
    r->exit = 2;
    r->confidence = 1e9f;
    r->epoch = 5;
    r->lookup_ns = 6;
    r->lookup_wire_ns = next();
    r->lookup_queue_ns = next();
    r->sent_ns = 7;
    fill_trace(&r->trace, 1);
    r->scores = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}};
    travel();
}

static void fill_heartbeat(struct heartbeat *h)
{
    static const struct heartbeat told = {
        1,          2,    3,    4,    5,          6,          7,  8,          9,    90,
        91,         10,   11,   true, true,       12,         13, UINT64_MAX, 8,    REACHES_TOLD | 3,
        UINT32_MAX, true, 1000, 5200, UINT32_MAX, 0x80000001, 14, 2,          true, SHARE_PPM,
        {0},        {0}};
    *h = told;
    h->told = (struct epoch_told){.state = EPOCH_SERVING,
                                  .frozen = true,
                                  .serial = 7,
                                  .age_ms = 12,
                                  .candidate = 9,
                                  .judged = 812,
                                  .needed = 1500,
                                  .audits = 4000,
                                  .differ = 7,
                                  .lost = 3,
                                  .won = 1,
                                  .lower = -0.5,
                                  .upper = 0.25,
                                  .alarm = 0.5,
                                  .lag_ms = 3,
                                  .kept = 77,
                                  .n_exits = 3,
                                  .threshold = {1, 2, 3},
                                  .answered = {4, 5, 6},
                                  .exit_lost = {1, 1, 2}};
    h->learning = (struct learning){.state = LEARNING_ASIDE,
                                    .accepted = next(),
                                    .rejected = next(),
                                    .built = {9, 8, 7, 6},
                                    .learned = {UINT64_MAX, UINT64_MAX, 2, 0}};
    memset(h->learning.redis_build, 0x77, sizeof h->learning.redis_build);
}

static void fill_caches(struct caches_told *c, bool promised)
{
    memset(c->build, 0x17, sizeof c->build);
    c->built = 5;
    c->loaded = 4;
    if (promised)
        c->promise =
            (struct caches_promise){true, true, 0.005, 0.95, 1500, 3500, -0.001, 0.0045, 2, {5000, 1250}};
}

static void fill_port(struct port *p, const char *name)
{
    strcpy(p->name, name);
    p->tensor = (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}};
}

static void test_control(void **state)
{
    struct hello *h = &fresh(MESSAGE_HELLO)->hello;
    /* one by one: a literal may leave anything in the bytes between fields */
    h->role = ROLE_STAGE;
    h->stage = 2;
    h->replica = 1;
    h->incarnation = next();
    h->pid = 4242;
    h->ready = true;
    h->leaving = true;
    h->reaches = REACHES_TOLD | 5;
    strcpy(h->host, "node-a");
    strcpy(h->boot_id, "7e3e9b6e-0000");
    strcpy(h->engine, "SkylakeX, oneDNN 2.6, 1 thread");
    memset(h->model, 0xab, sizeof h->model);
    memset(h->identity, 0xcd, sizeof h->identity);
    memset(h->plan, 0xef, sizeof h->plan);
    travel();
    fill_port(&h->input, "image");
    fill_port(&h->output, "class scores");
    travel();
    h->role = ROLE_CACHE;
    h->stage = 0;
    fill_caches(&h->caches, false);
    travel();
    fill_caches(&h->caches, true);
    travel();

    fill_heartbeat(&fresh(MESSAGE_HEARTBEAT)->heartbeat);
    travel();

    fresh(MESSAGE_CANCEL)->cancel.n = MESSAGE_MAX_BATCH;
    for (int i = 0; i < MESSAGE_MAX_BATCH; i++)
        in.cancel.request[i] = next();
    in.cancel.n_ask = 2;
    in.cancel.ask[1] = next();
    travel();

    struct outcome *o = &fresh(MESSAGE_OUTCOME)->outcome;
    o->request = 3;
    o->label = 8;
    o->hit_exit = -1;
    travel();
    o->audit = true;
    o->original = UINT64_MAX;
    o->n_scores = MESSAGE_MAX_SCORES;
    for (int i = 0; i < MESSAGE_MAX_SCORES; i++)
        o->scores[i] = (uint16_t)(7 * i);
    travel();
    fresh(MESSAGE_STATUS);
    travel();
    struct times *t = &fresh(MESSAGE_TIMES)->times;
    travel();
    t = &fresh(MESSAGE_TIMES)->times;
    t->n = TIMES_MAX;
    for (int i = 0; i < t->n; i++) {
        t->of[i].part = (uint32_t)(i ? 1 + (i - 1) % (TIMES_PARTS - 1) : 0);
        t->of[i].stage = (uint32_t)(i ? (i - 1) / (TIMES_PARTS - 1) : 0);
        t->of[i].sum_ns = next();
        for (int k = 0; k < TIME_BUCKETS; k++)
            t->of[i].count[k] = next();
    }
    travel();
    fresh(MESSAGE_DRAIN)->drain = (struct drain){.lease_ms = DRAIN_MAX_LEASE_MS, .undo = true};
    travel();
}

static void test_status_reply(void **state)
{
    struct status_reply *r = &fresh(MESSAGE_STATUS_REPLY)->status_reply;
    r->ready = true;
    r->draining = true;
    for (uint64_t *counter = &r->admitted; counter <= &r->now_ns; counter++)
        *counter = next();
    r->n_processes = STATUS_MAX_PROCESSES;
    for (int i = 0; i < r->n_processes; i++) {
        struct process_status *p = &r->process[i];
        p->role = ROLE_STAGE;
        p->stage = (uint32_t)(i % PIPELINE_MAX_STAGES);
        p->replica = 1;
        p->pid = next();
        p->incarnation = next();
        memset(p->host, 'h', sizeof p->host - 1);
        strcpy(p->state, "ready");
        memset(p->engine, 'e', sizeof p->engine - 1);
        memset(p->model, 1 + i, sizeof p->model);
        memset(p->identity, 2 + i, sizeof p->identity);
        memset(p->plan, 3 + i, sizeof p->plan);
        if (i % 3)
            fill_caches(&p->caches, i % 3 == 2);
        fill_port(&p->input, p->host);
        fill_port(&p->output, p->engine);
        fill_heartbeat(&p->last);
        p->age_ns = next();
        p->outstanding = 3;
    }
    r->n_exits = PIPELINE_MAX_EXITS;
    for (int i = 0; i < r->n_exits; i++)
        r->exit[i].answered = next();
    r->waiting = next();
    r->room = next();
    r->gap_ns = next();
    r->audits_drawn = next();
    r->audits_done = next();
    r->audits_dropped = next();
    r->feedback_taken = next();
    r->feedback_refused = next();
    r->broker = 1;
    r->brokers = 2;
    r->repeated = next();
    for (uint64_t *counter = &r->cancelled; counter <= &r->refused_wrong; counter++)
        *counter = next();
    r->pid = next();
    memset(r->host, 'b', sizeof r->host - 1);
    r->n_variants = MESSAGE_MAX_RELAYS;
    for (int i = 0; i < r->n_variants; i++) {
        memset(r->variant[i].name, 'v', sizeof r->variant[i].name - 1);
        r->variant[i].share = 0.125;
    }
    r->loss = 0.25;
    r->loss_budget = 1;
    r->level = 1.5;
    r->n_relays = MESSAGE_MAX_RELAYS;
    for (int i = 0; i < r->n_relays; i++) {
        struct relay_status *x = &r->relay[i];
        *x = (struct relay_status){.share_ppm = 1, .mirror_ppm = 2, .outstanding = 3, .sent = next()};
        memset(x->name, 'n', sizeof x->name - 1);
        memset(x->why, 'w', sizeof x->why - 1);
        strcpy(x->state, "resting");
        for (uint64_t *at = &x->turned; at <= &x->slower; at++)
            *at = next();
    }
    travel();
}

static size_t pack(const Freezeline__Envelope *envelope)
{
    return freezeline__envelope__pack(envelope, buf);
}

static void refused(size_t size, int code, const char *says)
{
    struct error e = {0};
    assert_int_equal(message_decode(&out, buf, size, &e), code);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static void test_spans(void **state)
{
    struct spans *s = &fresh(MESSAGE_SPANS)->spans;
    s->n = MESSAGE_MAX_SPANS;
    s->lost = next();
    s->left = 12;
    for (int i = 0; i < s->n; i++)
        s->span[i] = (struct span){next(), 2,      SPAN_HIT, ROLE_STAGE, 3,      4,     i % 2 ? -1 : 5,
                                   next(), next(), next(),   next(),     next(), next()};
    travel();
    assert_int_equal(message_payload_bytes(&out), 0);
}

static void test_feedback(void **state)
{
    struct feedback *f = &fresh(MESSAGE_FEEDBACK)->feedback;
    *f = (struct feedback){.sequence = next(),
                           .n = MESSAGE_MAX_FEEDBACK,
                           .taken = 1,
                           .early = 2,
                           .foreign = 3,
                           .wrong = 4,
                           .later = 5,
                           .error = 6};
    for (int i = 0; i < f->n; i++)
        f->item[i] = (struct feedback_item){next(), i % 2 ? -7 : i};
    travel();
    assert_int_equal(message_payload_bytes(&out), 0);
}

static void test_relays(void **state)
{
    static const struct relay one = {"rollout", "ipc://x", 10000, SHARE_PPM};
    struct relays *r = &fresh(MESSAGE_RELAYS)->relays;
    size_t size;

    *r = (struct relays){.n = 2, .lease_ms = 5, .slower = 0.25, .relay = {one, one}};
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    refused(size, FL_PROTOCOL, "two relays are named rollout");
    strcpy(r->relay[1].name, "other");
    travel();
    assert_int_equal(message_payload_bytes(&out), 0);
    r->relay[1].mirror_ppm++;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    refused(size, FL_PROTOCOL, "1000001 millionths");
    r->n = 1;
    r->slower = NAN;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    refused(size, FL_PROTOCOL, "slower");
    r->slower = 0;
    r->relay[0].endpoint[0] = 0;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    refused(size, FL_PROTOCOL, "without a name or an endpoint");
    strcpy(r->relay[0].endpoint, "x");
    r->lease_ms = DRAIN_MAX_LEASE_MS + 1;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    refused(size, FL_PROTOCOL, "ask again before it is over");
}

static void test_wrong_version_names_both(void **state)
{
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Status status = FREEZELINE__STATUS__INIT;
    envelope.version = 9;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_STATUS;
    envelope.status = &status;
    refused(pack(&envelope), FL_PROTOCOL, "version 9, this process speaks 1");
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY__NOT_SET;
    refused(pack(&envelope), FL_PROTOCOL, "no body");
    refused(0, FL_PROTOCOL, "version 0");
}

static void test_hostile_tensors(void **state)
{
    int64_t dim[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Request request = FREEZELINE__REQUEST__INIT;
    Freezeline__Tensor tensor = FREEZELINE__TENSOR__INIT;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_REQUEST;
    envelope.request = &request;
    request.input = &tensor;
    tensor.dim = dim;
    tensor.dtype = TENSOR_F32;
    tensor.n_dim = 9;
    refused(pack(&envelope), FL_PROTOCOL, "9 dims");
    tensor.n_dim = 2;
    dim[0] = -5;
    refused(pack(&envelope), FL_PROTOCOL, "negative");
    dim[0] = dim[1] = 1ll << 40;
    refused(pack(&envelope), FL_PROTOCOL, "overflow");
    dim[1] = 1;
    refused(pack(&envelope), FL_TOO_LARGE, "at most");
    dim[0] = 1;
    tensor.dtype = TENSOR_STRING;
    refused(pack(&envelope), FL_PROTOCOL, "element type 8");
    tensor.dtype = 4000000000u;
    refused(pack(&envelope), FL_PROTOCOL, "element type 4000000000");
}

static void test_hostile_counts(void **state)
{
    uint64_t ids[MESSAGE_MAX_BATCH + 1] = {0};
    uint8_t route[PIPELINE_MAX_STAGES + 1] = {0};
    uint32_t rest[PIPELINE_MAX_STAGES + 1] = {0};
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Cancel cancel = FREEZELINE__CANCEL__INIT;
    Freezeline__Lookup lookup = FREEZELINE__LOOKUP__INIT;
    Freezeline__Job job = FREEZELINE__JOB__INIT;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_CANCEL;
    envelope.cancel = &cancel;
    cancel.request = ids;
    cancel.n_request = MESSAGE_MAX_BATCH + 1;
    refused(pack(&envelope), FL_PROTOCOL, "65 requests in a cancel");
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_LOOKUP;
    envelope.lookup = &lookup;
    lookup.hits = 3;
    lookup.answered = 2;
    refused(pack(&envelope), FL_PROTOCOL, "look-up tells of 3 hits of 2 requests");
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_JOB;
    envelope.job = &job;
    job.route.data = route;
    job.route.len = sizeof route;
    refused(pack(&envelope), FL_PROTOCOL, "17 stages in a route");
    job.route.len = 2;
    route[1] = PIPELINE_MAX_REPLICAS;
    refused(pack(&envelope), FL_PROTOCOL, "replica 16 of stage 1");
    job.route.len = 0;
    job.rest_us = rest;
    job.n_rest_us = PIPELINE_MAX_STAGES + 1;
    refused(pack(&envelope), FL_PROTOCOL, "17 stages' times");
}

/* Numbers that index something somewhere. */
static void test_hostile_places(void **state)
{
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Result result = FREEZELINE__RESULT__INIT;
    Freezeline__StageTime time[2] = {FREEZELINE__STAGE_TIME__INIT, FREEZELINE__STAGE_TIME__INIT};
    Freezeline__StageTime *stages[2] = {&time[0], &time[1]};
    Freezeline__Trace trace = FREEZELINE__TRACE__INIT;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_RESULT;
    envelope.result = &result;
    result.trace = &trace;
    trace.stage = stages;
    trace.n_stage = 2;
    refused(pack(&envelope), FL_PROTOCOL, "stage 0 after stage 0");
    time[1].stage = 0xfffffffe;
    refused(pack(&envelope), FL_PROTOCOL, "stage 4294967294 replica 0");
    time[1].stage = 1;
    time[1].replica = PIPELINE_MAX_REPLICAS;
    refused(pack(&envelope), FL_PROTOCOL, "stage 1 replica 16");
    time[1].replica = 0;
    time[1].batch = MESSAGE_MAX_BATCH + 1;
    refused(pack(&envelope), FL_PROTOCOL, "batch of 65");
    time[1].batch = 1;
    result.label = -2;
    refused(pack(&envelope), FL_PROTOCOL, "label -2");
    result.label = MESSAGE_MAX_LABEL + 1;
    refused(pack(&envelope), FL_PROTOCOL, "label 16777217");
    result.label = -1;
    result.confidence = NAN;
    refused(pack(&envelope), FL_PROTOCOL, "confidence");
}

static void test_hostile_roles(void **state)
{
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Hello hello = FREEZELINE__HELLO__INIT;
    Freezeline__Drain drain = FREEZELINE__DRAIN__INIT;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    hello.role = ROLE_CACHE;
    hello.replica = PIPELINE_MAX_CACHES;
    refused(pack(&envelope), FL_PROTOCOL, "cache 16");
    hello.role = ROLE_LEARNER;
    refused(pack(&envelope), FL_PROTOCOL, "learner 16");
    hello.role = ROLE_STAGE;
    refused(pack(&envelope), FL_PROTOCOL, "stage 0 replica 16");
    hello.replica = 0;
    hello.reaches = 1 << PIPELINE_MAX_REPLICAS;
    refused(pack(&envelope), FL_PROTOCOL, "replicas 0x10000");
    hello.role = 99;
    hello.reaches = 0;
    refused(pack(&envelope), FL_PROTOCOL, "role 99");
    hello.role = ROLE_LEARNER + 1;
    refused(pack(&envelope), FL_PROTOCOL, "role 6");
    hello.plan = (ProtobufCBinaryData){15, (uint8_t[15]){1}};
    refused(pack(&envelope), FL_PROTOCOL, "15 bytes instead of 16");
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_DRAIN;
    envelope.drain = &drain;
    drain.lease_ms = DRAIN_MAX_LEASE_MS + 1;
    refused(pack(&envelope), FL_PROTOCOL, "drain for 600001 ms");
}

static void test_hostile_caches(void **state)
{
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Hello hello = FREEZELINE__HELLO__INIT;
    Freezeline__Caches caches = FREEZELINE__CACHES__INIT;
    Freezeline__Promise promise = FREEZELINE__PROMISE__INIT;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    hello.role = ROLE_CACHE;
    hello.caches = &caches;
    caches.built = PIPELINE_MAX_EXITS + 1;
    refused(pack(&envelope), FL_PROTOCOL, "0 of 33 caches");
    caches.built = 2;
    caches.loaded = 3;
    refused(pack(&envelope), FL_PROTOCOL, "3 of 2 caches");
    caches.loaded = 2;
    caches.build = (ProtobufCBinaryData){16, (uint8_t[16]){1}};
    caches.promise = &promise;
    promise.max_loss = 1.5;
    refused(pack(&envelope), FL_PROTOCOL, "no share");
    promise.max_loss = NAN;
    refused(pack(&envelope), FL_PROTOCOL, "no share");
    promise.max_loss = 0.5;
    promise.loss = -INFINITY;
    refused(pack(&envelope), FL_PROTOCOL, "no share");
}

static void test_hostile_learning(void **state)
{
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Heartbeat heartbeat = FREEZELINE__HEARTBEAT__INIT;
    Freezeline__Learning learning = FREEZELINE__LEARNING__INIT;
    Freezeline__LookupTally tally = FREEZELINE__LOOKUP_TALLY__INIT;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    heartbeat.learning = &learning;
    learning.learned = &tally;
    learning.state = UINT32_MAX; /* of a later version */
    assert_int_equal(message_decode(&out, buf, pack(&envelope), NULL), FL_OK);
    assert_int_equal(out.heartbeat.learning.state, UINT32_MAX);
    tally.lookups = 4;
    tally.hits = 5;
    refused(pack(&envelope), FL_PROTOCOL, "more hits than look-ups");
    tally.hits = 4;
    tally.audit_right = 1;
    refused(pack(&envelope), FL_PROTOCOL, "more of them right");
    tally.audit_right = 0;
    learning.state = LEARNING_UNKNOWN; /* says nothing, whatever is beside it */
    learning.accepted = 5;
    assert_int_equal(message_decode(&out, buf, pack(&envelope), NULL), FL_OK);
    assert_int_equal(out.heartbeat.learning.accepted, 0);
    learning.state = LEARNING_ASIDE;
    learning.redis_build.data = (uint8_t *)"abc";
    learning.redis_build.len = 3;
    refused(pack(&envelope), FL_PROTOCOL, "digest has 3 bytes");
}

static void test_hostile_texts(void **state)
{
    char text[MESSAGE_TEXT_BYTES + 1];
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;
    Freezeline__Answer answer = FREEZELINE__ANSWER__INIT;
    struct error e = {0};
    memset(text, 'x', sizeof text);
    text[MESSAGE_TEXT_BYTES] = '\0';
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = FREEZELINE__ENVELOPE__BODY_ANSWER;
    envelope.answer = &answer;
    answer.text = text;
    refused(pack(&envelope), FL_TOO_LARGE, "text of an answer has 256 bytes");
    strcpy(text, "one\n\x1b[31mtwo");
    assert_int_equal(message_decode(&out, buf, pack(&envelope), &e), FL_OK);
    assert_string_equal(out.answer.text, "one  [31mtwo");
    answer.error = FL_CODES;
    refused(pack(&envelope), FL_PROTOCOL, "error code");
    answer.error = 0;
    answer.exit = -2;
    refused(pack(&envelope), FL_PROTOCOL, "exit -2");
}

static void test_encode_bounds(void **state)
{
    size_t size;
    fill_lookup(&fresh(MESSAGE_LOOKUP)->lookup);
    assert_int_equal(message_encode(&in, buf, 100, &size), FL_TOO_LARGE);
    in.lookup.n = MESSAGE_MAX_BATCH + 1;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_TOO_LARGE);
    fresh(MESSAGE_JOB)->job.trace.n = -1;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_TOO_LARGE);
    in.type = 77;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_TOO_LARGE);
}

static void test_random_mutations(void **state)
{
    static uint8_t mutant[MESSAGE_MAX_ENCODED];
    size_t size;
    fill_lookup(&fresh(MESSAGE_LOOKUP)->lookup);
    in.lookup.n = 5;
    assert_int_equal(message_encode(&in, buf, sizeof buf, &size), FL_OK);
    for (int round = 0; round < 20000; round++) {
        struct error e = {0};
        size_t n = round % 3 ? size : (size_t)(next() % (size + 1));
        int rc;
        memcpy(mutant, buf, size);
        for (int flips = (int)(next() % 8); flips >= 0; flips--)
            mutant[next() % size] = (uint8_t)next();
        rc = message_decode(&out, mutant, n, &e);
        assert_true(rc == FL_OK || rc == FL_PROTOCOL || rc == FL_TOO_LARGE);
        assert_true(rc == FL_OK || e.text[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_job),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_verdict),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_status_reply),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_feedback),
        cmocka_unit_test(test_relays),
        cmocka_unit_test(test_wrong_version_names_both),
        cmocka_unit_test(test_hostile_tensors),
        cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_hostile_places),
        cmocka_unit_test(test_hostile_roles),
        cmocka_unit_test(test_hostile_caches),
        cmocka_unit_test(test_hostile_learning),
        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_encode_bounds),
        cmocka_unit_test(test_random_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
