/* town.c - pipeline files, starting, tending and stopping */
#include "town.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/signals.h"
#include "client/client.h"
#include "deploy/process/roles.h"

#define READY_NS   (120 * NS_PER_S)
#define AGAIN_NS   (300 * NS_PER_MS) /* an init's pause before it starts something again */
#define END_MS     8000
#define ASK_MS     1000
#define REDIS_PORT "7300"

struct town {
    struct town_plan plan;
    char folder[128], config[256], bin[TOWN_PATH];
    struct pipeline *pipeline;
    struct crossing *crossing;
    struct client *watcher;
    int n;
    struct town_member member[TOWN_MOST];
    bool down[CROSSING_MOST];
};

/* ---- pipeline files ---- */

static const char yaml_head[] = "model: %s\n"
                                "name: town\n"
                                "state: %s\n"
                                "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
                                "exits:\n"
                                "  - {name: block1, after: /blocks.0/Relu_1}\n"
                                "  - {name: block4, after: /blocks.3/Relu_1}\n"
                                "  - {name: block6, after: /blocks.5/Relu_1}\n"
                                "updates: {sample: 0.2}\n";

#define BROKER_KEYS "max_requests: 64, deadline_ms: 4000, heartbeat_ms: 200, dead_after_ms: 1000"
#define CACHE_KEYS                                                                \
    "kind: kmeans, grids: [1, 2, 4], nodes: 128, memory_mb: 2, threshold: risk, " \
    "promise: agreement, max_accuracy_loss: 1, certainty: 0.95, wait_us: 5000"

static const char yaml_one[] = "stages:\n"
                               "  - {last: block4, replicas: 2}\n"
                               "  - {replicas: 2}\n"
                               "broker: {" BROKER_KEYS ", replicas: %d}\n"
                               "cache: {" CACHE_KEYS "}\n"
                               "redis: {managed: true}\n";

/* Host 0: broker, Redis, learner, clients. Hosts 1 and 2: a cache service and a replica of each stage; and,
 * where there are two brokers, one each. */
#define YAML_THREE(brokers)                                                                  \
    "security: none\n"                                                                       \
    "stages:\n"                                                                              \
    "  - last: block4\n"                                                                     \
    "    replicas:\n"                                                                        \
    "      - {host: b, endpoint: 'tcp://10.78.0.2:7100', cache: 0}\n"                        \
    "      - {host: c, endpoint: 'tcp://10.78.0.3:7100', cache: 1}\n"                        \
    "  - replicas:\n"                                                                        \
    "      - {host: b, endpoint: 'tcp://10.78.0.2:7101', cache: 0}\n"                        \
    "      - {host: c, endpoint: 'tcp://10.78.0.3:7101', cache: 1}\n"                        \
    "broker: {" BROKER_KEYS ", " brokers "}\n"                                               \
    "cache: {" CACHE_KEYS ", endpoints: ['tcp://10.78.0.2:7200', 'tcp://10.78.0.3:7200']}\n" \
    "redis: {endpoint: '10.78.0.1:" REDIS_PORT "'}\n"
#define ENDPOINTS(ip) \
    "requests: 'tcp://" ip ":7000', control: 'tcp://" ip ":7001', results: 'tcp://" ip ":7002'"

static const char yaml_three[] = YAML_THREE(ENDPOINTS("10.78.0.1"));
static const char yaml_apart[] =
    YAML_THREE("replicas: [{" ENDPOINTS("10.78.0.2") "}, {" ENDPOINTS("10.78.0.3") "}]");

/* Who lives where of three hosts, in the order of their start. */
static const struct {
    const char *name;
    int host;
} places[] = {{"redis", 0},    {"broker", 0},   {"cache0", 1},   {"cache1", 2},  {"stage0.0", 1},
              {"stage0.1", 2}, {"stage1.0", 1}, {"stage1.1", 2}, {"learner0", 0}};

static int shell(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs a shell line; what it printed is the error's text where it fails. */
static int shell(struct error *e, const char *format, ...)
{
    char line[4096] = "exec 2>&1; ", out[400];
    size_t n = strlen(line);
    va_list args;
    FILE *f;

    va_start(args, format);
    vsnprintf(line + n, sizeof line - n, format, args);
    va_end(args);
    f = popen(line, "re");
    n = f ? fread(out, 1, sizeof out - 1, f) : 0;
    out[n] = 0;
    while (f && n == sizeof out - 1 && fread((char[256]){0}, 1, 256, f) > 0)
        ;
    if (!f || pclose(f))
        return error_set(e, FL_IO, "%.80s: %s", line, out);
    return FL_OK;
}

static int write_config(const char *path, const char *model, const char *state, const char *rest, int brokers,
                        struct error *e)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return error_set(e, FL_IO, "cannot write %s", path);
    fprintf(f, yaml_head, model, state);
    fprintf(f, rest, brokers);
    return fclose(f) ? error_set(e, FL_IO, "cannot write %s", path) : FL_OK;
}

int town_build(const char *bin, const char *model, const char *folder, struct error *e)
{
    char config[TOWN_PATH], root[TOWN_PATH], now[TOWN_PATH + 128];
    int rc;

    if (!getcwd(root, sizeof root))
        return error_set(e, FL_IO, "cannot tell the working directory");
    snprintf(now, sizeof now,
             " (cd %.200s && cat %.200s proto/index/cache_pack.c cache_service/store/manifest.c) | cksum",
             root, model);
    snprintf(config, sizeof config, "%.400s/p.yaml", folder);
    if ((rc = shell(e, "mkdir -p %s", folder)) ||
        (rc = write_config(config, model, "state", yaml_one, 1, e)) ||
        !shell(NULL, "cd %s && test -s requests.bin && [ \"$(%s)\" = \"$(cat stamp)\" ]", folder, now))
        return rc;
    fprintf(stderr, "building caches in %s\n", folder);
    return shell(
        e,
        "cd %s && rm -rf state stamp && %s/freezeline generate --count 3000 --seed 11 --output train.bin && "
        "%s/freezeline generate --count 2000 --seed 12 --output calibrate.bin && "
        "%s/freezeline generate --count 512 --seed 13 --output requests.bin && "
        "%s/freezeline build -c p.yaml --train cifar10:train.bin --calibrate cifar10:calibrate.bin && "
        "rm -rf state/build train.bin calibrate.bin && %s >stamp",
        folder, bin, bin, bin, bin, now);
}

/* ---- members ---- */

static struct town_member *add(struct town *t, const char *name, int host)
{
    struct town_member *m = &t->member[t->n++];

    *m = (struct town_member){.host = host};
    snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}

static int list(struct town *t, struct error *e)
{
    struct role role[ROLES_MAX];
    int n, rc;

    if (t->plan.hosts > 1) {
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            add(t, places[i].name,
                t->plan.brokers > 1 && !strcmp(places[i].name, "broker") ? 1 : places[i].host);
        if (t->plan.brokers > 1)
            add(t, "broker1", 2);
        return FL_OK;
    }
    if ((rc = roles_list(t->pipeline, role, &n, e)))
        return rc;
    for (int i = 0; i < n && i < TOWN_MOST - 1; i++)
        add(t, role[i].name, 0);
    add(t, "supervisor", 0);
    return FL_OK;
}

int town_members(struct town *t, struct town_member **out)
{
    *out = t->member;
    return t->n;
}

bool town_find(struct town *t, const char *name, struct process *out)
{
    char path[TOWN_PATH];

    for (int i = 0; t->plan.hosts > 1 && i < t->n; i++)
        if (!strcmp(t->member[i].name, name)) {
            *out = t->member[i].process;
            return t->member[i].started && process_alive(out);
        }
    snprintf(path, sizeof path, "%.200s/run/%.32s.pid", t->pipeline->state, name);
    return t->plan.hosts == 1 && !process_load(out, path) && process_alive(out);
}

/* ---- starting ---- */

/* The command line of a process that is started by its role. */
static void command(struct town *t, const struct town_member *m, char *argv[20], char text[4][TOWN_PATH])
{
    static char dash_c[] = "-c", set[] = "--set", stage[] = "--stage", replica[] = "--replica",
                index[] = "--index", number[8][2] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    static char *const redis[] = {(char *)"redis-server",
                                  (char *)"--port",
                                  (char *)REDIS_PORT,
                                  (char *)"--bind",
                                  (char *)"10.78.0.1",
                                  (char *)"--dir",
                                  NULL,
                                  (char *)"--save",
                                  (char *)"",
                                  (char *)"--appendonly",
                                  (char *)"yes",
                                  (char *)"--protected-mode",
                                  (char *)"no",
                                  NULL};
    size_t length = strcspn(m->name, "0123456789");
    int n = 0;

    snprintf(text[0], TOWN_PATH, "%s/%c", t->folder, 'a' + m->host);
    if (!strcmp(m->name, "redis")) {
        memcpy(argv, redis, sizeof redis);
        argv[6] = text[0];
        return;
    }
    snprintf(text[1], TOWN_PATH, "%.400s/freezeline-%.*s", t->bin, (int)length, m->name);
    snprintf(text[2], TOWN_PATH, "state=%.400s", text[0]);
    argv[n++] = text[1];
    argv[n++] = dash_c;
    argv[n++] = t->config;
    argv[n++] = set;
    argv[n++] = text[2];
    if (!strncmp(m->name, "stage", 5)) {
        argv[n++] = stage;
        argv[n++] = number[m->name[5] - '0'];
        argv[n++] = replica;
        argv[n++] = number[m->name[7] - '0'];
    } else if (m->name[length]) {
        argv[n++] = index;
        argv[n++] = number[m->name[length] - '0'];
    }
    argv[n] = NULL;
}

static int start(struct town *t, struct town_member *m, struct error *e)
{
    char *argv[20], text[4][TOWN_PATH], log[TOWN_PATH];
    int rc;

    command(t, m, argv, text);
    snprintf(log, sizeof log, "%s/%c/logs/%s.log", t->folder, 'a' + m->host, m->name);
    if ((rc = crossing_enter(t->crossing, m->host, e)))
        return rc;
    rc = process_spawn(&m->process, argv, log, -1, e);
    m->started = !rc;
    m->again_ns = 0;
    crossing_enter(t->crossing, 0, NULL);
    return rc;
}

void town_host_down(struct town *t, int host, bool down)
{
    t->down[host] = down;
}

void town_tend(struct town *t)
{
    for (int i = 0; t->plan.hosts > 1 && i < t->n; i++) {
        struct town_member *m = &t->member[i];
        uint64_t now = clock_ns();
        if (m->started && waitpid(m->process.pid, NULL, WNOHANG) == m->process.pid) {
            m->started = false;
            m->again_ns = now + AGAIN_NS;
        }
        if (!m->started && !t->down[m->host] && now >= m->again_ns && start(t, m, NULL))
            m->again_ns = now + NS_PER_S;
    }
}

static int start_three(struct town *t, struct error *e)
{
    int rc = crossing_new(&t->crossing, 3, e);

    if (rc || (rc = crossing_enter(t->crossing, 0, e)) ||
        (rc = shell(e, "for h in a b c; do mkdir -p -m 700 %s/$h/logs && cp -r %s/state/caches %s/$h/; done",
                    t->folder, t->plan.caches, t->folder)))
        return rc;
    for (int i = 0; !rc && i < t->n; i++)
        rc = start(t, &t->member[i], e);
    return rc;
}

static int start_one(struct town *t, struct error *e)
{
    int rc = shell(e, "mkdir -p -m 700 %s/state && cp -r %s/state/caches %s/state/", t->folder,
                   t->plan.caches, t->folder);

    return rc ? rc : shell(e, "%s %s/freezeline up -c %s", t->plan.under, t->bin, t->config);
}

static int await_whole(struct town *t, struct error *e)
{
    uint64_t until = clock_ns() + READY_NS;
    char why[200] = "";

    while (!town_whole(t, why, sizeof why)) {
        if (clock_ns() > until || signals_stop)
            return error_set(e, FL_DEADLINE, "not whole within %llu s: %s; logs are in %s",
                             READY_NS / NS_PER_S, why, t->folder);
        town_tend(t);
        usleep(20000);
    }
    return FL_OK;
}

/* Mounts that nobody else sees, and that end with this program's namespace if not before. */
static int mount_own(struct town *t, struct error *e)
{
    int rc = FL_OK;

    if (t->plan.disk_mb)
        rc = shell(e, "mount -t tmpfs -o size=%dm,mode=700 town %s", t->plan.disk_mb, t->folder);
    if (!rc && t->plan.full_shm)
        rc = shell(
            e,
            "mount -t tmpfs -o size=64k shm /dev/shm && { cat /dev/zero >/dev/shm/full 2>/dev/null; true; }");
    if (rc && e)
        e->code = FL_UNSUPPORTED;
    return rc ? FL_UNSUPPORTED : FL_OK;
}

int town_new(struct town **out, const struct town_plan *plan, struct error *e)
{
    struct town *t = *out = calloc(1, sizeof *t);
    char state[TOWN_PATH];
    int rc;

    if (!t)
        return error_set(e, FL_NOMEM, "no memory");
    t->plan = *plan;
    snprintf(t->bin, sizeof t->bin, "%s", plan->bin);
    snprintf(t->folder, sizeof t->folder, "/tmp/freezeline-town.XXXXXX");
    if (!mkdtemp(t->folder))
        return error_set(e, FL_IO, "cannot make a folder in /tmp");
    if ((plan->disk_mb || plan->full_shm) && (rc = mount_own(t, e)))
        return rc;
    snprintf(t->config, sizeof t->config, "%s/p.yaml", t->folder);
    snprintf(state, sizeof state, "%s/%s", t->folder, plan->hosts > 1 ? "a" : "state");
    if ((rc = write_config(t->config, plan->model, state,
                           plan->hosts == 1    ? yaml_one
                           : plan->brokers > 1 ? yaml_apart
                                               : yaml_three,
                           plan->brokers, e)) ||
        (rc = pipeline_load(&t->pipeline, t->config, NULL, 0, e)) || (rc = list(t, e)) ||
        (rc = plan->hosts > 1 ? start_three(t, e) : start_one(t, e)))
        return rc;
    return (rc = client_new(&t->watcher, t->pipeline, e)) ? rc : await_whole(t, e);
}

/* ---- looking ---- */

const struct pipeline *town_pipeline(const struct town *t)
{
    return t->pipeline;
}

const char *town_state(const struct town *t)
{
    return t->pipeline->state;
}

struct crossing *town_crossing(struct town *t)
{
    return t->crossing;
}

void town_status(struct town *t, struct status_reply *out)
{
    memset(out, 0, sizeof *out);
    if (client_status(t->watcher, ASK_MS, out, NULL))
        memset(out, 0, sizeof *out);
}

static bool missing(char *why, size_t size, const char *who, const char *what)
{
    if (why)
        snprintf(why, size, "%s %s", who, what);
    return false;
}

/* Is this process of the town as it should be, by the broker's word? */
static bool is_well(const struct status_reply *s, const char *name, char *why, size_t size)
{
    const struct process_status *told = roles_told(s, name);

    if (!told || strcmp(told->state, "ready"))
        return missing(why, size, name, told ? told->state : "is not known to the broker");
    if (told->role == ROLE_CACHE && !told->last.redis_up)
        return missing(why, size, name, "has no Redis");
    return true;
}

bool town_whole(struct town *t, char *why, size_t size)
{
    static struct status_reply s;
    struct process p;

    for (int i = 0; i < t->n; i++)
        if (!town_find(t, t->member[i].name, &p))
            return missing(why, size, t->member[i].name, "does not run");
    town_status(t, &s);
    if (!s.started_ns)
        return missing(why, size, "broker", "says nothing");
    for (int i = 0; i < t->n; i++) {
        const char *name = t->member[i].name;
        bool told = strncmp(name, "broker", 6) && strcmp(name, "redis") && strcmp(name, "supervisor");
        if (told && !is_well(&s, name, why, size))
            return false;
    }
    return s.ready || missing(why, size, "the pipeline", "is not ready");
}

int town_said(struct town *t, const char *name, const char *text, const char *and)
{
    char line[4096], from[TOWN_PATH];
    int n = 0;
    FILE *f;

    snprintf(from, sizeof from, "cat %s/*/logs/%s.log* 2>/dev/null", t->folder, name);
    f = popen(from, "re");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, text) && strstr(line, and);
    if (f)
        pclose(f);
    return n;
}

int64_t town_rss(pid_t pid)
{
    char path[64];
    long pages = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if ((f = fopen(path, "re"))) {
        if (fscanf(f, "%*d %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

int town_files(pid_t pid)
{
    char path[64];
    int n = 0;
    DIR *d;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    if ((d = opendir(path))) {
        while (readdir(d))
            n++;
        closedir(d);
    }
    return n > 2 ? n - 2 : 0;
}

/* ---- stopping ---- */

static void stop_three(struct town *t)
{
    for (int i = t->n - 1; i >= 0; i--) /* Redis last */
        if (t->member[i].started) {
            process_signal(&t->member[i].process, SIGCONT);
            process_end(&t->member[i].process, END_MS);
            waitpid(t->member[i].process.pid, NULL, 0);
        }
}

/* Whoever still names this town's folder on his command line. */
static int left(const struct town *t)
{
    char line[512];
    int n = 0;
    FILE *f;

    snprintf(line, sizeof line, "grep -lF '%s/' /proc/[0-9]*/cmdline 2>/dev/null | grep -v \"/$$/\"",
             t->folder);
    f = popen(line, "re");
    while (f && fgets(line, sizeof line, f)) {
        int pid = atoi(line + strlen("/proc/"));
        char name[64] = "", path[64];
        FILE *comm;
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        if (!(comm = fopen(path, "re")))
            continue;
        if (fgets(name, sizeof name, comm) && strncmp(name, "grep", 4) && strncmp(name, "sh", 2)) {
            fprintf(stderr, "left behind: pid %d, %s", pid, name);
            n++;
        }
        fclose(comm);
    }
    if (f)
        pclose(f);
    return n;
}

bool town_free(struct town *t)
{
    struct error e = {FL_OK, ""};
    bool clean;

    if (!t)
        return true;
    if (t->plan.hosts > 1)
        stop_three(t);
    else if (t->watcher && shell(&e, "%s/freezeline down -c %s", t->bin, t->config))
        fprintf(stderr, "%s\n", e.text);
    client_free(t->watcher);
    clean = !e.code && !left(t);
    if (t->crossing)
        crossing_enter(t->crossing, -1, NULL);
    crossing_free(t->crossing);
    if (t->plan.full_shm)
        shell(NULL, "umount /dev/shm");
    if (t->plan.disk_mb)
        shell(NULL, "umount -l %s", t->folder);
    if (clean && !getenv("KEEP_TOWN"))
        shell(NULL, "rm -rf %s", t->folder);
    pipeline_free(t->pipeline);
    free(t);
    return clean;
}
