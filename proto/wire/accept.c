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
static char front_path[ENDPOINT_MAX_IPC_PATH + 1];           /* where clients connect; either may be unset */
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

/* Is it where clients connect? A socket that frames_keep_bound made again has a `~` behind its path. */
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

/* A connection gets the lowest free descriptor, so its number tells how many files are open. */
int accept4(int listener, struct sockaddr *address, socklen_t *size, int flags)
{
    int fd = (int)syscall(SYS_accept4, listener, address, size, flags);

    if (fd < 0) {
        if (errno == EMFILE) /* even the spare ones are taken; libzmq would end the process */
            errno = ECONNABORTED;
        return fd;
    }
    if (fd < most_of_clients || (fd < most_of_all && !is_front(listener)))
        return fd;
    close(fd);
    atomic_fetch_add(&refused, 1);
    errno = ECONNABORTED; /* as if the other side had gone again */
    return -1;
}
