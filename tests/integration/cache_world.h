/* cache_world.h - what surrounds a cache service in its tests: a broker and a stage played by the test, a
 * real Redis
 *
 * A folder of its own for each test, unix sockets in it. Nothing sleeps for luck: every wait is for a thing
 * to happen, with a limit after which the test fails and the logs' folder is named.
 */
#ifndef FREEZELINE_CACHE_WORLD_H
#define FREEZELINE_CACHE_WORLD_H

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "cache_service/store/manifest.h"
#include "tests/unit/cache_samples.h"
#include "wire/frames.h"

enum { DIM = 12, CLASSES = 3, MISSING = 2, TRAIN = 300, CALIBRATE = 120, EXITS = 2, SERVICES = 2 };
#define PATIENCE_NS (60 * NS_PER_S)

static char bin_dir[1024]; /* where freezeline-cache is */

struct seen_service {
    pid_t pid;
    struct peer peer; /* on the control socket */
    struct hello hello;
    struct heartbeat beat;
    uint64_t hellos, beats;
};

struct world {
    char dir[64];
    pid_t redis;
    struct seen_service service[SERVICES];
    char set[SERVICES][128]; /* KEY=VALUE for the service, "" = none */
    void *context, *control, *results, *stage[SERVICES];
    uint64_t sequence, request;
    uint64_t results_seen;
    struct result last_result;
    uint64_t slowest_ns; /* look-up, from sending to the verdict */
    struct shuffle random;
    struct message in, out;
    zmq_msg_t payload;
};

static inline void in_dir(const struct world *w, char *path, size_t size, const char *name)
{
    assert_true((size_t)snprintf(path, size, "%s/%s", w->dir, name) < size);
}

static inline bool file_has(const char *path, const char *text)
{
    static char content[1 << 20];
    FILE *f = fopen(path, "re");
    size_t n;
    if (!f)
        return false;
    n = fread(content, 1, sizeof content - 1, f);
    content[n] = '\0';
    fclose(f);
    return strstr(content, text) != NULL;
}

static inline void log_path(const struct world *w, int index, char *path, size_t size)
{
    char name[32];
    snprintf(name, sizeof name, "cache%d.log", index);
    in_dir(w, path, size, name);
}

static inline bool log_has(const struct world *w, int index, const char *text)
{
    char path[128];
    log_path(w, index, path, sizeof path);
    return file_has(path, text);
}

/* --- processes --- */

/* Whatever a failed test leaves running ends with the test program. */
static pid_t launched[256];
static int n_launched;

static void end_launched(void)
{
    for (int i = 0; i < n_launched; i++)
        if (launched[i] > 0)
            kill(launched[i], SIGKILL);
}

static inline pid_t launch(char *const *argv, const char *log)
{
    posix_spawn_file_actions_t actions;
    extern char **environ;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ))
        fail_msg("%s does not start", argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    if (n_launched == 0)
        atexit(end_launched);
    if (n_launched < (int)(sizeof launched / sizeof *launched))
        launched[n_launched++] = pid;
    return pid;
}

static inline int end_process(pid_t *pid, int signal)
{
    int status = 0;
    if (*pid <= 0)
        return 0;
    kill(*pid, signal);
    waitpid(*pid, &status, 0);
    for (int i = 0; i < n_launched; i++)
        if (launched[i] == *pid)
            launched[i] = 0;
    *pid = 0;
    return status;
}

static inline void redis_path(const struct world *w, char *path, size_t size)
{
    in_dir(w, path, size, "redis.sock");
}

static inline redisContext *redis_open(const struct world *w)
{
    char path[128];
    redisContext *c;
    redis_path(w, path, sizeof path);
    c = redisConnectUnixWithTimeout(path, (struct timeval){.tv_sec = 2});
    if (c && c->err) {
        redisFree(c);
        return NULL;
    }
    return c;
}

static inline bool redis_answers(const struct world *w)
{
    redisContext *c = redis_open(w);
    redisReply *r = c ? redisCommand(c, "PING") : NULL;
    bool yes = r && r->type == REDIS_REPLY_STATUS;
    if (r)
        freeReplyObject(r);
    if (c)
        redisFree(c);
    return yes;
}

/* Its answer to a command as text ("" for nil), in a static buffer; integers too. */
static inline const char *redis_ask(const struct world *w, const char *command, const char *key)
{
    static char text[512];
    redisContext *c = redis_open(w);
    redisReply *r = c ? redisCommand(c, command, key) : NULL;
    text[0] = '\0';
    if (r && r->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof text, "%lld", r->integer);
    else if (r && r->str)
        snprintf(text, sizeof text, "%.*s", (int)(r->len < 500 ? r->len : 500), r->str);
    if (r)
        freeReplyObject(r);
    if (c)
        redisFree(c);
    return text;
}

static inline void start_redis(struct world *w)
{
    char log[128], socket[128];
    uint64_t until = clock_ns() + PATIENCE_NS;
    in_dir(w, log, sizeof log, "redis.log");
    redis_path(w, socket, sizeof socket);
    unlink(socket);
    w->redis = launch((char *[]){"redis-server", "--port", "0", "--unixsocket", socket, "--dir", w->dir,
                                 "--appendonly", "yes", "--appendfsync", "always", "--save", "", NULL},
                      log);
    while (!redis_answers(w)) {
        assert_true(clock_ns() < until);
        poll(NULL, 0, 10);
    }
}

/* --- the broker's and the stage's part --- */

static inline struct seen_service *who(struct world *w, const struct peer *from)
{
    for (int i = 0; i < SERVICES; i++)
        if (w->service[i].peer.size == from->size && !memcmp(w->service[i].peer.id, from->id, from->size))
            return &w->service[i];
    return NULL;
}

static inline void on_control(struct world *w, const struct peer *from)
{
    struct seen_service *s;
    if (w->in.type == MESSAGE_HELLO && w->in.hello.ready) {
        assert_int_equal(w->in.hello.role, ROLE_CACHE);
        assert_true(w->in.hello.replica < SERVICES);
        s = &w->service[w->in.hello.replica];
        s->peer = *from;
        s->hello = w->in.hello;
        s->hellos++;
        w->out.type = MESSAGE_HELLO;
        memset(&w->out.hello, 0, sizeof w->out.hello);
        w->out.hello.role = ROLE_BROKER;
        w->out.hello.incarnation = 1;
        w->out.hello.ready = true;
        clock_boot_id(w->out.hello.boot_id, sizeof w->out.hello.boot_id);
        frames_send(w->control, from, &w->out, NULL);
    } else if (w->in.type == MESSAGE_HEARTBEAT && (s = who(w, from))) {
        s->beat = w->in.heartbeat;
        s->beats++;
        w->out.type = MESSAGE_HEARTBEAT;
        w->out.heartbeat = w->in.heartbeat;
        w->out.heartbeat.broker_ns = clock_ns();
        frames_send(w->control, from, &w->out, NULL);
    }
}

/* Plays the broker for up to `ms`, or until a message came to the stage's socket `stage` (NULL: none). */
static inline void pump(struct world *w, int ms, void *stage)
{
    zmq_pollitem_t items[] = {{.socket = w->control, .events = ZMQ_POLLIN},
                              {.socket = w->results, .events = ZMQ_POLLIN},
                              {.socket = stage, .events = ZMQ_POLLIN}};
    struct peer from;
    zmq_poll(items, stage ? 3 : 2, ms);
    while (!frames_recv(w->control, &from, &w->in, &w->payload, NULL))
        on_control(w, &from);
    while (!frames_recv(w->results, NULL, &w->in, &w->payload, NULL)) {
        assert_int_equal(w->in.type, MESSAGE_RESULT);
        w->results_seen++;
        w->last_result = w->in.result;
    }
}

#define wait_for(w, condition)                                                       \
    do {                                                                             \
        uint64_t until_ = clock_ns() + PATIENCE_NS;                                  \
        while (!(condition)) {                                                       \
            if (clock_ns() > until_)                                                 \
                fail_msg("waited in vain for %s; logs in %s", #condition, (w)->dir); \
            pump((w), 10, NULL);                                                     \
        }                                                                            \
    } while (0)

/* A descriptor as sample_rows makes them. */
static inline void draw(struct world *w, int label, float x[DIM])
{
    for (int d = 0; d < DIM; d++)
        x[d] =
            d == 0 ? 3.25f : (float)((d % CLASSES == label ? 2.0 : 0.0) + 0.5 * shuffle_normal(&w->random));
}

/* Looks n descriptors up at service i; requests get new numbers (the last is w->request). */
static inline struct verdict look_up(struct world *w, int i, uint32_t exit, const float *x, int n,
                                     uint32_t dim, uint32_t flags, uint64_t deadline_ns)
{
    uint64_t sent = clock_ns(), until = sent + PATIENCE_NS;
    struct lookup *l = &w->out.lookup;
    memset(&w->out, 0, sizeof w->out);
    w->out.type = MESSAGE_LOOKUP;
    l->exit = exit;
    l->sequence = ++w->sequence;
    l->sent_ns = sent;
    l->dim = dim;
    l->n = n;
    for (int k = 0; k < n; k++)
        l->item[k] = (struct lookup_item){
            .request = ++w->request, .attempt = 1, .flags = flags, .deadline_ns = deadline_ns};
    zmq_msg_close(&w->payload);
    zmq_msg_init_size(&w->payload, (size_t)n * dim * sizeof(float));
    memcpy(zmq_msg_data(&w->payload), x, (size_t)n * dim * sizeof(float));
    while (frames_send(w->stage[i], NULL, &w->out, &w->payload)) {
        assert_true(clock_ns() < until);
        pump(w, 1, NULL);
    }
    for (;;) {
        pump(w, 100, w->stage[i]);
        if (clock_ns() > until)
            fail_msg("no verdict; logs in %s", w->dir);
        if (!frames_recv(w->stage[i], NULL, &w->in, &w->payload, NULL) && w->in.type == MESSAGE_VERDICT &&
            w->in.verdict.sequence == w->sequence)
            break;
    }
    if (clock_ns() - sent > w->slowest_ns)
        w->slowest_ns = clock_ns() - sent;
    return w->in.verdict;
}

static inline struct verdict look_up_one(struct world *w, int i, uint32_t exit, int label, uint32_t flags)
{
    float x[DIM];
    draw(w, label, x);
    return look_up(w, i, exit, x, 1, DIM, flags, clock_ns() + 60 * NS_PER_S);
}

static inline void tell_outcome(struct world *w, uint64_t request, int32_t label, int32_t hit_exit)
{
    for (int i = 0; i < SERVICES; i++) {
        if (!w->service[i].pid || !w->service[i].peer.size)
            continue;
        w->out.type = MESSAGE_OUTCOME;
        w->out.outcome = (struct outcome){.request = request, .label = label, .hit_exit = hit_exit};
        frames_send(w->control, &w->service[i].peer, &w->out, NULL);
    }
}

/* n sampled requests of `label` that miss everywhere, seen at exit 0 of service i. */
static inline void teach(struct world *w, int i, int label, int n)
{
    while (n--) {
        look_up_one(w, i, 0, label, JOB_SAMPLED | JOB_AUDIT);
        tell_outcome(w, w->request, label, -1);
    }
}

/* --- making the world --- */

/* The same, until the service has taken `jobs` in all. */
static inline void teach_to(struct world *w, int i, int label, int n, uint64_t jobs)
{
    teach(w, i, label, n);
    wait_for(w, w->service[i].beat.jobs == jobs);
}

/* How many of n look-ups for a label answer it. */
static inline int count_label(struct world *w, int service, uint32_t exit, int label, int n)
{
    int right = 0;
    for (int i = 0; i < n; i++)
        right += look_up_one(w, service, exit, label, 0).item[0].label == label;
    return right;
}

static inline void build_caches(struct world *w, int missing, uint64_t seed)
{
    static int32_t train_labels[TRAIN], calibrate_labels[CALIBRATE];
    struct manifest m = {.built_ms = 1000000 + seed, .n_exits = EXITS}, before;
    struct cache_config config = {.nodes = 16, .k = 5, .train_epochs = 4, .seed = seed};
    struct matrix_file train, calibrate;
    char dir[128], rows[128], path[256];
    in_dir(w, dir, sizeof dir, "state/caches");
    snprintf(path, sizeof path, "mkdir -p %s", dir);
    assert_int_equal(system(path), 0);
    in_dir(w, rows, sizeof rows, "train.rows");
    sample_rows(rows, train_labels, TRAIN, DIM, CLASSES, missing, seed);
    assert_int_equal(matrix_open(&train, rows, NULL), FL_OK);
    in_dir(w, rows, sizeof rows, "calibrate.rows");
    sample_rows(rows, calibrate_labels, CALIBRATE, DIM, CLASSES, missing, seed + 1000);
    assert_int_equal(matrix_open(&calibrate, rows, NULL), FL_OK);
    memset(m.identity.model, 0x5a, sizeof m.identity.model);
    identity_seal(&m.identity);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    assert_int_equal(manifest_begin_build(&m, manifest_load(&before, path, NULL) ? NULL : &before, NULL),
                     FL_OK);
    for (int i = 0; i < EXITS; i++) {
        struct manifest_exit *x = &m.exit[i];
        struct builder_input in = {.exit_name = x->name,
                                   .kind = x->kind,
                                   .classes = CLASSES,
                                   .train = &train,
                                   .train_labels = train_labels,
                                   .calibrate = &calibrate,
                                   .calibrate_labels = calibrate_labels,
                                   .config = &config,
                                   .work_dir = w->dir};
        struct cache *c;
        struct error e = {0};
        x->origin = (uint64_t)i + 1;
        snprintf(x->name, sizeof x->name, "exit%d", i + 1);
        snprintf(x->kind, sizeof x->kind, "%s", i == 0 ? "knn" : "kmeans");
        snprintf(x->file, sizeof x->file, "exit%d.cache", i + 1);
        memcpy(in.identity, m.identity.digest, sizeof in.identity);
        in.budget_bytes = x->budget_bytes = i == 0 ? 0 : 4096;
        if (builder_build(&c, &in, &e))
            fail_msg("%s", e.text);
        snprintf(path, sizeof path, "%s/%s", dir, x->file);
        assert_int_equal(cache_save(c, path, &x->digest, &e), FL_OK);
        cache_free(c);
    }
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    assert_int_equal(manifest_save(&m, path, NULL), FL_OK);
    matrix_close(&train);
    matrix_close(&calibrate);
}

static inline void write_pipeline(struct world *w, bool redis)
{
    char path[128];
    FILE *f;
    in_dir(w, path, sizeof path, "p.yaml");
    f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f,
            "model: m.onnx\nname: test\nstate: state\nupdates: {interval_ms: 50, batch: 64}\n"
            "cache: {endpoints: [\"ipc://%s/c0.sock\", \"ipc://%s/c1.sock\"]}\n"
            "broker: {requests: \"ipc://%s/bq.sock\", control: \"ipc://%s/bc.sock\", results: "
            "\"ipc://%s/br.sock\", "
            "heartbeat_ms: 50, dead_after_ms: 1000}\n",
            w->dir, w->dir, w->dir, w->dir, w->dir);
    if (redis)
        fprintf(f, "redis: {endpoint: \"unix:%s/redis.sock\"}\n", w->dir);
    fclose(f);
}

static inline void open_socket(struct world *w, void **out, int type, enum frames_mode mode, const char *name)
{
    char endpoint[128];
    struct socket_options o = {.high_water = 100000};
    struct error e = {0};
    snprintf(endpoint, sizeof endpoint, "ipc://%s/%s", w->dir, name);
    if (frames_socket(out, w->context, type, mode, endpoint, &o, NULL, &e))
        fail_msg("%s", e.text);
}

static inline void start_service(struct world *w, int i)
{
    char program[1100], config[128], log[128], index[16];
    struct seen_service *s = &w->service[i];
    snprintf(program, sizeof program, "%s/freezeline-cache", bin_dir);
    snprintf(index, sizeof index, "%d", i);
    in_dir(w, config, sizeof config, "p.yaml");
    log_path(w, i, log, sizeof log);
    memset(s, 0, sizeof *s);
    s->pid = launch(
        (char *[]){program, "-c", config, "--index", index, w->set[i][0] ? "--set" : NULL, w->set[i], NULL},
        log);
    wait_for(w, s->beats > 0);
}

static inline struct world *world_new(bool redis)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->dir, "/tmp/freezeline-cache-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->context = zmq_ctx_new();
    zmq_msg_init(&w->payload);
    shuffle_seed(&w->random, 77, 1);
    open_socket(w, &w->control, ZMQ_ROUTER, FRAMES_BIND, "bc.sock");
    open_socket(w, &w->results, ZMQ_PULL, FRAMES_BIND, "br.sock");
    open_socket(w, &w->stage[0], ZMQ_DEALER, FRAMES_CONNECT, "c0.sock");
    open_socket(w, &w->stage[1], ZMQ_DEALER, FRAMES_CONNECT, "c1.sock");
    write_pipeline(w, redis);
    build_caches(w, MISSING, 1);
    if (redis)
        start_redis(w);
    return w;
}

/* Ends everything; a service must end well and may have no sanitizer's report in its log. */
static inline void world_free(struct world *w)
{
    char command[128];
    for (int i = 0; i < SERVICES; i++) {
        assert_int_equal(end_process(&w->service[i].pid, SIGTERM), 0);
        assert_false(log_has(w, i, "Sanitizer"));
        assert_false(log_has(w, i, "runtime error"));
        zmq_close(w->stage[i]);
    }
    end_process(&w->redis, SIGKILL);
    zmq_close(w->control);
    zmq_close(w->results);
    zmq_msg_close(&w->payload);
    zmq_ctx_term(w->context);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
}

#endif
