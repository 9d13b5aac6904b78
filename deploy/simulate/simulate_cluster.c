/* simulate_cluster.c - a cluster's description: one table of keys, checked with line and column
 *
 * A file is read from top to bottom: hosts stand above what names them.
 */
#include "simulate_cluster.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/whole_file.h"
#include "config/yaml_reader.h"

#define NS_PER_HOUR 3.6e12

/* `to`: in a kind of host, otherwise in the cluster; a unit of 0 is for whole numbers. */
static const struct field {
    const char *path;
    bool of_host;
    size_t to;
    double low, high, unit;
} fields[] = {
    {"hosts.#.count", true, offsetof(struct cluster_kind, count), 1, WORLD_MAX_HOSTS, 0},
    {"hosts.#.cores", true, offsetof(struct cluster_kind, host.cores), 1, 4096, 0},
    {"hosts.#.speed", true, offsetof(struct cluster_kind, host.speed), 0.01, 100, 1},
    {"hosts.#.all_busy", true, offsetof(struct cluster_kind, host.all_busy), 0.01, 1, 1},
    {"hosts.#.gbps", true, offsetof(struct cluster_kind, host.bytes_per_ns), 0, 1e5, 0.125},
    {"hosts.#.latency_us", true, offsetof(struct cluster_kind, host.latency_ns), 0, 1e9, 1e3},
    {"hosts.#.mtbf_hours", true, offsetof(struct cluster_kind, failing.mtbf_ns), 0, 1e6, NS_PER_HOUR},
    {"hosts.#.repair_minutes", true, offsetof(struct cluster_kind, failing.repair_ns), 0, 1e6, 6e10},
    {"client_latency_us", false, offsetof(struct cluster, client_latency_ns), 0, 1e9, 1e3},
    {"caches", false, offsetof(struct cluster, caches), 1, PIPELINE_MAX_CACHES, 0},
    {"processes.mtbf_hours", false, offsetof(struct cluster, failing.mtbf_ns), 0, 1e6, NS_PER_HOUR},
    {"processes.restart_seconds", false, offsetof(struct cluster, failing.repair_ns), 0, 1e6, 1e9},
    {"cells", false, offsetof(struct cluster, cells), 1, 1e6, 0},
};
#define N_FIELDS (sizeof fields / sizeof *fields)

static const char *const all_keys[] = {
    "hosts",      "name",   "count",          "cores",  "speed",
    "all_busy",   "gbps",   "latency_us",     "broker", "client_latency_us",
    "mtbf_hours", "client", "repair_minutes", "caches", "restart_seconds",
    "replicas",   "place",  "processes",      "stages", "cells"};

struct parser {
    struct cluster *c;
    const char *file;
    struct error *error;
};

static int at(const struct parser *p, const struct yaml_entry *y, const char *subject, const char *what)
{
    return error_set(p->error, FL_CONFIG, "%s:%d:%d: %s%s", p->file, y->line, y->column, subject, what);
}

/* '#' stands for a number, which is put into *index (the first one of them). */
static bool matches(const char *path, const char *pattern, int *index)
{
    bool first = true;
    for (; *pattern; pattern++) {
        long n = 0;
        if (*pattern != '#') {
            if (*path++ != *pattern)
                return false;
            continue;
        }
        if (!isdigit((unsigned char)*path))
            return false;
        while (isdigit((unsigned char)*path))
            n = n > 1000000 ? n : 10 * n + (*path++ - '0');
        if (first)
            *index = (int)n;
        first = false;
    }
    return !*path;
}

static int read_number(const struct parser *p, const struct yaml_entry *y, double low, double high,
                       bool whole, double *out)
{
    char *end, what[96];
    *out = y->kind == YAML_IS_SCALAR ? strtod(y->text, &end) : NAN;
    if (y->kind == YAML_IS_SCALAR && end != y->text && !*end && *out >= low && *out <= high &&
        (!whole || *out == floor(*out)))
        return FL_OK;
    snprintf(what, sizeof what, " must be a %snumber from %g to %g", whole ? "whole " : "", low, high);
    return at(p, y, y->path, what);
}

static int set_field(const struct parser *p, const struct field *f, const struct yaml_entry *y, int index)
{
    char *base = f->of_host ? (char *)&p->c->kind[index] : (char *)p->c;
    double x;
    int rc = read_number(p, y, f->low, f->high, f->unit == 0, &x);
    if (!rc && f->unit > 0)
        *(double *)(void *)(base + f->to) = x * f->unit;
    else if (!rc)
        *(int *)(void *)(base + f->to) = (int)x;
    return rc;
}

static int start_host(const struct parser *p, const struct yaml_entry *y, int index)
{
    if (index >= CLUSTER_MAX_KINDS)
        return at(p, y, "", "too many kinds of host: give one kind a count instead");
    if (y->kind != YAML_IS_MAP)
        return at(p, y, y->path, " must be a mapping such as {name: big, count: 4, cores: 16}");
    p->c->n_kinds = index + 1;
    p->c->kind[index] = (struct cluster_kind){.count = 1, .host = {.cores = 1, .speed = 1, .all_busy = 1}};
    return FL_OK;
}

static int set_name(const struct parser *p, const struct yaml_entry *y, int index)
{
    char *to = p->c->kind[index].name;
    if (y->kind != YAML_IS_SCALAR || !*y->text || strlen(y->text) >= CLUSTER_NAME_BYTES)
        return at(p, y, y->path, " must be a short name");
    memcpy(to, y->text, strlen(y->text) + 1);
    for (int i = 0; i < index; i++)
        if (!strcmp(p->c->kind[i].name, to))
            return at(p, y, to, " is the name of two kinds of host: one with `count`?");
    return FL_OK;
}

/* Hosts are numbered anew with each key of one. */
static int number_hosts(const struct parser *p, const struct yaml_entry *y)
{
    p->c->n_hosts = 0;
    for (int i = 0; i < p->c->n_kinds; i++) {
        p->c->kind[i].first = p->c->n_hosts;
        p->c->n_hosts += p->c->kind[i].count;
        if (p->c->n_hosts > WORLD_MAX_HOSTS)
            return at(p, y, "", "too many hosts: let `cells` stand for many such clusters");
    }
    return FL_OK;
}

/* "big.3", or "big" for all of that kind: the first of *n hosts. */
static int find_hosts(const struct parser *p, const struct yaml_entry *y, int *first, int *n)
{
    const char *name = y->kind == YAML_IS_SCALAR ? y->text : "";
    for (int i = 0; i < p->c->n_kinds; i++) {
        const struct cluster_kind *k = &p->c->kind[i];
        size_t length = strlen(k->name);
        int one = 0;
        bool all = !strcmp(name, k->name);
        if (!length || strncmp(name, k->name, length) != 0 ||
            (!all && (!matches(name + length, ".#", &one) || one >= k->count)))
            continue;
        *first = k->first + one;
        *n = all ? k->count : 1;
        return FL_OK;
    }
    return at(p, y, name, " is no host of this file (hosts must stand above)");
}

static int set_stage_host(const struct parser *p, const struct yaml_entry *y, int stage)
{
    struct cluster *c = p->c;
    int host, n, rc = find_hosts(p, y, &host, &n);
    if (rc)
        return rc;
    if (stage >= PIPELINE_MAX_STAGES || c->n_stage_hosts[stage] + n > WORLD_MAX_HOSTS)
        return at(p, y, "", "too many stages, or too many hosts of one");
    for (int i = 0; i < n; i++)
        c->stage_host[stage][c->n_stage_hosts[stage]++] = host + i;
    return FL_OK;
}

static int set_replicas(const struct parser *p, const struct yaml_entry *y, int stage)
{
    double x;
    int rc = read_number(p, y, 1, PIPELINE_MAX_REPLICAS, true, &x);
    if (!rc && stage >= PIPELINE_MAX_STAGES)
        return at(p, y, "", "too many stages");
    if (!rc) {
        p->c->replicas[stage] = (int)x;
        p->c->n_replicas = stage + 1;
    }
    return rc;
}

static int set_place(const struct parser *p, const struct yaml_entry *y)
{
    p->c->pack = y->kind == YAML_IS_SCALAR && !strcmp(y->text, "pack");
    if (p->c->pack || (y->kind == YAML_IS_SCALAR && !strcmp(y->text, "spread")))
        return FL_OK;
    return at(p, y, y->path, " must be spread or pack");
}

static int set_client(const struct parser *p, const struct yaml_entry *y)
{
    struct error not_this;
    const struct parser quiet = {p->c, p->file, &not_this};
    int n;
    p->c->client = -1;
    if ((y->kind == YAML_IS_SCALAR && !strcmp(y->text, "outside")) ||
        !find_hosts(&quiet, y, &p->c->client, &n))
        return FL_OK;
    return at(p, y, y->path, " is neither a host of this file (hosts must stand above) nor `outside`");
}

static int not_a_value(const struct parser *p, const struct yaml_entry *y)
{
    static const char *const sections[] = {"",          "hosts",    "replicas",      "stages",
                                           "processes", "stages.#", "stages.#.hosts"};
    const char *dot = strrchr(y->path, '.'), *near;
    int index;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (matches(y->path, sections[i], &index))
            return y->kind != YAML_IS_SCALAR
                       ? FL_OK
                       : at(p, y, *y->path ? y->path : "the file", " must be a list or a mapping");
    near = nearest_word(dot ? dot + 1 : y->path, all_keys, (int)(sizeof all_keys / sizeof *all_keys));
    return error_set(p->error, FL_CONFIG, "%s:%d:%d: %s is no key of a cluster%s%s%s", p->file, y->key_line,
                     y->key_column, y->path, near ? "; did you mean " : "", near ? near : "",
                     near ? "?" : "");
}

static int take(const struct parser *p, const struct yaml_entry *y)
{
    int index = 0, n, rc;
    for (size_t i = 0; i < N_FIELDS; i++)
        if (matches(y->path, fields[i].path, &index)) {
            rc = set_field(p, &fields[i], y, index);
            return rc ? rc : number_hosts(p, y);
        }
    if (matches(y->path, "hosts.#", &index))
        return start_host(p, y, index);
    if (matches(y->path, "hosts.#.name", &index)) {
        rc = set_name(p, y, index);
        return rc ? rc : number_hosts(p, y);
    }
    if (matches(y->path, "replicas.#", &index))
        return set_replicas(p, y, index);
    if (matches(y->path, "stages.#.hosts.#", &index))
        return set_stage_host(p, y, index);
    if (!strcmp(y->path, "broker"))
        return find_hosts(p, y, &p->c->broker, &n);
    if (!strcmp(y->path, "client"))
        return set_client(p, y);
    if (!strcmp(y->path, "place"))
        return set_place(p, y);
    return not_a_value(p, y);
}

int cluster_parse(struct cluster *out, const char *text, size_t size, const char *name, struct error *e)
{
    struct yaml_entries y = {0};
    struct parser p = {.c = out, .file = name, .error = e};
    int rc;

    cluster_one_host(out, 1, 1);
    out->n_kinds = out->n_hosts = 0;
    out->client = -1;
    rc = yaml_read(&y, text, size, name, NULL, e);
    for (int i = 0; i < y.n && !rc; i++)
        rc = take(&p, &y.item[i]);
    if (!rc && (!y.n || !out->n_kinds))
        rc = error_set(e, FL_CONFIG, "%s: hosts is missing: which hosts are there?", name);
    for (int i = 0; i < out->n_kinds && !rc; i++)
        if (!out->kind[i].name[0])
            rc = error_set(e, FL_CONFIG, "%s: a host has no name", name);
    yaml_entries_free(&y);
    return rc;
}

int cluster_load(struct cluster *out, const char *path, struct error *e)
{
    void *text = NULL;
    size_t n;
    int rc = file_read(&text, &n, path, YAML_MAX_BYTES, e);
    if (!rc)
        rc = cluster_parse(out, text, n, path, e);
    free(text);
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
