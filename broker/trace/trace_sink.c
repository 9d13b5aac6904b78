/* trace_sink.c - append and shift as logs do; HTTP/1.1 by hand: a line, four headers, the body */
#include "trace_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"

#define PATIENCE_S 2 /* with each step of a POST */

/* http://HOST[:PORT][/PATH] */
static bool read_url(struct trace_sink *s, const char *url)
{
    const char *host = url + strlen("http://"), *path = strchr(host, '/'),
               *end = path ? path : strchr(host, 0);
    const char *close = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
    const char *colon = memchr(close ? close : host, ':', (size_t)(end - (close ? close : host)));
    const char *host_end = colon ? colon : end;
    long port = colon ? strtol(colon + 1, NULL, 10) : 4318;
    if (close) {
        host++;
        host_end = close;
    }
    if (host_end <= host || (size_t)(host_end - host) >= sizeof s->host || port < 1 || port > 65535 ||
        (path && strlen(path) >= sizeof s->target) || strpbrk(url, " \t\r\n"))
        return false;
    snprintf(s->host, sizeof s->host, "%.*s", (int)(host_end - host), host);
    snprintf(s->port, sizeof s->port, "%ld", port);
    snprintf(s->target, sizeof s->target, "%s", path && path[1] ? path : "/v1/traces");
    return true;
}

int trace_sink_open(struct trace_sink *s, const struct pipeline *p, struct error *e)
{
    const char *to = p->traces.to;
    int n = 0;
    *s = (struct trace_sink){.pipeline = p};
    if (!strncmp(to, "http://", 7)) {
        if (read_url(s, to))
            return FL_OK;
        return error_set(e, FL_CONFIG, "traces.to: %.200s is not http://HOST[:PORT][/PATH]", to);
    }
    if (strstr(to, "://"))
        return error_set(
            e, FL_CONFIG,
            "traces.to: %.200s: traces go to a file or by http://; a collector on this machine takes "
            "them on",
            to);
    n = *to == '/' ? snprintf(s->path, sizeof s->path, "%s", to)
                   : snprintf(s->path, sizeof s->path, "%s/%s", p->state, to);
    return n < (int)sizeof s->path - 16 ? FL_OK : error_set(e, FL_CONFIG, "traces.to: the path is too long");
}

static int append(const struct trace_sink *s, const char *text, size_t n, struct error *e)
{
    struct iovec parts[] = {{(void *)(uintptr_t)text, n}, {(char[1]){'\n'}, 1}};
    struct stat st;
    ssize_t done;
    int fd;
    if (!stat(s->path, &st) && (double)st.st_size >= s->pipeline->logs.max_mb * 1024 * 1024)
        log_shift(s->path, s->pipeline->logs.keep);
    fd = open(s->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    done = fd < 0 ? -1 : writev(fd, parts, 2);
    if (fd >= 0)
        close(fd);
    return done == (ssize_t)n + 1
               ? FL_OK
               : error_set(e, FL_IO, "cannot write traces to %s: %s", s->path, strerror(errno));
}

static int dial(const struct trace_sink *s, struct error *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *a;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int rc = getaddrinfo(s->host, s->port, &hints, &all), fd = -1;
    if (rc) {
        error_set(e, FL_UNAVAILABLE, "no collector of traces at %s: %s", s->host, gai_strerror(rc));
        return -1;
    }
    for (a = all; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* of connect, too */
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, a->ai_addr, a->ai_addrlen)) {
            rc = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(all);
    if (fd < 0)
        error_set(e, FL_UNAVAILABLE, "no collector of traces at %s:%s: %s", s->host, s->port, strerror(rc));
    return fd;
}

static bool send_all(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* "HTTP/1.1 200 .."; 0: there is none. */
static int read_status(int fd)
{
    char line[16];
    size_t n = 0;
    while (n < sizeof line - 1) {
        ssize_t got = recv(fd, line + n, sizeof line - 1 - n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    line[n] = 0;
    return n > 12 && !strncmp(line, "HTTP/1.", 7) ? atoi(line + 9) : 0;
}

static int post(const struct trace_sink *s, const char *text, size_t n, struct error *e)
{
    char head[1024];
    int fd = dial(s, e), status = 0;
    int size =
        snprintf(head, sizeof head,
                 "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: "
                 "%zu\r\nConnection: close\r\n\r\n",
                 s->target, s->host, s->port, n);
    if (fd < 0)
        return FL_UNAVAILABLE;
    if (send_all(fd, head, (size_t)size) && send_all(fd, text, n))
        status = read_status(fd);
    close(fd);
    if (status >= 200 && status < 300)
        return FL_OK;
    if (status >= 400 && status < 500 && status != 429)
        return error_set(e, FL_VALUE, "the collector at %s:%s refuses traces at %s: HTTP %d", s->host,
                         s->port, s->target, status);
    return error_set(e, FL_UNAVAILABLE, "the collector of traces at %s:%s %s", s->host, s->port,
                     status ? "is busy" : "does not answer");
}

int trace_sink_send(const struct trace_sink *s, const char *text, size_t n, struct error *e)
{
    return *s->path ? append(s, text, n, e) : post(s, text, n, e);
}
