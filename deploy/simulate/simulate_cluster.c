/* simulate_cluster.c - a cluster's description: one table of keys, checked with line and column
 *
 * A file is read from top to bottom: hosts stand above what names them.
 */
#include "simulate_cluster.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest_word.h"
#include "base/whole_file.h"
#include "config/yaml_reader.h"

#define NS_PER_HOUR 3.6e12

/* The entry in hand, and where it is. */
struct parser {
    struct cluster *c;
    const char *file;
    const struct yaml_entry *y;
    const char *word;            /* its text; "" where it has none */
    int index[YAML_MAX_INDICES]; /* in its path */
    struct error *error;
};

/* One row per key or section; `to`: in a kind of host (`of_host`) or the cluster; unit 0: whole numbers. */
struct row {
    const char *path;
    int (*take)(const struct parser *p); /* NULL: a number */
    bool of_host;
    size_t to;
    double low, high, unit;
};

static int at(const struct parser *p, const char *subject, const char *what)
{
    return error_set(p->error, FL_CONFIG, "%s:%d:%d: %s%s", p->file, p->y->line, p->y->column, subject, what);
}

static int read_number(const struct parser *p, double low, double high, bool whole, double *out)
{
    char *end, what[96];
    *out = strtod(p->word, &end);
    if (*p->word && !*end && *out >= low && *out <= high && (!whole || *out == floor(*out)))
        return FL_OK;
    snprintf(what, sizeof what, " must be a %snumber from %g to %g", whole ? "whole " : "", low, high);
    return at(p, p->y->path, what);
}

static int take_number(const struct parser *p, const struct row *r)
{
    char *to = (r->of_host ? (char *)&p->c->kind[p->index[0]] : (char *)p->c) + r->to;
    double x;
    int rc = read_number(p, r->low, r->high, r->unit == 0, &x);
    if (!rc && r->unit > 0)
        *(double *)(void *)to = x * r->unit;
    else if (!rc)
        *(int *)(void *)to = (int)x;
    return rc;
}

static int take_section(const struct parser *p)
{
    if (p->y->kind != YAML_IS_SCALAR)
        return FL_OK;
    return at(p, *p->y->path ? p->y->path : "the file", " must be a list or a mapping");
}

static int take_host(const struct parser *p)
{
    int i = p->index[0];
    if (i >= CLUSTER_MAX_KINDS)
        return at(p, "", "too many kinds of host: give one kind a count instead");
    if (p->y->kind != YAML_IS_MAP)
        return at(p, p->y->path, " must be a mapping such as {name: big, count: 4, cores: 16}");
    p->c->n_kinds = i + 1;
    p->c->kind[i] = (struct cluster_kind){.count = 1, .host = {.cores = 1, .speed = 1, .all_busy = 1}};
    return FL_OK;
}

static int take_name(const struct parser *p)
{
    if (!*p->word || strlen(p->word) >= CLUSTER_NAME_BYTES)
        return at(p, p->y->path, " must be a short name");
    for (int i = 0; i < p->index[0]; i++)
        if (!strcmp(p->c->kind[i].name, p->word))
            return at(p, p->word, " is the name of two kinds of host: one with `count`?");
    memcpy(p->c->kind[p->index[0]].name, p->word, strlen(p->word) + 1);
    return FL_OK;
}

/* Hosts are numbered anew with each key of one. */
static int number_hosts(const struct parser *p)
{
    p->c->n_hosts = 0;
    for (int i = 0; i < p->c->n_kinds; i++) {
        p->c->kind[i].first = p->c->n_hosts;
        p->c->n_hosts += p->c->kind[i].count;
        if (p->c->n_hosts > WORLD_MAX_HOSTS)
            return at(p, "", "too many hosts: let `cells` stand for many such clusters");
    }
    return FL_OK;
}

/* "big.3", or "big" for all of that kind: the first of *n hosts; false: there is none of that name. */
static bool find_hosts(const struct parser *p, int *first, int *n)
{
    for (int i = 0; i < p->c->n_kinds; i++) {
        const struct cluster_kind *k = &p->c->kind[i];
        size_t length = strlen(k->name);
        const char *rest = p->word + length;
        long one = 0;
        if (!length || strncmp(p->word, k->name, length) != 0)
            continue;
        if (*rest && (*rest++ != '.' || !*rest || rest[strspn(rest, "0123456789")] ||
                      (one = strtol(rest, NULL, 10)) >= k->count))
            continue;
        *first = k->first + (int)one;
        *n = p->word[length] ? 1 : k->count;
        return true;
    }
    return false;
}

static int no_host(const struct parser *p)
{
    return at(p, p->word, " is no host of this file (hosts must stand above)");
}

static int take_stage_host(const struct parser *p)
{
    struct cluster *c = p->c;
    int stage = p->index[0], host, n;
    if (!find_hosts(p, &host, &n))
        return no_host(p);
    if (stage >= PIPELINE_MAX_STAGES || c->n_stage_hosts[stage] + n > WORLD_MAX_HOSTS)
        return at(p, "", "too many stages, or too many hosts of one");
    for (int i = 0; i < n; i++)
        c->stage_host[stage][c->n_stage_hosts[stage]++] = host + i;
    return FL_OK;
}

static int take_replicas(const struct parser *p)
{
    double x;
    int stage = p->index[0], rc = read_number(p, 1, PIPELINE_MAX_REPLICAS, true, &x);
    if (rc)
        return rc;
    if (stage >= PIPELINE_MAX_STAGES)
        return at(p, "", "too many stages");
    p->c->replicas[stage] = (int)x;
    p->c->n_replicas = stage + 1;
    return FL_OK;
}

static int take_place(const struct parser *p)
{
    p->c->pack = !strcmp(p->word, "pack");
    return p->c->pack || !strcmp(p->word, "spread") ? FL_OK : at(p, p->y->path, " must be spread or pack");
}

static int take_broker(const struct parser *p)
{
    int n;
    return find_hosts(p, &p->c->broker, &n) ? FL_OK : no_host(p);
}

static int take_client(const struct parser *p)
{
    int n;
    p->c->client = -1;
    if (!strcmp(p->word, "outside") || find_hosts(p, &p->c->client, &n))
        return FL_OK;
    return at(p, p->y->path, " is neither a host of this file (hosts must stand above) nor `outside`");
}

#define TAKE(how)       how, false, 0, 0, 0, 0
#define HOST(member)    NULL, true, offsetof(struct cluster_kind, member)
#define CLUSTER(member) NULL, false, offsetof(struct cluster, member)
static const struct row rows[] = {
    {"", TAKE(take_section)},
    {"hosts", TAKE(take_section)},
    {"hosts.#", TAKE(take_host)},
    {"hosts.#.name", TAKE(take_name)},
    {"hosts.#.count", HOST(count), 1, WORLD_MAX_HOSTS, 0},
    {"hosts.#.cores", HOST(host.cores), 1, 4096, 0},
    {"hosts.#.speed", HOST(host.speed), 0.01, 100, 1},
    {"hosts.#.all_busy", HOST(host.all_busy), 0.01, 1, 1},
    {"hosts.#.gbps", HOST(host.bytes_per_ns), 0, 1e5, 0.125},
    {"hosts.#.latency_us", HOST(host.latency_ns), 0, 1e9, 1e3},
    {"hosts.#.mtbf_hours", HOST(failing.mtbf_ns), 0, 1e6, NS_PER_HOUR},
    {"hosts.#.repair_minutes", HOST(failing.repair_ns), 0, 1e6, 6e10},
    {"broker", TAKE(take_broker)},
    {"client", TAKE(take_client)},
    {"client_latency_us", CLUSTER(client_latency_ns), 0, 1e9, 1e3},
    {"caches", CLUSTER(caches), 1, PIPELINE_MAX_CACHES, 0},
    {"place", TAKE(take_place)},
    {"replicas", TAKE(take_section)},
    {"replicas.#", TAKE(take_replicas)},
    {"stages", TAKE(take_section)},
    {"stages.#", TAKE(take_section)},
    {"stages.#.hosts", TAKE(take_section)},
    {"stages.#.hosts.#", TAKE(take_stage_host)},
    {"processes", TAKE(take_section)},
    {"processes.mtbf_hours", CLUSTER(failing.mtbf_ns), 0, 1e6, NS_PER_HOUR},
    {"processes.restart_seconds", CLUSTER(failing.repair_ns), 0, 1e6, 1e9},
    {"cells", CLUSTER(cells), 1, 1e6, 0},
};
#define N_ROWS (int)(sizeof rows / sizeof *rows)

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static int unknown(const struct parser *p)
{
    const char *words[N_ROWS], *near;
    for (int i = 0; i < N_ROWS; i++)
        words[i] = last_word(rows[i].path);
    near = nearest_word(last_word(p->y->path), words, N_ROWS);
    return error_set(p->error, FL_CONFIG, "%s:%d:%d: %s is no key of a cluster%s%s%s", p->file,
                     p->y->key_line, p->y->key_column, p->y->path, near ? "; did you mean " : "",
                     near ? near : "", near ? "?" : "");
}

static int take(struct parser *p, const struct yaml_entry *y)
{
    char pattern[YAML_MAX_PATH];
    int i = 0, rc;
    p->y = y;
    p->word = y->kind == YAML_IS_SCALAR ? y->text : "";
    if (!yaml_pattern(y->path, pattern, sizeof pattern, p->index))
        return unknown(p);
    while (i < N_ROWS && strcmp(rows[i].path, pattern) != 0)
        i++;
    if (i == N_ROWS)
        return unknown(p);
    rc = rows[i].take ? rows[i].take(p) : take_number(p, &rows[i]);
    return rc || strncmp(pattern, "hosts.#.", 8) != 0 ? rc : number_hosts(p);
}

int cluster_load(struct cluster *out, const char *path, struct error *e)
{
    struct yaml_entries y = {0};
    struct parser p = {.c = out, .file = path, .error = e};
    void *text = NULL;
    size_t size;
    int rc = file_read(&text, &size, path, YAML_MAX_BYTES, e);

    cluster_one_host(out, 1, 1);
    out->n_kinds = out->n_hosts = 0;
    out->client = -1;
    if (!rc)
        rc = yaml_read(&y, text, size, path, NULL, e);
    free(text);
    for (int i = 0; i < y.n && !rc; i++)
        rc = take(&p, &y.item[i]);
    if (!rc && (!y.n || !out->n_kinds))
        rc = error_set(e, FL_CONFIG, "%s: hosts is missing: which hosts are there?", path);
    for (int i = 0; i < out->n_kinds && !rc; i++)
        if (!out->kind[i].name[0])
            rc = error_set(e, FL_CONFIG, "%s: a host has no name", path);
    yaml_entries_free(&y);
    return rc;
}

void cluster_one_host(struct cluster *out, int cores, double all_busy)
{
    memset(out, 0, sizeof *out);
    out->n_kinds = out->n_hosts = out->cells = 1;
    out->failing.repair_ns = 2e9;
    out->kind[0] = (struct cluster_kind){
        .name = "local", .count = 1, .host = {.cores = cores, .speed = 1, .all_busy = all_busy}};
}

const struct cluster_kind *cluster_kind_of(const struct cluster *c, int host)
{
    int i = 0;
    while (i + 1 < c->n_kinds && host >= c->kind[i + 1].first)
        i++;
    return &c->kind[i];
}
