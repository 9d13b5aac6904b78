/* http_callers.c - a list, and an epoll set of its sockets */
#include "http_callers.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"

#define LOOK_NS (NS_PER_S / 4) /* between two looks for those that take too long */
#define AT_ONCE 64

int http_callers_open(struct http_callers *all, struct error *e)
{
    *all = (struct http_callers){.watch = epoll_create1(EPOLL_CLOEXEC)};
    return all->watch < 0 ? error_set(e, FL_IO, "no descriptor for HTTP: %s", strerror(errno)) : FL_OK;
}

void http_callers_close(struct http_callers *all)
{
    if (all->watch >= 0)
        close(all->watch);
}

/* Of IPv6, who has an address has all of its network's. */
static uint64_t address_of(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t size = sizeof a;
    const struct sockaddr_in *four = (const struct sockaddr_in *)&a;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&a;
    if (getpeername(fd, (struct sockaddr *)&a, &size))
        return 0;
    if (a.ss_family == AF_INET)
        return XXH3_64bits(&four->sin_addr, sizeof four->sin_addr);
    if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        return XXH3_64bits(six->sin6_addr.s6_addr + 12, 4);
    return XXH3_64bits(&six->sin6_addr, 8);
}

/* Once per connection, by the edge: nothing is done per request. */
struct http_caller *http_callers_add(struct http_callers *all, int fd, uint64_t now)
{
    struct http_caller *caller = malloc(sizeof *caller);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = caller};
    if (!caller)
        return NULL;
    *caller = (struct http_caller){.fd = fd, .address = address_of(fd), .since_ns = now, .after = all->list};
    if (all->list)
        all->list->before = caller;
    all->list = caller;
    if (fd >= 0)
        epoll_ctl(all->watch, EPOLL_CTL_ADD, fd, &event);
    return caller;
}

void http_callers_remove(struct http_callers *all, struct http_caller *caller)
{
    if (!caller)
        return;
    if (caller->fd >= 0)
        epoll_ctl(all->watch, EPOLL_CTL_DEL, caller->fd, NULL);
    if (caller->after)
        caller->after->before = caller->before;
    if (caller->before)
        caller->before->after = caller->after;
    else
        all->list = caller->after;
    free(caller);
}

void http_callers_shut_slow(struct http_callers *all, uint64_t most_ns, uint64_t now)
{
    if (now - all->looked_ns < LOOK_NS)
        return;
    all->looked_ns = now;
    for (struct http_caller *c = all->list; c; c = c->after)
        if (!c->call && c->fd >= 0 && now > c->since_ns + most_ns)
            shutdown(c->fd, SHUT_RDWR);
}

void http_callers_find_gone(struct http_callers *all, void (*gone)(void *arg, struct http_call *c), void *arg)
{
    struct epoll_event event[AT_ONCE];
    int n = epoll_wait(all->watch, event, AT_ONCE, 0);
    for (int i = 0; i < n; i++) {
        struct http_caller *caller = event[i].data.ptr;
        caller->gone = true;
        if (caller->call)
            gone(arg, caller->call);
    }
}

bool http_callers_wait(const struct http_callers *all)
{
    for (const struct http_caller *c = all->list; c; c = c->after)
        if (c->call)
            return true;
    return false;
}
