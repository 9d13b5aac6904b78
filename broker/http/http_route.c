/* http_route.c - paths taken apart */
#include "http_route.h"

#include <string.h>
#include <strings.h>

#define MOST_PARTS 8

struct parts {
    int n;
    struct {
        const char *at;
        size_t n;
    } part[MOST_PARTS];
};

/* False: more parts than any path has that is known. */
static bool split(struct parts *out, const char *path)
{
    out->n = 0;
    while (*path == '/') {
        size_t n = strcspn(++path, "/");
        if (!n && !path[n])
            break; /* a slash at the end */
        if (out->n == MOST_PARTS)
            return false;
        out->part[out->n].at = path;
        out->part[out->n++].n = n;
        path += n;
    }
    return !*path;
}

static bool is(const struct parts *p, int i, const char *word)
{
    return i < p->n && p->part[i].n == strlen(word) && !memcmp(p->part[i].at, word, p->part[i].n);
}

static struct http_route not_here(const char *path)
{
    struct http_route r = {.status = 404};
    error_set(&r.why, FL_NOT_FOUND, "there is nothing at %.200s: see GET /v2", path);
    return r;
}

/* What Triton has beside the protocol and this server does in another way. */
static struct http_route not_had(const char *what, const char *instead)
{
    struct http_route r = {.status = 501};
    error_set(&r.why, FL_UNSUPPORTED, "%s are not had over HTTP: use %s", what, instead);
    return r;
}

/* Part i names another model. */
static struct http_route unknown(const struct parts *p, int i, const char *model)
{
    struct http_route r = {.status = 404};
    error_set(&r.why, FL_NOT_FOUND, "Request for unknown model: '%.*s' is not found; '%.64s' is served here",
              (int)(p->part[i].n < 100 ? p->part[i].n : 100), p->part[i].at, model);
    return r;
}

/* What follows /v2/models. */
static struct http_route model_route(const struct parts *p, const char *path, const char *model)
{
    struct http_route r = {.target = TARGET_NONE};
    int i = 3;
    if (p->n < 3)
        return not_here(path);
    if (!is(p, 2, model))
        return unknown(p, 2, model);
    if (is(p, i, "versions")) {
        if (!is(p, i + 1, "1")) {
            r.status = 404;
            error_set(&r.why, FL_NOT_FOUND, "Request for unknown model: '%.64s' has version 1 alone", model);
            return r;
        }
        i += 2;
    }
    if (p->n == i)
        r.target = TARGET_MODEL;
    else if (p->n == i + 1 && is(p, i, "ready"))
        r.target = TARGET_MODEL_READY;
    else if (p->n == i + 1 && is(p, i, "infer"))
        r.target = TARGET_INFER;
    else if (p->n == i + 1 && is(p, i, "feedback"))
        r.target = TARGET_FEEDBACK;
    else if (p->n == i + 1 && is(p, i, "config"))
        r.target = TARGET_CONFIG;
    else if (p->n == i + 1 && is(p, i, "stats"))
        r.target = TARGET_STATS;
    else if (p->n == i + 2 && is(p, i, "trace") && is(p, i + 1, "setting"))
        r.target = TARGET_TRACES;
    else
        return not_here(path);
    return r;
}

/* What follows /v2/repository. */
static struct http_route repository_route(const struct parts *p, const char *path, const char *model)
{
    struct http_route r = {.target = TARGET_NONE};
    if (p->n == 3 && is(p, 2, "index"))
        r.target = TARGET_INDEX;
    else if (p->n != 5 || !is(p, 2, "models") || (!is(p, 4, "load") && !is(p, 4, "unload")))
        return not_here(path);
    else if (!is(p, 3, model))
        return unknown(p, 3, model);
    else
        r.target = is(p, 4, "load") ? TARGET_LOAD : TARGET_UNLOAD;
    return r;
}

static struct http_route find(const char *path, const char *model)
{
    struct http_route r = {.target = TARGET_NONE};
    struct parts p;
    if (!split(&p, path))
        return not_here(path);
    if (p.n == 0 && *path == '/')
        r.target = TARGET_PAGE;
    else if (p.n == 1 && is(&p, 0, "live"))
        r.target = TARGET_LIVE_STATE;
    else if (p.n == 1 && is(&p, 0, "metrics"))
        r.target = TARGET_METRICS;
    else if (!is(&p, 0, "v2"))
        return not_here(path);
    else if (p.n == 1)
        r.target = TARGET_SERVER;
    else if (p.n == 3 && is(&p, 1, "health") && is(&p, 2, "live"))
        r.target = TARGET_LIVE;
    else if (p.n == 3 && is(&p, 1, "health") && is(&p, 2, "ready"))
        r.target = TARGET_READY;
    else if (p.n == 3 && is(&p, 1, "models") && is(&p, 2, "stats"))
        r.target = TARGET_STATS;
    else if (is(&p, 1, "repository"))
        return repository_route(&p, path, model);
    else if (p.n == 3 && is(&p, 1, "trace") && is(&p, 2, "setting"))
        r.target = TARGET_TRACES;
    else if (is(&p, 1, "systemsharedmemory") || is(&p, 1, "cudasharedmemory"))
        return not_had("shared memory regions",
                       "binary data, or the native client, which shares memory by itself");
    else if (is(&p, 1, "logging"))
        return not_had("log settings", "the pipeline file");
    else if (is(&p, 1, "models"))
        return model_route(&p, path, model);
    else
        return not_here(path);
    return r;
}

/* What proxies are asked for names its host, too. */
static const char *behind_host(const char *path)
{
    size_t scheme = !strncasecmp(path, "http://", 7) ? 7 : !strncasecmp(path, "https://", 8) ? 8 : 0;
    const char *slash = scheme ? strchr(path + scheme, '/') : path;
    return slash ? slash : "/";
}

bool http_changes(enum http_target target)
{
    return target == TARGET_LOAD || target == TARGET_UNLOAD || target == TARGET_SET_TRACES;
}

bool http_has_body(enum http_target target)
{
    return http_changes(target) || target == TARGET_INFER || target == TARGET_FEEDBACK ||
           target == TARGET_INDEX;
}

struct http_route http_route(const char *method, const char *path, const char *model)
{
    struct http_route r = find(path = behind_host(path), model);
    bool reads = !strcmp(method, "GET") || !strcmp(method, "HEAD");
    bool posts = http_has_body(r.target), either = r.target == TARGET_TRACES;
    if (r.status || (posts ? !strcmp(method, "POST") : reads))
        return r;
    if (either && !strcmp(method, "POST")) {
        r.target = TARGET_SET_TRACES;
        return r;
    }
    r.allow = posts ? "POST" : either ? "GET, HEAD, POST" : "GET, HEAD";
    r.status = 405;
    error_set(&r.why, FL_USAGE, "%.20s is not for %.200s: use %s", method, path, r.allow);
    r.target = TARGET_NONE;
    return r;
}
