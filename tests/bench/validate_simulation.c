/* validate_simulation.c - serve on this machine what the simulation predicts
 *
 * usage: validate_simulation WORK [CONFIG.yaml TRAIN CALIBRATE TEST [KEY=VALUE ..]]
 *
 * CONFIG's model (without one: the demo's, with drawn pictures) is served in twelve ways: cut into one to
 * four stages, with and without replicas, each with and without look-ups. Each way meets its saturation (a
 * closed loop) and two rates below it; the simulation, which knows one set of measurements taken at three
 * stages and which share of TEST each exit answers, predicts p50, p99 and throughput of all of them. Then all
 * is served a second time, so that it is seen what a load differs from itself. TRAIN, CALIBRATE and TEST are
 * data sets as `freezeline build` and `bench` take them.
 *
 * A shared machine's speed drifts from minute to minute. So the model is also timed alone in this process,
 * right before and after every load, and the simulated cores are as much faster or slower as that says than
 * they were while measuring. Nothing else is taken from a load that is to be predicted but the rate that its
 * drawn arrivals came to.
 *
 * What was done is kept in the folder WORK: a call that was interrupted, or that ran out of its 15 minutes,
 * goes on where the last one ended. Remove WORK to begin anew. Prints a table and the median errors; draws
 * WORK/latency.svg and WORK/throughput.svg (validation_report.c). The machine must be idle.
 */
#include "validation.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "deploy/model/whole_model.h"
#include "deploy/simulate/simulate_search.h"
#include "stages/exec/profile.h"

#define MOST_MINUTES   14 /* then no other load is begun */
#define IN_FLIGHT      "64"
#define SATURATED_S    "6"
#define RATE_S         "20"
#define SIMULATED      100000
#define REFERENCE_RUNS 80 /* half of them tell the speed: about half a second */
#define SETTLE_MS      500
#define MAX_SETS       24
#define MEASURED_SHAPE 4 /* the one that is up while measurements are taken */

extern char **environ;

/* How the model is served. */
static const struct shape {
    const char *name, *sets[3];
} shapes[] = {
    {"1 stage", {"stages=1", NULL, NULL}},  {"1 stage x2", {"stages=1", "stages.0.replicas=2", NULL}},
    {"2 stages", {"stages=2", NULL, NULL}}, {"2 stages x2,1", {"stages=2", "stages.0.replicas=2", NULL}},
    {"3 stages", {"stages=3", NULL, NULL}}, {"4 stages", {"stages=4", NULL, NULL}},
};
#define N_SHAPES (VALIDATION_WAYS / 2)
_Static_assert(sizeof shapes / sizeof *shapes == N_SHAPES, "each with and without look-ups");

/* Share of the saturation throughput; 0: saturation itself. */
static const double loads[VALIDATION_LOADS] = {0, 0.25, 0.6};

struct validation {
    const char *work, *config, *train, *calibrate, *test;
    char made[3][512]; /* the demo's data sets */
    int n_sets;
    const char *sets[MAX_SETS]; /* of every shape */
    uint64_t end_ns;
    struct graph *graph; /* the model in this process, for the machine's speed */
    struct exec *exec;
    struct load load[VALIDATION_POINTS];
};

static void die(const char *what)
{
    fprintf(stderr, "validate_simulation: %s\n", what);
    exit(1);
}

/* ---- running the tool ---- */

struct command {
    int n;
    const char *argv[3 * MAX_SETS + 40];
};

static void add(struct command *c, const char *word)
{
    c->argv[c->n++] = word;
    c->argv[c->n] = NULL;
}

static char *tool_path(void)
{
    static char path[512];
    const char *build = getenv("FREEZELINE_BUILD");
    snprintf(path, sizeof path, "%s/freezeline", build ? build : "build/release");
    return path;
}

static struct command tool(const struct validation *v, const struct shape *shape, const char *name)
{
    struct command c = {0};
    add(&c, tool_path());
    add(&c, name);
    add(&c, "-c");
    add(&c, v->config);
    for (int i = 0; i < v->n_sets; i++) {
        add(&c, "--set");
        add(&c, v->sets[i]);
    }
    for (int i = 0; i < 3 && shape->sets[i]; i++) {
        add(&c, "--set");
        add(&c, shape->sets[i]);
    }
    return c;
}

/* What it prints goes to `to`, and what it complains of to WORK/log. Returns its exit status. */
static int run_into(const struct validation *v, const struct command *c, const char *to)
{
    posix_spawn_file_actions_t actions;
    char log[600];
    pid_t pid;
    int status;

    snprintf(log, sizeof log, "%s/log", v->work);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, to ? to : log,
                                     O_WRONLY | O_CREAT | (to ? O_TRUNC : O_APPEND), 0644);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (posix_spawn(&pid, c->argv[0], &actions, NULL, (char **)(uintptr_t)c->argv, environ))
        die("cannot start build/release/freezeline: `make` first, and call from the repository's root");
    posix_spawn_file_actions_destroy(&actions);
    while (waitpid(pid, &status, 0) < 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const struct validation *v, const struct command *c)
{
    return run_into(v, c, NULL);
}

static bool exists(const char *path)
{
    return access(path, R_OK) == 0;
}

static char *in_work(const struct validation *v, char *buf, size_t size, const char *name)
{
    snprintf(buf, size, "%s/%s", v->work, name);
    return buf;
}

static bool late(const struct validation *v)
{
    return clock_ns() > v->end_ns;
}

/* ---- preparing ---- */

static void draw_pictures(struct validation *v)
{
    static const char *const count[] = {"12000", "4000", "5000"}, *const seed[] = {"11", "12", "13"};
    static const char *const names[] = {"train", "calibrate", "test"};
    for (int i = 0; i < 3; i++) {
        struct command c = {0};
        char path[500];
        snprintf(path, sizeof path, "%s/%s.bin", v->work, names[i]);
        snprintf(v->made[i], sizeof v->made[i], "cifar10:%s", path);
        add(&c, tool_path());
        add(&c, "generate");
        add(&c, "--count");
        add(&c, count[i]);
        add(&c, "--seed");
        add(&c, seed[i]);
        add(&c, "--output");
        add(&c, path);
        if (!exists(path) && run(v, &c))
            die("cannot draw pictures: see log in the work folder");
    }
    v->config = "configs/demo/demo.yaml";
    v->train = v->made[0];
    v->calibrate = v->made[1];
    v->test = v->made[2];
}

static void build_caches(const struct validation *v)
{
    char path[600];
    struct command c = tool(v, &shapes[MEASURED_SHAPE], "build");
    if (exists(in_work(v, path, sizeof path, "state/caches/manifest.json")))
        return;
    printf("building caches\n");
    fflush(stdout);
    add(&c, "--train");
    add(&c, v->train);
    add(&c, "--calibrate");
    add(&c, v->calibrate);
    if (run(v, &c))
        die("cannot build caches: see log in the work folder");
}

static void down(const struct validation *v, const struct shape *shape)
{
    struct command c = tool(v, shape, "down");
    run(v, &c);
}

/* A call that was interrupted may have left another one up. */
static void up(const struct validation *v, const struct shape *shape)
{
    struct command c = tool(v, shape, "up");
    if (!run(v, &c))
        return;
    down(v, shape);
    if (run(v, &c))
        die("cannot start the pipeline: see log in the work folder");
}

/* ---- the machine's speed ---- */

static void check(int rc, const struct error *e)
{
    if (rc)
        die(e->text);
}

/* As what measures has it, for the same batches. */
static void load_model(struct validation *v)
{
    struct pipeline *p;
    struct error e;
    int most = 1;
    check(pipeline_load(&p, v->config, v->sets, v->n_sets, &e), &e);
    for (int i = 0; i < p->n_stages; i++)
        most = p->stage[i].max_batch > most ? p->stage[i].max_batch : most;
    check(graph_load(&v->graph, p->model, NULL, &e), &e);
    check(whole_model_new(&v->exec, v->graph, p, 1, most, &e), &e);
    pipeline_free(p);
}

/* Time of the model alone, run after run in this process, ms: it drifts where others share the processor.
 * Waits until what a load left behind is over. */
static double reference_ms(const struct validation *v)
{
    struct profile p;
    struct error e;
    double ms;
    usleep(SETTLE_MS * 1000);
    check(profile_run(&p, v->exec, v->graph, 0, v->graph->n_nodes - 1, 1, 1, REFERENCE_RUNS, &e), &e);
    ms = p.median_ms;
    profile_release(&p);
    return ms;
}

static void keep_reference(const char *of, double ms)
{
    char path[800];
    FILE *to;
    snprintf(path, sizeof path, "%s.speed", of);
    if (!(to = fopen(path, "we")) || fprintf(to, "%.6f\n", ms) < 0 || fclose(to))
        die("cannot write into the work folder");
}

/* 0 when none was kept. */
static double kept_reference(const char *of)
{
    char path[800];
    double ms = 0;
    FILE *from;
    snprintf(path, sizeof path, "%s.speed", of);
    if (!(from = fopen(path, "re")))
        return 0;
    if (fscanf(from, "%lf", &ms) != 1)
        ms = 0;
    fclose(from);
    return ms;
}

static void measure(const struct validation *v)
{
    const struct shape *shape = &shapes[MEASURED_SHAPE];
    char path[600];
    struct command c = tool(v, shape, "simulate");
    int rc;
    if (exists(in_work(v, path, sizeof path, "measured.json")))
        return;
    printf("measuring\n");
    fflush(stdout);
    add(&c, "--measure");
    add(&c, "--measured");
    add(&c, path);
    add(&c, "--data");
    add(&c, v->test);
    add(&c, "--requests");
    add(&c, "6000");
    up(v, shape);
    rc = run(v, &c);
    down(v, shape);
    if (rc)
        die("cannot measure: see log in the work folder");
}

/* Shares of some thousand requests; the look-ups of one measurement are too few to know a median by, where
 * it lies at the edge of those that one exit answers. */
static void count_shares(const struct validation *v)
{
    char path[600];
    struct command c = tool(v, &shapes[MEASURED_SHAPE], "eval");
    if (exists(in_work(v, path, sizeof path, "eval.json")))
        return;
    printf("counting who answers\n");
    fflush(stdout);
    add(&c, "--data");
    add(&c, v->test);
    add(&c, "--json");
    if (run_into(v, &c, path))
        die("cannot count who answers: see log in the work folder");
}

/* ---- real processes ---- */

static void report_path(const struct validation *v, char *buf, size_t size, int way, int load, int pass)
{
    snprintf(buf, size, "%s/bench-%d-%s-%d-%d.json", v->work, way / 2, way % 2 ? "caches" : "none", load,
             pass);
}

/* Each load has arrivals of its own: p99 of a few hundred requests follows the clumps among them, which would
 * be the same ones in all loads. */
static void bench(const struct validation *v, const struct shape *shape, bool caches, double rate, int seed,
                  const char *to)
{
    struct command c = tool(v, shape, "bench");
    double before = reference_ms(v);
    char text[32], number[16];
    snprintf(number, sizeof number, "%d", seed);
    add(&c, "--data");
    add(&c, v->test);
    add(&c, "--traffic");
    add(&c, "shuffled");
    add(&c, "--seed");
    add(&c, number);
    if (rate > 0) {
        snprintf(text, sizeof text, "%.3f", rate);
        add(&c, "--rate");
        add(&c, text);
    } else {
        add(&c, "--closed");
        add(&c, IN_FLIGHT);
    }
    add(&c, "--duration");
    add(&c, rate > 0 ? RATE_S : SATURATED_S);
    if (!caches)
        add(&c, "--no-cache");
    add(&c, "--output");
    add(&c, to);
    run(v, &c); /* a report is written even when its figures are doubted */
    keep_reference(to, (before + reference_ms(v)) / 2);
}

static double number_at(const json_t *root, const char *key, const char *below)
{
    const json_t *o = below ? json_object_get(root, below) : root;
    return json_number_value(json_object_get(o, key));
}

/* False when there is no such report yet. */
static bool read_report(struct point *p, const char *path)
{
    json_error_t problem;
    json_t *root = json_load_file(path, 0, &problem);
    if (!root)
        return false;
    p->throughput[0] = number_at(root, "achieved_rps", NULL);
    p->p50[0] = number_at(root, "p50", "latency_ms");
    p->p99[0] = number_at(root, "p99", "latency_ms");
    p->offered = number_at(root, "offered_rps", NULL);
    p->reference_ms = kept_reference(path);
    p->done = p->throughput[0] > 0 && p->reference_ms > 0;
    json_decref(root);
    return p->done;
}

/* One way of serving under all of its loads. The rates of all passes follow from the first one's saturation.
 */
static void serve_way(struct validation *v, int way, int pass, bool *is_up)
{
    struct load *of_way = &v->load[way * VALIDATION_LOADS];
    const struct shape *shape = &shapes[way / 2];
    for (int i = 0; i < VALIDATION_LOADS; i++) {
        struct point *p = &of_way[i].pass[pass];
        const struct point *full = &of_way[0].pass[0];
        char path[700];
        of_way[i].shape = shape->name;
        of_way[i].caches = way % 2;
        p->rate = loads[i] * full->throughput[0];
        report_path(v, path, sizeof path, way, i, pass);
        if (read_report(p, path) || late(v) || (i && !full->done))
            continue;
        if (!*is_up)
            up(v, shape);
        *is_up = true;
        bench(v, shape, way % 2, p->rate, 1 + (way * VALIDATION_LOADS + i) * VALIDATION_PASSES + pass, path);
        if (read_report(p, path))
            printf("measured: %s, %s, %s\n", shape->name, way % 2 ? "caches" : "no caches",
                   i ? "below saturation" : "saturated");
        fflush(stdout);
    }
}

static void serve_shape(struct validation *v, int shape, int pass)
{
    bool is_up = false;
    serve_way(v, 2 * shape, pass, &is_up);
    serve_way(v, 2 * shape + 1, pass, &is_up);
    if (is_up)
        down(v, &shapes[shape]);
}

/* ---- predictions ---- */

static void predict(const struct validation *v, const struct measured *m, int way, struct point *p)
{
    const struct shape *shape = &shapes[way / 2];
    struct cluster *c = malloc(sizeof *c);
    const char *sets[MAX_SETS + 3];
    struct search s = {.measured = m, .cluster = c};
    struct pipeline *pipeline;
    struct error e;
    int n = 0;

    if (!c)
        die("no memory");
    for (int i = 0; i < v->n_sets; i++)
        sets[n++] = v->sets[i];
    for (int i = 0; i < 3 && shape->sets[i]; i++)
        sets[n++] = shape->sets[i];
    check(pipeline_load(&pipeline, v->config, sets, n, &e), &e);
    cluster_one_host(c, m->cores, m->all_busy);
    c->caches = pipeline->cache.n_endpoints;
    c->kind[0].host.speed = m->reference_us / 1e3 / p->reference_ms;
    s.load = (struct search_load){
        .rate = p->rate > 0 ? p->offered : 0, .closed = atoi(IN_FLIGHT), .requests = SIMULATED, .seed = 1};
    check(setup_shape_of(&s.shape, pipeline, m, way % 2, &e), &e);
    check(search_once(&s, &e), &e);
    p->throughput[1] = s.result[0]->throughput;
    p->p50[1] = (double)histogram_quantile(&s.result[0]->latency, 0.5) / NS_PER_MS;
    p->p99[1] = (double)histogram_quantile(&s.result[0]->latency, 0.99) / NS_PER_MS;
    search_release(&s);
    pipeline_free(pipeline);
    free(c);
}

static void predict_all(struct validation *v)
{
    struct measured *m;
    struct error e;
    char path[600];
    check(measured_load(&m, in_work(v, path, sizeof path, "measured.json"), &e), &e);
    check(measured_take_shares(m, in_work(v, path, sizeof path, "eval.json"), &e), &e);
    for (int i = 0; i < VALIDATION_POINTS; i++)
        for (int pass = 0; pass < VALIDATION_PASSES; pass++)
            if (v->load[i].pass[pass].done)
                predict(v, m, i / VALIDATION_LOADS, &v->load[i].pass[pass]);
    measured_free(m);
}

int main(int argc, char **argv)
{
    struct validation *v = calloc(1, sizeof *v);
    static char state[600];
    char path[600];

    if (!v || (argc != 2 && argc < 6) || argv[1][0] == '-')
        die("usage: validate_simulation WORK [CONFIG.yaml TRAIN CALIBRATE TEST [KEY=VALUE ..]]");
    engine_start(argv);
    v->work = argv[1];
    if (mkdir(v->work, 0755) && !exists(v->work))
        die("cannot make the work folder");
    snprintf(state, sizeof state, "state=%s/state", v->work);
    v->sets[v->n_sets++] = state;
    v->sets[v->n_sets++] = "broker.max_requests=256";
    v->sets[v->n_sets++] = "updates.sample=0"; /* caches that learn would not be the same from load to load */
    v->sets[v->n_sets++] = "updates.learn=false";
    if (argc == 2) {
        draw_pictures(v);
    } else {
        v->config = argv[2];
        v->train = argv[3];
        v->calibrate = argv[4];
        v->test = argv[5];
    }
    for (int i = 6; i < argc && v->n_sets < MAX_SETS; i++)
        v->sets[v->n_sets++] = argv[i];
    v->end_ns = clock_ns() + MOST_MINUTES * 60 * NS_PER_S;
    build_caches(v);
    count_shares(v);
    load_model(v);
    measure(v);
    for (int i = 0; i < N_SHAPES * VALIDATION_PASSES; i++)
        serve_shape(v, i % N_SHAPES, i / N_SHAPES);
    predict_all(v);
    validation_print(v->load);
    validation_draw(v->load, true, in_work(v, path, sizeof path, "latency.svg"));
    validation_draw(v->load, false, in_work(v, path, sizeof path, "throughput.svg"));
    if (late(v))
        printf("the 15 minutes are over: call again for what is missing\n");
    exec_free(v->exec);
    graph_free(v->graph);
    free(v);
    return 0;
}
