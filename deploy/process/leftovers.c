/* leftovers.c - pid files, words and sockets that nobody needs any more */
#include "leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/address.h"
#include "config/endpoint.h"
#include "claim.h"
#include "deploy/tool/state.h"
#include "roles.h"
#include "serving.h"
#include "word.h"

#define STOP_MS      5000
#define LET_GO_STEPS 100 /* what a process started itself (Redis does) may outlive it for a moment */
#define LET_GO_MS    10

#define MOST (2 * ROLES_MAX + 1) /* heirs have pid files too */

struct left {
    int n;
    char path[MOST][STATE_PATH_BYTES]; /* of pid files */
    struct process process[MOST];
    bool is_redis[MOST];
};

/* Reads the directory, not the pipeline file: that may have changed since. */
static void list(struct left *l, const struct pipeline *p)
{
    char path[STATE_PATH_BYTES];
    struct dirent *entry;
    DIR *d = state_path(path, p, NULL, "run") ? NULL : opendir(path);

    while (d && l->n < MOST && (entry = readdir(d))) {
        const char *end = strrchr(entry->d_name, '.');
        if (!end || strcmp(end, ".pid") || state_path(l->path[l->n], p, NULL, "run/%s", entry->d_name))
            continue;
        process_load(&l->process[l->n], l->path[l->n]);
        l->is_redis[l->n++] = !strcmp(entry->d_name, "redis.pid");
    }
    if (d)
        closedir(d);
}

/* Redis after the others: cache services write to it until their end. Stopped processes go on, to end. */
static int end_those(const struct left *l, bool redis)
{
    bool told[MOST] = {false};
    int ended = 0;

    for (int i = 0; i < l->n; i++) {
        told[i] = l->is_redis[i] == redis && process_alive(&l->process[i]) &&
                  process_signal(&l->process[i], SIGTERM);
        if (told[i])
            process_signal(&l->process[i], SIGCONT);
        ended += told[i];
    }
    for (int i = 0; i < l->n; i++)
        if (told[i] && !process_wait_gone(&l->process[i], STOP_MS))
            process_end(&l->process[i], STOP_MS);
    return ended;
}

/* And where lanes were asked for beside it (link/lanes.h). */
static void remove_socket(const char *path)
{
    char lane[ENDPOINT_MAX_IPC_PATH + 8];
    if (!path || *path != '/' || address_listens(path))
        return;
    unlink(path);
    snprintf(lane, sizeof lane, "%s.lane", path);
    unlink(lane);
}

static void remove_ipc(const char *endpoint)
{
    if (endpoint && !strncmp(endpoint, "ipc://", 6))
        remove_socket(endpoint + 6);
}

static void remove_sockets(const struct pipeline *p)
{
    char folder[STATE_PATH_BYTES];
    for (int i = 0; i < pipeline_brokers(p); i++) {
        struct broker_replica b = pipeline_broker(p, i);
        remove_ipc(b.requests);
        remove_ipc(b.control);
        remove_ipc(b.results);
    }
    for (int i = 0; i < p->cache.n_endpoints; i++)
        remove_ipc(p->cache.endpoint[i]);
    for (int s = 0; s < p->n_stages; s++)
        for (int k = 0; k < p->stage[s].n_replicas; k++)
            remove_ipc(p->stage[s].replica[k].endpoint);
    if (p->redis.managed && p->redis.endpoint && !strncmp(p->redis.endpoint, "unix:", 5))
        remove_socket(p->redis.endpoint + 5);
    pipeline_socket_folder(p, folder, sizeof folder);
    rmdir(folder); /* stays where a socket does */
}

void leftovers_remove_own(const struct pipeline *p)
{
    remove_sockets(p);
    word_remove(p, "ready");
    word_remove(p, "arguments");
    word_remove(p, "orders");
    word_remove(p, "pipeline.yaml");
    word_remove(p, "pipeline.next.yaml");
    word_remove(p, SERVING_PLACED);
    word_remove(p, "supervisor.pid");
}

/* Where the first process is that a pid file names and that is not of this space. */
static const char *other_host(const struct left *l)
{
    for (int i = 0; i < l->n; i++)
        if (!process_visible(&l->process[i]) && l->process[i].host[0])
            return l->process[i].host;
    return "unknown";
}

/* Of this container, as far as pids go (process.h). */
static bool is_of_here(const char *pid)
{
    char link[64], own[64] = "", its[64] = "";
    snprintf(link, sizeof link, "/proc/%.20s/ns/pid", pid);
    return readlink("/proc/self/ns/pid", own, sizeof own - 1) > 0 &&
           readlink(link, its, sizeof its - 1) > 0 && !strcmp(own, its);
}

/* Does the process have run/alive, as what a supervisor has started does (claim.h)? -1: it can't be seen. */
static int holds_alive(const struct pipeline *p, pid_t pid)
{
    char alive[STATE_PATH_BYTES], link[64], target[STATE_PATH_BYTES], real[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)pid, PROCESS_INHERITED_FD);
    if (state_path(alive, p, NULL, "run/alive") || !realpath(alive, real))
        return 0;
    if ((n = readlink(link, target, sizeof target - 1)) <= 0)
        return errno == EACCES ? -1 : 0;
    target[n] = '\0';
    return !strcmp(target, real);
}

bool leftovers_is_ours(const struct pipeline *p, const struct process *it)
{
    return process_alive(it) && holds_alive(p, it->pid);
}

static bool is_of(const pid_t *list, int n, pid_t pid)
{
    for (int i = 0; i < n; i++)
        if (list[i] == pid)
            return true;
    return pid == getpid();
}

int leftovers_end_others(const struct pipeline *p, const pid_t *keep, int n)
{
    DIR *d = opendir("/proc");
    struct dirent *entry;
    struct process it;
    int ended = 0;

    while (d && (entry = readdir(d))) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (pid <= 0 || is_of(keep, n, pid) || !is_of_here(entry->d_name) || holds_alive(p, pid) != 1 ||
            !process_find(&it, pid))
            continue;
        process_end(&it, STOP_MS);
        ended++;
    }
    if (d)
        closedir(d);
    return ended;
}

int leftovers_end(const struct pipeline *p, int *ended, struct error *e)
{
    static struct left l; /* large */

    l.n = 0;
    list(&l, p);
    *ended = end_those(&l, false);
    *ended += end_those(&l, true);
    for (int i = 0; *ended && i < LET_GO_STEPS && claim_anyone_alive(p); i++)
        usleep(LET_GO_MS * 1000);
    if (claim_anyone_alive(p))
        *ended += leftovers_end_others(p, NULL, 0);
    if (claim_anyone_alive(p))
        return error_set(e, FL_UNAVAILABLE,
                         "processes of an earlier run live in another container or on another host (%s), or "
                         "are another user's; they hold %s/run/alive: end them there first",
                         other_host(&l), p->state);
    for (int i = 0; i < l.n; i++)
        unlink(l.path[i]);
    word_remove(p, "failed");
    leftovers_remove_own(p);
    return FL_OK;
}
