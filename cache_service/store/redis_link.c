/* redis_link.c - connect, call, listen, drop */
#include "redis_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "redis_tls.h"

#define CONNECT_MS 500
#define HEAR_READS 16
#define CALL_MS    3000 /* a snapshot of all caches is tens of MiB */

#define PASSWORD_ENV "FREEZELINE_REDIS_PASSWORD"

/* Where something listens: a unix socket's path, or host and port. */
struct address {
    char host[256]; /* or the path */
    int port;       /* 0: it is a path */
};

struct redis_link {
    const struct redis_config *config; /* borrowed */
    bool anywhere;                     /* hosts other than this one are allowed */
    redisContext *context;
};

/* --- addresses --- */

static bool loopback(const struct address *a)
{
    return !a->port || !strncmp(a->host, "127.", 4) || !strcmp(a->host, "localhost") ||
           !strcmp(a->host, "::1");
}

static bool parse(struct address *a, const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end;
    long port;
    if (!strncmp(text, "unix:", 5)) {
        a->port = 0;
        return text[5] && (size_t)snprintf(a->host, sizeof a->host, "%s", text + 5) < sizeof a->host;
    }
    port = colon ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || colon == text || *end || port < 1 || port > 65535 || colon - text >= (int)sizeof a->host)
        return false;
    snprintf(a->host, sizeof a->host, "%.*s", (int)(colon - text), text);
    a->port = (int)port;
    return true;
}

static int check(const char *key, const char *text, bool anywhere, struct error *e)
{
    struct address a;
    if (!parse(&a, text))
        return error_set(e, FL_CONFIG, "%s: \"%s\" is neither unix:PATH nor HOST:PORT", key, text);
    if (!anywhere && !loopback(&a))
        return error_set(e, FL_CONFIG,
                         "%s: %s is not this host, and Redis speaks without protection; use unix:PATH or "
                         "127.0.0.1, redis.tls, or allow it by security: none",
                         key, text);
    return FL_OK;
}

static int check_all(const struct redis_config *c, bool anywhere, struct error *e)
{
    int rc;

    if (c->tls && (rc = redis_tls_check(c, e)))
        return rc;
    anywhere |= c->tls;
    if (!c->n_sentinels)
        return check("redis.endpoint", c->endpoint, anywhere, e);
    if (!c->master)
        return error_set(e, FL_CONFIG, "redis.sentinels needs redis.master, the name that they know it by");
    for (int i = 0; i < c->n_sentinels; i++)
        if ((rc = check("redis.sentinels", c->sentinel[i], anywhere, e)))
            return rc;
    return FL_OK;
}

/* Beyond this host Redis knows who may come in, encrypted or not. */
static int check_password(const struct redis_config *c, const struct security *s, struct error *e)
{
    char password[REDIS_PASSWORD_BYTES];
    struct address a;
    int rc;
    if (!s || s->mode != SECURITY_CURVE || c->n_sentinels || !parse(&a, c->endpoint) || loopback(&a) ||
        c->managed || (c->tls && c->tls_cert))
        return FL_OK;
    if ((rc = redis_password(c, password, e)))
        return rc;
    rc = *password
             ? FL_OK
             : error_set(e, FL_CONFIG,
                         "redis.endpoint: %s is not this host: with security: curve it needs a password "
                         "(redis.user, redis.password_file) or a certificate (redis.tls_cert)",
                         c->endpoint);
    explicit_bzero(password, sizeof password);
    return rc;
}

/* --- life --- */

int redis_link_new(struct redis_link **out, const struct redis_config *config,
                   const struct security *security, struct error *e)
{
    bool anywhere = security_beyond_loopback(security);
    int rc = check_all(config, anywhere, e);
    if (rc || (rc = check_password(config, security, e)))
        return rc;
    if (!(*out = calloc(1, sizeof **out)))
        return error_set(e, FL_NOMEM, "out of memory");
    (*out)->config = config;
    (*out)->anywhere = anywhere || config->tls;
    return FL_OK;
}

void redis_link_free(struct redis_link *l)
{
    if (!l)
        return;
    redis_link_drop(l);
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

/* --- connecting --- */

static int dial(redisContext **out, const struct redis_config *config, const struct address *a,
                struct error *e)
{
    const struct timeval connect = {.tv_usec = CONNECT_MS * 1000};
    const struct timeval call = {.tv_sec = CALL_MS / 1000, .tv_usec = CALL_MS % 1000 * 1000};
    redisContext *c = a->port ? redisConnectWithTimeout(a->host, a->port, connect)
                              : redisConnectUnixWithTimeout(a->host, connect);
    int rc;
    if (!c)
        return error_set(e, FL_NOMEM, "out of memory");
    if (c->err || redisSetTimeout(c, call) != REDIS_OK) {
        error_set(e, FL_UNAVAILABLE, "%s", c->errstr);
        redisFree(c);
        return FL_UNAVAILABLE;
    }
    if (config->tls && (rc = redis_tls_start(c, config, e))) {
        redisFree(c);
        return rc;
    }
    *out = c;
    return FL_OK;
}

static bool is_text(const redisReply *r, const char *text)
{
    return (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS) && !strcmp(r->str, text);
}

/* Where one Sentinel says that the master is. */
static int ask_sentinel(const struct redis_link *l, const char *sentinel, struct address *master,
                        struct error *e)
{
    struct address at;
    redisContext *c;
    redisReply *r;
    int rc = FL_UNAVAILABLE;
    if (!parse(&at, sentinel) || (rc = dial(&c, l->config, &at, e)))
        return rc;
    r = redisCommand(c, "SENTINEL get-master-addr-by-name %s", l->config->master);
    if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->type == REDIS_REPLY_STRING &&
        r->element[1]->type == REDIS_REPLY_STRING) {
        snprintf(master->host, sizeof master->host, "%s", r->element[0]->str);
        master->port = atoi(r->element[1]->str);
        if (master->port < 1 || master->port > 65535)
            rc = error_set(e, FL_UNAVAILABLE, "the Sentinel %s told no address", sentinel);
    } else
        rc = error_set(e, FL_UNAVAILABLE, "the Sentinel %s knows no master \"%s\"%s%.200s", sentinel,
                       l->config->master, r && r->type == REDIS_REPLY_ERROR ? ": " : "",
                       r && r->type == REDIS_REPLY_ERROR ? r->str : "");
    if (r)
        freeReplyObject(r);
    redisFree(c);
    return rc;
}

static int find(const struct redis_link *l, struct address *a, struct error *e)
{
    int rc = FL_UNAVAILABLE;
    if (!l->config->n_sentinels) {
        parse(a, l->config->endpoint);
        return FL_OK;
    }
    for (int i = 0; rc && i < l->config->n_sentinels; i++)
        rc = ask_sentinel(l, l->config->sentinel[i], a, e);
    if (!rc && !l->anywhere && !loopback(a))
        rc = error_set(e, FL_UNAVAILABLE,
                       "the master is at %s, which is not this host: allow it by security: none", a->host);
    return rc;
}

int redis_password(const struct redis_config *c, char password[REDIS_PASSWORD_BYTES], struct error *e)
{
    const char *told = getenv(PASSWORD_ENV);
    FILE *f;
    password[0] = '\0';
    if (!c->password_file) {
        if (told && strlen(told) < REDIS_PASSWORD_BYTES)
            strcpy(password, told);
        return FL_OK;
    }
    if (!(f = fopen(c->password_file, "re")) || !fgets(password, REDIS_PASSWORD_BYTES, f)) {
        error_set(e, FL_UNAVAILABLE, "redis.password_file: %s can't be read, or is empty", c->password_file);
        if (f)
            fclose(f);
        return FL_UNAVAILABLE;
    }
    fclose(f);
    password[strcspn(password, "\r\n")] = '\0';
    return FL_OK;
}

/* Says who we are. The Redis that `up` manages is behind a socket of this user's alone and asks nobody,
 * unless processes of other hosts come to it. */
static int introduce(const struct redis_link *l, redisContext *c, struct error *e)
{
    char password[REDIS_PASSWORD_BYTES];
    redisReply *r;
    int rc = FL_OK;
    if ((l->config->managed && !l->config->host) || (rc = redis_password(l->config, password, e)))
        return rc;
    if (!password[0] && !l->config->user)
        return FL_OK;
    r = l->config->user ? redisCommand(c, "AUTH %s %s", l->config->user, password)
                        : redisCommand(c, "AUTH %s", password);
    explicit_bzero(password, sizeof password);
    if (!r)
        rc = error_set(e, FL_UNAVAILABLE, "%s", c->errstr);
    else if (!is_text(r, "OK"))
        rc = error_set(e, FL_UNAVAILABLE,
                       "user or password are refused (redis.user, redis.password_file, " PASSWORD_ENV
                       "): %.200s",
                       r->type == REDIS_REPLY_ERROR ? r->str : "?");
    if (r)
        freeReplyObject(r);
    return rc;
}

/* A replica would refuse what is written, and does not know what its master knows by then. Who may not ask
 * finds that out when writing. */
static int is_master(redisContext *c, struct error *e)
{
    redisReply *r = redisCommand(c, "ROLE");
    int rc = FL_OK;
    if (!r)
        return error_set(e, FL_UNAVAILABLE, "%s", c->errstr);
    if (r->type == REDIS_REPLY_ERROR && !strncmp(r->str, "NOAUTH", 6))
        rc = error_set(e, FL_UNAVAILABLE,
                       "it wants a password: redis.password_file or the environment variable " PASSWORD_ENV);
    else if (r->type == REDIS_REPLY_ARRAY && r->elements && !is_text(r->element[0], "master"))
        rc = error_set(
            e, FL_UNAVAILABLE,
            "it is no master but a %.20s: name the master, or the Sentinels (redis.sentinels) that know it",
            r->element[0]->type == REDIS_REPLY_STRING ? r->element[0]->str : "?");
    freeReplyObject(r);
    return rc;
}

int redis_link_open(struct redis_link *l, struct error *e)
{
    struct address a;
    redisContext *c;
    int rc;
    if (l->context)
        return FL_OK;
    if ((rc = find(l, &a, e)) || (rc = dial(&c, l->config, &a, e)))
        return rc;
    if ((rc = introduce(l, c, e)) || (rc = is_master(c, e))) {
        redisFree(c);
        return rc;
    }
    l->context = c;
    return FL_OK;
}

/* --- calling --- */

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
    bool replica;
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
        replica = strstr(r->str, "READONLY ") != NULL;
        freeReplyObject(r);
        if (!replica)
            return FL_IO;
        redis_link_drop(l); /* the master is another now */
        return FL_UNAVAILABLE;
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
