/* mischief_limits.c - full disks, few files, little memory, clocks that step */
#include "mischief.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/limits.h"

#define CONNECTIONS 800
#define SPARE_BYTES (1 << 20) /* of address space, beside what a process has */

static int connections[CONNECTIONS];

/* ---- a full disk ---- */

static const char *ballast(struct siege *s, char *path, size_t size)
{
    snprintf(path, size, "%.400s/ballast", town_state(s->town));
    return path;
}

/* Fills it to the last byte, then has a worker start anew on it. */
int mischief_fill_disk(struct siege *s, struct trial *t, struct error *e)
{
    static const char zeros[65536];
    char path[TOWN_PATH];
    int fd = open(ballast(s, path, sizeof path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    size_t piece = sizeof zeros;
    int rc;

    if (fd < 0)
        return error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
    while (piece)
        if (write(fd, zeros, piece) < 0)
            piece /= 2;
    close(fd);
    rc = mischief_draw(s, t, t->fault->victims, 1, e);
    if (!rc)
        process_signal(&t->process[0], SIGKILL);
    return rc;
}

void mischief_empty_disk(struct siege *s, struct trial *t)
{
    char path[TOWN_PATH];

    (void)t;
    unlink(ballast(s, path, sizeof path));
}

/* ---- few files ---- */

/* Connections that are never served, more than the broker may have files. */
int mischief_connect_many(struct siege *s, struct trial *t, struct error *e)
{
    const char *endpoint = town_pipeline(s->town)->broker.requests;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int n = 0;

    snprintf(to.sun_path, sizeof to.sun_path, "%s", endpoint + strlen("ipc://"));
    for (int i = 0; i < CONNECTIONS; i++) {
        bool there = false;
        connections[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        for (int tries = 0; !there && tries < 20; tries++) /* it takes a moment to take as many */
            if (!(there = !connect(connections[i], (struct sockaddr *)&to, sizeof to)))
                usleep(1000);
        n += there;
    }
    snprintf(t->victim, sizeof t->victim, "broker, %d of %d connections were taken", n, CONNECTIONS);
    return n ? FL_OK : error_set(e, FL_UNAVAILABLE, "nobody takes connections at %s", endpoint);
}

void mischief_disconnect(struct siege *s, struct trial *t)
{
    (void)s, (void)t;
    for (int i = 0; i < CONNECTIONS; i++)
        close(connections[i]);
}

/* The broker says how many it has turned away, and what to raise. */
bool mischief_refusals_are_told(struct siege *s, struct trial *t)
{
    if (town_said(s->town, "broker", "connections were refused", "raise the hard limit"))
        return true;
    snprintf(t->why, sizeof t->why, "the broker's log does not tell of connections that were refused");
    return false;
}

/* ---- little memory ---- */

static int64_t address_space(pid_t pid)
{
    char path[64];
    long pages = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if ((f = fopen(path, "re"))) {
        if (fscanf(f, "%ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

static void limit_all(struct siege *s, bool limited)
{
    struct town_member *member;
    int n = town_members(s->town, &member);
    struct process p;

    for (int i = 0; i < n; i++) {
        struct rlimit most = {RLIM_INFINITY, RLIM_INFINITY};
        if (!mischief_is_of(member[i].name, "stage cache broker") || !town_find(s->town, member[i].name, &p))
            continue;
        if (limited)
            most.rlim_cur = (rlim_t)(address_space(p.pid) + SPARE_BYTES);
        prlimit(p.pid, RLIMIT_AS, &most, NULL);
    }
}

/* What a control group answers by a kill (below) RLIMIT_AS answers by a refusal. */
int mischief_limit_memory(struct siege *s, struct trial *t, struct error *e)
{
    int rc = mischief_overload(s, t, e);

    limit_all(s, true);
    snprintf(t->victim, sizeof t->victim, "workers, cache service, broker");
    return rc;
}

void mischief_unlimit_memory(struct siege *s, struct trial *t)
{
    mischief_steady(s, t);
    limit_all(s, false);
}

/* ---- a control group without memory ---- */

static char group[PATH_MAX];

static bool write_to_group(const char *file, long long number)
{
    char path[PATH_MAX + 64];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", group, file);
    return (f = fopen(path, "we")) && fprintf(f, "%lld", number) > 0 && !fclose(f);
}

/* Below this process's own, with room for no page more. FL_UNSUPPORTED: none can be made here. */
static int make_group(struct error *e)
{
    char line[1024], folder[PATH_MAX / 2];
    const char *root, *file;
    FILE *f = fopen("/proc/self/cgroup", "re");
    bool made = false;

    while (f && !made && fgets(line, sizeof line, f)) {
        if (!limits_cgroup(line, folder, sizeof folder, &root, &file))
            continue;
        snprintf(group, sizeof group, "%s/freezeline-siege-%d", folder, (int)getpid());
        if (!mkdir(group, 0700) && !(made = write_to_group(file, 8192)))
            rmdir(group);
    }
    if (f)
        fclose(f);
    return made ? FL_OK
                : error_set(e, FL_UNSUPPORTED, "no control group with a bound of memory can be made here");
}

/* A process gets into it; the next page that it wants is its last. */
int mischief_fill_group(struct siege *s, struct trial *t, struct error *e)
{
    int rc = make_group(e);

    if (rc || (rc = mischief_draw(s, t, t->fault->victims, 1, e)))
        return rc;
    t->told_before = town_said(s->town, "supervisor", t->name[0], "for want of memory");
    return write_to_group("cgroup.procs", t->process[0].pid)
               ? FL_OK
               : error_set(e, FL_IO, "%s cannot be put into %s", t->name[0], group);
}

void mischief_remove_group(struct siege *s, struct trial *t)
{
    (void)s, (void)t;
    rmdir(group);
}

/* The supervisor tells what may have ended it. */
bool mischief_want_is_told(struct siege *s, struct trial *t)
{
    if (town_said(s->town, "supervisor", t->name[0], "for want of memory") > t->told_before)
        return true;
    snprintf(t->why, sizeof t->why, "nobody tells of want of memory");
    return false;
}

/* ---- clocks ---- */

static void set_step(struct siege *s, int64_t seconds)
{
    char path[TOWN_PATH];
    int fd;

    snprintf(path, sizeof path, "%s/clock", s->folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &seconds, sizeof seconds) != sizeof seconds)
        fprintf(stderr, "cannot write %s\n", path);
    if (fd >= 0)
        close(fd);
}

/* For all processes of the town (clock_step.c). */
int mischief_step_clock(struct siege *s, struct trial *t, struct error *e)
{
    (void)e;
    set_step(s, t->fault->number);
    snprintf(t->victim, sizeof t->victim, "%+d s, and back", t->fault->number);
    return FL_OK;
}

void mischief_step_back(struct siege *s, struct trial *t)
{
    (void)t;
    set_step(s, 0);
}
