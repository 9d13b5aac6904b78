/* http_listener.c - a name and a port to a listening socket */
#include "http_listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/address.h"
#include "config/endpoint.h"

#define BACKLOG 1024

static int listen_at(const struct addrinfo *a)
{
    int yes = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, BACKLOG))
        return fd;
    yes = errno;
    close(fd);
    errno = yes;
    return -1;
}

static void name_socket(int fd, char *where, size_t size)
{
    struct sockaddr_storage a;
    socklen_t length = sizeof a;
    char host[128], port[16];
    if (getsockname(fd, (struct sockaddr *)&a, &length) ||
        getnameinfo((struct sockaddr *)&a, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(where, size, "?");
    else
        snprintf(where, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int http_listen(int *fd, const struct pipeline *p, char *where, size_t size, struct error *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    bool anywhere = p->broker.http_tls || p->security.mode == SECURITY_NONE;
    char endpoint[ADDRESS_BYTES], host[256], port[16];
    struct address_list list;
    int rc;

    *fd = -1;
    snprintf(endpoint, sizeof endpoint, "tcp://%s", p->broker.http);
    if ((rc = address_to_bind(&list, endpoint, p->bind, anywhere, e)))
        return rc;
    if (!list.n || !endpoint_split(list.endpoint[0], host, sizeof host, port, sizeof port))
        return error_set(e, FL_CONFIG, "broker.http: `%.200s` is not understood", p->broker.http);
    if ((rc = getaddrinfo(strcmp(host, "*") ? host : NULL, strcmp(port, "*") ? port : "0", &hints, &found)))
        return error_set(e, FL_NOT_FOUND, "broker.http: %.100s: %s", host, gai_strerror(rc));
    for (struct addrinfo *a = found; a && *fd < 0; a = a->ai_next)
        *fd = listen_at(a);
    rc = errno;
    freeaddrinfo(found);
    if (*fd < 0)
        return error_set(e, FL_IO, "cannot listen for HTTP at %.200s: %s%s", p->broker.http, strerror(rc),
                         rc == EADDRINUSE ? ": choose another port for broker.http" : "");
    name_socket(*fd, where, size);
    return FL_OK;
}
