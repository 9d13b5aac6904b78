/* crew.c - children of the supervisor */
#include "crew.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/address.h"
#include "deploy/tool/state.h"
#include "deploy/process/word.h"

#define BACKOFF_FIRST_MS 100
#define NAME_AGAIN_NS    (1 * NS_PER_S)
#define BACKOFF_LAST_MS  5000
#define STEADY_NS        (30 * NS_PER_S) /* alive for so long: the next death is the first in a row again */
#define STOP_MS          5000
#define STARTED_NS       (5 * NS_PER_S) /* Redis has made its socket by then */

static const struct pipeline *pipeline(const struct crew *c)
{
    return c->serving->pipeline;
}

static const char *heir_file(const struct child *it, char buf[48])
{
    snprintf(buf, 48, "%s.heir", it->role.name);
    return buf;
}

/* ---- come and go ---- */

int crew_add(struct crew *c, const struct role *r, struct error *e)
{
    if (c->n == ROLES_MAX)
        return error_set(e, FL_CONFIG, "more than %d processes", ROLES_MAX);
    c->child[c->n++] = (struct child){.role = *r};
    return FL_OK;
}

void crew_forget(struct crew *c, int i)
{
    log_info("%s has ended for good", c->child[i].role.name);
    memmove(&c->child[i], &c->child[i + 1], sizeof *c->child * (size_t)(c->n - i - 1));
    c->n--;
}

/* `after` (0: nobody): whose end it waits for. */
static int spawn(struct crew *c, const struct role *r, pid_t after, struct process *out, struct error *e)
{
    struct role_command *command = malloc(sizeof *command);
    char log[STATE_PATH_BYTES], pid[16];
    int n = 0, rc;

    if (!command)
        return error_set(e, FL_NOMEM, "no memory to start %s", r->name);
    if (!(rc = roles_command(command, r, pipeline(c), &c->serving->arguments, e)) &&
        !(rc = state_path(log, pipeline(c), e, "logs/%s.log", r->name))) {
        while (command->argv[n])
            n++;
        snprintf(pid, sizeof pid, "%d", (int)after);
        command->argv[n] = after ? "--after" : NULL;
        command->argv[n + 1] = pid;
        command->argv[n + 2] = NULL;
        rc = process_spawn(out, command->argv, log, c->alive, e);
    }
    free(command);
    return rc;
}

int crew_start(struct crew *c, int i, struct error *e)
{
    struct child *it = &c->child[i];
    int rc = spawn(c, &it->role, 0, &it->process, e);

    if (rc)
        return rc;
    it->running = true;
    it->held = false;
    it->started_ns = clock_ns();
    log_info("%s started, pid %d", it->role.name, (int)it->process.pid);
    rc = pid_file_save(pipeline(c), it->role.name, &it->process, e);
    it->unnamed = rc != FL_OK;
    return rc;
}

int crew_start_heir(struct crew *c, int i, struct error *e)
{
    struct child *it = &c->child[i];
    char name[48];
    int rc = spawn(c, &it->role, it->process.pid, &it->heir, e);

    if (rc)
        return rc;
    it->heir_lost[0] = '\0';
    log_info("%s: successor started, pid %d", it->role.name, (int)it->heir.pid);
    return pid_file_save(pipeline(c), heir_file(it, name), &it->heir, e);
}

bool crew_adopt(struct crew *c, int i, const struct process *it)
{
    struct child *child = &c->child[i];
    int fd = process_watch(it);

    if (fd < 0)
        return false;
    child->watch = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* never 0 */
    close(fd);
    child->process = *it;
    child->running = child->watch > 0;
    child->started_ns = clock_ns();
    child->unnamed = pid_file_save(pipeline(c), child->role.name, it, NULL) != FL_OK;
    log_info("%s goes on as pid %d", child->role.name, (int)it->pid);
    return child->running;
}

void crew_ask(struct crew *c, int i)
{
    c->child[i].held = true;
    if (process_signal(&c->child[i].process, SIGTERM))
        process_signal(&c->child[i].process, SIGCONT);
}

static void drop_heir(struct crew *c, struct child *it)
{
    char name[48];
    pid_file_remove(pipeline(c), heir_file(it, name));
    memset(&it->heir, 0, sizeof it->heir);
}

void crew_end_heirs(struct crew *c, int wait_ms)
{
    for (int i = 0; i < c->n; i++)
        if (c->child[i].heir.pid)
            process_signal(&c->child[i].heir, SIGTERM);
    for (int i = 0; i < c->n; i++) {
        c->child[i].heir_lost[0] = '\0';
        if (!c->child[i].heir.pid)
            continue;
        if (wait_ms)
            process_end(&c->child[i].heir, wait_ms);
        drop_heir(c, &c->child[i]);
    }
}

void crew_release(struct crew *c)
{
    for (int i = 0; i < c->n; i++)
        c->child[i].held = false;
}

/* ---- deaths ---- */

static void describe_exit(int status, char *buf, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(buf, size, "was ended by signal %d (%s%s)", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 WTERMSIG(status) == SIGKILL ? ": by hand, or by the kernel for want of memory" : "");
    else
        snprintf(buf, size, "ended with status %d", WEXITSTATUS(status));
}

/* Its heir, if there is one, is the child from now on. */
static bool inherit(struct crew *c, struct child *it)
{
    if (!it->heir.pid)
        return false;
    it->process = it->heir;
    drop_heir(c, it);
    it->running = true;
    it->held = false;
    it->backoff_ms = 0;
    it->started_ns = clock_ns();
    log_info("%s goes on as pid %d", it->role.name, (int)it->process.pid);
    it->unnamed = pid_file_save(pipeline(c), it->role.name, &it->process, NULL) != FL_OK;
    return true;
}

static void note_death(struct crew *c, struct child *it, const char *how)
{
    uint64_t now = clock_ns();

    it->running = false;
    pid_file_remove(pipeline(c), it->role.name);
    if (it->held) {
        log_info("%s %s, as it was asked to", it->role.name, how);
        it->backoff_ms = 0;
        it->next_ns = now;
        return;
    }
    it->backoff_ms =
        !it->backoff_ms || now - it->started_ns > STEADY_NS ? BACKOFF_FIRST_MS : 2 * it->backoff_ms;
    if (it->backoff_ms > BACKOFF_LAST_MS)
        it->backoff_ms = BACKOFF_LAST_MS;
    it->next_ns = now + (uint64_t)it->backoff_ms * NS_PER_MS;
    log_warn("%s %s; starts again in %d ms", it->role.name, how, it->backoff_ms);
}

static struct child *child_of(struct crew *c, pid_t pid)
{
    for (int i = 0; i < c->n; i++)
        if (c->child[i].running && c->child[i].process.pid == pid)
            return &c->child[i];
    return NULL;
}

static void lose_heir(struct crew *c, pid_t pid, const char *how)
{
    for (int i = 0; i < c->n; i++) {
        struct child *it = &c->child[i];
        if (it->heir.pid != pid)
            continue;
        drop_heir(c, it);
        snprintf(it->heir_lost, sizeof it->heir_lost, "%s", how);
    }
}

static void unwatch(struct child *it)
{
    if (it->watch)
        close(it->watch);
    it->watch = 0;
}

static void bury(struct crew *c, struct child *it, const char *how, int *rc, struct error *e)
{
    unwatch(it);
    if (inherit(c, it))
        return;
    note_death(c, it, how);
    if (c->ready || *rc || it->role.kind == ROLE_KIND_LEARNER) /* serving needs no learner */
        return;
    word_leave(pipeline(c), "failed", it->role.name);
    *rc = error_set(e, FL_UNAVAILABLE, "%s %s before the pipeline was ready", it->role.name, how);
}

/* Of who is not our child we hear that it has ended, but not how. */
static bool has_ended(const struct child *it)
{
    struct pollfd fd = {.fd = it->watch, .events = POLLIN};
    return it->running && it->watch && poll(&fd, 1, 0) > 0;
}

int crew_reap(struct crew *c, struct error *e)
{
    int status, rc = FL_OK;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *it = child_of(c, pid);
        char how[128];
        describe_exit(status, how, sizeof how);
        if (!it)
            lose_heir(c, pid, how); /* or, as process 1 of a container, somebody else's orphan */
        else
            bury(c, it, how, &rc, e);
    }
    for (int i = 0; i < c->n; i++)
        if (has_ended(&c->child[i]))
            bury(c, &c->child[i],
                 c->child[i].held
                     ? "has ended"
                     : "has ended (its log may say why; else by hand, or by the kernel for want of memory)",
                 &rc, e);
    return rc;
}

/* Serving goes on while a disk is full, but without its pid file nobody else finds the process. */
static void name_again(struct crew *c, struct child *it, uint64_t now)
{
    it->unnamed = pid_file_save(pipeline(c), it->role.name, &it->process, NULL) != FL_OK;
    it->next_ns = now + NAME_AGAIN_NS;
    if (!it->unnamed)
        log_info("%s: its pid file is written", it->role.name);
}

void crew_start_due(struct crew *c)
{
    uint64_t now = clock_ns();
    struct error e;

    for (int i = 0; i < c->n; i++) {
        struct child *it = &c->child[i];
        if (it->running && it->unnamed && now >= it->next_ns)
            name_again(c, it, now);
        if (it->running || it->held || now < it->next_ns)
            continue;
        if (crew_start(c, i, &e)) {
            log_error("%s", e.text);
            it->next_ns = now + BACKOFF_LAST_MS * NS_PER_MS;
        }
    }
}

/* ---- by the brokers' word ---- */

/* Several brokers tell of each other, and are counted as they do. */
bool crew_is_asked(const struct crew *c, const struct status_reply *said)
{
    for (int i = 0; i < c->n && pipeline_brokers(pipeline(c)) == 1; i++)
        if (c->child[i].role.kind == ROLE_KIND_BROKER && c->child[i].process.pid != (pid_t)said->pid)
            return false;
    return true;
}

/* Is the child silent, by the brokers' word? A broker is when it gives none. */
static bool is_silent(const struct crew *c, const struct child *it, const struct status_reply *said)
{
    const struct process_status *told;

    if (it->role.kind == ROLE_KIND_BROKER)
        return !said->started_ns || (pipeline_brokers(pipeline(c)) > 1 && !roles_told(said, it->role.name));
    told = roles_told(said, it->role.name);
    return told && !strcmp(told->state, "dead") && (pid_t)told->pid == it->process.pid;
}

/* The broker calls a worker dead only after dead_after_ms, so that much is over when the count begins. */
void crew_end_hung(struct crew *c, const struct status_reply *said, uint64_t now)
{
    const struct broker_config *b = &pipeline(c)->broker;
    uint64_t limit = (uint64_t)(b->hung_after_ms - b->dead_after_ms) * NS_PER_MS;

    for (int i = 0; i < c->n; i++) {
        struct child *it = &c->child[i];
        bool broker = it->role.kind == ROLE_KIND_BROKER;
        if (it->role.kind == ROLE_KIND_REDIS || !it->running ||
            !hang_look(&it->hang, it->process.pid, is_silent(c, it, said), now, broker ? 2 * limit : limit))
            continue;
        log_error("%s (pid %d) lives but has said nothing for %d ms (broker.hung_after_ms): it is killed",
                  it->role.name, (int)it->process.pid, broker ? 2 * b->hung_after_ms : b->hung_after_ms);
        process_signal(&it->process, SIGKILL);
        it->hang.looked_ns = 0;
    }
}

void crew_signal(struct crew *c, int number)
{
    for (int i = 0; i < c->n; i++)
        if (c->child[i].running)
            process_signal(&c->child[i].process, number);
}

/* ---- Redis ---- */

static const char *redis_socket(const struct crew *c)
{
    return pipeline(c)->redis.endpoint + strlen("unix:");
}

static void keep_redis_socket(struct crew *c, struct child *it)
{
    if (!c->ready || !it->running || it->held || clock_ns() < it->started_ns + STARTED_NS ||
        !access(redis_socket(c), F_OK))
        return;
    log_error("the socket %s was removed: Redis is started again; who removes files there?", redis_socket(c));
    process_signal(&it->process, SIGTERM);
    it->started_ns = clock_ns();
}

void crew_look_after_redis(struct crew *c)
{
    char path[STATE_PATH_BYTES];
    struct stat st;

    for (int i = 0; i < c->n; i++) {
        if (c->child[i].role.kind != ROLE_KIND_REDIS)
            continue;
        keep_redis_socket(c, &c->child[i]);
        if (!state_path(path, pipeline(c), NULL, "logs/%s.log", c->child[i].role.name) && !stat(path, &st) &&
            (double)st.st_size > pipeline(c)->logs.max_mb * 1024 * 1024)
            log_shift(path, pipeline(c)->logs.keep);
    }
}

/* ---- the end ---- */

static void end_kind(struct crew *c, bool redis, bool keep)
{
    uint64_t until = clock_ns() + STOP_MS * NS_PER_MS;

    for (int i = 0; i < c->n; i++)
        if (c->child[i].running && (c->child[i].role.kind == ROLE_KIND_REDIS) == redis)
            crew_ask(c, i);
    for (int i = 0; i < c->n; i++) {
        struct child *it = &c->child[i];
        uint64_t now = clock_ns();
        if (!it->running || (it->role.kind == ROLE_KIND_REDIS) != redis)
            continue;
        if (!process_wait_gone(&it->process, now < until ? (int)((until - now) / NS_PER_MS) : 0)) {
            log_warn("%s did not end in %d ms and is killed", it->role.name, STOP_MS);
            process_signal(&it->process, SIGKILL);
        }
        waitpid(it->process.pid, NULL, 0);
        unwatch(it);
        it->running = false;
        if (!keep)
            pid_file_remove(pipeline(c), it->role.name);
    }
}

void crew_stop(struct crew *c, bool keep)
{
    crew_end_heirs(c, STOP_MS);
    end_kind(c, false, keep);
    end_kind(c, true, keep);
}

/* ---- what is seen ---- */

/* The broker lists one that serves and one that waits for its place alike, so the pid counts. */
static const char *state_of(const struct status_reply *said, const char *name, int64_t pid)
{
    char told[32];

    for (int i = 0; i < said->n_processes; i++)
        if ((int64_t)said->process[i].pid == pid &&
            !strcmp(roles_name(&said->process[i], told, sizeof told), name))
            return said->process[i].state;
    return "";
}

static bool is_ready(const struct crew *c, const struct child *it, const struct status_reply *said)
{
    if (!it->running)
        return false;
    if (it->role.kind == ROLE_KIND_REDIS)
        return address_listens(redis_socket(c));
    if (it->role.kind == ROLE_KIND_BROKER && pipeline_brokers(pipeline(c)) == 1)
        return said->ready && (pid_t)said->pid == it->process.pid;
    return !strcmp(state_of(said, it->role.name, it->process.pid), "ready");
}

/* A worker says hello when it is loaded. One whose predecessor is dead for the broker already has its place
 * there, and waits all the same for the end of that process. */
static bool is_loaded(const char *state)
{
    return !strcmp(state, "waiting") || !strcmp(state, "starting");
}

void crew_look(const struct crew *c, const struct status_reply *said, struct sight out[ROLES_MAX])
{
    for (int i = 0; i < c->n; i++) {
        const struct child *it = &c->child[i];
        out[i] = (struct sight){.role = &it->role,
                                .running = it->running,
                                .held = it->held,
                                .ready = is_ready(c, it, said),
                                .pid = it->process.pid,
                                .heir = it->heir.pid,
                                .heir_lost = it->heir_lost[0] ? it->heir_lost : NULL};
        out[i].heir_waits = it->heir.pid && is_loaded(state_of(said, it->role.name, it->heir.pid));
    }
}
