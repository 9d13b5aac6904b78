/* accept.c - accept4 with a bound */
#include "accept.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/endpoint.h"
#include "system/limits.h"

#define OWN_FILES 40 /* open without any connection: libzmq's, the log, .. */

static int most_of_all = INT_MAX, most_of_clients = INT_MAX; /* descriptors; set before there is a socket */
static int most_of_each;
static _Atomic int highest;                        /* of the descriptors of clients' connections so far */
static char front_path[ENDPOINT_MAX_IPC_PATH + 1]; /* where clients connect; either may be unset */
static int front_port;
static _Atomic uint64_t refused;

void accept_front(const char *endpoint)
{
    char host[256], port[16];

    if (endpoint && !strncmp(endpoint, "ipc://", 6))
        snprintf(front_path, sizeof front_path, "%s", endpoint + 6);
    else if (endpoint && endpoint_split(endpoint, host, sizeof host, port, sizeof port))
        front_port = atoi(port);
}

int accept_prepare(int64_t least, const char *front, int threads, struct error *e)
{
    int64_t files = limits_files(), most = files > INT_MAX ? INT_MAX : files;
    int rc = limits_check_files((least + OWN_FILES) * 4 / 3 + ACCEPT_SPARE, e);

    if (rc || (rc = limits_check_space(e)) || (rc = limits_check_threads(threads, e)))
        return rc;
    accept_front(front);
    most_of_all = (int)most - ACCEPT_SPARE;
    most_of_clients = (int)(most - most / 4);
    return FL_OK;
}

uint64_t accept_refused(void)
{
    return atomic_load(&refused);
}

/* Is it where clients connect, or a connection of one? A socket that frames_keep_bound made again has a `~`
 * behind its path. */
static bool is_front(int listener)
{
    struct sockaddr_storage a = {0};
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&a;
    socklen_t size = sizeof a;
    size_t n = strlen(front_path);

    if (getsockname(listener, (struct sockaddr *)&a, &size))
        return false;
    if (a.ss_family == AF_UNIX)
        return n && !strncmp(un->sun_path, front_path, n) &&
               (!un->sun_path[n] || !strcmp(un->sun_path + n, "~"));
    if (a.ss_family == AF_INET)
        return front_port && ntohs(((const struct sockaddr_in *)(const void *)&a)->sin_port) == front_port;
    return a.ss_family == AF_INET6 && front_port &&
           ntohs(((const struct sockaddr_in6 *)(const void *)&a)->sin6_port) == front_port;
}

void accept_each(int most)
{
    most_of_each = most;
}

/* The address at the other end, without its port; its size, 0: it has none. */
static size_t address_of(int fd, uint8_t address[16])
{
    struct sockaddr_storage a = {0};
    socklen_t size = sizeof a;
    size_t n = 0;

    if (getpeername(fd, (struct sockaddr *)&a, &size))
        return 0;
    if (a.ss_family == AF_INET)
        memcpy(address, &((struct sockaddr_in *)(void *)&a)->sin_addr, n = 4);
    else if (a.ss_family == AF_INET6)
        memcpy(address, &((struct sockaddr_in6 *)(void *)&a)->sin6_addr, n = 16);
    return n;
}

static bool is_loopback(const uint8_t *address, size_t n)
{
    return n == 4 ? address[0] == 127 : !memcmp(address, &in6addr_loopback, n);
}

/* Has whoever is at the other end of `fd` too many connections to the front? */
static bool is_one_too_many(int fd)
{
    int most = most_of_each ? most_of_each : most_of_clients / 2, n = 0, last = atomic_load(&highest);
    uint8_t its[16], other[16];
    size_t size;

    while (fd > last && !atomic_compare_exchange_weak(&highest, &last, fd))
        continue;
    last = fd > last ? fd : last;
    if (last <= most || !(size = address_of(fd, its)) || (!most_of_each && is_loopback(its, size)))
        return false;
    for (int i = 0; i <= last && n <= most; i++)
        n += address_of(i, other) == size && !memcmp(its, other, size) && is_front(i);
    return n > most;
}

/* A connection gets the lowest free descriptor, so its number tells how many files are open. */
int accept4(int listener, struct sockaddr *address, socklen_t *size, int flags)
{
    int fd = (int)syscall(SYS_accept4, listener, address, size, flags);

    if (fd < 0) {
        if (errno == EMFILE) /* even the spare ones are taken; libzmq would end the process */
            errno = ECONNABORTED;
        return fd;
    }
    if (fd < most_of_clients ? !is_front(listener) || !is_one_too_many(fd)
                             : fd < most_of_all && !is_front(listener))
        return fd;
    close(fd);
    atomic_fetch_add(&refused, 1);
    errno = ECONNABORTED; /* as if the other side had gone again */
    return -1;
}
