/* beside.c - see beside.h */
#include "beside.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/whole_file.h"
#include "system/quiet_thread.h"
#include "config/variants.h"
#include "deploy/launch/up_hosts.h"
#include "deploy/process/word.h"
#include "deploy/supervise/supervisor_launch.h"
#include "deploy/supervise/supervisor_lease.h"
#include "deploy/tool/state.h"

#define RENEWALS 4 /* in the time of a lease */
#define ASK_MS   20000

static void drop(char **text)
{
    free(*text);
    *text = NULL;
}

/* One broker, default endpoints, no HTTP, no Redis, nothing learned. */
static int keep_apart(struct pipeline *p, int port, struct error *e)
{
    char *state;

    if (asprintf(&state, "%s/rollout", p->state) < 0)
        return error_set(e, FL_NOMEM, "no memory");
    drop(&p->redis.endpoint);
    p->redis.managed = false;
    for (int i = 0; i < p->redis.n_sentinels; i++)
        drop(&p->redis.sentinel[i]);
    p->redis.n_sentinels = 0;
    drop(&p->redis.master);
    p->port = port;
    p->updates.learn = false;
    p->updates.sample = p->updates.audit = 0;
    return pipeline_set_apart(p, state, e);
}

static int write_file(const struct beside *b, const struct pipeline *p, struct error *e)
{
    struct file_part part = {0};
    char *text = NULL;
    FILE *to = open_memstream(&text, &part.size);
    int rc = FL_OK;

    if (to)
        pipeline_print(to, p);
    if (!to || fclose(to))
        rc = error_set(e, FL_NOMEM, "no memory");
    part.data = text;
    if (!rc)
        rc = file_replace(b->path, &part, 1, e);
    free(text);
    return rc;
}

/* Calls `each` with every regular file in a folder that may not be there. */
static int in_folder(const char *folder, int (*each)(const char *from, const char *name, void *arg),
                     void *arg)
{
    DIR *d = opendir(folder);
    char path[STATE_PATH_BYTES + 256];
    struct dirent *entry;
    struct stat st;
    int rc = 0;

    while (d && !rc && (entry = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!lstat(path, &st) && S_ISREG(st.st_mode))
            rc = each(path, entry->d_name, arg);
    }
    if (d)
        closedir(d);
    return rc;
}

static int remove_it(const char *from, const char *name, void *arg)
{
    (void)name;
    (void)arg;
    return unlink(from);
}

static int link_it(const char *from, const char *name, void *folder)
{
    char to[STATE_PATH_BYTES + 256];
    snprintf(to, sizeof to, "%s/%s", (const char *)folder, name);
    return link(from, to);
}

/* Files there are replaced by name, never written into: a link stays what it was. */
static int link_caches(const struct beside *b, const char *from, struct error *e)
{
    char to[STATE_PATH_BYTES];
    int rc = state_path(to, b->pipeline, e, "caches");

    if (rc || (rc = state_make(to, e)))
        return rc;
    if (in_folder(to, remove_it, NULL) || in_folder(from, link_it, to))
        return error_set(e, FL_IO, "cannot link the caches of %s into %s: %s", from, to, strerror(errno));
    return FL_OK;
}

/* ---- the lease ---- */

static int renew_on(struct transport *t, int host, void *arg, struct error *e)
{
    char path[1200];
    char *words[] = {"touch", "-c", path, NULL};

    snprintf(path, sizeof path, "%s/state/run/" LEASE_WORD, ((struct beside *)arg)->fleet.folder[host]);
    return transport_run(t, host, words, NULL, ASK_MS, NULL, e);
}

/* Their folders are known as soon as launch.json is there, which is before any supervisor is. A host that
 * cannot be reached ends its part by itself, and what fails there is seen in answers. */
static void renew(struct beside *b)
{
    struct error e;

    if (!b->on) {
        supervisor_lease_grant(b->pipeline, b->lease_s, &e);
        return;
    }
    if (!b->fleet.transport) {
        fleet_close(&b->fleet);
        if (!fleet_there(b->pipeline) || fleet_load(&b->fleet, b->pipeline, &e) ||
            fleet_open_some(&b->fleet, &e))
            return;
    }
    if (transport_each(b->fleet.transport, renew_on, b, &e)) { /* connects again the next time */
        transport_close(b->fleet.transport);
        b->fleet.transport = NULL;
    }
}

static void *keep(void *arg)
{
    struct beside *b = arg;

    for (int i = 0; b->keeps; i++) {
        if (i % 10 == 0)
            renew(b);
        usleep((useconds_t)(1000000 / 10 / RENEWALS * b->lease_s));
    }
    return NULL;
}

static void end_lease(struct beside *b)
{
    if (!b->keeps)
        return;
    b->keeps = false;
    pthread_join(b->keeper, NULL);
    fleet_close(&b->fleet);
    word_remove(b->pipeline, LEASE_WORD);
}

/* ---- its life ---- */

int beside_prepare(struct beside *b, struct pipeline *next, int port, struct error *e)
{
    char caches[STATE_PATH_BYTES], lock[STATE_PATH_BYTES], folder[STATE_PATH_BYTES];
    bool ended;
    int rc;

    if ((rc = state_path(caches, next, e, "caches")) || (rc = state_path(folder, next, e, "rollout")) ||
        (rc = state_path(lock, next, e, "rollout/lock")) ||
        (rc = state_path(b->path, next, e, "rollout/pipeline.yaml")) || (rc = state_make(folder, e)) ||
        (rc = state_lock(&b->lock, lock, "a rollout", e)) || (rc = keep_apart(next, port, e)) ||
        (rc = down_wherever(next, &(struct launch_end){0}, &ended, e)) || (rc = write_file(b, next, e)))
        return rc;
    b->arguments.path = b->path;
    if ((rc = arguments_load(&b->pipeline, &b->arguments, e)))
        return error_wrap(e, rc, "the pipeline beside cannot be described");
    return link_caches(b, caches, e);
}

int beside_up(struct beside *b, int timeout_s, struct error *e)
{
    const struct up_hosts hosts = {b->pipeline, &b->arguments, b->on, b->job, timeout_s, b->lease_s};
    struct process supervisor;
    int rc = b->on ? FL_OK : supervisor_lease_grant(b->pipeline, b->lease_s, e);

    if (rc)
        return rc;
    b->keeps = true;
    if (quiet_thread(&b->keeper, keep, b)) {
        b->keeps = false;
        return error_set(e, FL_NOMEM, "no thread");
    }
    rc = b->on ? up_hosts(&hosts, e) : launch_up(b->pipeline, &b->arguments, timeout_s, &supervisor, e);
    b->up = !rc;
    if (rc)
        end_lease(b);
    return rc;
}

/* The same inode, or none in both. */
bool beside_has_caches_of(const struct beside *b, const struct pipeline *p)
{
    char path[STATE_PATH_BYTES];
    struct stat ours = {0}, theirs = {0};

    if (!state_path(path, b->pipeline, NULL, "caches/manifest.json") && stat(path, &ours))
        ours.st_ino = 0;
    if (!state_path(path, p, NULL, "caches/manifest.json") && stat(path, &theirs))
        theirs.st_ino = 0;
    return ours.st_ino == theirs.st_ino;
}

void beside_down(struct beside *b)
{
    char path[STATE_PATH_BYTES];
    struct error e = {FL_OK, ""};
    bool ended;

    if (!b->up)
        return;
    b->up = false;
    end_lease(b);
    if (down_wherever(b->pipeline, &(struct launch_end){0}, &ended, &e))
        fprintf(stderr, "freezeline rollout: %s; `freezeline down -c %s` ends what was started\n", e.text,
                b->path);
    if (!state_path(path, b->pipeline, NULL, "caches"))
        in_folder(path, remove_it, NULL);
}

void beside_free(struct beside *b)
{
    beside_down(b);
    if (b->lock >= 0)
        close(b->lock);
    pipeline_free(b->pipeline);
}
