/* http_server.c - see http_server.h */
#include "http_server.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/oip/control_text.h"
#include "broker/oip/feedback_text.h"
#include "broker/page/live_text.h"
#include "broker/page/page.h"
#include "system/limits.h"

#define LIVE_NS (NS_PER_S * 2 / 5) /* between two events for those who watch */
/* A connection whose answer takes longer is suspended; the second, while other things happen. */
#define HOLD_NS      (200 * NS_PER_US)
#define HOLD_MOST_NS (2 * NS_PER_MS)

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
    if (r->coding != CODING_PLAIN) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING,
                                r->coding == CODING_GZIP ? "gzip" : "deflate");
        MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    }
    if (r->challenge)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, r->challenge);
    if (r->retry_after_ms) {
        snprintf(number, sizeof number, "%u", (r->retry_after_ms + 999) / 1000);
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, number);
    }
}

enum MHD_Result http_server_reply(struct http_server *h, struct http_call *c)
{
    struct MHD_Response *response;
    enum MHD_Result rc;
    if (c->reply.text.failed)
        return MHD_NO;
    http_reply_pack(&c->reply, c->accepts);
    response = c->reply.text.n
                   ? MHD_create_response_from_buffer(c->reply.text.n, c->reply.text.at, MHD_RESPMEM_MUST_FREE)
                   : MHD_create_response_from_buffer(0, (char[1]){""}, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    metrics_count(&h->counts, c->reply.status);
    if (c->began_ns)
        metrics_took(&h->counts, h->settings, c, clock_ns() - c->began_ns);
    if (c->reply.text.n)
        c->reply.text = (struct json_text){.at = NULL};
    add_headers(response, &c->reply);
    if (*c->trace)
        MHD_add_response_header(response, "traceparent", c->trace);
    if (h->ends || c->last)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    rc = MHD_queue_response(c->connection, (unsigned)c->reply.status, response);
    MHD_destroy_response(response);
    return rc;
}

/* A reply that is no text of the call's own. */
static enum MHD_Result reply_with(struct http_server *h, struct http_call *c, struct MHD_Response *response,
                                  const char *type, const char *cache)
{
    enum MHD_Result rc;
    if (!response)
        return MHD_NO;
    metrics_count(&h->counts, 200);
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

static enum MHD_Result show_page(struct http_server *h, struct http_call *c)
{
    return reply_with(
        h, c,
        MHD_create_response_from_buffer(PAGE_BYTES, (void *)(uintptr_t)page_html, MHD_RESPMEM_PERSISTENT),
        "text/html; charset=utf-8", "no-cache");
}

static struct metrics metrics_now(struct http_server *h)
{
    const struct status_reply *s = http_backend_status(h->backend);
    struct metrics m = {.pipeline = h->pipeline,
                        .http = &h->counts,
                        .status = s,
                        .view = http_backend_view(h->backend),
                        .times = s ? http_backend_times(h->backend) : NULL};
    limits_use(&m.own.resident_bytes, &m.own.shared_bytes, &m.own.cpu_ms);
    return m;
}

static enum MHD_Result begin_to_watch(struct http_server *h, struct http_call *c)
{
    struct oip_model model;
    bool known = http_backend_model(h->backend, &model, NULL) == FL_OK;
    struct metrics now = metrics_now(h);
    struct json_text first = {.at = NULL};
    struct MHD_Response *response;

    live_about_text(&first, h->pipeline, known ? &model : NULL);
    live_state_text(&first, &now);
    if (!(response = live_watch(h->live, c->connection, &first))) {
        error_set(&c->error, FL_UNAVAILABLE, "%d others watch already", LIVE_MOST);
        http_reply_error(&c->reply, &c->error);
        return http_server_reply(h, c);
    }
    return reply_with(h, c, response, "text/event-stream", "no-store");
}

/* Those who watch hear how it is, once the broker has told. */
static void tell_watchers(struct http_server *h)
{
    uint64_t now = clock_ns();
    struct json_text event = {.at = NULL};
    struct metrics m;

    if (!live_watched(h->live) || now - h->told_ns < LIVE_NS ||
        !http_backend_has(h->backend, NEED_ALL, h->told_ns + LIVE_NS))
        return;
    h->told_ns = now;
    m = metrics_now(h);
    live_state_text(&event, &m);
    if (!event.failed && live_tell(h->live, &event))
        h->busy = true;
    json_text_free(&event);
}

static void refuse(struct http_call *c, const struct http_route *r)
{
    http_reply_error(&c->reply, &r->why);
    c->reply.status = r->status;
    c->reply.allow = r->allow;
}

/* ---- what is asked for ---- */

static bool is_ready(struct http_server *h)
{
    const struct status_reply *s = http_backend_status(h->backend);
    return s && s->ready && !s->draining && !atomic_load(&h->settings->unloaded);
}

/* In Triton's words. */
static const char *why_not(struct http_server *h)
{
    const struct status_reply *s = http_backend_status(h->backend);
    return atomic_load(&h->settings->unloaded) ? "unloaded"
           : !s                                ? "the broker does not reply"
           : s->draining                       ? "draining"
                                               : "a stage has no ready worker";
}

/* By the status, with an empty body as the protocol has it. KServe's client reads a body; whoever does says
 * so. */
static void tell_health(struct http_call *c, const char *what, const char *name, bool is)
{
    c->reply.status = is ? 200 : 503;
    if (!c->reads_json)
        return;
    c->reply.type = "application/json";
    json_text_put(&c->reply.text, "{");
    if (name) {
        json_text_put(&c->reply.text, "\"name\":");
        json_text_string(&c->reply.text, name);
        json_text_put(&c->reply.text, ",");
    }
    json_text_format(&c->reply.text, "\"%s\":%s}", what, is ? "true" : "false");
}

static void succeed(struct http_call *c)
{
    c->reply.status = 200;
    c->reply.type = "application/json";
}

/* Of one that is unloaded nothing may be known. */
static int find_model(struct http_server *h, struct oip_model *out, struct error *e)
{
    int rc = http_backend_model(h->backend, out, e);
    return rc && atomic_load(&h->settings->unloaded)
               ? error_set(e, FL_UNAVAILABLE, SETTINGS_UNLOADED, h->pipeline->name)
               : rc;
}

static void tell_model(struct http_server *h, struct http_call *c)
{
    struct oip_model model;
    if (atomic_load(&h->settings->unloaded))
        error_set(&c->error, FL_UNAVAILABLE, SETTINGS_UNLOADED, h->pipeline->name);
    if (c->error.code || http_backend_model(h->backend, &model, &c->error)) {
        http_reply_error(&c->reply, &c->error);
        return;
    }
    if (c->route.target == TARGET_CONFIG)
        oip_config_text(&c->reply.text, h->pipeline->name, &model);
    else
        oip_model_text(&c->reply.text, h->pipeline->name, &model);
    succeed(c);
}

static void tell_index(struct http_server *h, struct http_call *c)
{
    bool ready = is_ready(h), ready_alone = false;
    if (!c->error.code && !control_read_index(&ready_alone, c->body, c->size, &c->error)) {
        oip_index_text(&c->reply.text, h->pipeline->name, ready ? NULL : why_not(h), ready_alone);
        succeed(c);
    } else {
        http_reply_error(&c->reply, &c->error);
    }
}

static void finish(struct http_server *h, struct http_call *c)
{
    uint64_t began = clock_ns();
    http_call_finish(c, h->pipeline, http_backend_view(h->backend));
    c->told_ns = clock_ns() - began;
}

/* A call waits no more. One that was sent nowhere waited for what the broker tells, and is served now. */
static void on_done(void *arg, struct http_call *c)
{
    struct http_server *h = arg;
    if (c->request.rows || c->error.code)
        finish(h, c);
    if (c->suspended)
        MHD_resume_connection(c->connection);
    c->suspended = false;
    h->busy = true;
}

static void suspend(struct http_call *c)
{
    MHD_suspend_connection(c->connection);
    c->suspended = true;
}

/* Suspending takes libmicrohttpd four system calls. So an answer is waited for without, for a moment: then
 * this is called at each turn. The moment is longer while the thread has much else to do, the answer being
 * one of many. */
static void hold(struct http_server *h, struct http_call *c)
{
    uint64_t ns = clock_ns() - c->began_ns;
    if (ns < HOLD_NS || (!h->idle && ns < HOLD_MOST_NS))
        h->held = true;
    else
        suspend(c);
}

static void infer(struct http_server *h, struct http_call *c)
{
    struct oip_model model;
    if (c->left) {
        hold(h, c);
        return;
    }
    c->began_ns = clock_ns();
    if (!c->error.code && !find_model(h, &model, &c->error) && !http_call_read(c, &model, h->pipeline)) {
        c->read_ns = clock_ns() - c->began_ns;
        http_backend_send(h->backend, c);
        h->sent++;
        if (c->left) {
            h->held = true;
            return;
        }
    }
    finish(h, c);
}

static void take_labels(struct http_server *h, struct http_call *c)
{
    struct feedback_item item[MESSAGE_MAX_FEEDBACK];
    const struct feedback *reply;
    int n, rc = c->error.code;
    if (!rc && c->labels && (rc = c->labels->rc))
        c->error = c->labels->error;
    if (!rc && c->labels) {
        reply = &c->labels->reply;
        json_text_format(&c->reply.text,
                         "{\"taken\":%u,\"early\":%u,\"foreign\":%u,\"wrong\":%u,\"later\":%u}", reply->taken,
                         reply->early, reply->foreign, reply->wrong, reply->later);
        succeed(c);
        return;
    }
    if (!rc && c->deflated)
        rc = error_set(&c->error, FL_UNSUPPORTED, "true labels come as they are, not compressed");
    if (!rc)
        rc = feedback_read(item, &n, c->body ? c->body : "", c->size, &c->error);
    if (!rc)
        rc = http_backend_tell(h->backend, c, item, n);
    if (rc)
        http_call_finish(c, h->pipeline, NULL);
    else
        suspend(c);
}

/* As they are, where they are to be others as those are. */
static void tell_traces(struct http_server *h, struct http_call *c)
{
    struct trace_settings t = settings_traces(h->settings);
    int rc = c->error.code;
    if (!rc && c->route.target == TARGET_SET_TRACES &&
        !(rc = control_read_traces(&t, h->pipeline, c->body, c->size, &c->error))) {
        settings_set_traces(h->settings, &t);
        log_info("traces: %s, %.3g%% of the requests, %lld of them at most (-1: all)", t.on ? "on" : "off",
                 t.share * 100, (long long)t.left);
    }
    if (rc) {
        http_reply_error(&c->reply, &c->error);
        return;
    }
    oip_traces_text(&c->reply.text, &t, h->pipeline->traces.to);
    succeed(c);
}

/* Waits until it is done. */
static void load(struct http_server *h, struct http_call *c)
{
    bool loads = c->route.target == TARGET_LOAD;
    int rc = c->error.code;
    if (!rc && c->loading && (rc = c->loading->rc))
        c->error = c->loading->error;
    if (!rc && c->loading) {
        json_text_put(&c->reply.text, "{}");
        succeed(c);
        return;
    }
    if (!rc && !(rc = control_read_load(loads, c->body, c->size, &c->error)))
        rc = http_backend_load(h->backend, c, loads);
    if (rc)
        http_reply_error(&c->reply, &c->error);
    else
        suspend(c);
}

static enum http_need need_of(enum http_target target)
{
    switch (target) {
    case TARGET_READY:
    case TARGET_MODEL_READY:
    case TARGET_INDEX:
        return NEED_STATUS;
    case TARGET_MODEL:
    case TARGET_CONFIG:
    case TARGET_INFER:
        return NEED_MODEL;
    case TARGET_METRICS:
    case TARGET_LIVE_STATE:
        return NEED_ALL;
    default:
        return NEED_NOTHING;
    }
}

/* What is known at once becomes the reply. */
static void serve(struct http_server *h, struct http_call *c)
{
    struct metrics now;
    switch (c->route.target) {
    case TARGET_SERVER:
        oip_server_text(&c->reply.text);
        succeed(c);
        break;
    case TARGET_LIVE:
        tell_health(c, "live", NULL, true);
        break;
    case TARGET_READY:
        tell_health(c, "ready", NULL, is_ready(h));
        break;
    case TARGET_MODEL_READY:
        tell_health(c, "ready", h->pipeline->name, is_ready(h));
        break;
    case TARGET_MODEL:
    case TARGET_CONFIG:
        tell_model(h, c);
        break;
    case TARGET_STATS:
        metrics_stats_text(&c->reply.text, h->pipeline, &h->counts);
        succeed(c);
        break;
    case TARGET_INDEX:
        tell_index(h, c);
        break;
    case TARGET_LOAD:
    case TARGET_UNLOAD:
        load(h, c);
        break;
    case TARGET_TRACES:
    case TARGET_SET_TRACES:
        tell_traces(h, c);
        break;
    case TARGET_INFER:
        infer(h, c);
        break;
    case TARGET_FEEDBACK:
        take_labels(h, c);
        break;
    case TARGET_METRICS:
        now = metrics_now(h);
        now.open = c->open_metrics;
        metrics_text(&c->reply.text, &now);
        c->reply.status = 200;
        c->reply.type = now.open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                 : "text/plain; version=0.0.4; charset=utf-8";
        break;
    default:
        refuse(c, &c->route);
    }
}

enum MHD_Result http_server_serve(struct http_server *h, struct http_call *c)
{
    if (h->ends && !c->reply.status) {
        error_set(&c->error, FL_UNAVAILABLE, "the broker is going away");
        http_call_finish(c, h->pipeline, NULL);
    }
    if (c->reply.status)
        return http_server_reply(h, c);
    if (!c->left && !http_backend_has(h->backend, need_of(c->route.target), c->asked_ns)) {
        http_backend_await(h->backend, c);
        suspend(c);
        return MHD_YES;
    }
    if (c->route.target == TARGET_PAGE)
        return show_page(h, c);
    if (c->route.target == TARGET_LIVE_STATE)
        return begin_to_watch(h, c);
    serve(h, c);
    return c->reply.status ? http_server_reply(h, c) : MHD_YES;
}

void http_server_turn(struct http_server *h)
{
    http_backend_collect(h->backend, on_done, h);
    tell_watchers(h);
}

void http_server_gone(struct http_server *h, struct http_call *c)
{
    if (c->reply.status)
        return;
    error_set(&c->error, FL_CANCELLED, "the client has closed the connection");
    http_backend_forget(h->backend, c);
    on_done(h, c);
}

void http_server_hear(struct http_server *h)
{
    http_backend_hear(h->backend, on_done, h);
}

void http_server_abandon(struct http_server *h)
{
    h->ends = true;
    http_backend_collect(h->backend, on_done, h);
    http_backend_abandon(h->backend, on_done, h);
    live_end(h->live);
}

int http_server_open(struct http_server *h, const struct pipeline *p, struct settings *settings,
                     struct error *e)
{
    *h = (struct http_server){.pipeline = p, .settings = settings};
    if (getrandom(&h->spans, sizeof h->spans, 0) != (ssize_t)sizeof h->spans)
        h->spans = clock_ns();
    h->memory.most = (size_t)(p->broker.max_memory_mb * (1 << 20));
    h->memory.most_of_one = (size_t)(p->broker.max_request_mb * (1 << 20));
    if (!(h->live = live_new()))
        return error_set(e, FL_NOMEM, "out of memory");
    return http_backend_new(&h->backend, p, settings, e);
}

void http_server_close(struct http_server *h)
{
    http_backend_free(h->backend);
    http_memory_free(&h->memory);
    live_free(h->live);
}
