/* order.c - one line out, lines in until the last */
#include "order.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/folder_socket.h"
#include "deploy/process/claim.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/state.h"
#include "deploy/process/failure.h"

#define POLL_MS    50
#define GIVE_UP_NS (30 * NS_PER_S) /* after an order was called off: its step may have to be finished */
#define LINE       65536

int order_socket(int *fd, const struct pipeline *p, bool listens, struct error *e)
{
    char folder[STATE_PATH_BYTES];
    int rc = state_path(folder, p, e, "run");

    *fd = -1;
    return rc ? rc : folder_socket(fd, folder, "orders", listens, e);
}

struct giving {
    const struct pipeline *pipeline;
    int fd;
    uint64_t until_ns;
    bool called_off, late;
    size_t n;
    char line[LINE];
};

static int nobody(const struct pipeline *p, struct error *e)
{
    struct process who;

    switch (claim_look(p, &who)) {
    case CLAIM_ELSEWHERE:
        return error_set(e, FL_UNAVAILABLE,
                         "it is up in another container or on another host (supervisor pid %d on %s): run "
                         "this there",
                         (int)who.pid, who.host);
    case CLAIM_GONE:
        return error_set(e, FL_UNAVAILABLE,
                         "its supervisor (pid %d) died: `freezeline up -c %s` starts another that takes over "
                         "what it left",
                         (int)who.pid, p->path);
    case CLAIM_HERE:
        return error_set(e, FL_UNAVAILABLE, "its supervisor (pid %d) takes no orders: %s", (int)who.pid,
                         e->text);
    default:
        return error_set(e, FL_UNAVAILABLE,
                         "no supervisor of this host tends this pipeline: `freezeline up -c %s` starts it",
                         p->path);
    }
}

static int send_line(const struct giving *g, json_t *line, struct error *e)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;
    int rc = FL_OK;

    json_decref(line);
    if (!text)
        return error_set(e, FL_NOMEM, "no memory");
    text[n++] = '\n';
    if (send(g->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        rc = error_set(e, FL_UNAVAILABLE, "the supervisor ended: see %s/logs/supervisor.log",
                       g->pipeline->state);
    free(text);
    return rc;
}

static void look_at_time(struct giving *g)
{
    bool late = clock_ns() > g->until_ns;

    if (g->called_off || !(late || interrupt_seen()))
        return;
    g->called_off = true;
    g->late = !interrupt_seen();
    g->until_ns = clock_ns() + GIVE_UP_NS;
    send_line(g, json_pack("{s:s}", "do", "cancel"), NULL);
}

/* The next line; NULL on an error. */
static json_t *next_line(struct giving *g, struct error *e)
{
    for (;;) {
        char *end = memchr(g->line, '\n', g->n);
        struct pollfd fd = {.fd = g->fd, .events = POLLIN};
        ssize_t n;
        if (end) {
            size_t length = (size_t)(end + 1 - g->line);
            json_t *line = json_loadb(g->line, length, 0, NULL);
            g->n -= length;
            memmove(g->line, end + 1, g->n);
            if (line)
                return line;
            error_set(e, FL_PROTOCOL, "the supervisor answers what is no JSON: is it of another version?");
            return NULL;
        }
        look_at_time(g);
        if (g->called_off && clock_ns() > g->until_ns) {
            error_set(e, FL_DEADLINE,
                      "called off, but the supervisor is still at it: see `freezeline status`");
            return NULL;
        }
        if (poll(&fd, 1, POLL_MS) <= 0)
            continue;
        n = g->n < sizeof g->line ? recv(g->fd, g->line + g->n, sizeof g->line - g->n, 0) : 0;
        if (n <= 0) {
            error_set(e, FL_UNAVAILABLE, "the supervisor ended: see %s/logs/supervisor.log",
                      g->pipeline->state);
            return NULL;
        }
        g->n += (size_t)n;
    }
}

/* "WHO: TEXT: what its log gives as the reason". */
static int failed(const struct giving *g, const json_t *line, struct error *e)
{
    const char *text = json_string_value(json_object_get(line, "text")),
               *who = json_string_value(json_object_get(line, "who"));
    json_int_t code = json_integer_value(json_object_get(line, "error"));
    char reason[300] = "";

    if (g->called_off)
        return error_set(e, g->late ? FL_DEADLINE : FL_CANCELLED, "%s%s", g->late ? "not done in time: " : "",
                         text ? text : "");
    if (who && *who)
        failure_reason(g->pipeline, who, reason, sizeof reason);
    return error_set(e, code > 0 && code < FL_CODES ? (enum fl_code)code : FL_UNAVAILABLE, "%s%s%s%s%s",
                     who ? who : "", who && *who ? ": " : "", text ? text : "", reason[0] ? ": " : "",
                     reason);
}

static int hear(struct giving *g, order_progress progress, void *arg, json_t **reply, struct error *e)
{
    json_t *line;
    int rc = FL_OK;

    while ((line = next_line(g, e)) && json_object_get(line, "step")) {
        const char *who = json_string_value(json_object_get(line, "who"));
        if (progress)
            progress(arg, who ? who : "", (int)json_integer_value(json_object_get(line, "step")),
                     (int)json_integer_value(json_object_get(line, "of")));
        json_decref(line);
    }
    if (!line)
        return (int)e->code;
    if (json_object_get(line, "error"))
        rc = failed(g, line, e);
    if (reply && !rc)
        *reply = json_incref(line);
    json_decref(line);
    return rc;
}

int order_give(const struct pipeline *p, json_t *order, int timeout_s, order_progress progress, void *arg,
               json_t **reply, struct error *e)
{
    struct giving *g = calloc(1, sizeof *g);
    int rc;

    if (reply)
        *reply = NULL;
    if (!g) {
        json_decref(order);
        return error_set(e, FL_NOMEM, "no memory");
    }
    g->pipeline = p;
    g->until_ns = clock_ns() + (uint64_t)timeout_s * NS_PER_S;
    if (order_socket(&g->fd, p, false, e)) {
        json_decref(order);
        rc = nobody(p, e);
    } else if (!(rc = send_line(g, order, e))) {
        rc = hear(g, progress, arg, reply, e);
    }
    if (g->fd >= 0)
        close(g->fd);
    free(g);
    return rc;
}

json_t *order_rolling(const struct role *role, int n, unsigned effect)
{
    static const enum role_kind order[] = {ROLE_KIND_STAGE, ROLE_KIND_CACHE, ROLE_KIND_LEARNER,
                                           ROLE_KIND_REDIS, ROLE_KIND_BROKER};
    json_t *who = json_array();

    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (int i = 0; i < n; i++)
            if (role[i].kind == order[k] && changes_concern(effect, role[i].kind))
                json_array_append_new(who, json_string(role[i].name));
    return who;
}
