/* socket.c - making sockets: every option set by name, addresses checked, failures told in one line
 *
 * No ZMQ_HEARTBEAT_* (a stalled reader would abort the receiver) and no ROUTER_HANDOVER (it leaks): liveness
 * is in messages on the control socket, and each process start has a new identity.
 */
#include "frames.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/address.h"
#include "base/clock.h"
#include "config/endpoint.h"
#include "base/log.h"
#include "keys/keys.h"

/* Creates the missing directories above `path`, for this user only. */
static int make_parents(const char *path, struct error *e)
{
    char dir[ENDPOINT_MAX_IPC_PATH + 1];
    snprintf(dir, sizeof dir, "%s", path);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(dir, 0700) && errno != EEXIST)
            return error_set(e, FL_IO, "cannot make the directory %s for the socket %s: %s", dir, path,
                             strerror(errno));
        *slash = '/';
    }
    return FL_OK;
}

/* A folder of another user is refused: they could replace our socket by one of their own. */
static int check_parent(const char *path, struct error *e)
{
    char dir[ENDPOINT_MAX_IPC_PATH + 1];
    struct stat st;
    char *slash;
    snprintf(dir, sizeof dir, "%s", path);
    slash = strrchr(dir, '/');
    if (!slash)
        return FL_OK;
    slash[slash == dir] = '\0';
    if (stat(dir, &st))
        return error_set(e, FL_IO, "cannot look at the directory of the socket %s: %s", path,
                         strerror(errno));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_set(e, FL_CONFIG,
                         "the directory of the socket %s belongs to another user: choose another `state`",
                         path);
    return FL_OK;
}

/* Who connects looks, too: in /tmp, say, another user could have made the folder first. Root may go anywhere.
 */
static int check_way(const char *endpoint, struct error *e)
{
    const char *path = endpoint + 6;
    int rc = address_allowed(endpoint, e);
    if (rc || strncmp(endpoint, "ipc://", 6) || *path != '/' || geteuid() == 0 || access(path, F_OK))
        return rc;
    return check_parent(path, e);
}

/* Before it binds, libzmq removes whatever is at an ipc path: so look first what that is. */
static int prepare_ipc(const char *path, struct error *e)
{
    struct stat st;
    int rc;
    if (*path == '@' || *path == '*')
        return FL_OK;
    if ((rc = make_parents(path, e)) || (rc = check_parent(path, e)) || lstat(path, &st))
        return rc;
    if (!S_ISSOCK(st.st_mode))
        return error_set(e, FL_CONFIG, "cannot bind ipc://%s: a file that is no socket is there", path);
    if (address_listens(path))
        return error_set(e, FL_CONFIG,
                         "cannot bind ipc://%s: address already in use (is another pipeline running? see "
                         "`freezeline status`)",
                         path);
    return FL_OK;
}

static int bind_error(const char *endpoint, struct error *e)
{
    if (errno == EADDRINUSE)
        return error_set(
            e, FL_CONFIG,
            "cannot bind %s: address already in use (is another pipeline running? see `ss -ltnp`)", endpoint);
    if (errno == ENODEV || errno == EADDRNOTAVAIL)
        return error_set(
            e, FL_CONFIG,
            "cannot bind %s: this machine has no such address; `bind: '*'` listens at all that it has",
            endpoint);
    if (errno == EINVAL)
        return error_set(e, FL_CONFIG, "cannot bind %s: not understood, write tcp://HOST:PORT or ipc://PATH",
                         endpoint);
    return error_set(e, FL_IO, "cannot bind %s: %s", endpoint, zmq_strerror(errno));
}

/* A whole activation fits, so that sending one need not wait for the reader half-way. The kernel may give
 * less. */
#define KERNEL_BUFFER (1 << 20)

/* Over tcp: a peer that acknowledges nothing for so long is gone. Left to itself the kernel waits ever longer
 * between two tries, so that a link that was cut for half a minute would be found mended half a minute too
 * late. A peer that has nothing to acknowledge is asked for a sign of life. */
#define GONE_MS    5000
#define CONNECT_MS 2000
#define IDLE_S     10
#define PROBE_S    2
#define PROBES     3

static bool set_int(void *socket, int option, int value)
{
    return !zmq_setsockopt(socket, option, &value, sizeof value);
}

static bool set_tcp_options(void *socket)
{
    return set_int(socket, ZMQ_TCP_MAXRT, GONE_MS) && set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE, 1) && set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, IDLE_S) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_INTVL, PROBE_S) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_CNT, PROBES);
}

static bool set_options(void *socket, int type, bool ipv6, const struct socket_options *o)
{
    int high_water = o->high_water > 0 ? o->high_water : 1000;
    int64_t max_bytes = o->max_bytes > 0 ? o->max_bytes : MESSAGE_MAX_TENSOR_BYTES;

    return set_int(socket, ZMQ_LINGER, 0) && set_int(socket, ZMQ_SNDHWM, high_water) &&
           set_int(socket, ZMQ_RCVHWM, o->unread > 0 ? o->unread : high_water) &&
           set_int(socket, ZMQ_IMMEDIATE, o->immediate) &&
           !zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_bytes, sizeof max_bytes) &&
           set_int(socket, ZMQ_SNDBUF, KERNEL_BUFFER) && set_int(socket, ZMQ_RCVBUF, KERNEL_BUFFER) &&
           set_int(socket, ZMQ_RECONNECT_IVL, 20) && set_int(socket, ZMQ_RECONNECT_IVL_MAX, 100) &&
           (type != ZMQ_ROUTER || set_int(socket, ZMQ_ROUTER_MANDATORY, o->mandatory)) &&
           set_tcp_options(socket) && (!ipv6 || set_int(socket, ZMQ_IPV6, 1));
}

static bool any_ipv6(const struct address_list *list)
{
    for (int i = 0; i < list->n; i++)
        if (strchr(list->endpoint[i], '['))
            return true;
    return false;
}

/* libzmq copies the options of a socket for each endpoint when that is bound or connected, so one socket can
 * have some that are encrypted and some that are not. */
static bool is_encrypted(const char *endpoint, const struct security *s)
{
    return s && s->mode == SECURITY_CURVE && !strncmp(endpoint, "tcp://", 6);
}

static int no_keys(const char *endpoint, struct error *e)
{
    return error_set(e, FL_CONFIG, "%s takes keys, and none were read: see `freezeline keys --help`",
                     endpoint);
}

static int bind_one(void *socket, void *context, const char *endpoint, const struct security *s,
                    struct error *e)
{
    int rc;
    if (!is_encrypted(endpoint, s))
        return zmq_bind(socket, endpoint) ? bind_error(endpoint, e) : FL_OK;
    if (!s->keys)
        return no_keys(endpoint, e);
    if ((rc = keys_guard(s->keys, context, e)) || (rc = keys_for_bind(s->keys, socket, e)))
        return rc;
    if (zmq_bind(socket, endpoint))
        return bind_error(endpoint, e);
    return keys_for_none(socket, e); /* what is bound next may be ipc */
}

static int bind_all(void *socket, void *context, const struct address_list *list, const struct security *s,
                    struct error *e)
{
    int rc = FL_OK;
    if (any_ipv6(list) && !set_int(socket, ZMQ_IPV6, 1))
        return error_set(e, FL_INTERNAL, "cannot listen at IPv6 addresses: %s", zmq_strerror(errno));
    for (int i = 0; i < list->n && !rc; i++)
        rc = bind_one(socket, context, list->endpoint[i], s, e);
    return rc;
}

/* A DEALER ignores a second connection to the same text (libzmq), so zeros before the port make it another
 * one. */
static const char *another_text(const char *endpoint, int i, char *buf, size_t size)
{
    const char *port = strrchr(endpoint, ':') + 1;
    snprintf(buf, size, "%.*s%.*s%s", (int)(port - endpoint), endpoint, i, "00000000", port);
    return buf;
}

/* The other end has one of several keys while they are rotated: a connection for each, of which one comes
 * about. It alone gets messages then. */
static int connect_encrypted(void *socket, const char *endpoint, enum party to, const struct security *s,
                             struct error *e)
{
    char text[ADDRESS_BYTES];
    int n, rc = FL_OK;
    if (!s->keys)
        return no_keys(endpoint, e);
    to = to ? to : PARTY_BROKER;
    n = keys_servers(s->keys, to, endpoint);
    if (n > 1 && !set_int(socket, ZMQ_IMMEDIATE, 1))
        return error_set(e, FL_INTERNAL, "cannot set the options of %s: %s", endpoint, zmq_strerror(errno));
    for (int i = 0; i < (n ? n : 1) && !rc; i++)
        if (!(rc = keys_for_connect(s->keys, socket, to, endpoint, i, e)) &&
            zmq_connect(socket, another_text(endpoint, i, text, sizeof text)))
            rc = error_set(e, FL_CONFIG, "cannot connect to %s: %s", endpoint, zmq_strerror(errno));
    return rc;
}

static int connect_one(void *socket, const char *endpoint, enum party to, const struct security *s,
                       struct error *e)
{
    if (is_encrypted(endpoint, s))
        return connect_encrypted(socket, endpoint, to, s, e);
    if (zmq_connect(socket, endpoint))
        return error_set(e, FL_CONFIG, "cannot connect to %s: %s", endpoint, zmq_strerror(errno));
    return FL_OK;
}

/* The addresses of one endpoint to bind. */
static int find_addresses(struct address_list *list, const char *endpoint, const char *bind,
                          const struct security *security, struct error *e)
{
    int rc = endpoint_check(endpoint, security, e);

    if (!rc && !strncmp(endpoint, "ipc://", 6))
        rc = prepare_ipc(endpoint + 6, e);
    return rc ? rc : address_to_bind(list, endpoint, bind, security_beyond_loopback(security), e);
}

int frames_socket(void **out, void *context, int type, enum frames_mode mode, const char *endpoint,
                  const struct socket_options *o, const struct security *security, struct error *e)
{
    static const struct socket_options defaults;
    struct address_list list = {0}, more = {0};
    void *socket;
    int rc;

    *out = NULL;
    o = o ? o : &defaults;
    if (mode == FRAMES_CONNECT)
        (void)((rc = endpoint_check(endpoint, security, e)) || (rc = check_way(endpoint, e)));
    else if (!(rc = find_addresses(&list, endpoint, o->bind, security, e)) && o->also)
        rc = find_addresses(&more, o->also, o->bind, security, e);
    if (rc)
        return rc;
    socket = zmq_socket(context, type);
    if (!socket)
        return error_set(e, FL_IO, "cannot make a socket for %s: %s", endpoint, zmq_strerror(errno));
    if (!set_options(socket, type, mode == FRAMES_CONNECT && address_is_ipv6(endpoint), o))
        rc = error_set(e, FL_INTERNAL, "cannot set the options of %s: %s", endpoint, zmq_strerror(errno));
    else if (mode == FRAMES_BIND)
        (void)((rc = bind_all(socket, context, &list, security, e)) ||
               (rc = bind_all(socket, context, &more, security, e)));
    else
        rc = connect_one(socket, endpoint, o->to, security, e);
    if (rc)
        zmq_close(socket);
    else
        *out = socket;
    return rc;
}

int frames_events(void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    return socket && !zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) ? events : 0;
}

bool frames_takes(void *socket)
{
    return frames_events(socket) & ZMQ_POLLOUT;
}

/* The last text that was connected to tells of those before, by its zeros. */
int frames_connect_again(void *socket, enum party to, const struct security *security, struct error *e)
{
    char endpoint[ADDRESS_BYTES], text[ADDRESS_BYTES];
    size_t size = sizeof endpoint;
    char *port;
    int zeros;

    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size))
        return error_set(e, FL_IO, "cannot tell whom a socket connects to: %s", zmq_strerror(errno));
    if (strncmp(endpoint, "tcp://", 6))
        return FL_OK;
    port = strrchr(endpoint, ':') + 1;
    zeros = (int)strspn(port, "0");
    memmove(port, port + zeros, strlen(port + zeros) + 1);
    log_debug("connects to %s again", endpoint);
    for (int i = zeros; i >= 0; i--) /* where connecting failed before, there is none: that is fine */
        zmq_disconnect(socket, another_text(endpoint, i, text, sizeof text));
    return connect_one(socket, endpoint, to, security, e);
}

void frames_close(void *socket, int linger_ms)
{
    if (!socket)
        return;
    set_int(socket, ZMQ_LINGER, linger_ms);
    zmq_close(socket);
}

/* If libzmq unbinds and binds the same path, closing the old listener removes the new one's file. So a new
 * listener is made beside it, and its file moved into place. */
int frames_keep_bound(void *socket, const char *endpoint, struct error *e)
{
    const char *path = endpoint + 6;
    char beside[ENDPOINT_MAX_IPC_PATH + 16];
    struct stat st;
    int rc;

    if (strncmp(endpoint, "ipc://", 6) || *path != '/' || !lstat(path, &st) || errno != ENOENT)
        return FL_OK;
    if ((rc = prepare_ipc(path, e)))
        return rc;
    snprintf(beside, sizeof beside, "ipc://%s~", path);
    if (strlen(path) >= ENDPOINT_MAX_IPC_PATH || zmq_bind(socket, beside) || rename(beside + 6, path))
        return error_set(e, FL_IO, "the socket %s was removed and cannot be made again: %s", path,
                         strerror(errno));
    return error_set(e, FL_STALE, "the socket %s was removed and is made again: who removes files there?",
                     path);
}

void frames_keep_bound_now(void *socket, const char *endpoint, uint64_t *looked_ns, uint64_t now)
{
    struct error e;

    if (now < *looked_ns + NS_PER_S)
        return;
    *looked_ns = now;
    if (frames_keep_bound(socket, endpoint, &e))
        log_warn("%s", e.text);
}
