/* http_door.c - libmicrohttpd's loop and the broker's client in one thread
 *
 * A request is read whole, sent, and its connection suspended; its answers resume the connection, and the
 * reply goes out. A connection that has not brought a whole request http_timeout_ms after it began one (or
 * after it had its last reply) is shut, however slowly bytes come.
 */
#include "http_door.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "http_backend.h"
#include "http_listener.h"
#include "live.h"
#include "live_text.h"
#include "metrics_text.h"
#include "page.h"

#define MOST_CONNECTIONS 4096
#define CONNECTION_BYTES \
    (64 << 10)                    /* libmicrohttpd's, for each: request line, headers, a piece of the body */
#define LOOK_NS    (NS_PER_S / 4) /* between two looks for connections that take too long */
#define LIVE_NS    (NS_PER_S * 2 / 5) /* between two events for those who watch */
#define SLEEP_MS   200
#define GOODBYE_NS (NS_PER_S / 2) /* how long closing waits for replies to leave */

/* One connection: what it is about. */
struct caller {
    struct caller *before, *after;
    int fd;
    uint64_t since_ns; /* when it began a request, or had its last reply */
    bool served;       /* a request of it is whole, and its reply is not out yet */
};

struct http_door {
    const struct pipeline *pipeline;
    struct http_backend *backend;
    struct MHD_Daemon *daemon;
    struct http_memory memory;
    struct http_counts counts;
    struct live *live;
    struct caller *callers; /* list */
    uint64_t looked_ns, told_ns;
    bool resumed; /* connections have replies that libmicrohttpd has not looked at */
    int wake_fd;  /* the thread is to look at `stop` */
    _Atomic bool stop;
    bool started;
    pthread_t thread;
};

/* ---- replies ---- */

static void add_headers(struct MHD_Response *response, const struct http_reply *r)
{
    char number[32];
    if (r->type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    if (r->allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, r->allow);
    if (r->header >= 0) {
        snprintf(number, sizeof number, "%lld", (long long)r->header);
        MHD_add_response_header(response, "Inference-Header-Content-Length", number);
    }
    if (r->retry_after_ms) {
        snprintf(number, sizeof number, "%u", (r->retry_after_ms + 999) / 1000);
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, number);
    }
}

/* Hands the reply over. MHD_NO ends the connection. */
static enum MHD_Result reply(struct http_door *d, struct http_call *c)
{
    struct MHD_Response *response;
    enum MHD_Result rc;
    if (c->reply.text.failed)
        return MHD_NO;
    response = c->reply.text.n
                   ? MHD_create_response_from_buffer(c->reply.text.n, c->reply.text.at, MHD_RESPMEM_MUST_FREE)
                   : MHD_create_response_from_buffer(0, (char[1]){""}, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    metrics_count(&d->counts, c->reply.status);
    if (c->began_ns)
        metrics_took(&d->counts, c, clock_ns() - c->began_ns);
    if (c->reply.text.n)
        c->reply.text = (struct json_text){.at = NULL};
    add_headers(response, &c->reply);
    rc = MHD_queue_response(c->connection, (unsigned)c->reply.status, response);
    MHD_destroy_response(response);
    return rc;
}

/* A reply that is no text of the call's own. */
static enum MHD_Result reply_with(struct http_door *d, struct http_call *c, struct MHD_Response *response,
                                  const char *type, const char *cache)
{
    enum MHD_Result rc;
    if (!response)
        return MHD_NO;
    metrics_count(&d->counts, 200);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, cache);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(
        response, "Content-Security-Policy",
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'");
    rc = MHD_queue_response(c->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result show_page(struct http_door *d, struct http_call *c)
{
    return reply_with(
        d, c,
        MHD_create_response_from_buffer(PAGE_BYTES, (void *)(uintptr_t)page_html, MHD_RESPMEM_PERSISTENT),
        "text/html; charset=utf-8", "no-cache");
}

static struct metrics metrics_now(struct http_door *d)
{
    const struct status_reply *s = http_backend_status(d->backend);
    return (struct metrics){d->pipeline, &d->counts, s, http_backend_view(d->backend),
                            s ? http_backend_times(d->backend) : NULL};
}

static enum MHD_Result begin_to_watch(struct http_door *d, struct http_call *c)
{
    struct oip_model model;
    bool known = http_backend_model(d->backend, &model, NULL) == FL_OK;
    struct metrics now = metrics_now(d);
    struct json_text first = {.at = NULL};
    struct MHD_Response *response;

    live_about_text(&first, d->pipeline, known ? &model : NULL);
    live_state_text(&first, &now);
    if (!(response = live_watch(d->live, c->connection, &first))) {
        error_set(&c->error, FL_UNAVAILABLE, "%d others watch already", LIVE_MOST);
        http_reply_error(&c->reply, &c->error);
        return reply(d, c);
    }
    return reply_with(d, c, response, "text/event-stream", "no-store");
}

/* Those who watch hear how it is. */
static void tell_watchers(struct http_door *d)
{
    uint64_t now = clock_ns();
    struct json_text event = {.at = NULL};
    struct metrics m;

    if (!live_watched(d->live) || now - d->told_ns < LIVE_NS)
        return;
    d->told_ns = now;
    m = metrics_now(d);
    live_state_text(&event, &m);
    if (!event.failed && live_tell(d->live, &event))
        d->resumed = true;
    json_text_free(&event);
}

static void refuse(struct http_call *c, const struct http_route *r)
{
    http_reply_error(&c->reply, &r->why);
    c->reply.status = r->status;
    c->reply.allow = r->allow;
}

/* ---- what is asked for ---- */

static bool is_ready(struct http_door *d)
{
    const struct status_reply *s = http_backend_status(d->backend);
    return s && s->ready && !s->draining;
}

static void succeed(struct http_call *c)
{
    c->reply.status = 200;
    c->reply.type = "application/json";
}

static void tell_model(struct http_door *d, struct http_call *c)
{
    struct oip_model model;
    if (http_backend_model(d->backend, &model, &c->error)) {
        http_reply_error(&c->reply, &c->error);
        return;
    }
    if (c->route.target == TARGET_CONFIG)
        oip_config_text(&c->reply.text, d->pipeline->name, &model);
    else
        oip_model_text(&c->reply.text, d->pipeline->name, &model);
    succeed(c);
}

/* A call that waits has its answers. */
static void on_done(void *arg, struct http_call *c)
{
    struct http_door *d = arg;
    http_call_finish(c, d->pipeline, http_backend_view(d->backend));
    MHD_resume_connection(c->connection);
    d->resumed = true;
}

static void infer(struct http_door *d, struct http_call *c)
{
    struct oip_model model;
    c->began_ns = clock_ns();
    if (!c->error.code && !http_backend_model(d->backend, &model, &c->error) &&
        !http_call_read(c, &model, d->pipeline)) {
        http_backend_send(d->backend, c);
        if (c->left) {
            MHD_suspend_connection(c->connection);
            return;
        }
    }
    http_call_finish(c, d->pipeline, http_backend_view(d->backend));
}

/* The request is whole: what is known at once becomes the reply. */
static void serve_call(struct http_door *d, struct http_call *c)
{
    struct metrics now;
    switch (c->route.target) {
    case TARGET_SERVER:
        oip_server_text(&c->reply.text);
        succeed(c);
        break;
    case TARGET_LIVE:
        c->reply.status = 200;
        break;
    case TARGET_READY:
    case TARGET_MODEL_READY:
        c->reply.status = is_ready(d) ? 200 : 503;
        break;
    case TARGET_MODEL:
    case TARGET_CONFIG:
        tell_model(d, c);
        break;
    case TARGET_STATS:
        metrics_stats_text(&c->reply.text, d->pipeline, &d->counts);
        succeed(c);
        break;
    case TARGET_INDEX:
        oip_index_text(&c->reply.text, d->pipeline->name, is_ready(d));
        succeed(c);
        break;
    case TARGET_INFER:
        infer(d, c);
        break;
    case TARGET_METRICS:
        now = metrics_now(d);
        metrics_text(&c->reply.text, &now);
        c->reply.status = 200;
        c->reply.type = "text/plain; version=0.0.4; charset=utf-8";
        break;
    default:
        refuse(c, &c->route);
    }
}

/* ---- libmicrohttpd's side ---- */

static struct caller *caller_of(struct MHD_Connection *connection)
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

/* What the headers say of the body; an error stays in the call. */
static void read_headers(struct http_call *c)
{
    struct MHD_Connection *connection = c->connection;
    const char *coding =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_ENCODING);
    int64_t header = number_in(connection, "Inference-Header-Content-Length");
    int64_t length = number_in(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);

    if (header == -2)
        error_set(&c->error, FL_PROTOCOL, "Inference-Header-Content-Length is no number of bytes");
    c->picture = type && !strncasecmp(type, "image/", 6);
    c->header = header < 0 ? OIP_NO_HEADER : header;
    c->deflated = coding && (!strcasecmp(coding, "gzip") || !strcasecmp(coding, "x-gzip") ||
                             !strcasecmp(coding, "deflate"));
    if (coding && !c->deflated && strcasecmp(coding, "identity"))
        error_set(&c->error, FL_UNSUPPORTED, "bodies may come as gzip or deflate, not as %.32s", coding);
    if (length > (int64_t)c->memory->most_of_one)
        error_set(&c->error, FL_TOO_LARGE, "the body has %lld bytes, broker.max_request_mb allows %zu",
                  (long long)length, c->memory->most_of_one);
    c->refused = c->error.code != FL_OK;
}

static struct http_call *begin(struct http_door *d, struct MHD_Connection *connection, const char *method,
                               const char *path)
{
    struct http_route route = http_route(method, path, d->pipeline->name);
    struct http_call *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    http_call_begin(c, &d->memory, &route);
    c->connection = connection;
    if (route.target == TARGET_INFER)
        read_headers(c);
    return c;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *bytes, size_t *n,
                                  void **state)
{
    struct http_door *d = arg;
    struct http_call *c = *state;
    struct caller *caller = caller_of(connection);
    (void)version;

    if (!c) {
        if (!(c = *state = begin(d, connection, method, path)))
            return MHD_NO;
        if (c->error.code != FL_TOO_LARGE)
            return MHD_YES;
        http_call_finish(c, d->pipeline, NULL); /* before the body comes, and ends the connection */
        return reply(d, c);
    }
    if (*n) {
        bool go_on = http_call_body(c, bytes, *n);
        *n = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (caller)
        caller->served = true;
    if (c->route.target == TARGET_PAGE)
        return show_page(d, c);
    if (c->route.target == TARGET_LIVE_STATE)
        return begin_to_watch(d, c);
    if (!c->reply.status)
        serve_call(d, c);
    return c->reply.status ? reply(d, c) : MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct http_door *d = arg;
    struct caller *caller = caller_of(connection);
    struct http_call *c = *state;
    (void)why;
    if (caller) {
        caller->served = false;
        caller->since_ns = clock_ns();
    }
    if (!c)
        return;
    http_backend_forget(d->backend, c);
    http_call_free(c);
    free(c);
    *state = NULL;
}

/* A request line came. */
static void *on_line(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct caller *caller = caller_of(connection);
    (void)arg, (void)uri;
    if (caller)
        caller->since_ns = clock_ns();
    return NULL;
}

static void add_caller(struct http_door *d, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct caller *caller = calloc(1, sizeof *caller);
    *context = caller;
    if (!caller)
        return;
    d->counts.connections++;
    caller->fd = info ? info->connect_fd : -1;
    caller->since_ns = clock_ns();
    caller->after = d->callers;
    if (d->callers)
        d->callers->before = caller;
    d->callers = caller;
}

static void remove_caller(struct http_door *d, struct caller *caller)
{
    if (!caller)
        return;
    d->counts.connections--;
    if (caller->after)
        caller->after->before = caller->before;
    if (caller->before)
        caller->before->after = caller->after;
    else
        d->callers = caller->after;
    free(caller);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        add_caller(arg, connection, context);
        return;
    }
    remove_caller(arg, *context);
    *context = NULL;
}

/* libmicrohttpd sees the end of what was shut, and closes it. */
static void shut_slow_callers(struct http_door *d)
{
    uint64_t now = clock_ns(), most = (uint64_t)d->pipeline->broker.http_timeout_ms * NS_PER_MS;
    if (now - d->looked_ns < LOOK_NS)
        return;
    d->looked_ns = now;
    for (struct caller *c = d->callers; c; c = c->after)
        if (!c->served && c->fd >= 0 && now - c->since_ns > most)
            shutdown(c->fd, SHUT_RDWR);
}

/* ---- the thread ---- */

static void sleep_until_something(struct http_door *d)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd fds[] = {{.fd = info ? info->epoll_fd : -1, .events = POLLIN},
                           {.fd = http_backend_fd(d->backend), .events = POLLIN},
                           {.fd = d->wake_fd, .events = POLLIN}};
    MHD_UNSIGNED_LONG_LONG ms = SLEEP_MS;
    if (MHD_get_timeout(d->daemon, &ms) != MHD_YES || ms > SLEEP_MS)
        ms = SLEEP_MS;
    if (ms)
        poll(fds, sizeof fds / sizeof *fds, (int)ms);
}

static void turn(struct http_door *d)
{
    MHD_run(d->daemon);
    d->resumed = false;
    http_backend_collect(d->backend, on_done, d);
    shut_slow_callers(d);
    tell_watchers(d);
    if (!d->resumed)
        sleep_until_something(d);
}

static bool has_served_callers(const struct http_door *d)
{
    for (const struct caller *c = d->callers; c; c = c->after)
        if (c->served)
            return true;
    return false;
}

static void *run(void *arg)
{
    struct http_door *d = arg;
    uint64_t until;
    MHD_socket listener;

    while (!atomic_load(&d->stop))
        turn(d);
    listener = MHD_quiesce_daemon(d->daemon);
    http_backend_collect(d->backend, on_done, d);
    http_backend_abandon(d->backend, on_done, d);
    live_end(d->live);
    until = clock_ns() + GOODBYE_NS;
    do
        MHD_run(d->daemon);
    while (has_served_callers(d) && clock_ns() < until && (poll(NULL, 0, 1), true));
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
    d->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, d,
                                 MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
                                 most_connections(), MHD_OPTION_CONNECTION_TIMEOUT, seconds,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, d, MHD_OPTION_NOTIFY_CONNECTION,
                                 on_connection, d, MHD_OPTION_URI_LOG_CALLBACK, on_line, d, MHD_OPTION_END);
    if (d->daemon)
        return FL_OK;
    close(listener);
    return error_set(e, FL_UNAVAILABLE, "HTTP cannot be served: libmicrohttpd did not start");
}

/* Signals are for the main thread. */
static int start_thread(struct http_door *d, struct error *e)
{
    sigset_t all, before;
    int rc;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&d->thread, NULL, run, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    d->started = !rc;
    return rc ? error_set(e, FL_UNAVAILABLE, "HTTP cannot be served: no thread: %s", strerror(rc)) : FL_OK;
}

int http_door_open(struct http_door **out, const struct pipeline *p, struct error *e)
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
    d->memory.most = (size_t)(p->broker.max_memory_mb * (1 << 20));
    d->memory.most_of_one = (size_t)(p->broker.max_request_mb * (1 << 20));
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!(d->live = live_new()))
        rc = error_set(e, FL_NOMEM, "out of memory");
    else if (d->wake_fd < 0)
        rc = error_set(e, FL_IO, "no descriptor for HTTP: %s", strerror(errno));
    else if (!(rc = http_backend_new(&d->backend, p, e)) &&
             !(rc = http_listen(&listener, p, where, sizeof where, e)) &&
             !(rc = start_daemon(d, listener, e)) && !(rc = start_thread(d, e)))
        log_info("HTTP (Open Inference Protocol) at http://%s/v2/models/%s; a page for people at http://%s/",
                 where, p->name, where);
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
    http_backend_free(d->backend);
    live_free(d->live);
    if (d->wake_fd >= 0)
        close(d->wake_fd);
    free(d);
}
