/* address.c - sockets that are connected for a moment */
#include "address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* 0, or why not, as errno has it. EAGAIN of a unix socket: somebody listens who is busy. */
static int try_connect(const struct sockaddr *address, socklen_t size, int timeout_ms)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), why = 0;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t length = sizeof why;

    if (fd < 0)
        return errno;
    if (connect(fd, address, size))
        why = errno;
    if (why == EINPROGRESS) {
        why = ETIMEDOUT;
        if (poll(&p, 1, timeout_ms) == 1)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &length);
    }
    close(fd);
    return why == EAGAIN ? 0 : why;
}

static int connect_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    return try_connect((struct sockaddr *)&address, sizeof address, 0);
}

bool address_listens(const char *path)
{
    return connect_path(path) == 0;
}

/* Whose is the socket, or the nearest folder above it that can be looked at? */
static const char *owner_of(const char *path)
{
    char at[sizeof((struct sockaddr_un){0}).sun_path];
    struct stat st;
    struct passwd *owner;

    snprintf(at, sizeof at, "%s", path);
    while (stat(at, &st) && strrchr(at, '/') > at)
        *strrchr(at, '/') = '\0';
    owner = stat(at, &st) ? NULL : getpwuid(st.st_uid);
    return owner ? owner->pw_name : "another user";
}

int address_allowed(const char *endpoint, struct error *e)
{
    const char *path = endpoint + 6;

    if (strncmp(endpoint, "ipc://", 6) || *path != '/' || !faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) ||
        errno != EACCES)
        return FL_OK;
    return error_set(e, FL_IO,
                     "%.300s: permission denied: it belongs to %s; run this as that user, or as root",
                     endpoint, owner_of(path));
}

static int reach_path(const char *endpoint, const char *path, struct error *e)
{
    int why = connect_path(path);

    if (!why || address_allowed(endpoint, e))
        return why ? FL_IO : FL_OK;
    if (why == ENOENT)
        return error_set(e, FL_NOT_FOUND, "%s: there is no such socket: the process that makes it is not up",
                         endpoint);
    if (why == ECONNREFUSED)
        return error_set(e, FL_UNAVAILABLE, "%s: nobody listens: the process that did is gone", endpoint);
    return error_set(e, FL_IO, "%s: %s", endpoint, strerror(why));
}

static int reach_tcp(const char *endpoint, int timeout_ms, struct error *e)
{
    char host[256], *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc, why = ETIMEDOUT;

    snprintf(host, sizeof host, "%s", endpoint + 6);
    port = strrchr(host, ':');
    if (!port)
        return FL_OK;
    *port++ = '\0';
    if (host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        memmove(host, host + 1, strlen(host));
    }
    if ((rc = getaddrinfo(host, port, &hints, &list)))
        return error_set(e, FL_NOT_FOUND, "%s: the host name `%.100s` is not known here: %s", endpoint, host,
                         gai_strerror(rc));
    for (const struct addrinfo *a = list; a && why; a = a->ai_next)
        why = try_connect(a->ai_addr, a->ai_addrlen, timeout_ms);
    freeaddrinfo(list);
    if (!why)
        return FL_OK;
    return error_set(e, why == ECONNREFUSED ? FL_UNAVAILABLE : FL_IO, "%s: %s", endpoint,
                     why == ECONNREFUSED ? "nobody listens there" : strerror(why));
}

int address_reach(const char *endpoint, int timeout_ms, struct error *e)
{
    if (!strncmp(endpoint, "ipc://", 6) && endpoint[6] == '/')
        return reach_path(endpoint, endpoint + 6, e);
    if (!strncmp(endpoint, "tcp://", 6))
        return reach_tcp(endpoint, timeout_ms, e);
    return FL_OK;
}
