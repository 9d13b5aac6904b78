/* simulate_cluster.c - a cluster's description: one table of keys, checked with line and column */
#include "simulate_cluster.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "config/yaml_reader.h"

#define NS_PER_HOUR 3.6e12

enum field_type { FIELD_NUMBER, FIELD_INT, FIELD_TEXT };

/* Text is kept until all hosts are known. */
struct host_words {
    char broker[CLUSTER_NAME_BYTES], client[CLUSTER_NAME_BYTES], place[CLUSTER_NAME_BYTES];
    const struct yaml_entry *broker_at, *client_at, *place_at;
};

/* `to`: below HOST in a kind of host, otherwise in the cluster; a unit of 0 is for whole numbers. */
static const struct field {
    const char *path;
    bool of_host;
    size_t offset;
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
    {"processes.mtbf_hours", false, offsetof(struct cluster, mtbf_ns), 0, 1e6, NS_PER_HOUR},
    {"processes.restart_seconds", false, offsetof(struct cluster, restart_ns), 0, 1e6, 1e9},
    {"cells", false, offsetof(struct cluster, cells), 1, 1e6, 0},
};
#define N_FIELDS (sizeof fields / sizeof *fields)

static const char *const all_keys[] = {
    "hosts",
    "name",
    "count",
    "cores",
    "speed",
    "all_busy",
    "gbps",
    "latency_us",
    "mtbf_hours",
    "repair_minutes",
    "broker",
    "client",
    "client_latency_us",
    "caches",
    "place",
    "replicas",
    "stages",
    "processes",
    "restart_seconds",
    "cells",
};

struct parser {
    struct cluster *c;
    const char *file;
    struct error *error;
    struct host_words words;
};

static int at(const struct parser *p, const struct yaml_entry *y, const char *what, const char *subject)
{
    return error_set(p->error, FL_CONFIG, "%s:%d:%d: %s%s", p->file, y->line, y->column, subject, what);
}

/* '#' stands for a number, which is put into *index (the first two of them). */
static bool matches(const char *path, const char *pattern, int index[2])
{
    int n = 0;
    while (*pattern) {
        if (*pattern == '#') {
            if (!isdigit((unsigned char)*path))
                return false;
            index[n++ % 2] = (int)strtol(path, (char **)(uintptr_t)&path, 10);
            pattern++;
        } else if (*path++ != *pattern++) {
            return false;
        }
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
    return at(p, y, what, y->path);
}

static int read_word(const struct parser *p, const struct yaml_entry *y, char *to)
{
    if (y->kind != YAML_IS_SCALAR || !*y->text || strlen(y->text) >= CLUSTER_NAME_BYTES)
        return at(p, y, " must be a short name", y->path);
    memcpy(to, y->text, strlen(y->text) + 1);
    return FL_OK;
}

/* Names of kinds above are known: a file is read from top to bottom. */
static int read_host_name(const struct parser *p, const struct yaml_entry *y, int index)
{
    int rc = read_word(p, y, p->c->kind[index].name);
    for (int i = 0; i < index && !rc; i++)
        if (!strcmp(p->c->kind[i].name, p->c->kind[index].name))
            rc = at(p, y, " is the name of two kinds of host: one with `count`?", y->text);
    return rc;
}

static int set_field(const struct parser *p, const struct field *f, const struct yaml_entry *y, int index)
{
    char *base = f->of_host ? (char *)&p->c->kind[index] : (char *)p->c;
    double x;
    int rc = read_number(p, y, f->low, f->high, f->unit == 0, &x);
    if (rc)
        return rc;
    if (f->unit > 0)
        *(double *)(void *)(base + f->offset) = x * f->unit;
    else
        *(int *)(void *)(base + f->offset) = (int)x;
    return FL_OK;
}

static int start_host(struct parser *p, const struct yaml_entry *y, int index)
{
    if (index >= CLUSTER_MAX_KINDS)
        return at(p, y, "", "too many kinds of host: give one kind a count instead");
    if (y->kind != YAML_IS_MAP)
        return at(p, y, " must be a mapping such as {name: big, count: 4, cores: 16}", y->path);
    p->c->n_kinds = index + 1;
    p->c->kind[index] = (struct cluster_kind){.count = 1, .host = {.cores = 1, .speed = 1, .all_busy = 1}};
    return FL_OK;
}

/* "big.3", or "big" for its first; -1 when there is no such host. */
static int find_host(const struct cluster *c, const char *name)
{
    for (int i = 0; i < c->n_kinds; i++) {
        const struct cluster_kind *k = &c->kind[i];
        size_t length = strlen(k->name);
        char *end;
        long n = 0;
        if (strncmp(name, k->name, length) != 0)
            continue;
        if (name[length] == '.' && isdigit((unsigned char)name[length + 1]))
            n = strtol(name + length + 1, &end, 10);
        else
            end = (char *)(uintptr_t)name + length;
        if (!*end && n < k->count)
            return k->first + (int)n;
    }
    return -1;
}

static int set_stage_host(struct parser *p, const struct yaml_entry *y, int stage)
{
    struct cluster *c = p->c;
    const struct cluster_kind *k;
    char name[CLUSTER_NAME_BYTES];
    int host, n = 1, rc = read_word(p, y, name);
    if (rc)
        return rc;
    if ((host = find_host(c, name)) < 0)
        return at(p, y, " is no host of this file (hosts must stand above)", name);
    k = cluster_kind_of(c, host);
    if (!strcmp(name, k->name))
        n = k->count;
    if (stage >= PIPELINE_MAX_STAGES || c->n_stage_hosts[stage] + n > WORLD_MAX_HOSTS)
        return at(p, y, "", "too many stages, or too many hosts of one");
    for (int i = 0; i < n; i++)
        c->stage_host[stage][c->n_stage_hosts[stage]++] = host + i;
    return FL_OK;
}

static int set_replicas(struct parser *p, const struct yaml_entry *y, int stage)
{
    double x;
    int rc = read_number(p, y, 1, PIPELINE_MAX_REPLICAS, true, &x);
    if (rc)
        return rc;
    if (stage >= PIPELINE_MAX_STAGES)
        return at(p, y, "", "too many stages");
    p->c->replicas[stage] = (int)x;
    p->c->n_replicas = stage + 1;
    return FL_OK;
}

/* Hosts are numbered when the last kind has been read. */
static int number_hosts(struct parser *p, const struct yaml_entry *y)
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

static bool is_section(const char *path)
{
    int index[2];
    return !*path || !strcmp(path, "hosts") || !strcmp(path, "replicas") || !strcmp(path, "stages") ||
           !strcmp(path, "processes") || matches(path, "stages.#", index) ||
           matches(path, "stages.#.hosts", index);
}

static int unknown(const struct parser *p, const struct yaml_entry *y)
{
    const char *dot = strrchr(y->path, '.'), *near;
    char what[160];
    near = nearest_word(dot ? dot + 1 : y->path, all_keys, (int)(sizeof all_keys / sizeof *all_keys));
    snprintf(what, sizeof what,
             near ? " is no key of a cluster; did you mean %s?" : " is no key of a cluster", near);
    return error_set(p->error, FL_CONFIG, "%s:%d:%d: %s%s", p->file, y->key_line, y->key_column, y->path,
                     what);
}

static int take(struct parser *p, const struct yaml_entry *y)
{
    int index[2] = {0, 0};
    for (size_t i = 0; i < N_FIELDS; i++)
        if (matches(y->path, fields[i].path, index)) {
            int rc = set_field(p, &fields[i], y, index[0]);
            return rc ? rc : number_hosts(p, y);
        }
    if (matches(y->path, "hosts.#", index))
        return start_host(p, y, index[0]);
    if (matches(y->path, "hosts.#.name", index)) {
        int rc = read_host_name(p, y, index[0]);
        return rc ? rc : number_hosts(p, y);
    }
    if (matches(y->path, "replicas.#", index))
        return set_replicas(p, y, index[0]);
    if (matches(y->path, "stages.#.hosts.#", index))
        return set_stage_host(p, y, index[0]);
    if (!strcmp(y->path, "broker"))
        return p->words.broker_at = y, read_word(p, y, p->words.broker);
    if (!strcmp(y->path, "client"))
        return p->words.client_at = y, read_word(p, y, p->words.client);
    if (!strcmp(y->path, "place"))
        return p->words.place_at = y, read_word(p, y, p->words.place);
    if (!is_section(y->path))
        return unknown(p, y);
    if (y->kind == YAML_IS_SCALAR)
        return at(p, y, " must be a list or a mapping", *y->path ? y->path : "the file");
    return FL_OK;
}

static int finish(struct parser *p, const struct yaml_entry *root)
{
    struct cluster *c = p->c;
    const struct host_words *w = &p->words;
    if (!c->n_kinds)
        return at(p, root, "", "hosts is missing: which hosts are there?");
    for (int i = 0; i < c->n_kinds; i++)
        if (!c->kind[i].name[0])
            return at(p, root, "", "a host has no name");
    if (w->broker_at && (c->broker = find_host(c, w->broker)) < 0)
        return at(p, w->broker_at, " is no host of this file", w->broker);
    c->client = -1;
    if (w->client_at && strcmp(w->client, "outside") != 0 && (c->client = find_host(c, w->client)) < 0)
        return at(p, w->client_at, " is neither a host of this file nor `outside`", w->client);
    c->pack = w->place_at && !strcmp(w->place, "pack");
    if (w->place_at && !c->pack && strcmp(w->place, "spread") != 0)
        return at(p, w->place_at, " must be spread or pack", "place");
    return FL_OK;
}

int cluster_parse(struct cluster *out, const char *text, size_t size, const char *name, struct error *e)
{
    struct yaml_entries y = {0};
    struct parser p = {.c = out, .file = name, .error = e};
    int rc;

    memset(out, 0, sizeof *out);
    out->cells = 1;
    out->restart_ns = 2e9;
    rc = yaml_read(&y, text, size, name, NULL, e);
    for (int i = 0; i < y.n && !rc; i++)
        rc = take(&p, &y.item[i]);
    if (!rc)
        rc = y.n ? finish(&p, &y.item[0]) : error_set(e, FL_CONFIG, "%s is empty", name);
    yaml_entries_free(&y);
    return rc;
}

int cluster_load(struct cluster *out, const char *path, struct error *e)
{
    FILE *f = fopen(path, "re");
    char *text;
    size_t n;
    int rc;

    if (!f)
        return error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    if (!(text = malloc(YAML_MAX_BYTES + 1))) {
        fclose(f);
        return error_set(e, FL_NOMEM, "no memory for %s", path);
    }
    n = fread(text, 1, YAML_MAX_BYTES + 1, f);
    if (ferror(f))
        rc = error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    else
        rc = cluster_parse(out, text, n, path, e);
    fclose(f);
    free(text);
    return rc;
}

void cluster_one_host(struct cluster *out, int cores, double all_busy)
{
    memset(out, 0, sizeof *out);
    out->n_kinds = out->n_hosts = out->cells = 1;
    out->restart_ns = 2e9;
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
