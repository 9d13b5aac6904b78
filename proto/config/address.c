/* address.c - sockets that are connected or bound for a moment; names of hosts */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "endpoint.h"

#define KNOWN_MAX 128

/* 0, or errno. A unix socket says EAGAIN when its listener is there and busy: that counts as 0. */
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

/* The owner of the socket, or of the nearest folder above it that this user may look at. */
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
        return error_set(e, FL_NOT_FOUND,
                         "%s: there is no such socket: the pipeline is not up (`freezeline up` starts it)",
                         endpoint);
    if (why == ECONNREFUSED)
        return error_set(e, FL_UNAVAILABLE, "%s: nobody listens: the process that did is gone", endpoint);
    return error_set(e, FL_IO, "%s: %s", endpoint, strerror(why));
}

static int look_up(const char *endpoint, const char *host, const char *port, int family,
                   struct addrinfo **list, struct error *e)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(host, strcmp(port, "*") ? port : "0", &hints, list);

    if (!rc)
        return FL_OK;
    *list = NULL;
    return error_set(e, FL_NOT_FOUND, "%.200s: the host name `%.100s` is not known here: %s", endpoint, host,
                     gai_strerror(rc));
}

static int reach_tcp(const char *endpoint, int timeout_ms, struct error *e)
{
    char host[256], port[16];
    struct addrinfo *list;
    int rc, why = ETIMEDOUT;

    if (!endpoint_split(endpoint, host, sizeof host, port, sizeof port))
        return FL_OK;
    if ((rc = look_up(endpoint, host, port, AF_UNSPEC, &list, e)))
        return rc;
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

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

/* Is it an address of this machine? Then a socket can be bound to it. */
static bool is_own(const struct addrinfo *a)
{
    struct sockaddr_storage any_port;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool own;

    memcpy(&any_port, a->ai_addr, a->ai_addrlen);
    if (a->ai_family == AF_INET)
        ((struct sockaddr_in *)(void *)&any_port)->sin_port = 0;
    else if (a->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&any_port)->sin6_port = 0;
    own = fd >= 0 && !bind(fd, (struct sockaddr *)&any_port, a->ai_addrlen);
    if (fd >= 0)
        close(fd);
    return own;
}

bool address_is_own(const char *host, bool ask)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = ask ? 0 : AI_NUMERICHOST}, *list;
    bool own = false;

    if (getaddrinfo(host, NULL, &hints, &list))
        return false;
    for (const struct addrinfo *a = list; a && !own; a = a->ai_next)
        own = is_own(a) && (!ask || !is_loopback(a->ai_addr));
    freeaddrinfo(list);
    return own;
}

/* Adds one address, once. */
static void add(struct address_list *out, const struct addrinfo *a, const char *port)
{
    char text[INET6_ADDRSTRLEN + 20], endpoint[ADDRESS_BYTES];

    if (out->n == ADDRESS_MAX ||
        getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST))
        return;
    snprintf(endpoint, sizeof endpoint, a->ai_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s", text,
             port);
    for (int i = 0; i < out->n; i++)
        if (!strcmp(out->endpoint[i], endpoint))
            return;
    strcpy(out->endpoint[out->n++], endpoint);
}

/* Adds those addresses of a host name that this machine has. */
static int resolve(struct address_list *out, const char *endpoint, const char *host, const char *port,
                   bool anywhere, struct error *e)
{
    struct addrinfo *list;
    char first[INET6_ADDRSTRLEN + 20] = "";
    int rc = look_up(endpoint, host, port, AF_UNSPEC, &list, e);

    if (rc)
        return rc;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        if (!first[0])
            getnameinfo(a->ai_addr, a->ai_addrlen, first, sizeof first, NULL, 0, NI_NUMERICHOST);
        if (is_own(a) && (anywhere || is_loopback(a->ai_addr)))
            add(out, a, port);
    }
    freeaddrinfo(list);
    if (out->n)
        return FL_OK;
    return error_set(e, FL_CONFIG,
                     "cannot bind %.200s: `%.100s` is %s, which is no %saddress of this machine", endpoint,
                     host, first, anywhere ? "" : "loopback ");
}

int address_to_bind(struct address_list *out, const char *endpoint, const char *bind_host, bool anywhere,
                    struct error *e)
{
    char host[256], port[16];
    unsigned char literal[sizeof(struct in6_addr)];

    out->n = 0;
    if (!endpoint_split(endpoint, host, sizeof host, port, sizeof port)) {
        out->n = 1;
        snprintf(out->endpoint[0], sizeof out->endpoint[0], "%s", endpoint);
        return FL_OK;
    }
    if (bind_host) {
        size_t n = strlen(bind_host);
        bool brackets = n > 2 && bind_host[0] == '[' && bind_host[n - 1] == ']';
        snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), bind_host + brackets);
    }
    if (!endpoint_is_wildcard(host) && !inet_pton(AF_INET, host, literal) && !strchr(host, ':') &&
        !(bind_host && if_nametoindex(host)))
        return resolve(out, endpoint, host, port, anywhere, e);
    out->n = 1;
    snprintf(out->endpoint[0], sizeof out->endpoint[0], strchr(host, ':') ? "tcp://[%s]:%s" : "tcp://%s:%s",
             host, port);
    return FL_OK;
}

bool address_mixed(const char *host, char *own, char *foreign, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;

    *own = *foreign = '\0';
    if (getaddrinfo(host, NULL, &hints, &list))
        return false;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        getnameinfo(a->ai_addr, a->ai_addrlen, is_own(a) ? own : foreign, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST);
    freeaddrinfo(list);
    return *own && *foreign;
}

/* 0, or errno of listening there for a moment. */
static int try_listen(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE}, *a;
    int fd, on = 1, why = 0;

    if (getaddrinfo(strcmp(host, "*") ? host : NULL, port, &hints, &a))
        return 0; /* an interface's name: the process will say */
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 1))
        why = errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(a);
    return why;
}

static bool all_loopback(const struct address_list *list)
{
    for (int i = 0; i < list->n; i++)
        if (strncmp(list->endpoint[i], "tcp://127.", 10) && strncmp(list->endpoint[i], "tcp://[::1]", 11))
            return false;
    return true;
}

int address_free(const char *endpoint, const char *bind_host, bool for_others, struct error *e)
{
    struct address_list list;
    char host[256], port[16];
    unsigned char literal[sizeof(struct in6_addr)];
    int rc = address_to_bind(&list, endpoint, bind_host, true, e), why = 0;

    if (rc || !endpoint_split(endpoint, host, sizeof host, port, sizeof port))
        return rc;
    if (for_others && !bind_host && !inet_pton(AF_INET, host, literal) && !strchr(host, ':') &&
        all_loopback(&list))
        return error_set(
            e, FL_CONFIG,
            "`%.100s` is an address of loopback on this machine itself (see /etc/hosts), so others "
            "could not reach it: give the host an `address`, or `bind: '*'`",
            host);
    for (int i = 0; i < list.n && !why; i++)
        why = endpoint_split(list.endpoint[i], host, sizeof host, port, sizeof port) ? try_listen(host, port)
                                                                                     : 0;
    if (why == EADDRINUSE)
        return error_set(
            e, FL_UNAVAILABLE,
            "%s: somebody listens there already (another pipeline? see `ss -ltnp`): choose another "
            "`port`",
            endpoint);
    if (why == EADDRNOTAVAIL)
        return error_set(
            e, FL_CONFIG,
            "%s: this machine has no such address: do the host's `address` and `ssh` lead to the same one?",
            endpoint);
    return why ? error_set(e, FL_CONFIG, "%s: %s", endpoint, strerror(why)) : FL_OK;
}

/* Answers are kept: a process that connects again to a host that died must not wait for a name service. */
bool address_is_ipv6(const char *endpoint)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        char host[256];
        bool ipv6;
    } known[KNOWN_MAX];
    static int n_known;
    char host[256], port[16];
    struct addrinfo *list = NULL;
    bool ipv6 = false;

    if (!endpoint_split(endpoint, host, sizeof host, port, sizeof port))
        return false;
    if (strchr(host, ':') || inet_addr(host) != INADDR_NONE)
        return strchr(host, ':') != NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < n_known; i++)
        if (!strcmp(known[i].host, host)) {
            ipv6 = known[i].ipv6;
            goto out;
        }
    if (look_up(endpoint, host, port, AF_INET, &list, NULL) &&
        look_up(endpoint, host, port, AF_INET6, &list, NULL))
        goto out; /* no answer yet, so nothing is kept: the next call asks again */
    ipv6 = list->ai_family == AF_INET6;
    freeaddrinfo(list);
    if (n_known < KNOWN_MAX) {
        snprintf(known[n_known].host, sizeof known[n_known].host, "%s", host);
        known[n_known++].ipv6 = ipv6;
    }
out:
    pthread_mutex_unlock(&lock);
    return ipv6;
}
