/* greeting.c - greetings over a unix socket, descriptors passed along */
#include "greeting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

bool greeting_address(const char *endpoint, struct sockaddr_un *out)
{
    const char *path = endpoint + 6;
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    return !strncmp(endpoint, "ipc://", 6) && *path == '/' &&
           snprintf(out->sun_path, sizeof out->sun_path, "%s.lane", path) < (int)sizeof out->sun_path;
}

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int close_failed(int fd)
{
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

int greeting_listen(const struct sockaddr_un *at)
{
    struct stat there;
    mode_t mask;
    int fd = open_socket(), rc;
    if (fd < 0)
        return -1;
    if (!lstat(at->sun_path, &there) && S_ISSOCK(there.st_mode))
        unlink(at->sun_path);
    mask = umask(0177);
    rc = bind(fd, (const struct sockaddr *)at, sizeof *at) || listen(fd, 64);
    umask(mask);
    return rc ? close_failed(fd) : fd;
}

int greeting_ask(const struct sockaddr_un *at, int wake)
{
    const struct greeting g = {.magic = GREETING_MAGIC};
    int fd = open_socket();
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)at, sizeof *at) || !greeting_same_user(fd) ||
                    greeting_send(fd, &g, &wake, 1)))
        return close_failed(fd);
    return fd;
}

int greeting_send(int fd, const struct greeting *g, const int *fds, int n)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {(void *)(uintptr_t)g, sizeof *g};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
    struct cmsghdr *c;
    memset(&control, 0, sizeof control);
    m.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
    c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
    return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *g ? 0 : -1;
}

int greeting_receive(int fd, struct greeting *g, int fds[2])
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {g, sizeof *g};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c;
    int n = 0;
    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
    }
    if (size == (ssize_t)sizeof *g && g->magic == GREETING_MAGIC && n > 0 &&
        !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return n;
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return -1;
}

bool greeting_same_user(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) && (who.uid == geteuid() || !who.uid);
}

bool greeting_take_eventfd(int fd)
{
    char link[64], path[32];
    ssize_t n;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof link - 1);
    if (n < 0)
        return false;
    link[n] = '\0';
    return strstr(link, "eventfd") && !fcntl(fd, F_SETFL, O_NONBLOCK);
}
