/* fuzz_stage.c - a stage worker's brain under hostile, well-formed and damaged messages
 *
 * Jobs, verdicts and words of the broker come in any order, between any two steps of the brain, by a clock
 * that the input moves. Layers and links answer as the input says: they fail, are full or broken. Checked:
 * the layers are asked for nothing that is not there, every job leads to at most one thing and to something,
 * what the brain says can be read, and in the end nothing is left.
 */
#include "fuzz_input.h"
#include "stages/brain/stage_brain.h"

#include "base/clock.h"
#include "base/log.h"
#include "index/verdicts.h"

#define EVENTS 200
#define JOBS   8 /* the latest ones, to be spoken of */
#define BATCH  4
#define INPUT  16 /* bytes of one input */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char yaml[] = "model: tiny.onnx\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {last: block2.out, batch: 4}\n"
                           "  - {replicas: 2}\n"
                           "cache: {kind: kmeans, wait_us: 100}\n";

static struct {
    struct fuzz_input in;
    struct stage_setup setup;
    struct stage_brain *b;
    uint64_t now;
    bool computing;
    int batch;      /* rows that the layers have */
    uint32_t exits; /* where it has caches of its own */
    uint64_t sequence;
    uint64_t outcomes; /* results and jobs that came of jobs, or of questions */
    uint64_t asked;    /* questions about hits */
    uint64_t sent;     /* jobs */
    uint64_t request[JOBS];
    struct heartbeat last; /* what it said of itself */
} f;

/* --- the world around the brain --- */

static void make_setup(void)
{
    struct pipeline *p;
    struct error e;
    log_threshold = LOG_LEVEL_ERROR + 1;
    if (pipeline_parse(&p, yaml, sizeof yaml - 1, "fuzz.yaml", NULL, 0, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    f.setup = (struct stage_setup){.pipeline = p,
                                   .max_batch = BATCH,
                                   .expects = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, INPUT / 4}},
                                   .n_segments = 3,
                                   .segment = {{0, 2, 1, 0}, {1, 3, 2, 0}, {-1, 0, 0, 0}}};
    f.setup.self = (struct hello){.role = ROLE_STAGE, .stage = 1, .incarnation = 3, .ready = true};
}

static bool fails(void)
{
    return fuzz_byte(&f.in) > 250;
}

static int travel(const struct message *m, zmq_msg_t *payload)
{
    FUZZ_CHECK(message_payload_bytes(m) == (int64_t)(payload ? zmq_msg_size(payload) : 0));
    fuzz_check_sent(m);
    if (fails())
        return FL_AGAIN;
    if (payload)
        zmq_msg_close(payload);
    return FL_OK;
}

static int send_control(void *arg, int broker, const struct message *m)
{
    (void)arg;
    (void)broker;
    FUZZ_CHECK(m->type == MESSAGE_HELLO || m->type == MESSAGE_HEARTBEAT || m->type == MESSAGE_SPANS);
    if (m->type == MESSAGE_HEARTBEAT)
        f.last = m->heartbeat;
    return travel(m, NULL);
}

static int send_result(void *arg, const struct message *m, zmq_msg_t *payload)
{
    int rc = travel(m, payload);
    (void)arg;
    FUZZ_CHECK(m->type == MESSAGE_RESULT);
    f.outcomes += m->result.exit < 0 || rc == FL_OK; /* a hit that can't be told is none */
    return rc;
}

static int send_next(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    int rc = travel(m, payload);
    (void)arg;
    FUZZ_CHECK(m->type == MESSAGE_JOB && m->job.trace.n == 2 && m->job.trace.stage[1].stage == 1);
    FUZZ_CHECK(replica >= 0 && replica < 2 && replica == m->job.route[2]);
    f.outcomes += rc == FL_OK;
    return rc;
}

static int send_lookup(void *arg, const struct message *m, zmq_msg_t *payload)
{
    (void)arg;
    FUZZ_CHECK(m->type == MESSAGE_LOOKUP && m->lookup.n > 0 && m->lookup.n <= f.batch && m->lookup.exit < 2);
    if (!m->lookup.told)
        f.sequence = m->lookup.sequence;
    for (int i = 0; m->lookup.told && i < m->lookup.n;
         i++) /* those that the service learns from, no others */
        FUZZ_CHECK(m->lookup.item[i].flags & (JOB_SAMPLED | JOB_AUDIT));
    return travel(m, payload);
}

/* In caches of its own, while it has some. */
static int look(void *arg, const struct lookup *in, const float *descriptors, uint64_t broker_now,
                struct verdict *out)
{
    struct cache_verdict found[BATCH];
    (void)arg, (void)descriptors;
    FUZZ_CHECK(in->n > 0 && in->n <= f.batch && in->exit < 2 && f.exits >> in->exit & 1);
    if (fails())
        return FL_NOMEM;
    for (int i = 0; i < in->n; i++)
        found[i] = (struct cache_verdict){1, 1, fuzz_byte(&f.in) & 1};
    verdicts_fill(out, in, found, &(struct cache_levels){1, {{1000, 0}}}, 1, broker_now);
    return FL_OK;
}

static uint32_t reaches(void *arg)
{
    (void)arg;
    return fuzz_byte(&f.in);
}

static bool connected(void *arg, int broker)
{
    (void)arg;
    (void)broker;
    return !fails();
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return f.now += fuzz_byte(&f.in);
}

/* --- the layers --- */

static int load(void *arg, int row, const void *input, struct error *e)
{
    static char copy[INPUT];
    (void)arg;
    FUZZ_CHECK(row >= 0 && row < BATCH && !f.computing);
    memcpy(copy, input, INPUT);
    if (fails())
        return error_set(e, FL_VALUE, "not finite");
    f.batch = row + 1;
    return FL_OK;
}

static int check_rows(const int *rows, int n)
{
    FUZZ_CHECK(n > 0 && n <= f.batch);
    for (int i = 0; i < n; i++)
        FUZZ_CHECK(rows[i] >= i && rows[i] < f.batch && (!i || rows[i] > rows[i - 1]));
    return fails() ? FL_INTERNAL : FL_OK;
}

static int keep(void *arg, int segment, const int *rows, int n, struct error *e)
{
    (void)arg;
    FUZZ_CHECK(segment >= 0 && segment < 2);
    if (check_rows(rows, n))
        return error_set(e, FL_INTERNAL, "no batch dimension");
    f.batch = n;
    return FL_OK;
}

static int describe(void *arg, int segment, int batch, const int *rows, int n, zmq_msg_t *out)
{
    (void)arg;
    FUZZ_CHECK(batch == f.batch && segment >= 0 && segment < 2);
    if (check_rows(rows, n))
        return FL_NOMEM;
    return zmq_msg_init_size(out, (size_t)(n * f.setup.segment[segment].dim) * sizeof(float)) ? FL_NOMEM
                                                                                              : FL_OK;
}

static int output(void *arg, int row, int batch, int to, struct tensor *shape, int32_t *label,
                  float *confidence, zmq_msg_t *out, struct error *e)
{
    (void)arg, (void)to;
    FUZZ_CHECK(batch == f.batch && row >= 0 && row < batch && !label && !confidence);
    if (fails() || zmq_msg_init_size(out, INPUT))
        return error_set(e, FL_NOMEM, "out of memory");
    *shape = f.setup.expects;
    return FL_OK;
}

static const struct stage_io io = {.control = send_control,
                                   .result = send_result,
                                   .next = send_next,
                                   .ask = send_lookup,
                                   .reaches = reaches,
                                   .connected = connected,
                                   .moment = moment,
                                   .look = look};
static const struct stage_engine engine = {NULL, load, keep, describe, output};

/* What the brain wishes, or the end of what it wished. True: there was something to do. */
static bool step(void)
{
    struct stage_wish wish;
    if (f.computing) {
        int rc = !stage_brain_needs(f.b) ? FL_CANCELLED : fails() ? FL_INTERNAL : FL_OK;
        f.computing = false;
        stage_brain_computed(f.b, rc, "a node failed", f.now);
        return true;
    }
    wish = stage_brain_next(f.b, f.now);
    if (wish.what == STAGE_COMPUTE)
        FUZZ_CHECK(wish.n == f.batch && wish.segment >= 0 && wish.segment < 3);
    if (wish.what == STAGE_HOLD)
        FUZZ_CHECK(wish.until_ns > f.now && wish.until_ns - f.now <= 100 * NS_PER_US);
    f.computing = wish.what == STAGE_COMPUTE;
    return stage_brain_busy(f.b) || (wish.what == STAGE_WAIT && wish.until_ns == f.now);
}

/* --- what it is told --- */

static uint64_t known_request(void)
{
    uint32_t i = fuzz_below(&f.in, JOBS + 2);
    return i < JOBS ? f.request[i] : fuzz_number(&f.in);
}

static void fill_job(struct job *j)
{
    uint8_t how = fuzz_byte(&f.in);
    j->request = how & 0x80 ? f.sent + 1 : fuzz_number(&f.in);
    j->attempt = how & 0xc0 ? 1 : fuzz_below(&f.in, 3);
    j->flags = how & 1 ? 0 : (uint32_t)fuzz_number(&f.in);
    j->deadline_ns = how & 6 ? UINT64_MAX : fuzz_number(&f.in);
    j->sent_ns = fuzz_number(&f.in);
    j->n_route = how & 0x78 ? 3 : (int)fuzz_below(&f.in, PIPELINE_MAX_STAGES + 1);
    j->route[2] = (uint8_t)fuzz_below(&f.in, how & 0x78 ? 2 : PIPELINE_MAX_REPLICAS);
    j->trace.n = 1;
    if (!(how & 0xf0))
        fuzz_trace(&f.in, &j->trace);
    j->activation = f.setup.expects;
    if (!(how & 0xe8))
        fuzz_tensor(&f.in, &j->activation);
}

/* Of the look-up that was sent last, or will be next. */
static void fill_verdict(struct verdict *v)
{
    uint8_t how = fuzz_byte(&f.in);
    v->sequence = how & 0xf0 ? f.sequence + fuzz_below(&f.in, 3) : fuzz_number(&f.in);
    v->exit = how & 1 ? fuzz_below(&f.in, 4) : (uint32_t)fuzz_number(&f.in);
    v->absent = (how & 14) == 14;
    v->n = (int)fuzz_below(&f.in, 8);
    for (int i = 0; i < v->n; i++)
        v->item[i] = (struct verdict_item){.request = known_request(),
                                           .attempt = how & 0xe0 ? 1 : fuzz_below(&f.in, 3),
                                           .label = (int32_t)fuzz_below(&f.in, 9) - 1,
                                           .hit = fuzz_byte(&f.in) & 3};
}

static void fill_cancel(struct cancel *c)
{
    c->n = (int)fuzz_below(&f.in, 4);
    c->n_ask = (int)fuzz_below(&f.in, 4);
    for (int i = 0; i < c->n; i++)
        c->request[i] = known_request();
    for (int i = 0; i < c->n_ask; i++)
        c->ask[i] = known_request();
}

static void fill_echo(struct heartbeat *h)
{
    uint8_t how = fuzz_byte(&f.in);
    h->incarnation = how & 3 ? f.setup.self.incarnation : fuzz_number(&f.in);
    h->worker_ns = fuzz_number(&f.in);
    h->broker_ns = fuzz_number(&f.in);
    h->exits_told = how & 4;
    h->exits = how & 8 ? UINT32_MAX : (uint32_t)fuzz_number(&f.in);
    h->learns = how & 16 ? UINT32_MAX : 0;
}

static bool fill(struct message *m, uint32_t kind)
{
    memset(m, 0, FUZZ_CLEARED_BYTES);
    switch (kind) {
    case 0:
        m->type = MESSAGE_JOB;
        fill_job(&m->job);
        break;
    case 1:
        m->type = MESSAGE_VERDICT;
        fill_verdict(&m->verdict);
        break;
    case 2:
        m->type = MESSAGE_CANCEL;
        fill_cancel(&m->cancel);
        break;
    case 3:
        m->type = MESSAGE_HEARTBEAT;
        fill_echo(&m->heartbeat);
        break;
    case 4:
        m->type = MESSAGE_HELLO;
        m->hello = (struct hello){.role = ROLE_BROKER, .incarnation = fuzz_number(&f.in), .ready = true};
        m->hello.boot_id[0] = (char)fuzz_byte(&f.in);
        break;
    default:
        return fuzz_raw(&f.in, m);
    }
    return fuzz_travel(&f.in, m);
}

/* To where it belongs, or elsewhere. */
static void deliver(const struct message *m, uint32_t kind)
{
    static const char to[] = {'j', 'v', 'c', 'c', 'c', 'j', 'v', 'c'};
    char where = to[fuzz_byte(&f.in) > 245 ? fuzz_below(&f.in, 8) : kind];
    zmq_msg_t payload;
    if (!fuzz_payload(m, &payload))
        return;
    if (m->type == MESSAGE_JOB)
        f.request[f.sent++ % JOBS] = m->job.request;
    f.asked += m->type == MESSAGE_CANCEL ? (uint64_t)m->cancel.n_ask : 0;
    if (where == 'v')
        stage_brain_verdict(f.b, m, f.now);
    else if (where == 'c')
        stage_brain_control(f.b, 0, m, f.now);
    else if (stage_brain_room(f.b) > 0)
        stage_brain_job(f.b, m, &payload, fuzz_number(&f.in), fuzz_number(&f.in), f.now);
    zmq_msg_close(&payload);
}

static void event(void)
{
    static struct message m;
    uint8_t what = fuzz_byte(&f.in);
    uint32_t kind = fuzz_below(&f.in, 8);
    if (what < 130) {
        if (fill(&m, kind))
            deliver(&m, kind);
    } else if (what < 210) {
        step();
    } else if (what < 230) {
        f.now += fuzz_byte(&f.in) * NS_PER_US;
    } else if (what < 233) {
        stage_brain_stop(f.b, 1);
    } else if (what < 236) {
        stage_brain_look(f.b);
    } else if (what < 238) {
        f.exits = fuzz_below(&f.in, 4);
        stage_brain_holds(f.b, 1, f.exits, f.now);
    } else if (what < 240) {
        stage_brain_garbage(f.b, "jobs", &(struct error){FL_PROTOCOL, "garbage"}, f.now);
    } else {
        f.now += fuzz_byte(&f.in) * NS_PER_MS;
        stage_brain_tick(f.b, f.now);
    }
}

/* From here on nothing comes and nothing fails: what is there ends, unless the brain was told to end first.
 */
static void end(void)
{
    uint64_t asked = f.asked;
    /* Shadows begin after 250 ms without others; one that is too late goes without being computed. */
    for (int i = 0, idle = 0; i < 400 + PIPELINE_MAX_REPLICAS && idle < 5 + PIPELINE_MAX_REPLICAS; i++) {
        idle = step() ? 0 : idle + 1;
        f.now += (idle ? 60 : 1) * NS_PER_MS;
    }
    FUZZ_CHECK(!f.computing && !stage_brain_busy(f.b));
    f.now += 3600 * NS_PER_S;
    stage_brain_tick(f.b, f.now);
    FUZZ_CHECK(f.outcomes <= f.last.jobs + asked);
    FUZZ_CHECK(f.last.queued == 0 ? stage_brain_room(f.b) == 2 * BATCH
                                  : stage_brain_next(f.b, f.now).what == STAGE_END);
    FUZZ_CHECK(f.outcomes + f.last.hits + f.last.dropped + f.last.queued >= f.last.jobs);
    stage_brain_goodbye(f.b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.setup.pipeline)
        make_setup();
    f.sent = f.outcomes = f.asked = f.sequence = 0;
    f.batch = f.computing = 0;
    f.exits = 0;
    f.now = 1000 * NS_PER_S;
    memset(f.request, 0, sizeof f.request);
    memset(&f.last, 0, sizeof f.last);
    f.in = (struct fuzz_input){data, data + size};
    if (stage_brain_new(&f.b, &f.setup, &io, &engine))
        abort();
    for (int i = 0; i < EVENTS && f.in.at < f.in.end; i++)
        event();
    f.in.at = f.in.end;
    end();
    stage_brain_free(f.b);
    return 0;
}
