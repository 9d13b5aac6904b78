/* orders.c - a listening socket, a few connections, lines */
#include "orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "deploy/tool/state.h"
#include "order.h"

#define IDS (1u << 20) /* until they come again */

struct connection {
    int fd; /* -1: none */
    int id; /* what orders_next calls it: another one at each connection */
    size_t n;
    char line[ORDERS_LINE];
};

struct orders {
    int listener;
    char path[STATE_PATH_BYTES];
    unsigned accepted; /* connections so far */
    struct connection at[ORDERS_MOST];
};

/* ---- an order ---- */

static int read_names(struct order *o, const json_t *who, struct error *e)
{
    const json_t *name;
    size_t i;

    if (json_array_size(who) > ROLES_MAX)
        return error_set(e, FL_USAGE, "who: more than %d names", ROLES_MAX);
    json_array_foreach(who, i, name)
    {
        if (!json_is_string(name) || json_string_length(name) >= sizeof o->who[0])
            return error_set(e, FL_USAGE, "who: names of processes, as \"stage1.0\"");
        snprintf(o->who[o->n++], sizeof o->who[0], "%s", json_string_value(name));
    }
    return FL_OK;
}

static int read_scale(struct order *o, const json_t *root, struct error *e)
{
    json_int_t stage = json_integer_value(json_object_get(root, "stage")),
               n = json_integer_value(json_object_get(root, "replicas"));

    if (stage < 0 || stage >= PIPELINE_MAX_STAGES || n < 1 || n > PIPELINE_MAX_REPLICAS)
        return error_set(e, FL_USAGE, "scale: a stage has 1 to %d replicas", PIPELINE_MAX_REPLICAS);
    o->stage = (int)stage;
    o->replicas = (int)n;
    return FL_OK;
}

int order_read(struct order *out, const char *line, struct error *e)
{
    static const char *const names[] = {
        [ORDER_STATE] = "state",   [ORDER_RESTART] = "restart", [ORDER_SCALE] = "scale",
        [ORDER_TAKE] = "take",     [ORDER_LOAD] = "load",       [ORDER_UNLOAD] = "unload",
        [ORDER_CANCEL] = "cancel", [ORDER_STOP] = "stop"};
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const char *what = json_string_value(json_object_get(root, "do"));
    int rc = error_set(e, FL_USAGE, "no order: {\"do\": \"state\"} is one");

    memset(out, 0, sizeof *out);
    for (size_t i = 0; what && i < sizeof names / sizeof *names; i++)
        if (!strcmp(what, names[i])) {
            out->kind = (enum order_kind)i;
            out->together = json_is_true(json_object_get(root, "together"));
            if (!(rc = read_names(out, json_object_get(root, "who"), e)) && out->kind == ORDER_SCALE)
                rc = read_scale(out, root, e);
        }
    if (!rc && out->kind == ORDER_RESTART && !out->n)
        rc = error_set(e, FL_USAGE, "restart: who?");
    json_decref(root);
    return rc;
}

/* ---- connections ---- */

int orders_open(struct orders **out, const struct pipeline *p, struct error *e)
{
    struct orders *o = calloc(1, sizeof *o);
    mode_t mask;
    int rc;

    *out = NULL;
    if (!o)
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < ORDERS_MOST; i++)
        o->at[i].fd = -1;
    o->listener = -1;
    if (!(rc = state_path(o->path, p, e, "run/orders"))) {
        unlink(o->path); /* of one that died: run/lock is ours */
        mask = umask(0177);
        rc = order_socket(&o->listener, p, true, e);
        umask(mask);
    }
    if (rc)
        orders_close(o, true);
    else
        *out = o;
    return rc;
}

static void hang_up(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->n = 0;
}

void orders_close(struct orders *o, bool keep)
{
    if (!o)
        return;
    for (int i = 0; i < ORDERS_MOST; i++)
        hang_up(&o->at[i]);
    if (o->listener >= 0)
        close(o->listener);
    if (!keep)
        unlink(o->path);
    free(o);
}

int orders_poll(const struct orders *o, struct pollfd fd[ORDERS_MOST + 1])
{
    int n = 0;

    fd[n++] = (struct pollfd){.fd = o->listener, .events = POLLIN};
    for (int i = 0; i < ORDERS_MOST; i++)
        if (o->at[i].fd >= 0)
            fd[n++] = (struct pollfd){.fd = o->at[i].fd, .events = POLLIN};
    return n;
}

static bool is_allowed(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) && (!who.uid || who.uid == geteuid());
}

/* Those for whom there is no place are sent away at once, and may come again. */
static void accept_new(struct orders *o)
{
    int fd;

    while ((fd = accept4(o->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        int i = 0;
        while (i < ORDERS_MOST && o->at[i].fd >= 0)
            i++;
        if (i == ORDERS_MOST || !is_allowed(fd)) {
            close(fd);
            continue;
        }
        o->at[i].fd = fd;
        o->at[i].id = (int)(o->accepted++ % IDS) * ORDERS_MOST + i;
    }
}

/* Takes one line out of what has come. */
static bool take_line(struct connection *c, char line[ORDERS_LINE])
{
    char *end = memchr(c->line, '\n', c->n);
    size_t length;

    if (!end)
        return false;
    length = (size_t)(end - c->line);
    memcpy(line, c->line, length);
    line[length] = '\0';
    c->n -= length + 1;
    memmove(c->line, end + 1, c->n);
    return true;
}

static void hear(struct connection *c)
{
    ssize_t n = recv(c->fd, c->line + c->n, sizeof c->line - c->n, 0);

    if (n > 0)
        c->n += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        hang_up(c);
}

bool orders_next(struct orders *o, struct order *out, int *from)
{
    char line[ORDERS_LINE];
    struct error e;

    accept_new(o);
    for (int i = 0; i < ORDERS_MOST; i++) {
        struct connection *c = &o->at[i];
        if (c->fd >= 0 && c->n < sizeof c->line)
            hear(c);
        while (c->fd >= 0 && take_line(c, line)) {
            *from = c->id;
            if (!order_read(out, line, &e))
                return true;
            orders_say(o, c->id, json_pack("{s:i, s:s}", "error", FL_USAGE, "text", e.text));
        }
        if (c->n == sizeof c->line)
            hang_up(c); /* no order is so long */
    }
    return false;
}

void orders_say(struct orders *o, int to, json_t *line)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    struct connection *c = to >= 0 ? &o->at[to % ORDERS_MOST] : NULL;
    size_t n = text ? strlen(text) : 0;

    if (text && c && c->fd >= 0 && c->id == to) {
        text[n++] = '\n'; /* in the place of its 0 */
        if (send(c->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
            hang_up(c);
    }
    free(text);
    json_decref(line);
}
