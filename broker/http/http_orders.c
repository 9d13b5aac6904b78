/* http_orders.c - one line out, lines in until the last: each is bounded, and so is how long they are awaited
 */
#include "http_orders.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/folder_socket.h"

#define LINE    8192
#define WAIT_NS (3600 * NS_PER_S) /* workers of large models load one after another */

struct ear {
    int fd, stop_fd;
    uint64_t until_ns;
    size_t n;
    char line[LINE];
};

static int gone(struct error *e)
{
    return error_set(e, FL_UNAVAILABLE,
                     "the supervisor ended meanwhile, or says what is no answer: see its log");
}

/* Takes the first line out of what has come; NULL: there is none, or it is no JSON, and *whole says which. */
static json_t *take_line(struct ear *ear, bool *whole)
{
    char *end = memchr(ear->line, '\n', ear->n);
    json_t *line;
    size_t length;

    *whole = end != NULL;
    if (!end)
        return NULL;
    length = (size_t)(end - ear->line);
    line = json_loadb(ear->line, length, 0, NULL);
    ear->n -= length + 1;
    memmove(ear->line, end + 1, ear->n);
    return line;
}

static int next_line(struct ear *ear, json_t **line, struct error *e)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = ear->fd, .events = POLLIN}, {.fd = ear->stop_fd, .events = POLLIN}};
        bool whole;
        ssize_t n;
        if ((*line = take_line(ear, &whole)))
            return FL_OK;
        if (whole || ear->n == sizeof ear->line)
            return gone(e);
        if (clock_ns() > ear->until_ns)
            return error_set(e, FL_DEADLINE, "the supervisor is still at it after an hour");
        if (poll(fds, 2, 1000) <= 0)
            continue;
        if (fds[1].revents)
            return error_set(e, FL_UNAVAILABLE, "the broker is going away");
        if ((n = recv(ear->fd, ear->line + ear->n, sizeof ear->line - ear->n, 0)) <= 0)
            return gone(e);
        ear->n += (size_t)n;
    }
}

static int failed(const json_t *line, struct error *e)
{
    const char *text = json_string_value(json_object_get(line, "text")),
               *who = json_string_value(json_object_get(line, "who"));
    json_int_t code = json_integer_value(json_object_get(line, "error"));

    return error_set(e, code > 0 && code < FL_CODES && code != FL_NOT_FOUND ? (enum fl_code)code : FL_VALUE,
                     "%.64s%s%.400s", who ? who : "", who && *who ? ": " : "", text ? text : "");
}

static int hear(struct ear *ear, struct error *e)
{
    bool ended = false;
    int rc = FL_OK;

    while (!rc && !ended) {
        json_t *line;
        if ((rc = next_line(ear, &line, e)))
            break;
        ended = json_is_true(json_object_get(line, "done"));
        if (json_object_get(line, "error"))
            rc = failed(line, e);
        json_decref(line);
    }
    return rc;
}

int http_order(const struct pipeline *p, const char *what, int stop_fd, struct error *e)
{
    struct ear ear = {.stop_fd = stop_fd, .until_ns = clock_ns() + WAIT_NS};
    char folder[1024], order[64];
    size_t n = (size_t)snprintf(order, sizeof order, "{\"do\":\"%.20s\"}\n", what);
    int rc;

    if (snprintf(folder, sizeof folder, "%s/run", p->state) >= (int)sizeof folder ||
        folder_socket(&ear.fd, folder, "orders", false, e))
        return error_set(e, FL_NOT_FOUND, "no supervisor of this host tends the pipeline");
    rc = send(ear.fd, order, n, MSG_NOSIGNAL) == (ssize_t)n ? hear(&ear, e) : gone(e);
    close(ear.fd);
    return rc;
}
