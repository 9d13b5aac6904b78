/* child.c - posix_spawn, a socket pair for its input (a pipe whose reader is gone would raise SIGPIPE), poll
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/tool/interrupt.h"

#define LOOK_MS 100 /* between looks for Ctrl-C and at the clock */

extern char **environ;

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int spawn(struct child *c, char *const *argv, const int in[2], const int out[2], const int err[2],
                 struct error *e)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_adddup2(&files, err[1], 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    rc = posix_spawnp(&c->pid, argv[0], &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (!rc)
        return FL_OK;
    c->pid = 0;
    return error_set(e, rc == ENOENT ? FL_NOT_FOUND : FL_IO, "cannot start %s: %s", argv[0], strerror(rc));
}

int child_start(struct child *c, char *const *argv, struct error *e)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) || pipe2(out, O_CLOEXEC) ||
        pipe2(err, O_CLOEXEC))
        rc = error_set(e, FL_IO, "cannot make pipes for %s: %s", argv[0], strerror(errno));
    else
        rc = spawn(c, argv, in, out, err, e);
    close_end(&in[0]);
    close_end(&out[1]);
    close_end(&err[1]);
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
    if (rc)
        child_end(c, 0);
    return rc;
}

struct feed {
    char bytes[65536];
    size_t from, size;
};

/* Gives it what it takes without waiting. */
static int feed(struct child *c, const struct child_talk *t, struct feed *f, struct error *e)
{
    ssize_t n;

    if (f->from == f->size) {
        if ((n = t->next(t->arg, f->bytes, sizeof f->bytes, e)) < 0)
            return e && e->code ? (int)e->code : FL_IO;
        f->from = 0;
        f->size = (size_t)n;
        if (!n) {
            close_end(&c->in);
            return FL_OK;
        }
    }
    n = send(c->in, f->bytes + f->from, f->size - f->from, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        f->from += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        close_end(&c->in); /* nobody reads it any more */
    return FL_OK;
}

/* Reads once what is there; 0 bytes are the end. */
static size_t take(int *fd, char *to, size_t room)
{
    ssize_t n = read(*fd, to, room);

    if (n > 0)
        return (size_t)n;
    if (n == 0 || (errno != EINTR && errno != EAGAIN))
        close_end(fd);
    return 0;
}

static int step(struct child *c, const struct child_talk *t, struct feed *f, bool *enough, struct error *e)
{
    struct pollfd p[3] = {{.fd = c->out, .events = POLLIN},
                          {.fd = c->err, .events = POLLIN},
                          {.fd = t->next ? c->in : -1, .events = POLLOUT}};
    char text[65536];
    size_t n;

    if (poll(p, 3, LOOK_MS) <= 0)
        return FL_OK;
    if (p[1].revents && (n = take(&c->err, text, sizeof text)))
        t->err(t->arg, text, n);
    if (p[0].revents && (n = take(&c->out, text, sizeof text)))
        *enough = t->out(t->arg, text, n);
    return p[2].revents ? feed(c, t, f, e) : FL_OK;
}

int child_talk(struct child *c, const struct child_talk *t, struct error *e)
{
    struct feed f;
    bool enough = false;
    int rc = FL_OK;

    f.from = f.size = 0;
    while (!rc && !enough && (c->out >= 0 || c->err >= 0)) {
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "interrupted");
        if (t->until_ns && clock_ns() >= t->until_ns)
            return error_set(e, FL_DEADLINE, "no end in time");
        rc = step(c, t, &f, &enough, e);
    }
    return rc;
}

/* Waits for its end without a signal handler of our own: looks, with pauses that grow. */
static bool ended_in(pid_t pid, int wait_ms, int *status)
{
    uint64_t until = clock_ns() + (uint64_t)wait_ms * NS_PER_MS;
    int pause_ms = 1;

    while (waitpid(pid, status, WNOHANG) == 0) {
        if (clock_ns() >= until)
            return false;
        poll(NULL, 0, pause_ms);
        pause_ms = pause_ms < 20 ? 2 * pause_ms : pause_ms;
    }
    return true;
}

void child_leave(struct child *c)
{
    close_end(&c->in);
    close_end(&c->out);
    close_end(&c->err);
    c->pid = 0;
}

int child_end(struct child *c, int wait_ms)
{
    pid_t pid = c->pid;
    int status = 0;

    child_leave(c);
    if (pid <= 0)
        return 0;
    if (!ended_in(pid, wait_ms, &status)) {
        kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
