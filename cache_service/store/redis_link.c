/* redis_link.c - connect, call, listen, drop */
#include "redis_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define CONNECT_MS 500
#define HEAR_READS 16
#define CALL_MS    3000 /* a snapshot of all caches is tens of MiB */

struct redis_link {
    char *path; /* of the unix socket, or NULL */
    char *host;
    int port;
    redisContext *context;
};

static bool loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "localhost") || !strcmp(host, "::1");
}

static int parse(struct redis_link *l, const char *endpoint, const char *security, struct error *e)
{
    const char *colon = strrchr(endpoint, ':');
    char *end;
    long port;
    if (!strncmp(endpoint, "unix:", 5)) {
        if (!endpoint[5])
            return error_set(e, FL_CONFIG, "redis.endpoint: \"unix:\" needs a path");
        l->path = strdup(endpoint + 5);
        return l->path ? FL_OK : error_set(e, FL_NOMEM, "out of memory");
    }
    port = colon ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || colon == endpoint || *end || port < 1 || port > 65535)
        return error_set(e, FL_CONFIG, "redis.endpoint: \"%s\" is neither unix:PATH nor HOST:PORT", endpoint);
    l->host = strndup(endpoint, (size_t)(colon - endpoint));
    l->port = (int)port;
    if (!l->host)
        return error_set(e, FL_NOMEM, "out of memory");
    if (!loopback(l->host) && (!security || strcmp(security, "none")))
        return error_set(
            e, FL_CONFIG,
            "redis.endpoint: %s is not this host, and Redis speaks without protection; use unix:PATH or "
            "127.0.0.1, or allow it by security: none",
            endpoint);
    return FL_OK;
}

int redis_link_new(struct redis_link **out, const char *endpoint, const char *security, struct error *e)
{
    struct redis_link *l = calloc(1, sizeof *l);
    int rc;
    if (!l)
        return error_set(e, FL_NOMEM, "out of memory");
    if ((rc = parse(l, endpoint, security, e))) {
        redis_link_free(l);
        return rc;
    }
    *out = l;
    return FL_OK;
}

void redis_link_free(struct redis_link *l)
{
    if (!l)
        return;
    if (l->context)
        redisFree(l->context);
    free(l->path);
    free(l->host);
    free(l);
}

bool redis_link_up(const struct redis_link *l)
{
    return l->context != NULL;
}

void redis_link_drop(struct redis_link *l)
{
    if (l->context)
        redisFree(l->context);
    l->context = NULL;
}

int redis_link_open(struct redis_link *l, struct error *e)
{
    const struct timeval connect = {.tv_usec = CONNECT_MS * 1000};
    const struct timeval call = {.tv_sec = CALL_MS / 1000, .tv_usec = CALL_MS % 1000 * 1000};
    redisContext *c;
    if (l->context)
        return FL_OK;
    c = l->path ? redisConnectUnixWithTimeout(l->path, connect)
                : redisConnectWithTimeout(l->host, l->port, connect);
    if (!c)
        return error_set(e, FL_NOMEM, "out of memory");
    if (c->err || redisSetTimeout(c, call) != REDIS_OK) {
        error_set(e, FL_UNAVAILABLE, "%s", c->errstr);
        redisFree(c);
        return FL_UNAVAILABLE;
    }
    l->context = c;
    return FL_OK;
}

void redis_args_add(struct redis_args *a, const void *value, size_t size)
{
    if (a->n == a->capacity) {
        int capacity = a->capacity ? 2 * a->capacity : 32;
        const char **values = realloc(a->value, sizeof *values * (size_t)capacity);
        size_t *sizes;
        if (values)
            a->value = values;
        sizes = realloc(a->size, sizeof *sizes * (size_t)capacity);
        if (sizes)
            a->size = sizes;
        if (!values || !sizes) {
            a->failed = true;
            return;
        }
        a->capacity = capacity;
    }
    a->value[a->n] = value;
    a->size[a->n++] = size;
}

void redis_args_text(struct redis_args *a, const char *text)
{
    redis_args_add(a, text, strlen(text));
}

void redis_args_free(struct redis_args *a)
{
    free(a->value);
    free(a->size);
    memset(a, 0, sizeof *a);
}

int redis_link_call(struct redis_link *l, const struct redis_args *a, redisReply **reply, struct error *e)
{
    redisReply *r;
    *reply = NULL;
    if (a->failed)
        return error_set(e, FL_NOMEM, "out of memory");
    if (!l->context)
        return error_set(e, FL_UNAVAILABLE, "not connected");
    r = redisCommandArgv(l->context, a->n, a->value, a->size);
    if (!r) {
        error_set(e, FL_UNAVAILABLE, "%s", l->context->errstr);
        redis_link_drop(l);
        return FL_UNAVAILABLE;
    }
    if (r->type == REDIS_REPLY_ERROR) {
        const char *where = strstr(r->str, " script: "); /* its digest and line say nothing to people */
        int size = where ? (int)(where - r->str) : (int)r->len;
        error_set(e, FL_IO, "%.*s", size > 300 ? 300 : size, r->str);
        freeReplyObject(r);
        return FL_IO;
    }
    *reply = r;
    return FL_OK;
}

int redis_link_fd(const struct redis_link *l)
{
    return l->context ? l->context->fd : -1;
}

int redis_link_listen(struct redis_link *l, const char *channel, struct error *e)
{
    struct redis_args a = {0};
    redisReply *r;
    int rc;
    redis_args_text(&a, "SUBSCRIBE");
    redis_args_text(&a, channel);
    rc = redis_link_call(l, &a, &r, e);
    redis_args_free(&a);
    if (!rc)
        freeReplyObject(r);
    return rc;
}

static bool readable(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0; /* 0: the end, which is read as well */
}

static void tell(const redisReply *r, redis_heard fn, void *arg)
{
    if (r->type == REDIS_REPLY_ARRAY && r->elements == 3 && r->element[2]->type == REDIS_REPLY_STRING)
        fn(arg, r->element[2]->str, (size_t)r->element[2]->len);
}

int redis_link_hear(struct redis_link *l, redis_heard fn, void *arg, struct error *e)
{
    void *reply = NULL;
    int rc = REDIS_OK;
    for (int i = 0; i < HEAR_READS && l->context && rc == REDIS_OK && readable(l->context->fd); i++) {
        rc = redisBufferRead(l->context);
        while (rc == REDIS_OK && (rc = redisGetReplyFromReader(l->context, &reply)) == REDIS_OK && reply) {
            tell(reply, fn, arg);
            freeReplyObject(reply);
        }
    }
    if (rc == REDIS_OK)
        return FL_OK;
    error_set(e, FL_UNAVAILABLE, "%s", l->context->errstr);
    redis_link_drop(l);
    return FL_UNAVAILABLE;
}
