/* http_door.c - libmicrohttpd's loop and the broker's client in one thread
 *
 * A request is read whole, sent, and its connection suspended; its answers resume the connection, and the
 * reply goes out. A connection that has not brought a whole request http_timeout_ms after it began one (or
 * after it had its last reply) is shut, however slowly bytes come.
 */
#include "http_door.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/limits.h"
#include "base/log.h"
#include "broker/state/rates.h"
#include "http_access.h"
#include "http_callers.h"
#include "http_listener.h"
#include "http_server.h"
#include "system/quiet_thread.h"

#define MOST_CONNECTIONS 4096
/* libmicrohttpd's, for each: request line, headers, a piece of the body. It writes zeros into all of it after
 * each request. */
#define CONNECTION_BYTES (16 << 10)
#define SLEEP_MS         200
#define HELD_NS          (200 * NS_PER_US) /* the longest sleep while a connection is not suspended that waits */
/* While a run of libmicrohttpd's loop brings so many requests, another one follows before answers are looked
 * for: the broker is woken for all of them together. */
#define MANY       4
#define MOST_RUNS  8
#define GOODBYE_NS (NS_PER_S / 2) /* how long closing waits for replies to leave */

struct http_door {
    const struct pipeline *pipeline;
    struct http_server server;
    struct MHD_Daemon *daemon;
    struct http_callers callers;
    struct http_access access;
    struct rates rates;
    const struct http_call *reading; /* the one whose body went on last in this turn, and is not whole */
    uint64_t now;                    /* when this turn began */
    int wake_fd;                     /* the thread is to look at `stop` */
    _Atomic bool stop;
    bool started;
    pthread_t thread;
};

/* ---- libmicrohttpd's side ---- */

static struct http_caller *caller_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* A header that is a number; -1: it is not there; -2: it is no number. */
static int64_t number_in(struct MHD_Connection *connection, const char *name)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    char *end;
    long long n;
    if (!text)
        return -1;
    errno = 0;
    n = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno ? n : -2;
}

/* An argument behind the path's `?`. */
static enum MHD_Result take_wish(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct http_call *c = arg;
    (void)kind;
    if (value && !oip_wish_add(&c->wishes, name, value))
        error_set(&c->error, FL_PROTOCOL, "what stands behind `?` is no text");
    return MHD_YES;
}

/* What the headers say of the body; an error stays in the call. */
static void read_headers(struct http_call *c)
{
    struct MHD_Connection *connection = c->connection;
    const char *coding =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_ENCODING);
    int64_t header = number_in(connection, "Inference-Header-Content-Length");
    int64_t length = number_in(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);

    c->form = type && !strncasecmp(type, "multipart/form-data", 19);
    c->picture = c->form || (type && !strncasecmp(type, "image/", 6));
    if (c->picture || header == 0)
        MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, take_wish, c);
    if (header == -2)
        error_set(&c->error, FL_PROTOCOL, "Inference-Header-Content-Length is no number of bytes");
    c->header = header < 0 ? OIP_NO_HEADER : header;
    c->deflated = coding && (!strcasecmp(coding, "gzip") || !strcasecmp(coding, "x-gzip") ||
                             !strcasecmp(coding, "deflate"));
    if (coding && !c->deflated && strcasecmp(coding, "identity"))
        error_set(&c->error, FL_UNSUPPORTED, "bodies may come as gzip or deflate, not as %.32s", coding);
    if (length > (int64_t)c->memory->most_of_one)
        error_set(&c->error, FL_TOO_LARGE, "the body has %lld bytes, broker.max_request_mb allows %zu",
                  (long long)length, c->memory->most_of_one);
    c->refused = c->error.code != FL_OK;
    c->endless = length / HTTP_WASTE > (int64_t)c->memory->most_of_one;
}

struct framing {
    const char *length;
    bool chunked, doubtful;
};

static enum MHD_Result look_at_framing(void *arg, enum MHD_ValueKind kind, const char *name,
                                       const char *value)
{
    struct framing *f = arg;
    (void)kind;
    if (!value)
        return MHD_YES;
    if (!strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
        f->doubtful = f->doubtful || (f->length && strcmp(f->length, value)) || strchr(value, ',');
        f->length = value;
    }
    f->chunked = f->chunked || !strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return MHD_YES;
}

/* Where two headers say how long the body is, a proxy in front may have believed the other one, and take for
 * a request of its own what is a part of this one (RFC 9112, 6.3). */
static void doubt_framing(struct http_call *c)
{
    struct framing f = {.length = NULL};
    MHD_get_connection_values(c->connection, MHD_HEADER_KIND, look_at_framing, &f);
    if (!f.doubtful && !(f.length && f.chunked))
        return;
    c->endless = c->last = true;
    error_set(&c->error, FL_PROTOCOL, "headers disagree on how long the body is");
    http_reply_error(&c->reply, &c->error);
}

static gnutls_session_t session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info ? info->tls_session : NULL;
}

static struct http_guest guest_of(struct http_door *d, struct MHD_Connection *connection)
{
    if (!d->access.on)
        return (struct http_guest){PARTY_LOCAL, 0};
    return http_access_guest(
        &d->access, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION),
        session_of(connection), (int64_t)(clock_wall_ms() / 1000));
}

/* Browsers send what any page says to any address, with the password that they know for it; but not without
 * these. */
static bool comes_from_page(struct MHD_Connection *connection)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
}

/* By the headers alone: the body of who may not ask, or asks too often, is thrown away as it comes. */
static void look_who_asks(struct http_door *d, struct http_call *c)
{
    const struct http_caller *caller = caller_of(c->connection);
    enum http_target target = c->route.target;
    struct http_guest guest = guest_of(d, c->connection);
    int status = http_access_refuses(target, guest.party, d->pipeline->broker.model_control);
    const char *why = status == 401 ? "this takes a token: Authorization: Bearer TOKEN"
                      : guest.party == PARTY_LOCAL
                          ? "here nobody is asked who he is: `broker.http_tls: true` lets "
                            "operators do this, `broker.model_control: true` everybody"
                          : "this token is not for that: it takes an operator's";

    if (!status && http_changes(target) && comes_from_page(c->connection)) {
        status = 403;
        why = "a page in a browser may not ask for this";
    }
    if (status) {
        error_set(&c->error, FL_DENIED, "%s", why);
        http_reply_error(&c->reply, &c->error);
        c->reply.status = status;
        c->reply.challenge = guest.party == PARTY_LOCAL ? NULL : http_access_challenge(target, status);
    } else if (target == TARGET_INFER || target == TARGET_FEEDBACK) {
        uint64_t who = guest.id ? guest.id : caller ? caller->address : 0;
        c->retry_after_ms = rates_take(&d->rates, (uint32_t)(who >> 32) | 1, d->now);
        if (c->retry_after_ms)
            error_set(&c->error, FL_OVERLOADED, "more than %g requests a second (broker.client_rate)",
                      d->pipeline->broker.client_rate);
        c->refused = c->retry_after_ms > 0;
    }
}

static struct http_call *begin(struct http_door *d, struct MHD_Connection *connection, const char *method,
                               const char *path)
{
    struct http_route route = http_route(method, path, d->pipeline->name);
    const char *accept;
    struct http_call *c = http_call_new(&d->server.memory, &route);
    if (!c)
        return NULL;
    c->connection = connection;
    accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    c->reads_json = accept && (strstr(accept, "*/*") || strstr(accept, "application/json"));
    c->open_metrics = accept && strstr(accept, "application/openmetrics-text");
    c->accepts = http_accepts(
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT_ENCODING));
    http_trace(c, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "traceparent"), ++d->server.spans);
    doubt_framing(c);
    if (!c->error.code)
        look_who_asks(d, c);
    if (!c->error.code && http_has_body(route.target))
        read_headers(c);
    return c;
}

/* A reply before the body has come ends the connection, and who is still sending then may never read it. So
 * only those hear at once who wait until they are asked for the body, or whose body nobody takes. */
static bool waits_with_body(struct MHD_Connection *connection)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_EXPECT) != NULL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *bytes, size_t *n,
                                  void **state)
{
    struct http_door *d = arg;
    struct http_call *c = *state;
    struct http_caller *caller = caller_of(connection);
    (void)version;

    if (!c) {
        if (!(c = *state = begin(d, connection, method, path)))
            return MHD_NO;
        if (c->error.code == FL_TOO_LARGE)
            http_call_finish(c, d->pipeline, NULL);
        if (c->reply.status && (c->endless || waits_with_body(connection)))
            return http_server_reply(&d->server, c);
        c->refused = c->refused || c->reply.status;
        return MHD_YES;
    }
    if (*n) {
        bool go_on = http_call_body(c, bytes, *n);
        *n = 0;
        d->reading = c;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (d->reading == c)
        d->reading = NULL;
    if (caller && caller->gone && !caller->call)
        return MHD_NO; /* there is nobody to answer */
    if (caller)
        caller->call = c;
    return http_server_serve(&d->server, c);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct http_door *d = arg;
    struct http_caller *caller = caller_of(connection);
    struct http_call *c = *state;
    (void)why;
    if (caller) {
        caller->call = NULL;
        caller->since_ns = d->now;
    }
    if (!c)
        return;
    http_backend_forget(d->server.backend, c);
    http_call_end(c);
    *state = NULL;
}

/* A "%00" would end the path for all who read it as a text; no path has what stands there now. */
static size_t unescape(void *arg, struct MHD_Connection *connection, char *text)
{
    size_t n = MHD_http_unescape(text);
    (void)arg, (void)connection;
    for (size_t i = strlen(text); i < n; i++)
        if (!text[i])
            text[i] = '?';
    return n;
}

/* A request line came. */
static void *on_line(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct http_caller *caller = caller_of(connection);
    (void)uri;
    if (caller)
        caller->since_ns = ((struct http_door *)arg)->now;
    return NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_door *d = arg;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = http_callers_add(&d->callers, info ? info->connect_fd : -1, d->now);
        d->server.counts.connections += *context != NULL;
        return;
    }
    d->server.counts.connections -= *context != NULL;
    http_callers_remove(&d->callers, *context);
    *context = NULL;
}

static void on_gone(void *arg, struct http_call *c)
{
    http_server_gone(&((struct http_door *)arg)->server, c);
}

/* ---- the thread ---- */

/* How long there is nothing to do, if no descriptor says otherwise. While connections that are not suspended
 * wait, libmicrohttpd asks to be called again at once, since it does not know for what. */
static struct timespec most_sleep(struct http_door *d)
{
    MHD_UNSIGNED_LONG_LONG ms = SLEEP_MS;
    if (d->server.busy || d->reading)
        return (struct timespec){0, 0};
    if (d->server.held)
        return (struct timespec){0, HELD_NS};
    if (MHD_get_timeout(d->daemon, &ms) != MHD_YES || ms > SLEEP_MS)
        ms = SLEEP_MS;
    return (struct timespec){0, (long)(ms * NS_PER_MS)};
}

/* Sleeps until there is something to do, and does what is not libmicrohttpd's or an answer's. */
static void look_around(struct http_door *d)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    enum { REPLIES, GONE, FDS = 5 };
    struct pollfd fds[FDS] = {[REPLIES] = {.fd = http_backend_asker_fd(d->server.backend), .events = POLLIN},
                              [GONE] = {.fd = d->callers.watch, .events = POLLIN},
                              {.fd = info ? info->epoll_fd : -1, .events = POLLIN},
                              {.fd = http_backend_fd(d->server.backend), .events = POLLIN},
                              {.fd = d->wake_fd, .events = POLLIN}};
    struct timespec most = most_sleep(d);
    int n = ppoll(fds, FDS, &most, NULL);
    d->server.idle = !n && most.tv_nsec;
    if (n <= 0)
        return;
    if (fds[REPLIES].revents)
        http_server_hear(&d->server);
    if (fds[GONE].revents)
        http_callers_find_gone(&d->callers, on_gone, d);
}

static void turn(struct http_door *d)
{
    uint64_t sent;
    int runs = 0;
    d->now = clock_ns();
    d->server.busy = d->server.held = false;
    d->reading = NULL;
    do {
        sent = d->server.sent;
        MHD_run(d->daemon);
    } while (d->server.sent - sent >= MANY && ++runs < MOST_RUNS);
    http_callers_shut_slow(&d->callers, (uint64_t)d->pipeline->broker.http_timeout_ms * NS_PER_MS, d->now);
    http_access_look(&d->access, d->now);
    http_server_turn(&d->server);
    look_around(d);
}

static void *run(void *arg)
{
    struct http_door *d = arg;
    uint64_t until;
    MHD_socket listener;

    while (!atomic_load(&d->stop))
        turn(d);
    listener = MHD_quiesce_daemon(d->daemon);
    http_server_abandon(&d->server);
    until = clock_ns() + GOODBYE_NS;
    do
        MHD_run(d->daemon);
    while (http_callers_wait(&d->callers) && clock_ns() < until && (poll(NULL, 0, 1), true));
    MHD_stop_daemon(d->daemon);
    if (listener != MHD_INVALID_SOCKET)
        close(listener);
    return NULL;
}

static unsigned most_connections(void)
{
    int64_t files = limits_files() / 4; /* the rest is for the pipeline's own */
    return files < MOST_CONNECTIONS ? (unsigned)files : MOST_CONNECTIONS;
}

static int start_daemon(struct http_door *d, int listener, struct error *e)
{
    unsigned seconds = (unsigned)(d->pipeline->broker.http_timeout_ms + 999) / 1000;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (d->access.on ? MHD_USE_TLS : 0);
    /* Or a space in a request's target is answered with a redirection, not with 400. */
    struct MHD_OptionItem strict[] = {
#if MHD_VERSION >= 0x00097701
        {MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, NULL},
#endif
        {MHD_OPTION_END, 0, NULL}
    };
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, d->access.certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, d->access.key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (char[]){"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"}},
        {d->access.clients ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, d->access.clients},
        {MHD_OPTION_END, 0, NULL}};
    d->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, d, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
        most_connections(), MHD_OPTION_CONNECTION_TIMEOUT, seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, d, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, d, MHD_OPTION_URI_LOG_CALLBACK, on_line, d, MHD_OPTION_UNESCAPE_CALLBACK, unescape, d,
        MHD_OPTION_ARRAY, strict, MHD_OPTION_ARRAY, d->access.on ? tls : none, MHD_OPTION_END);
    if (d->daemon)
        return FL_OK;
    close(listener);
    return error_set(e, FL_UNAVAILABLE, "HTTP cannot be served: libmicrohttpd did not start");
}

static int start_thread(struct http_door *d, struct error *e)
{
    int rc = quiet_thread(&d->thread, run, d);
    d->started = !rc;
    return rc ? error_set(e, FL_UNAVAILABLE, "HTTP cannot be served: no thread: %s", strerror(rc)) : FL_OK;
}

int http_door_open(struct http_door **out, const struct pipeline *p, struct settings *settings,
                   struct error *e)
{
    struct http_door *d;
    char where[160];
    int listener, rc;

    *out = NULL;
    if (!p->broker.http)
        return FL_OK;
    if (!(d = calloc(1, sizeof *d)))
        return error_set(e, FL_NOMEM, "out of memory");
    d->pipeline = p;
    rates_init(&d->rates, p->broker.client_rate);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if ((rc = http_callers_open(&d->callers, e)) || d->wake_fd < 0)
        rc = error_set(e, FL_IO, "no descriptor for HTTP: %s", strerror(errno));
    else if (!(rc = http_access_open(&d->access, p, e)) &&
             !(rc = http_server_open(&d->server, p, settings, e)) &&
             !(rc = http_listen(&listener, p, where, sizeof where, e)) &&
             !(rc = start_daemon(d, listener, e)) && !(rc = start_thread(d, e)))
        log_info("HTTP (Open Inference Protocol) at %s://%s/v2/models/%s; a page for people at %s://%s/",
                 p->broker.http_tls ? "https" : "http", where, p->name, p->broker.http_tls ? "https" : "http",
                 where);
    if (rc) {
        http_door_close(d);
        return rc;
    }
    *out = d;
    return FL_OK;
}

void http_door_close(struct http_door *d)
{
    if (!d)
        return;
    if (d->started) {
        atomic_store(&d->stop, true);
        if (eventfd_write(d->wake_fd, 1))
            log_warn("HTTP's thread was not woken: %s", strerror(errno));
        pthread_join(d->thread, NULL);
    } else if (d->daemon) {
        MHD_stop_daemon(d->daemon);
    }
    http_server_close(&d->server);
    http_callers_close(&d->callers);
    http_access_close(&d->access);
    if (d->wake_fd >= 0)
        close(d->wake_fd);
    free(d);
}
