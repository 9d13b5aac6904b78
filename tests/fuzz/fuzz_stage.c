/* fuzz_stage.c - a stage worker with a small model under hostile, well-formed and damaged messages
 *
 * The worker is the real one, its sockets lie within this process: what is sent is there at once, and the
 * worker does only what is called here. Jobs, verdicts and words of the broker come in any order. Checked:
 * every row is in exactly one place, every job leads to at most one thing, what the worker says can be read,
 * and all is bounded. The worker is made once, and made as new before each input.
 */
#include "fuzz_input.h"
#include "stages/worker/worker_parts.h"

#include <unistd.h>

#include "base/log.h"

#define EVENTS 60
#define JOBS   8 /* the latest ones, to be spoken of */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char yaml[] = "name: tiny\n"
                           "kernels: openblas\n"
                           "stages:\n"
                           "  - {last: block1.out, replicas: [{endpoint: 'inproc://stage0'}]}\n"
                           "  - {last: block2.out, batch: 4, replicas: [{endpoint: 'inproc://stage1'}]}\n"
                           "  - {replicas: [{endpoint: 'inproc://next0'}, {endpoint: 'inproc://next1'}]}\n"
                           "exits: auto\n"
                           "cache: {kind: kmeans, wait_us: 1, endpoints: ['inproc://cache']}\n"
                           "broker: {requests: 'inproc://requests', control: 'inproc://control',\n"
                           "         results: 'inproc://results'}\n";

enum { NEXT = 2 };

static struct {
    struct fuzz_input in;
    struct stage_worker *w;
    void *jobs, *control, *cache, *results, *next[NEXT]; /* the other ends */
    uint64_t sent;                                       /* jobs */
    uint64_t outcomes;                                   /* results and jobs that came of them */
    uint64_t asked;                                      /* questions about hits */
    uint64_t request[JOBS];
} f;

/* --- the world around the worker --- */

static struct pipeline *load_pipeline(void)
{
    char path[] = "/tmp/freezeline-fuzz-XXXXXX", folder[2048], set[4096];
    const char *sets[] = {set};
    struct pipeline *p;
    struct error e = {FL_OK, "no temporary file"};
    int fd = mkstemp(path);
    snprintf(set, sizeof set, "model=%s/tests/data/tiny.onnx", getcwd(folder, sizeof folder) ? folder : "");
    if (fd < 0 || write(fd, yaml, sizeof yaml - 1) != (ssize_t)sizeof yaml - 1 ||
        pipeline_load(&p, path, sets, 1, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    close(fd);
    unlink(path);
    return p;
}

static void *other_end(int type, const char *endpoint, bool binds)
{
    struct error e;
    void *socket;
    if (frames_socket(&socket, f.w->context, type, binds ? FRAMES_BIND : FRAMES_CONNECT, endpoint, NULL,
                      "loopback", &e)) {
        fprintf(stderr, "%s: %s\n", endpoint, e.text);
        abort();
    }
    return socket;
}

static void make_world(void)
{
    struct pipeline *p = load_pipeline();
    struct error e;
    log_threshold = LOG_LEVEL_ERROR + 1;
    if (stage_worker_new(&f.w, p, 1, 0, 0, &e)) {
        fprintf(stderr, "%s (run from the top of the tree)\n", e.text);
        abort();
    }
    f.jobs = other_end(ZMQ_PUSH, "inproc://stage1", false);
    f.control = other_end(ZMQ_DEALER, "inproc://control", true);
    f.results = other_end(ZMQ_PULL, "inproc://results", true);
    f.cache = other_end(ZMQ_DEALER, "inproc://cache", true);
    f.next[0] = other_end(ZMQ_PULL, "inproc://next0", true);
    f.next[1] = other_end(ZMQ_PULL, "inproc://next1", true);
}

/* --- what the worker does --- */

static void check_rows(void)
{
    const struct stage_worker *w = f.w;
    bool seen[WORKER_MAX_ROWS] = {false};
    FUZZ_CHECK(w->n_free + w->n_waiting == 3 * w->max_batch && w->n_batch == 0);
    for (int i = 0; i < w->n_free + w->n_waiting; i++) {
        int row =
            i < w->n_free ? w->free_row[i] : w->waiting[(w->first_waiting + i - w->n_free) % WORKER_MAX_ROWS];
        FUZZ_CHECK(row >= 0 && row < 3 * w->max_batch && !seen[row]);
        seen[row] = true;
    }
    FUZZ_CHECK(w->n_pending >= 0 && w->n_pending <= PIPELINE_MAX_EXITS);
    FUZZ_CHECK(w->n_waiting <= 2 * w->max_batch);
}

/* Reads all that one of the other ends has; only these types belong there. */
static void read_all(void *socket, uint64_t types)
{
    static struct message m;
    zmq_msg_t payload;
    struct error e;
    int rc;
    zmq_msg_init(&payload);
    while ((rc = frames_recv(socket, NULL, &m, &payload, &e)) != FL_AGAIN) {
        FUZZ_CHECK(rc == FL_OK && (types >> m.type & 1));
        f.outcomes += m.type == MESSAGE_RESULT || m.type == MESSAGE_JOB;
        if (m.type == MESSAGE_JOB)
            FUZZ_CHECK(m.job.trace.n == 2 && m.job.trace.stage[1].stage == 1);
        if (m.type == MESSAGE_LOOKUP)
            FUZZ_CHECK(m.lookup.n > 0 && m.lookup.n <= f.w->max_batch);
    }
    zmq_msg_close(&payload);
}

static void read_worker(void)
{
    read_all(f.control, 1u << MESSAGE_HELLO | 1u << MESSAGE_HEARTBEAT | 1u << MESSAGE_SPANS);
    read_all(f.results, 1u << MESSAGE_RESULT);
    read_all(f.cache, 1u << MESSAGE_LOOKUP);
    for (int i = 0; i < NEXT; i++)
        read_all(f.next[i], 1u << MESSAGE_JOB);
    FUZZ_CHECK(f.outcomes <= f.sent + f.asked);
}

static void run(bool hear_first)
{
    struct error e;
    worker_receive_jobs(f.w);
    if (hear_first) {
        worker_poll_control(f.w, clock_ns());
        worker_receive_verdicts(f.w);
    }
    if (worker_form_batch(f.w))
        worker_run_batch(f.w, &e);
    check_rows();
    read_worker();
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
    j->activation = f.w->expects;
    if (!(how & 0xe8))
        fuzz_tensor(&f.in, &j->activation);
}

/* Of the look-up that was sent last, or will be next. */
static void fill_verdict(struct verdict *v)
{
    uint8_t how = fuzz_byte(&f.in);
    v->sequence = how & 0xf0 ? f.w->sequence + fuzz_below(&f.in, 3) : fuzz_number(&f.in);
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
    h->incarnation = how & 3 ? f.w->incarnation : fuzz_number(&f.in);
    h->worker_ns = fuzz_number(&f.in);
    h->broker_ns = fuzz_number(&f.in);
    h->exits_told = how & 4;
    h->exits = how & 8 ? UINT32_MAX : (uint32_t)fuzz_number(&f.in);
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

/* By the socket that it belongs to, or by another. */
static void deliver(const struct message *m, uint32_t kind)
{
    void *const to[] = {f.jobs, f.cache, f.control, f.control, f.control, f.jobs, f.cache, f.control};
    void *socket = to[fuzz_byte(&f.in) > 245 ? fuzz_below(&f.in, 8) : kind];
    zmq_msg_t payload;
    if (!fuzz_payload(m, &payload))
        return;
    if (m->type == MESSAGE_JOB && zmq_msg_size(&payload) >= sizeof(float) && fuzz_byte(&f.in) > 250)
        memset(zmq_msg_data(&payload), 0xff, sizeof(float)); /* not a number */
    if (m->type == MESSAGE_JOB)
        f.request[f.sent++ % JOBS] = m->job.request;
    f.asked += m->type == MESSAGE_CANCEL ? (uint64_t)m->cancel.n_ask : 0;
    if (frames_send(socket, NULL, m, &payload))
        zmq_msg_close(&payload);
}

static void event(void)
{
    static struct message m;
    uint8_t what = fuzz_byte(&f.in);
    uint32_t kind = fuzz_below(&f.in, 8);
    if (what < 150) {
        if (fill(&m, kind))
            deliver(&m, kind);
    } else if (what < 180) {
        run(true);
    } else if (what < 220) {
        run(false);
    } else if (what < 225) {
        worker_leave(f.w);
    } else {
        worker_poll_control(f.w, clock_ns());
        read_worker();
    }
}

/* Nothing waits any more, nothing is remembered. */
static void as_new(void)
{
    struct stage_worker *w = f.w;
    uint64_t before;
    bool idle;
    do { /* until there was room and nothing came */
        idle = !w->n_waiting;
        before = w->counts.jobs;
        run(true);
    } while (!idle || w->n_waiting || w->counts.jobs != before);
    memset(&w->cancelled, 0, sizeof w->cancelled);
    memset(&w->breaker, 0, sizeof w->breaker);
    memset(&w->offset, 0, sizeof w->offset);
    memset(w->absent_until_ns, 0, sizeof w->absent_until_ns);
    memset(&w->counts, 0, sizeof w->counts);
    w->hits.n = 0;
    w->n_pending = w->first_waiting = 0;
    w->sequence = w->taken = w->broker = 0;
    w->remote = w->sent_away = w->leaving = w->exits_told = false;
    w->heartbeat_ns = clock_ns();
    while (span_log_take(&w->spans, &w->out.spans))
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.w)
        make_world();
    f.sent = f.outcomes = f.asked = 0;
    memset(f.request, 0, sizeof f.request);
    f.in = (struct fuzz_input){data, data + size};
    for (int i = 0; i < EVENTS && f.in.at < f.in.end; i++)
        event();
    as_new();
    return 0;
}
