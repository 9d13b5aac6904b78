/* pipeline.c - loading a pipeline file: entries applied in order, defaults derived, everything cross-checked
 *
 * Order: the table's defaults, the file, then each --set. Later values win; a --set that names a whole list
 * replaces it.
 */
#include "pipeline_keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "keys/keys.h"
#include "precision.h"

struct loading {
    struct pipeline *p;
    struct error *e;
};

static struct key_source source_of(const struct loading *l, const struct yaml_entry *entry)
{
    return (struct key_source){.file = l->p->path, .entry = entry};
}

/* Where a message about `path` points: its last entry, or that of its nearest parent in the file. Cuts
 * `path`. */
static struct key_source find_source(const struct pipeline *p, char *path)
{
    while (*path) {
        char *dot = strrchr(path, '.');
        for (int i = p->entries ? p->entries->n - 1 : -1; i >= 0; i--)
            if (!strcmp(p->entries->item[i].path, path))
                return (struct key_source){.file = p->path, .entry = &p->entries->item[i]};
        if (!dot)
            break;
        *dot = '\0';
    }
    return (struct key_source){.file = p->path ? p->path : "the pipeline file"};
}

static struct key_source source_at(const struct loading *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct key_source source_at(const struct loading *l, const char *format, ...)
{
    char path[YAML_MAX_PATH];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return find_source(l->p, path);
}

int pipeline_error(const struct pipeline *p, const char *key, struct error *e, const char *format, ...)
{
    char path[YAML_MAX_PATH], text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(path, sizeof path, "%s", key);
    return key_error(find_source(p, path), false, e, "%s", text);
}

static int unknown_key(const struct loading *l, const struct yaml_entry *entry, const char *pattern)
{
    char nearest[128];
    return key_error(source_of(l, entry), true, l->e, "unknown key `%.150s`; the nearest known key is `%s`",
                     entry->path, key_nearest(pattern, nearest, sizeof nearest));
}

/* One value where a list is due is a list of one: `mean: 128` means `mean: [128]`. */
static int set_only_item(const struct loading *l, const char *pattern, const int *given, const char *text,
                         struct key_source o)
{
    char item[YAML_MAX_PATH];
    int index[YAML_MAX_INDICES + 1] = {0}, n = 0, rc;
    const struct key *k;
    for (const char *c = pattern; *c; c++)
        if (*c == '#')
            index[n] = given[n], n++;
    snprintf(item, sizeof item, "%.500s.#", pattern);
    if (!(k = key_find(item)))
        return key_error(o, false, l->e, "%s takes a list", pattern);
    rc = key_start_list(l->p, pattern, index, o, l->e);
    return rc ? rc : key_set(l->p, k, index, text, o, l->e);
}

static int apply_entry(struct loading *l, const struct yaml_entry *entry)
{
    struct key_source o = source_of(l, entry);
    char pattern[YAML_MAX_PATH], takes[160];
    int index[YAML_MAX_INDICES] = {0};
    const struct key *k;
    bool section, list;

    if (!yaml_pattern(entry->path, pattern, sizeof pattern, index))
        return unknown_key(l, entry, entry->path);
    k = key_find(pattern);
    section = key_is_section(pattern);
    list = key_is_list(pattern);
    if (!k && !section && !list)
        return unknown_key(l, entry, pattern);
    if (entry->kind == YAML_IS_NULL)
        return FL_OK; /* an empty value: as if the key were not there */
    if (entry->kind == YAML_IS_MAP && section)
        return key_start_item(l->p, pattern, index, o, l->e);
    if (entry->kind == YAML_IS_LIST && list)
        return key_start_list(l->p, pattern, index, o, l->e);
    if (entry->kind == YAML_IS_SCALAR && k)
        return key_set(l->p, k, index, entry->text, o, l->e);
    if (entry->kind == YAML_IS_SCALAR && list && !section)
        return set_only_item(l, pattern, index, entry->text, o);
    if (k)
        return key_error(o, false, l->e, "%s takes %s%s, not a %s", pattern,
                         key_takes(k, takes, sizeof takes), list ? ", or a list" : "",
                         entry->kind == YAML_IS_MAP ? "mapping" : "list");
    return key_error(o, false, l->e, "%s takes %s", *pattern ? pattern : "the file",
                     section ? "keys of its own, indented below it" : "a list");
}

/* `--set KEY=VALUE`; a value that begins with [ or { is YAML. */
static int read_set(struct loading *l, const char *set)
{
    const char *equals = strchr(set, '=');
    char key[YAML_MAX_PATH];
    if (!equals || equals == set || equals - set >= (int)sizeof key)
        return error_set(l->e, FL_USAGE,
                         "--set %.100s: write --set KEY=VALUE, such as --set broker.retries=3", set);
    snprintf(key, sizeof key, "%.*s", (int)(equals - set), set);
    if (equals[1] == '[' || equals[1] == '{')
        return yaml_read(l->p->entries, equals + 1, strlen(equals + 1), l->p->path, key, l->e);
    if (strlen(equals + 1) > YAML_MAX_SCALAR)
        return error_set(l->e, FL_CONFIG, "--set %.100s: the value is too long", key);
    return yaml_append(l->p->entries, key, equals + 1, l->e);
}

static int out_of_memory(const struct loading *l)
{
    return error_set(l->e, FL_NOMEM, "out of memory while reading %s", l->p->path);
}

/* Sets *to to a formatted text unless it is there. */
static bool fill(char **to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fill(char **to, const char *format, ...)
{
    va_list args;
    int rc;
    if (*to)
        return true;
    va_start(args, format);
    rc = vasprintf(to, format, args);
    va_end(args);
    if (rc < 0)
        *to = NULL;
    return rc >= 0;
}

static int derive_names(struct loading *l)
{
    struct pipeline *p = l->p;
    struct yaml_entry here = {.line = 1};
    const char *base;
    char name[64] = "";
    if (!p->model)
        return error_set(l->e, FL_CONFIG, "%s: `model` is missing: write `model: FILE.onnx`", p->path);
    base = strrchr(p->model, '/');
    base = base ? base + 1 : p->model;
    for (size_t i = 0; i < sizeof name - 1 && base[i] && strcmp(base + i, ".onnx"); i++)
        name[i] = strchr("/ :{}*?[]\"'\\", base[i]) ? '_' : base[i];
    if (!*name || *name == '.' || *name == '-')
        memcpy(name, "model", 6);
    if (!fill(&p->name, "%s", name))
        return out_of_memory(l);
    if (!p->state) {
        char state[96];
        int rc;
        snprintf(state, sizeof state, ".freezeline/%s", p->name);
        if ((rc = key_set(p, key_find("state"), NULL, state,
                          (struct key_source){.file = p->path, .entry = &here}, l->e)))
            return rc;
    }
    return fill(&p->keys, "%s/keys", p->state) ? FL_OK : out_of_memory(l);
}

static bool is_given(const struct loading *l, const char *path)
{
    for (int i = 0; i < l->p->entries->n; i++)
        if (l->p->entries->item[i].kind == YAML_IS_SCALAR && !strcmp(l->p->entries->item[i].path, path))
            return true;
    return false;
}

/* Where caches under a promise stay as they were certified nothing is sampled for them. */
static void derive_updates(struct loading *l)
{
    struct pipeline *p = l->p;
    if (p->cache.rule != THRESHOLD_RISK || pipeline_learns(p))
        return;
    if (is_given(l, "updates.sample"))
        p->updates.in_vain = p->updates.sample;
    p->updates.sample = 0;
}

static int derive(struct loading *l)
{
    struct pipeline *p = l->p;
    int rc = derive_names(l);
    if (rc)
        return rc;
    if (!is_given(l, "broker.hung_after_ms"))
        p->broker.hung_after_ms = 5 * p->broker.dead_after_ms > 10000 ? 5 * p->broker.dead_after_ms : 10000;
    if (!p->n_stages)
        pipeline_add_stage(p);
    for (int i = 0; i < p->n_stages; i++)
        if (!p->stage[i].n_replicas)
            pipeline_add_replica(&p->stage[i]);
    for (int i = 0; i < p->n_exits; i++)
        if (!fill(&p->exit[i].name, "exit%d", i + 1))
            return out_of_memory(l);
    if ((rc = pipeline_place(p, l->e)))
        return rc;
    derive_updates(l);
    return FL_OK;
}

static int check_exits(struct loading *l)
{
    struct pipeline *p = l->p;
    for (int i = 0; i < p->n_exits; i++) {
        if (!p->exit[i].after)
            return key_error(
                source_at(l, "exits.%d", i), false, l->e,
                "exit `%s` has no `after`: name the layer after which it stands (see `freezeline inspect`)",
                p->exit[i].name);
        for (int j = 0; j < i; j++) {
            if (!strcmp(p->exit[i].name, p->exit[j].name))
                return key_error(source_at(l, "exits.%d.name", i), false, l->e, "two exits are called `%s`",
                                 p->exit[i].name);
            if (!strcmp(p->exit[i].after, p->exit[j].after))
                return key_error(source_at(l, "exits.%d.after", i), false, l->e,
                                 "exits `%s` and `%s` stand after the same layer", p->exit[j].name,
                                 p->exit[i].name);
        }
    }
    return FL_OK;
}

/* Names of exits become names of nodes; either all stages but the last are cut, or none is. */
static int check_stages(struct loading *l)
{
    struct pipeline *p = l->p;
    int cut = 0;
    for (int i = 0; i < p->n_stages; i++) {
        struct stage_config *s = &p->stage[i];
        cut += s->last != NULL;
        for (int x = 0; s->last && x < p->n_exits; x++)
            if (!strcmp(s->last, p->exit[x].name)) {
                char *after = strdup(p->exit[x].after);
                if (!after)
                    return out_of_memory(l);
                free(s->last);
                s->last = after;
                break;
            }
        if (s->last && i == p->n_stages - 1)
            return key_error(source_at(l, "stages.%d.last", i), false, l->e,
                             "the last stage ends with the model: leave its `last` out, or add a stage");
    }
    for (int i = 0; cut && i < p->n_stages - 1; i++)
        if (!p->stage[i].last)
            return key_error(source_at(l, "stages.%d", i), false, l->e,
                             "stage %d has no `last`: name its last layer, or run `freezeline plan`", i);
    return FL_OK;
}

static int check_workers(struct loading *l)
{
    struct pipeline *p = l->p;
    int workers = p->cache.n_endpoints;
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++, workers++)
            if (p->stage[s].replica[r].cache >= p->cache.n_endpoints)
                return key_error(source_at(l, "stages.%d.replicas.%d.cache", s, r), false, l->e,
                                 "cache %d is none of cache.endpoints, which has %d",
                                 p->stage[s].replica[r].cache, p->cache.n_endpoints);
    if (workers > PIPELINE_MAX_WORKERS)
        return key_error(source_at(l, "stages"), false, l->e,
                         "%d stage workers and cache services are too many, at most %d can be told apart",
                         workers, PIPELINE_MAX_WORKERS);
    return FL_OK;
}

struct used_endpoints {
    int n;
    const char *endpoint[PIPELINE_MAX_WAYS];
};

static int check_endpoint(struct loading *l, struct used_endpoints *used, const char *endpoint,
                          struct key_source o)
{
    struct error why;
    if (endpoint_check(endpoint, &l->p->security, &why) || endpoint_connectable(endpoint, &why))
        return key_error(o, false, l->e, "%.390s", why.text);
    for (int i = 0; i < used->n; i++)
        if (!strcmp(used->endpoint[i], endpoint))
            return key_error(o, false, l->e, "endpoint `%.200s` is used twice", endpoint);
    used->endpoint[used->n++] = endpoint;
    return FL_OK;
}

/* `bind` must be a host as in an endpoint, and `security` holds for it too. */
static int check_bind(struct loading *l)
{
    const struct security anywhere = {.mode = SECURITY_NONE};
    const char *bind = l->p->bind;
    char endpoint[300];
    struct error why;

    if (!bind)
        return FL_OK;
    snprintf(endpoint, sizeof endpoint,
             strchr(bind, ':') && *bind != '[' ? "tcp://[%.200s]:1" : "tcp://%.200s:1", bind);
    if (strlen(bind) > 200 || endpoint_check(endpoint, &anywhere, &why))
        return key_error(
            source_at(l, "bind"), false, l->e,
            "bind: `%.100s` is not understood: write '*', an address, a host name or an interface", bind);
    if (endpoint_check(endpoint, &l->p->security, &why))
        return key_error(
            source_at(l, "bind"), false, l->e,
            "bind: `%.100s` is not loopback and traffic is not protected: leave it out, or write "
            "`security: curve`, or `security: none` where the network itself is trusted",
            bind);
    return FL_OK;
}

/* Where hosts are named, processes listen at their addresses: `security` holds for these. */
static int check_hosts(struct loading *l)
{
    const struct pipeline *p = l->p;
    char endpoint[300];
    struct error why;

    for (int i = 0; i < p->n_hosts; i++) {
        const char *address = p->host[i].address;
        snprintf(endpoint, sizeof endpoint, strchr(address, ':') ? "tcp://[%s]:1" : "tcp://%s:1", address);
        if (endpoint_check(endpoint, &p->security, &why))
            return key_error(source_at(l, "hosts.%d.address", i), false, l->e,
                             "host %s: `%s` is not loopback and traffic is not protected: write `security: "
                             "curve` (and see "
                             "`freezeline keys`), or `security: none` where the network itself is trusted",
                             p->host[i].name, address);
    }
    return FL_OK;
}

/* `broker.http` is HOST:PORT; any port may stand for it. `key`: where it was given. */
static int check_http(struct loading *l, const char *http, const char *key)
{
    const struct security anywhere = {.mode = SECURITY_NONE};
    char endpoint[300];
    struct error why;

    if (!http)
        return FL_OK;
    snprintf(endpoint, sizeof endpoint, "tcp://%.250s", http);
    if (strlen(http) > 250 || endpoint_check(endpoint, &anywhere, &why))
        return key_error(
            source_at(l, "%s", key), false, l->e,
            "broker.http: `%.100s` is not understood: write HOST:PORT, IPv6 addresses in brackets", http);
    if (!l->p->broker.http_tls && l->p->security.mode != SECURITY_NONE &&
        endpoint_check(endpoint, NULL, &why))
        return key_error(source_at(l, "%s", key), false, l->e,
                         "broker.http: `%.100s` is not loopback and traffic is not protected: write "
                         "`broker.http_tls: true` (and see "
                         "`freezeline keys token`), or use 127.0.0.1, or `security: none` where the network "
                         "itself is trusted",
                         http);
    return FL_OK;
}

static int check_brokers(struct loading *l, struct used_endpoints *used)
{
    const struct broker_config *b = &l->p->broker;
    for (int i = 0; i < b->n_replicas; i++) {
        const struct broker_replica *r = &b->replica[i];
        const struct {
            const char *name, *endpoint;
        } end[] = {{"requests", r->requests}, {"control", r->control}, {"results", r->results}};
        char key[64];
        int rc;
        for (int k = 0; k < 3; k++) {
            snprintf(key, sizeof key, "broker.replicas.%d.%s", i, end[k].name);
            if (!i && !is_given(l, key))
                snprintf(key, sizeof key, "broker.%s", end[k].name);
            if ((rc = check_endpoint(l, used, end[k].endpoint, source_at(l, "%s", key))))
                return rc;
        }
        snprintf(key, sizeof key, "broker.replicas.%d.http", i);
        if ((rc = check_http(l, r->http, i || is_given(l, key) ? key : "broker.http")))
            return rc;
        for (int k = 0; k < i && r->http; k++)
            if (b->replica[k].http && !strcmp(b->replica[k].http, r->http))
                return key_error(source_at(l, "%s", key), false, l->e, "`%.200s` is used by two brokers",
                                 r->http);
    }
    return FL_OK;
}

static int check_endpoints(struct loading *l)
{
    struct pipeline *p = l->p;
    struct used_endpoints used = {0};
    int rc;
    if ((rc = check_bind(l)) || (rc = check_hosts(l)) || (rc = check_brokers(l, &used)))
        return rc;
    for (int i = 0; i < p->cache.n_endpoints; i++)
        if ((rc = check_endpoint(l, &used, p->cache.endpoint[i], source_at(l, "cache.endpoints.%d", i))))
            return rc;
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            if ((rc = check_endpoint(l, &used, p->stage[s].replica[r].endpoint,
                                     source_at(l, "stages.%d.replicas.%d.endpoint", s, r))))
                return rc;
    return FL_OK;
}

static int check_values(struct loading *l)
{
    struct pipeline *p = l->p;
    if (p->n_shape && p->shape[0] != 1)
        return key_error(source_at(l, "input.shape"), false, l->e,
                         "input.shape is that of one request: it begins with a batch of 1, not %d",
                         p->shape[0]);
    if (p->broker.dead_after_ms < 2 * p->broker.heartbeat_ms)
        return key_error(source_at(l, "broker.dead_after_ms"), false, l->e,
                         "broker.dead_after_ms (%d) must be at least twice broker.heartbeat_ms (%d)",
                         p->broker.dead_after_ms, p->broker.heartbeat_ms);
    if (p->broker.hung_after_ms && p->broker.hung_after_ms < 3 * p->broker.dead_after_ms)
        return key_error(source_at(l, "broker.hung_after_ms"), false, l->e,
                         "broker.hung_after_ms (%d) must be at least 3 times broker.dead_after_ms (%d), or 0",
                         p->broker.hung_after_ms, p->broker.dead_after_ms);
    if (!p->cache.descriptor.flatten && !p->cache.descriptor.n_grids)
        return key_error(source_at(l, "cache.grids"), false, l->e,
                         "cache.grids is empty: write [1, 2, 4], or flatten: true");
    return FL_OK;
}

/* The same item twice in a list is a mistake. */
static int check_distinct(const struct loading *l, const char *key, const int *item, int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            if (item[i] == item[k])
                return key_error(source_at(l, "%s.%d", key, i), false, l->e, "%s has %d twice", key, item[i]);
    return FL_OK;
}

static int check_lists(const struct loading *l)
{
    const struct pipeline *p = l->p;
    char key[64];
    int rc = check_distinct(l, "cache.grids", p->cache.descriptor.grid, p->cache.descriptor.n_grids);
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; !rc && r < p->stage[s].n_replicas; r++) {
            snprintf(key, sizeof key, "stages.%d.replicas.%d.cpus", s, r);
            rc = check_distinct(l, key, p->stage[s].replica[r].cpu, p->stage[s].replica[r].n_cpus);
        }
    return rc;
}

static int check_variants(struct loading *l)
{
    const struct pipeline *p = l->p;
    for (int i = 0; i < p->n_variants; i++) {
        const struct variant_config *v = &p->variant[i];
        struct key_source o = source_at(l, "variants.%d", i);
        if (!v->name)
            return key_error(o, false, l->e, "a variant has no `name`");
        if (!i && (v->file || v->n_sets))
            return key_error(
                o, false, l->e,
                "the first variant, `%s`, is the pipeline of this file itself: leave its `file` and "
                "`set` out",
                v->name);
        if (i && !v->file == !v->n_sets)
            return key_error(
                o, false, l->e,
                "variant `%s`: write either `file: FILE.yaml` or `set: [KEY=VALUE]`, by which it "
                "is another one",
                v->name);
        for (int k = 0; k < i; k++)
            if (!strcmp(v->name, p->variant[k].name))
                return key_error(o, false, l->e, "two variants are called `%s`", v->name);
    }
    return FL_OK;
}

static int load(struct loading *l, const char *text, size_t size, const char *const *sets, int n_sets)
{
    int rc = key_set_defaults(l->p, l->e);
    if (!rc)
        rc = yaml_read(l->p->entries, text, size, l->p->path, NULL, l->e);
    for (int i = 0; !rc && i < n_sets; i++)
        rc = read_set(l, sets[i]);
    for (int i = 0; !rc && i < l->p->entries->n; i++)
        rc = apply_entry(l, &l->p->entries->item[i]);
    if (rc || (rc = derive(l)) || (rc = check_exits(l)) || (rc = check_stages(l)) ||
        (rc = check_workers(l)) || (rc = check_endpoints(l)) || (rc = check_lists(l)) ||
        (rc = check_values(l)) || (rc = check_variants(l)))
        return rc;
    precision_find(l->p);
    return FL_OK;
}

int pipeline_parse(struct pipeline **out, const char *text, size_t size, const char *name,
                   const char *const *sets, int n_sets, struct error *e)
{
    struct error unused = {0};
    struct loading l = {.p = calloc(1, sizeof *l.p), .e = e ? e : &unused};
    int rc;
    *out = NULL;
    if (!l.p || !(l.p->path = strdup(name)) || !(l.p->entries = calloc(1, sizeof *l.p->entries))) {
        pipeline_free(l.p);
        return error_set(e, FL_NOMEM, "out of memory while reading %s", name);
    }
    rc = load(&l, text, size, sets, n_sets);
    if (rc)
        pipeline_free(l.p);
    else
        *out = l.p;
    return rc;
}

const char *pipeline_origin(const char *text)
{
    const char *end = text + strlen(text), *line;
    if (end > text && end[-1] == '\n')
        end--;
    for (line = end; line > text && line[-1] != '\n'; line--)
        continue;
    return strncmp(line, PIPELINE_COPY_OF, strlen(PIPELINE_COPY_OF)) ? NULL : line + strlen(PIPELINE_COPY_OF);
}

/* The name under which a text was written: owned; NULL when there is no memory. */
static char *name_of(const char *text, const char *path)
{
    const char *origin = pipeline_origin(text);
    return origin ? strndup(origin, strcspn(origin, "\n")) : strdup(path);
}

int pipeline_load(struct pipeline **out, const char *path, const char *const *sets, int n_sets,
                  struct error *e)
{
    char *text = malloc(YAML_MAX_BYTES + 2), *name = NULL;
    FILE *f = text ? fopen(path, "re") : NULL;
    size_t size;
    int rc;
    *out = NULL;
    if (!f) {
        rc = text ? error_set(e, FL_CONFIG, "cannot read the pipeline file %s: %s", path, strerror(errno))
                  : error_set(e, FL_NOMEM, "out of memory while reading %s", path);
        free(text);
        return rc;
    }
    size = fread(text, 1, YAML_MAX_BYTES + 1, f);
    text[size] = '\0';
    if (ferror(f))
        rc = error_set(e, FL_CONFIG, "cannot read the pipeline file %s: %s", path, strerror(errno));
    else if (!(name = name_of(text, path)))
        rc = error_set(e, FL_NOMEM, "out of memory while reading %s", path);
    else
        rc = pipeline_parse(out, text, size, name, sets, n_sets, e);
    fclose(f);
    free(name);
    free(text);
    return rc;
}

bool pipeline_learns(const struct pipeline *p)
{
    return p->cache.rule == THRESHOLD_RISK && p->updates.learn && p->redis.endpoint;
}

int pipeline_brokers(const struct pipeline *p)
{
    return p->broker.n_replicas > 1 ? p->broker.n_replicas : 1;
}

struct broker_replica pipeline_broker(const struct pipeline *p, int index)
{
    const struct broker_config *b = &p->broker;
    if (b->n_replicas > 1)
        return b->replica[index];
    return (struct broker_replica){b->host, b->requests, b->control, b->results, b->http};
}

static bool replace(char **to, const char *with)
{
    char *copy = with ? strdup(with) : NULL;
    if (with && !copy)
        return false;
    free(*to);
    *to = copy;
    return true;
}

int pipeline_be_broker(struct pipeline *p, int index, struct error *e)
{
    struct broker_config *b = &p->broker;
    const struct broker_replica *r;
    if (index < 0 || index >= b->n_replicas)
        return error_set(e, FL_USAGE, "--index %d: %s has brokers 0 to %d (broker.replicas)", index, p->path,
                         b->n_replicas - 1);
    r = &b->replica[index];
    b->index = index;
    if (!replace(&b->host, r->host) || !replace(&b->requests, r->requests) ||
        !replace(&b->control, r->control) || !replace(&b->results, r->results) || !replace(&b->http, r->http))
        return error_set(e, FL_NOMEM, "out of memory");
    return FL_OK;
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    pipeline_clear_texts(p);
    pipeline_clear_ways(p);
    if (p->entries)
        yaml_entries_free(p->entries);
    free(p->entries);
    free(p->path);
    keys_close(p->security.keys);
    free(p);
}
