/* harness.c - starting, watching and ending real processes */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define MAX_PROCESSES 64
#define MAX_ARGS      64
#define MAX_HARNESSES 64
#define PATIENCE_NS   (60 * NS_PER_S)
#define STEP_NS       (2 * NS_PER_MS)

extern char **environ;

struct process {
    pid_t pid;
    bool ended;
    int status; /* exit status or -signal */
    char name[64];
    char log[HARNESS_PATH];
};

struct harness {
    char dir[HARNESS_PATH], log[HARNESS_PATH];
    char config[HARNESS_PATH];
    char root[HARNESS_PATH];
    struct pipeline *pipeline;
    int n;
    struct process process[MAX_PROCESSES];
};

static const char *build_dir(const struct harness *h, char *buf)
{
    const char *env = getenv("FREEZELINE_BUILD");
    if (env)
        snprintf(buf, HARNESS_PATH, "%s", env);
    else
        snprintf(buf, HARNESS_PATH, "%.400s/build/release", h->root);
    return buf;
}

/* The repository: the nearest folder upwards that has tests/data. */
static void find_root(struct harness *h)
{
    char at[HARNESS_PATH];
    assert_non_null(getcwd(h->root, sizeof h->root));
    for (;;) {
        snprintf(at, sizeof at, "%.480s/tests/data", h->root);
        if (!access(at, R_OK))
            return;
        if (!strrchr(h->root, '/') || !h->root[1])
            fail_msg("run this test from inside the repository");
        *strrchr(h->root, '/') = '\0';
    }
}

/* A test that fails jumps out and leaves its harness behind: what still runs is ended when the program ends.
 * A program that is itself told to end (a time limit) does the same. */
static struct harness *alive[MAX_HARNESSES];

static void forget(const struct harness *h)
{
    for (int i = 0; i < MAX_HARNESSES; i++)
        if (alive[i] == h)
            alive[i] = NULL;
}

/* Only what is safe in a signal handler. */
static void kill_all(void)
{
    for (int i = 0; i < MAX_HARNESSES; i++)
        for (int k = 0; alive[i] && k < alive[i]->n; k++)
            if (!alive[i]->process[k].ended)
                kill(alive[i]->process[k].pid, SIGKILL);
}

static void on_end(int number)
{
    kill_all();
    signal(number, SIG_DFL);
    raise(number);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void at_exit(void)
{
    kill_all();
    for (int i = 0; i < MAX_HARNESSES; i++)
        if (alive[i])
            nftw(alive[i]->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void remember(struct harness *h)
{
    static bool registered;
    if (!registered) {
        registered = true;
        atexit(at_exit);
        signal(SIGTERM, on_end);
        signal(SIGINT, on_end);
    }
    for (int i = 0; i < MAX_HARNESSES; i++)
        if (!alive[i]) {
            alive[i] = h;
            return;
        }
    fail_msg("more than %d harnesses at once", MAX_HARNESSES);
}

struct harness *harness_new(const char *model, const char *yaml)
{
    struct harness *h = calloc(1, sizeof *h);
    struct error e = {FL_OK, ""};
    FILE *f;

    assert_non_null(h);
    find_root(h);
    snprintf(h->dir, sizeof h->dir, "/tmp/freezeline.XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    remember(h);
    snprintf(h->config, sizeof h->config, "%.400s/pipeline.yaml", h->dir);
    assert_non_null(f = fopen(h->config, "we"));
    if (model)
        fprintf(f, "model: %s\n", model);
    else
        fprintf(f, "model: %s/tests/data/tiny.onnx\n", h->root);
    fprintf(f, "state: %s/state\n%s%s", h->dir, yaml,
            strstr(yaml, "kernels:") || strstr(yaml, "precision") ? "" : "kernels: openblas\n");
    assert_int_equal(fclose(f), 0);
    if (pipeline_load(&h->pipeline, h->config, NULL, 0, &e))
        fail_msg("%s", e.text);
    return h;
}

const struct pipeline *harness_pipeline(const struct harness *h)
{
    return h->pipeline;
}

const char *harness_dir(const struct harness *h)
{
    return h->dir;
}

const char *harness_config(const struct harness *h)
{
    return h->config;
}

/* ---- processes ---- */

int harness_spawn_path(struct harness *h, const char *path, const char *const *argv)
{
    struct process *p;
    posix_spawn_file_actions_t actions;
    const char *base = strrchr(path, '/');
    char dir[HARNESS_PATH], log[HARNESS_PATH];

    assert_true(h->n < MAX_PROCESSES);
    p = &h->process[h->n];
    snprintf(p->name, sizeof p->name, "%s", base ? base + 1 : path);
    memcpy(dir, h->dir, sizeof dir); /* source and target of snprintf must not lie in the same object */
    snprintf(log, sizeof log, "%.400s/%d.%.60s.log", dir, h->n, base ? base + 1 : path);
    memcpy(p->log, log, sizeof p->log);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, p->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (posix_spawnp(&p->pid, path, &actions, NULL, (char *const *)(uintptr_t)argv, environ))
        fail_msg("cannot start %s: %s", path, strerror(errno));
    posix_spawn_file_actions_destroy(&actions);
    return h->n++;
}

static int spawn_list(struct harness *h, const char *program, va_list list)
{
    char build[HARNESS_PATH], path[HARNESS_PATH];
    const char *argv[MAX_ARGS] = {path, "-c", h->config};
    int n = 3;
    snprintf(path, sizeof path, "%.400s/%s", build_dir(h, build), program);
    while (n < MAX_ARGS - 1 && (argv[n] = va_arg(list, const char *)))
        n++;
    argv[n] = NULL;
    return harness_spawn_path(h, path, argv);
}

int harness_spawn(struct harness *h, const char *program, ...)
{
    va_list list;
    int p;
    va_start(list, program);
    p = spawn_list(h, program, list);
    va_end(list);
    return p;
}

int harness_pid(const struct harness *h, int process)
{
    return (int)h->process[process].pid;
}

void harness_signal(struct harness *h, int process, int number)
{
    if (!h->process[process].ended)
        assert_int_equal(kill(h->process[process].pid, number), 0);
}

/* Collects the process when it has ended. */
static bool has_ended(struct process *p)
{
    int status;
    if (p->ended || waitpid(p->pid, &status, WNOHANG) != p->pid)
        return p->ended;
    p->ended = true;
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}

static void step(void)
{
    struct timespec t = {0, (long)STEP_NS};
    nanosleep(&t, NULL);
}

static void show_log(const struct process *p)
{
    char line[1024];
    FILE *f = fopen(p->log, "re");
    fprintf(stderr, "---- log of %s (pid %d) ----\n", p->name, (int)p->pid);
    while (f && fgets(line, sizeof line, f))
        fputs(line, stderr);
    if (f)
        fclose(f);
}

int harness_wait(struct harness *h, int process)
{
    struct process *p = &h->process[process];
    uint64_t end = clock_ns() + PATIENCE_NS;
    while (!has_ended(p)) {
        if (clock_ns() > end) {
            show_log(p);
            fail_msg("%s (pid %d) does not end", p->name, (int)p->pid);
        }
        step();
    }
    return p->status;
}

static int count_in(const char *path, const char *text)
{
    FILE *f = fopen(path, "re");
    char line[4096];
    int n = 0;
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, text) != NULL;
    if (f)
        fclose(f);
    return n;
}

const char *harness_log(const struct harness *h, int process)
{
    return h->process[process].log;
}

int harness_count(struct harness *h, int process, const char *text)
{
    return count_in(h->process[process].log, text);
}

/* Since *last; that a machine stood still (a virtual one may, for minutes) is nobody's fault. */
static uint64_t passed(uint64_t *last)
{
    uint64_t before = *last, most = 2 * NS_PER_S;
    *last = clock_ns();
    return *last - before < most ? *last - before : most;
}

void harness_expect(struct harness *h, int process, const char *text, int times)
{
    struct process *p = &h->process[process];
    uint64_t last = clock_ns(), waited = 0;
    for (;;) {
        bool ended = has_ended(p); /* before the look, so that the last words count */
        if (count_in(p->log, text) >= times)
            return;
        waited += passed(&last);
        if (ended || waited > PATIENCE_NS) {
            show_log(p);
            fail_msg("%s (pid %d) %s and has not said \"%s\"", p->name, (int)p->pid,
                     ended ? "has ended" : "runs", text);
        }
        step();
    }
}

void harness_until(bool (*condition)(void *arg), void *arg, int seconds, const char *what)
{
    uint64_t last = clock_ns(), waited = 0;
    while (!condition(arg)) {
        waited += passed(&last);
        if (waited > (uint64_t)seconds * NS_PER_S)
            fail_msg("not within %d s: %s", seconds, what);
        step();
    }
}

/* ---- roles ---- */

int harness_broker(struct harness *h)
{
    int p = harness_spawn(h, "freezeline-broker", NULL);
    harness_expect(h, p, "ready: ", 1);
    return p;
}

static int spawn_stage(struct harness *h, int stage, int replica)
{
    char s[16], r[16];
    snprintf(s, sizeof s, "%d", stage);
    snprintf(r, sizeof r, "%d", replica);
    return harness_spawn(h, "freezeline-stage", "--stage", s, "--replica", r, NULL);
}

int harness_stage(struct harness *h, int stage, int replica)
{
    int p = spawn_stage(h, stage, replica);
    harness_expect(h, p, "ready: ", 1);
    return p;
}

int harness_cache(struct harness *h, int index)
{
    char i[16];
    int p;
    snprintf(i, sizeof i, "%d", index);
    p = harness_spawn(h, "freezeline-cache", "--index", i, NULL);
    harness_expect(h, p, "ready: ", 1);
    return p;
}

int harness_redis(struct harness *h, char *endpoint)
{
    char path[HARNESS_PATH];
    const char *argv[] = {"redis-server", "--port", "0", "--unixsocket", path,  "--dir",
                          h->dir,         "--save", "",  "--appendonly", "yes", "--appendfsync",
                          "always",       NULL};
    int p;
    if (access("/usr/bin/redis-server", X_OK) && access("/usr/local/bin/redis-server", X_OK))
        return -1;
    snprintf(path, sizeof path, "%.400s/redis.sock", h->dir);
    snprintf(endpoint, HARNESS_PATH, "unix:%.450s", path);
    p = harness_spawn_path(h, "redis-server", argv);
    harness_expect(h, p, "eady to accept connections", 1);
    return p;
}

int harness_pipeline_up(struct harness *h)
{
    int broker = harness_broker(h), first = h->n;
    for (int s = 0; s < h->pipeline->n_stages; s++)
        for (int r = 0; r < h->pipeline->stage[s].n_replicas; r++)
            spawn_stage(h, s, r);
    for (int i = first; i < h->n; i++)
        harness_expect(h, i, "ready: ", 1);
    for (int i = first; i < h->n; i++)
        harness_expect(h, i, "has accepted this worker", 1);
    harness_expect(h, broker, "every stage has a ready worker", 1);
    return broker;
}

struct client *harness_client(const struct harness *h)
{
    struct client *c = NULL;
    struct error e = {FL_OK, ""};
    if (client_new(&c, h->pipeline, &e))
        fail_msg("%s", e.text);
    return c;
}

struct status_reply harness_status(struct client *c)
{
    static struct status_reply s;
    struct error e = {FL_OK, ""};
    if (client_status(c, 20000, &s, &e))
        fail_msg("%s", e.text);
    return s;
}

void harness_random(float *to, int64_t n, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        to[i] = (float)(int32_t)(x >> 32) * 0x1p-31f;
    }
}

/* ---- the end ---- */

static void end_all(struct harness *h)
{
    uint64_t end = clock_ns() + PATIENCE_NS;
    for (int i = h->n - 1; i >= 0; i--)
        if (!has_ended(&h->process[i])) {
            kill(h->process[i].pid, SIGCONT);
            kill(h->process[i].pid, SIGTERM);
        }
    for (int i = 0; i < h->n; i++) {
        while (!has_ended(&h->process[i]) && clock_ns() < end)
            step();
        if (!has_ended(&h->process[i])) {
            kill(h->process[i].pid, SIGKILL);
            waitpid(h->process[i].pid, NULL, 0);
            fprintf(stderr, "%s (pid %d) had to be killed\n", h->process[i].name, (int)h->process[i].pid);
        }
    }
}

static bool has_report(const struct process *p)
{
    return count_in(p->log, "Sanitizer") || count_in(p->log, "runtime error:");
}

void harness_free(struct harness *h)
{
    bool bad = false;
    if (!h)
        return;
    end_all(h);
    for (int i = 0; i < h->n; i++)
        if (has_report(&h->process[i])) {
            show_log(&h->process[i]);
            bad = true;
        }
    pipeline_free(h->pipeline);
    forget(h);
    nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(h);
    if (bad)
        fail_msg("a process's log has a sanitizer's report");
}
