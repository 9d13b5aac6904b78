/* pipeline_hosts.c - which process is on which host, and by which endpoints they meet
 *
 * All of it follows from the file: two processes that read the same one agree. Where the file names no hosts,
 * every endpoint that it does not give is a unix socket. Where it names hosts, each process that listens has
 * two: a unix socket for its own host, and tcp for the others. Pure.
 */
#include "pipeline_keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"

#define PORT_BROKER 1
#define PORT_CACHE  16
#define PORT_STAGE  32

/* One endpoint of the pipeline. */
struct listener {
    char **endpoint;
    const char *host;
    int port;      /* behind p->port */
    char name[40]; /* of its socket */
};

static int no_memory(const struct pipeline *p, struct error *e)
{
    return error_set(e, FL_NOMEM, "out of memory while reading %s", p->path);
}

static bool format_to(char **to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool format_to(char **to, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    free(*to);
    *to = text;
    return text != NULL;
}

static bool copy_to(char **to, const char *text)
{
    return format_to(to, "%s", text);
}

int pipeline_host(const struct pipeline *p, const char *name)
{
    for (int i = 0; name && i < p->n_hosts; i++)
        if (!strcmp(p->host[i].name, name))
            return i;
    return -1;
}

/* --- hosts --- */

static int check_host(struct pipeline *p, int i, struct error *e)
{
    struct host_config *h = &p->host[i];
    char key[32];

    snprintf(key, sizeof key, "hosts.%d", i);
    if (!h->name)
        return pipeline_error(p, key, e, "a host has no `name`");
    for (int k = 0; k < i; k++)
        if (!strcmp(p->host[k].name, h->name))
            return pipeline_error(p, key, e, "two hosts are called `%s`", h->name);
    if ((!h->address && !copy_to(&h->address, h->name)) || (!h->ssh && !copy_to(&h->ssh, h->address)))
        return no_memory(p, e);
    if (*h->ssh == '-' || strpbrk(h->ssh, " \t\n'\"\\$`;&|<>()"))
        return pipeline_error(p, key, e, "ssh: `%.100s` is not understood: write HOST or USER@HOST", h->ssh);
    for (int k = 0; k < i; k++)
        if (!strcmp(p->host[k].address, h->address))
            return pipeline_error(p, key, e, "hosts `%s` and `%s` have the same address, %s", p->host[k].name,
                                  h->name, h->address);
    return FL_OK;
}

static int unknown_host(const struct pipeline *p, const char *key, const char *name, struct error *e)
{
    char list[200] = "";
    for (int i = 0; i < p->n_hosts; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", p->host[i].name);
    return pipeline_error(p, key, e, "host `%.100s` is none of `hosts` (%s)", name, list);
}

/* Checks a host that the file names for something, or sets the one that it has by default. */
static int choose(struct pipeline *p, char **host, const char *otherwise, const char *key, struct error *e)
{
    if (*host && pipeline_host(p, *host) < 0)
        return unknown_host(p, key, *host, e);
    return *host || copy_to(host, otherwise) ? FL_OK : no_memory(p, e);
}

/* --- brokers --- */

/* What the file says of `broker` alone is said of the first of them. */
static int take_first(struct pipeline *p, struct error *e)
{
    struct broker_config *b = &p->broker;
    struct broker_replica *first = &b->replica[0];
    char *const given[] = {b->host, b->requests, b->control, b->results, b->http};
    char **const to[] = {&first->host, &first->requests, &first->control, &first->results, &first->http};
    if (!b->n_replicas)
        b->n_replicas = 1;
    for (int i = 0; i < 5; i++)
        if (given[i] && !*to[i] && !copy_to(to[i], given[i]))
            return no_memory(p, e);
    return FL_OK;
}

static void broker_key(const struct broker_config *b, int i, char *buf, size_t size)
{
    if (!i && b->host && !strcmp(b->host, b->replica[0].host))
        snprintf(buf, size, "broker.host");
    else
        snprintf(buf, size, "broker.replicas.%d.host", i);
}

static int place_brokers(struct pipeline *p, struct error *e)
{
    struct broker_config *b = &p->broker;
    int rc = FL_OK;
    for (int i = 0; !rc && i < b->n_replicas; i++) {
        char key[48];
        broker_key(b, i, key, sizeof key);
        rc = choose(p, &b->replica[i].host, p->host[i % p->n_hosts].name, key, e);
    }
    return rc;
}

/* --- workers --- */

struct slots {
    int used[PIPELINE_MAX_HOSTS];
    int next; /* the host that is asked first */
};

/* Of the hosts that have a free slot the one with the fewest workers, and of those the next; -1: none. */
static int next_free(const struct pipeline *p, struct slots *s)
{
    int best = -1;
    for (int i = 0; i < p->n_hosts; i++) {
        int h = (s->next + i) % p->n_hosts;
        if ((!p->host[h].slots || s->used[h] < p->host[h].slots) && (best < 0 || s->used[h] < s->used[best]))
            best = h;
    }
    s->next = best + 1;
    return best;
}

static int count_named(struct pipeline *p, struct slots *s, struct error *e)
{
    char key[64];
    for (int i = 0; i < p->n_stages; i++)
        for (int r = 0; r < p->stage[i].n_replicas; r++) {
            const char *host = p->stage[i].replica[r].host;
            int at = pipeline_host(p, host);
            snprintf(key, sizeof key, "stages.%d.replicas.%d.host", i, r);
            if (host && at < 0)
                return unknown_host(p, key, host, e);
            s->used[at < 0 ? 0 : at] += at >= 0;
        }
    return FL_OK;
}

/* The replicas of a stage are on different hosts where they can be. */
static int place_workers(struct pipeline *p, struct error *e)
{
    struct slots s = {0};
    int rc = count_named(p, &s, e);
    for (int i = 0; !rc && i < p->n_stages; i++)
        for (int r = 0; r < p->stage[i].n_replicas; r++) {
            struct replica_config *w = &p->stage[i].replica[r];
            int host;
            if (w->host)
                continue;
            if ((host = next_free(p, &s)) < 0)
                return pipeline_error(p, "hosts", e,
                                      "no slot is left for stage %d, replica %d: raise `slots`, name more "
                                      "hosts, or give the replica a `host`",
                                      i, r);
            s.used[host]++;
            w->placed = true;
            if (!copy_to(&w->host, p->host[host].name))
                return no_memory(p, e);
        }
    return rc;
}

/* --- caches --- */

static bool has_worker(const struct pipeline *p, const char *host)
{
    for (int i = 0; i < p->n_stages; i++)
        for (int r = 0; r < p->stage[i].n_replicas; r++)
            if (!strcmp(p->stage[i].replica[r].host, host))
                return true;
    return false;
}

static int place_caches(struct pipeline *p, struct error *e)
{
    struct cache_config *c = &p->cache;
    char key[32];

    for (int i = 0; i < c->n_hosts; i++) {
        snprintf(key, sizeof key, "cache.hosts.%d", i);
        if (pipeline_host(p, c->host[i]) < 0)
            return unknown_host(p, key, c->host[i], e);
    }
    if (!c->n_hosts)
        for (int i = 0; i < p->n_hosts && c->n_hosts < PIPELINE_MAX_CACHES; i++)
            if (has_worker(p, p->host[i].name) && !copy_to(&c->host[c->n_hosts++], p->host[i].name))
                return no_memory(p, e);
    if (!c->n_endpoints)
        c->n_endpoints = c->n_hosts;
    if (c->n_endpoints != c->n_hosts)
        return pipeline_error(p, "cache.endpoints", e,
                              "there are %d cache.endpoints and %d hosts for them: name the hosts in "
                              "cache.hosts, one for each",
                              c->n_endpoints, c->n_hosts);
    return FL_OK;
}

/* A worker asks the cache service of its host, where there is one. */
static void choose_caches(struct pipeline *p)
{
    for (int i = 0; i < p->n_stages; i++)
        for (int r = 0; r < p->stage[i].n_replicas; r++) {
            struct replica_config *w = &p->stage[i].replica[r];
            for (int k = 0; w->cache < 0 && k < p->cache.n_hosts; k++)
                if (!strcmp(p->cache.host[k], w->host))
                    w->cache = k;
            if (w->cache < 0)
                w->cache = 0;
        }
}

static int place(struct pipeline *p, struct error *e)
{
    int rc = FL_OK;
    for (int i = 0; !rc && i < p->n_hosts; i++)
        rc = check_host(p, i, e);
    if (rc || (rc = place_brokers(p, e)) ||
        (rc = choose(p, &p->redis.host, p->broker.replica[0].host, "redis.host", e)) ||
        (rc = place_workers(p, e)))
        return rc;
    return place_caches(p, e);
}

/* Without `hosts` a worker may have a host all the same, for people to read. */
static int place_here(struct pipeline *p, struct error *e)
{
    const struct broker_config *b = &p->broker;
    char key[48] = "";
    for (int i = 0; i < b->n_replicas && !*key; i++)
        if (b->replica[i].host)
            broker_key(b, i, key, sizeof key);
    if (*key || p->cache.n_hosts || p->redis.host)
        return pipeline_error(p,
                              *key               ? key
                              : p->cache.n_hosts ? "cache.hosts"
                                                 : "redis.host",
                              e, "a host is named, but `hosts` does not say what it is");
    for (int i = 0; i < p->n_stages; i++)
        for (int r = 0; r < p->stage[i].n_replicas; r++)
            if (!p->stage[i].replica[r].host && !copy_to(&p->stage[i].replica[r].host, "local"))
                return no_memory(p, e);
    if (!p->cache.n_endpoints)
        p->cache.n_endpoints = 1;
    return FL_OK;
}

/* --- endpoints --- */

void pipeline_socket_folder(const struct pipeline *p, char *buf, size_t size)
{
    uint64_t hash = 1469598103934665603ull; /* FNV-1a */
    for (const char *c = p->state; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
    if (strlen(p->state) + strlen("/sock/stage.15.15") <= ENDPOINT_MAX_IPC_PATH)
        snprintf(buf, size, "%s/sock", p->state);
    else
        snprintf(buf, size, "/tmp/freezeline-%d-%016llx", (int)getuid(), (unsigned long long)hash);
}

static void add(struct listener *l, int *n, char **endpoint, const char *host, int port, const char *format,
                ...) __attribute__((format(printf, 6, 7)));
static void add(struct listener *l, int *n, char **endpoint, const char *host, int port, const char *format,
                ...)
{
    va_list args;
    l[*n] = (struct listener){.endpoint = endpoint, .host = host, .port = port};
    va_start(args, format);
    vsnprintf(l[*n].name, sizeof l->name, format, args);
    va_end(args);
    ++*n;
}

/* All who listen for messages, in an order that the file decides. */
static int list_listeners(struct pipeline *p, struct listener l[PIPELINE_MAX_WAYS])
{
    struct broker_config *b = &p->broker;
    int n = 0;
    for (int i = 0; i < b->n_replicas; i++) {
        struct broker_replica *r = &b->replica[i];
        char number[16] = "";
        if (i)
            snprintf(number, sizeof number, ".%d", i);
        add(l, &n, &r->requests, r->host, PORT_BROKER + 3 * i, "requests%s", number);
        add(l, &n, &r->control, r->host, PORT_BROKER + 3 * i + 1, "control%s", number);
        add(l, &n, &r->results, r->host, PORT_BROKER + 3 * i + 2, "results%s", number);
    }
    for (int i = 0; i < p->cache.n_endpoints; i++)
        add(l, &n, &p->cache.endpoint[i], p->cache.host[i], PORT_CACHE + i, "cache.%d", i);
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            add(l, &n, &p->stage[s].replica[r].endpoint, p->stage[s].replica[r].host,
                PORT_STAGE + PIPELINE_MAX_REPLICAS * s + r, "stage.%d.%d", s, r);
    return n;
}

/* Takes the tcp endpoint that the file gives, or makes one; the field has it from now on. */
static int make_way(struct pipeline *p, const struct listener *l, const char *folder, struct error *e)
{
    int host = pipeline_host(p, l->host);
    const char *address = p->host[host].address;
    struct pipeline_way *w = &p->way[p->n_ways++];
    char **given = l->endpoint;

    w->host = host;
    if (*given && !strncmp(*given, "ipc:", 4))
        return pipeline_error(p, "hosts", e,
                              "`%.200s` is a socket within a host, and there are several: leave it out, or "
                              "write tcp://HOST:PORT",
                              *given);
    if (!*given &&
        !format_to(given, strchr(address, ':') ? "tcp://[%s]:%d" : "tcp://%s:%d", address, p->port + l->port))
        return no_memory(p, e);
    return copy_to(&w->remote, *given) && format_to(&w->local, "ipc://%s/%s", folder, l->name)
               ? FL_OK
               : no_memory(p, e);
}

/* A managed Redis has a unix socket, and a port where hosts are named. */
static int derive_redis(struct pipeline *p, const char *folder, struct error *e)
{
    struct redis_config *r = &p->redis;
    struct pipeline_way *w;

    if (r->n_sentinels && !r->endpoint &&
        !format_to(&r->endpoint, "sentinel:%s", r->master ? r->master : "?"))
        return no_memory(p, e);
    if (!r->managed || r->n_sentinels)
        return FL_OK;
    if (!p->n_hosts)
        return r->endpoint || format_to(&r->endpoint, "unix:%s/redis", folder) ? FL_OK : no_memory(p, e);
    w = &p->way[p->n_ways++];
    w->host = pipeline_host(p, r->host);
    if (!r->endpoint && !format_to(&r->endpoint, "%s:%d", p->host[w->host].address, p->port))
        return no_memory(p, e);
    return copy_to(&w->remote, r->endpoint) && format_to(&w->local, "unix:%s/redis", folder)
               ? FL_OK
               : no_memory(p, e);
}

static int derive_endpoints(struct pipeline *p, struct error *e)
{
    struct listener l[PIPELINE_MAX_WAYS];
    char folder[ENDPOINT_MAX_IPC_PATH + 1];
    int n = list_listeners(p, l), rc = FL_OK;

    pipeline_socket_folder(p, folder, sizeof folder);
    for (int i = 0; !rc && i < n; i++) {
        if (p->n_hosts)
            rc = make_way(p, &l[i], folder, e);
        else if (!*l[i].endpoint && !format_to(l[i].endpoint, "ipc://%s/%s", folder, l[i].name))
            rc = no_memory(p, e);
    }
    return rc ? rc : derive_redis(p, folder, e);
}

int pipeline_place(struct pipeline *p, struct error *e)
{
    int rc = take_first(p, e);
    if (rc || (rc = p->n_hosts ? place(p, e) : place_here(p, e)))
        return rc;
    choose_caches(p);
    p->here = -1;
    rc = derive_endpoints(p, e);
    return rc ? rc : pipeline_be_broker(p, 0, e);
}

void pipeline_clear_ways(struct pipeline *p)
{
    for (int i = 0; i < p->n_ways; i++) {
        free(p->way[i].local);
        free(p->way[i].remote);
    }
    p->n_ways = 0;
}

static const struct pipeline_way *way_of(const struct pipeline *p, const char *endpoint)
{
    for (int i = 0; endpoint && i < p->n_ways; i++)
        if (!strcmp(p->way[i].local, endpoint) || !strcmp(p->way[i].remote, endpoint))
            return &p->way[i];
    return NULL;
}

const char *pipeline_way(const struct pipeline *p, int from_host, const char *to)
{
    const struct pipeline_way *w = way_of(p, to);
    return !w ? to : w->host == from_host ? w->local : w->remote;
}

const char *pipeline_also(const struct pipeline *p, const char *endpoint)
{
    const struct pipeline_way *w = way_of(p, endpoint);
    return w && !strcmp(w->local, endpoint) ? w->remote : NULL;
}

int pipeline_be_at(struct pipeline *p, int host, struct error *e)
{
    struct listener l[PIPELINE_MAX_WAYS];
    int n = list_listeners(p, l);

    p->here = host;
    if (p->redis.endpoint)
        l[n++].endpoint = &p->redis.endpoint;
    for (int i = 0; i < n; i++) {
        const char *way = pipeline_way(p, host, *l[i].endpoint);
        char *copy = way == *l[i].endpoint ? NULL : strdup(way);
        if (way != *l[i].endpoint && !copy)
            return no_memory(p, e);
        if (copy) {
            free(*l[i].endpoint);
            *l[i].endpoint = copy;
        }
    }
    return pipeline_be_broker(p, p->broker.index, e);
}
