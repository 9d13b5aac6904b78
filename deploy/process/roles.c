/* roles.c - the list of processes and their command lines */
#include "roles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cache_service/store/redis_link.h"
#include "deploy/tool/state.h"
#include "process.h"

/* This machine by its name, with or without the domain. */
static bool is_own_name(const char *host)
{
    char own[256] = "";

    gethostname(own, sizeof own - 1);
    return !strcasecmp(host, own) || (!strchr(host, '.') && !strncasecmp(host, own, strcspn(own, ".")) &&
                                      strlen(host) == strcspn(own, "."));
}

/* The host, where it is not this one. */
static const char *elsewhere(const struct pipeline *p, const char *host)
{
    if (p->n_hosts)
        return pipeline_host(p, host) == p->here ? NULL : host;
    return !host || !strcmp(host, "local") || !strcmp(host, "localhost") || is_own_name(host) ? NULL : host;
}

int roles_are_here(const struct pipeline *p, struct error *e)
{
    for (int s = 0; !p->n_hosts && s < p->n_stages; s++)
        for (int k = 0; k < p->stage[s].n_replicas; k++)
            if (elsewhere(p, p->stage[s].replica[k].host))
                return error_set(
                    e, FL_CONFIG,
                    "stages.%d.replicas.%d.host is %s, which `hosts` does not name, so `up` cannot go there: "
                    "start it there with freezeline-stage -c %s --stage %d --replica %d, or name it",
                    s, k, p->stage[s].replica[k].host, p->path, s, k);
    return FL_OK;
}

static struct role *add(const struct pipeline *p, struct role *role, int *n, enum role_kind kind,
                        const char *host, const char *format, ...) __attribute__((format(printf, 6, 7)));
static struct role *add(const struct pipeline *p, struct role *role, int *n, enum role_kind kind,
                        const char *host, const char *format, ...)
{
    struct role *r = &role[(*n)++];
    va_list args;

    memset(r, 0, sizeof *r);
    r->kind = kind;
    r->host = elsewhere(p, host);
    va_start(args, format);
    vsnprintf(r->name, sizeof r->name, format, args);
    va_end(args);
    return r;
}

static bool has_caches(const struct pipeline *p)
{
    if (strcmp(p->cache.kind, "none"))
        return true;
    for (int i = 0; i < p->n_exits; i++)
        if (p->exit[i].kind && strcmp(p->exit[i].kind, "none"))
            return true;
    return false;
}

/* The first has no number: mostly it is the only one. */
static const char *broker_name(int index, char *buf, size_t size)
{
    if (index)
        snprintf(buf, size, "broker%d", index);
    else
        snprintf(buf, size, "broker");
    return buf;
}

int roles_list(const struct pipeline *p, struct role role[ROLES_MAX], int *n, struct error *e)
{
    struct role *r;
    char name[32];

    *n = 0;
    if (p->redis.managed)
        add(p, role, n, ROLE_KIND_REDIS, p->redis.host, "redis");
    for (int i = 0; i < pipeline_brokers(p); i++)
        add(p, role, n, ROLE_KIND_BROKER, pipeline_broker(p, i).host, "%s", broker_name(i, name, sizeof name))
            ->replica = i;
    for (int i = 0; has_caches(p) && i < p->cache.n_endpoints; i++)
        add(p, role, n, ROLE_KIND_CACHE, p->cache.host[i], "cache%d", i)->replica = i;
    for (int s = 0; s < p->n_stages; s++) {
        for (int k = 0; k < p->stage[s].n_replicas; k++) {
            if (*n == ROLES_MAX - 1)
                return error_set(e, FL_CONFIG, "more than %d processes", ROLES_MAX);
            r = add(p, role, n, ROLE_KIND_STAGE, p->stage[s].replica[k].host, "stage%d.%d", s, k);
            r->stage = s;
            r->replica = k;
        }
    }
    if (has_caches(p) && pipeline_learns(p))
        add(p, role, n, ROLE_KIND_LEARNER, p->broker.host, "learner0");
    return FL_OK;
}

int roles_list_here(const struct pipeline *p, struct role role[ROLES_MAX], int *n, struct error *e)
{
    int all, rc;

    *n = 0;
    if ((rc = roles_are_here(p, e)) || (rc = roles_list(p, role, &all, e)))
        return rc;
    for (int i = 0; i < all; i++)
        if (!role[i].host || !p->n_hosts)
            role[(*n)++] = role[i];
    return FL_OK;
}

/* "PATH" beside this very binary when it is there, else just the name, to be found in PATH. */
static char *program(struct role_command *c, const char *name)
{
    char *to = c->text[c->n_text++], self[PROCESS_SELF_BYTES], *slash;

    if (!process_self(self, NULL) && (slash = strrchr(self, '/'))) {
        slash[1] = 0;
        snprintf(to, sizeof c->text[0], "%s%s", self, name);
        if (!access(to, X_OK))
            return to;
    }
    snprintf(to, sizeof c->text[0], "%s", name);
    return to;
}

static char *number(struct role_command *c, int x)
{
    char *to = c->text[c->n_text++];
    snprintf(to, sizeof c->text[0], "%d", x);
    return to;
}

/* What Redis asks of those who connect, in a file that this user alone may read. Each byte is written as
 * \xHH.
 */
static int write_redis_password(const struct pipeline *p, const char *path, const char *password,
                                struct error *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = f != NULL;

    if (!f && fd >= 0)
        close(fd);
    if (ok && !password[0])
        fputs("protected-mode no\n", f);
    else if (ok) {
        if (p->redis.user)
            fprintf(f, "user default off\nuser %s on allkeys allchannels allcommands \">", p->redis.user);
        else
            fputs("requirepass \"", f);
        for (const char *c = password; *c; c++)
            fprintf(f, "\\x%02x", (unsigned char)*c);
        fputs("\"\n", f);
    }
    if (f)
        ok = !fclose(f) && ok;
    return ok ? FL_OK : error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
}

/* A Redis for several hosts listens at a port, too: behind a password, unless nothing is to be protected. */
static int redis_port(struct role_command *c, int *n, const struct pipeline *p, struct error *e)
{
    const char *also = pipeline_also(p, p->redis.endpoint), *colon = also ? strrchr(also, ':') : NULL;
    char password[REDIS_PASSWORD_BYTES];
    int rc = FL_OK;

    c->argv[(*n)++] = "--port";
    if (!also) {
        c->argv[(*n)++] = "0";
        return FL_OK;
    }
    c->argv[(*n)++] = (char *)(uintptr_t)colon + 1;
    c->argv[(*n)++] = "--bind";
    snprintf(c->text[2], sizeof c->text[2], "%.*s", (int)(colon - also), also);
    c->argv[(*n)++] = p->bind ? p->bind : c->text[2];
    if ((rc = redis_password(&p->redis, password, e)))
        return rc;
    if (!password[0] && p->security.mode != SECURITY_NONE && p->security.mode != SECURITY_LOOPBACK)
        rc = error_set(e, FL_CONFIG,
                       "redis.managed on several hosts: others could connect to it, so it wants "
                       "redis.password_file, or `security: none`");
    if (!rc && !(rc = state_path(c->text[3], p, e, "redis/redis.conf")))
        rc = write_redis_password(p, c->text[3], password, e);
    c->argv[1] = c->text[3];
    c->n_text = 4;
    explicit_bzero(password, sizeof password);
    return rc;
}

int roles_check_redis(const struct pipeline *p, struct error *e)
{
    if (!p->redis.managed || (p->n_hosts && pipeline_host(p, p->redis.host) != p->here) ||
        (p->redis.endpoint && !strncmp(p->redis.endpoint, "unix:", 5)))
        return FL_OK;
    return error_set(
        e, FL_CONFIG,
        "redis.managed: the Redis that `up` starts has a unix socket, not %s: leave redis.endpoint out",
        p->redis.endpoint ? p->redis.endpoint : "nothing");
}

static int redis_command(struct role_command *c, const struct pipeline *p, struct error *e)
{
    static char *const fixed[] = {
        "--appendonly",  "yes",    "--save",           "",    "--daemonize",        "no",
        "--appendfsync", "always", "--unixsocketperm", "700", "--always-show-logo", "no"};
    int n = 0, rc;

    if ((rc = roles_check_redis(p, e)))
        return rc;
    snprintf(c->text[0], sizeof c->text[0], "%s",
             p->redis.endpoint + 5); /* the socket's folder, for this user alone */
    if (strrchr(c->text[0], '/') > c->text[0])
        *strrchr(c->text[0], '/') = 0;
    if ((rc = state_make_private(c->text[0], e)) || (rc = state_path(c->text[0], p, e, "redis")) ||
        (rc = state_make(c->text[0], e)) || (rc = state_path(c->text[1], p, e, "logs/redis.log")))
        return rc;
    c->n_text = 2;
    c->argv[n++] = "redis-server";
    if (pipeline_also(p, p->redis.endpoint))
        n++; /* the file, first */
    if ((rc = redis_port(c, &n, p, e)))
        return rc;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        c->argv[n++] = fixed[i];
    c->argv[n++] = "--dir";
    c->argv[n++] = c->text[0];
    c->argv[n++] = "--logfile"; /* opened for each line: the supervisor can move it away */
    c->argv[n++] = c->text[1];
    c->argv[n++] = "--unixsocket";
    c->argv[n++] = p->redis.endpoint + 5;
    c->argv[n] = NULL;
    return FL_OK;
}

int roles_command(struct role_command *out, const struct role *r, const struct pipeline *p,
                  const struct pipeline_arguments *a, struct error *e)
{
    int n = 0, rc;

    memset(out, 0, sizeof *out);
    if (r->kind == ROLE_KIND_REDIS)
        return redis_command(out, p, e);
    out->argv[n++] = program(out, r->kind == ROLE_KIND_BROKER    ? "freezeline-broker"
                                  : r->kind == ROLE_KIND_CACHE   ? "freezeline-cache"
                                  : r->kind == ROLE_KIND_LEARNER ? "freezeline-learner"
                                                                 : "freezeline-stage");
    if ((rc = state_path(out->text[out->n_text], p, e, "logs/%s.log", r->name)))
        return rc;
    out->argv[n++] = "--log";
    out->argv[n++] = out->text[out->n_text++];
    out->argv[n++] = "-c";
    out->argv[n++] = (char *)(uintptr_t)a->path;
    if (p->here >= 0) {
        out->argv[n++] = "--host";
        out->argv[n++] = p->host[p->here].name;
    }
    for (int i = 0; i < a->sets.n; i++) {
        out->argv[n++] = "--set";
        out->argv[n++] = (char *)(uintptr_t)a->sets.item[i];
    }
    if (r->kind == ROLE_KIND_CACHE || r->kind == ROLE_KIND_LEARNER ||
        (r->kind == ROLE_KIND_BROKER && r->replica)) {
        out->argv[n++] = "--index";
        out->argv[n++] = number(out, r->replica);
    } else if (r->kind == ROLE_KIND_STAGE) {
        out->argv[n++] = "--stage";
        out->argv[n++] = number(out, r->stage);
        out->argv[n++] = "--replica";
        out->argv[n++] = number(out, r->replica);
    }
    out->argv[n] = NULL;
    return FL_OK;
}

char *roles_name(const struct process_status *s, char *buf, size_t size)
{
    if (s->role == ROLE_BROKER)
        broker_name((int)s->replica, buf, size);
    else if (s->role == ROLE_CACHE || s->role == ROLE_LEARNER)
        snprintf(buf, size, "%s%u", s->role == ROLE_CACHE ? "cache" : "learner", s->replica);
    else
        snprintf(buf, size, "stage%u.%u", s->stage, s->replica);
    return buf;
}

const struct process_status *roles_told(const struct status_reply *s, const char *name)
{
    const struct process_status *dead = NULL;
    char told[32];

    for (int i = 0; i < s->n_processes; i++) {
        if (strcmp(roles_name(&s->process[i], told, sizeof told), name))
            continue;
        if (strcmp(s->process[i].state, "dead"))
            return &s->process[i];
        dead = dead ? dead : &s->process[i];
    }
    return dead;
}

/* As the cache services see it, which alone talk to it. */
static const char *redis_state(const struct status_reply *s)
{
    bool asked = false;

    for (int i = 0; i < s->n_processes; i++) {
        if (s->process[i].role != ROLE_CACHE || strcmp(s->process[i].state, "ready") != 0)
            continue;
        if (s->process[i].last.redis_up)
            return "ready";
        asked = true;
    }
    return asked ? "no answer" : NULL;
}

const char *roles_state(const struct status_reply *s, const struct pipeline *p, const struct role *r)
{
    const struct process_status *told = roles_told(s, r->name);

    if (told)
        return told->state;
    if (!s->started_ns)
        return NULL;
    if (r->kind == ROLE_KIND_BROKER)
        return pipeline_brokers(p) == 1 ? "ready" : "no answer";
    return r->kind == ROLE_KIND_REDIS ? redis_state(s) : NULL;
}
