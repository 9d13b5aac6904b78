/* process.c - /proc, pidfds, posix_spawn */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

extern char **environ;

/* FNV-1a over what says where pids of this process count. */
static uint64_t own_space(void)
{
    char text[256] = "", link[64];
    uint64_t hash = 1469598103934665603ull;
    ssize_t n = readlink("/proc/self/ns/pid", link, sizeof link - 1);

    clock_boot_id(text, sizeof text - sizeof link);
    snprintf(text + strlen(text), sizeof link, "%.*s", n > 0 ? (int)n : 0, link);
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
    return hash;
}

bool process_visible(const struct process *p)
{
    return !p->space || p->space == own_space();
}

int process_self(char path[PROCESS_SELF_BYTES], struct error *e)
{
    ssize_t n = readlink("/proc/self/exe", path, PROCESS_SELF_BYTES - 1);

    path[n > 0 ? n : 0] = 0;
    return n > 0 ? FL_OK : error_set(e, FL_IO, "cannot read /proc/self/exe: %s", strerror(errno));
}

/* What follows the name in /proc/PID/stat, in `line`; NULL when there is no such process. The name may hold
 * anything, so its end is the last ')'. */
static const char *read_stat(pid_t pid, char line[1024])
{
    char path[64], *end;
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (pid <= 0 || !(f = fopen(path, "re")))
        return NULL;
    n = fread(line, 1, 1023, f);
    fclose(f);
    line[n] = 0;
    end = strrchr(line, ')');
    return end ? end + 1 : NULL;
}

bool process_cpu_s(pid_t pid, double *seconds)
{
    unsigned long long user, kernel;
    char line[1024];
    const char *at = read_stat(pid, line);

    if (!at || sscanf(at, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel) != 2)
        return false;
    *seconds = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

double process_main_us(pid_t pid)
{
    unsigned long long ns = 0;
    char path[64];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", (int)pid, (int)pid);
    if (!(f = fopen(path, "re")))
        return 0;
    if (fscanf(f, "%llu", &ns) != 1)
        ns = 0;
    fclose(f);
    return (double)ns / 1e3;
}

bool process_find(struct process *out, pid_t pid)
{
    unsigned long long start;
    char line[1024], state;
    long threads;
    const char *at = read_stat(pid, line);

    if (!at || sscanf(at, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
                      &state, &threads, &start) != 3)
        return false;
    /* Of a process that was killed other threads may end after the first; until then it holds its files and
     * locks. */
    if (state == 'X' || (state == 'Z' && threads <= 1))
        return false;
    memset(out, 0, sizeof *out);
    out->pid = pid;
    out->start = start;
    out->space = own_space();
    gethostname(out->host, sizeof out->host - 1);
    return true;
}

bool process_alive(const struct process *p)
{
    struct process now;
    return process_visible(p) && process_find(&now, p->pid) && now.start == p->start;
}

/* A pidfd holds on to the process, so what is checked after opening it stays true. -1 when it is gone. */
int process_watch(const struct process *p)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);

    if (fd >= 0 && !process_alive(p)) {
        close(fd);
        return -1;
    }
    return fd;
}

bool process_signal(const struct process *p, int signal)
{
    int fd = process_watch(p), rc;

    if (fd < 0)
        return false;
    rc = (int)syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
    close(fd);
    return rc == 0;
}

bool process_wait_gone(const struct process *p, int timeout_ms)
{
    int fd = process_watch(p);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    if (fd < 0)
        return true;
    while (poll(&poll_fd, 1, timeout_ms) < 0 && errno == EINTR)
        ;
    close(fd);
    return !process_alive(p);
}

void process_end(const struct process *p, int timeout_ms)
{
    if (!process_signal(p, SIGTERM) || process_wait_gone(p, timeout_ms))
        return;
    process_signal(p, SIGKILL);
    process_wait_gone(p, timeout_ms);
}

int process_save(const struct process *p, const char *path, struct error *e)
{
    char temporary[1100];
    FILE *f;
    int rc;

    snprintf(temporary, sizeof temporary, "%s.new", path);
    f = fopen(temporary, "we");
    if (!f)
        return error_set(e, FL_IO, "cannot create %s: %s", temporary, strerror(errno));
    rc = fprintf(f, "%d %llu %llx %s\n", (int)p->pid, (unsigned long long)p->start,
                 (unsigned long long)p->space, p->host) < 0;
    if (fclose(f) || rc || rename(temporary, path))
        return error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
    return FL_OK;
}

int process_load(struct process *out, const char *path)
{
    unsigned long long start, space = 0;
    int pid, n;
    FILE *f = fopen(path, "re");

    memset(out, 0, sizeof *out);
    if (!f)
        return FL_NOT_FOUND;
    n = fscanf(f, "%d %llu %llx %64s", &pid, &start, &space, out->host);
    fclose(f);
    if (n < 2 || pid < 1)
        return FL_NOT_FOUND;
    out->pid = pid;
    out->start = start;
    out->space = space;
    return FL_OK;
}

int process_spawn(struct process *out, char *const *argv, const char *log, int inherit, struct error *e)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigset_t none, all;
    pid_t pid;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGHUP); /* ignored, until the child handles it */
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    if (inherit >= 0) /* also when it is descriptor 3 itself: then it is kept open */
        posix_spawn_file_actions_adddup2(&files, inherit, PROCESS_INHERITED_FD);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    sigaction(SIGHUP, &ignore, &before);
    rc = posix_spawnp(&pid, argv[0], &files, &attributes, argv, environ);
    sigaction(SIGHUP, &before, NULL);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (rc == ENOENT && !strchr(argv[0], '/') && !access(log, F_OK))
        return error_set(e, FL_NOT_FOUND, "cannot start %s: no folder of PATH has it; install it", argv[0]);
    if (rc)
        return error_set(e, rc == ENOENT ? FL_NOT_FOUND : FL_IO, "cannot start %s (log %s): %s", argv[0], log,
                         strerror(rc));
    /* Not reaped yet, so the pid is its own; it may have ended already. */
    if (!process_find(out, pid))
        *out = (struct process){.pid = pid};
    return FL_OK;
}
