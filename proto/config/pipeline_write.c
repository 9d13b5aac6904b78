/* pipeline_write.c - configs/reference.yaml from the table; a pipeline file with other stages and exits */
#include "pipeline_keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"

static const char reference_head[] =
    "# reference.yaml - every key of a pipeline file, with its default\n"
    "#\n"
    "# Printed from the table of keys (proto/config/pipeline_keys.c); a test keeps it up to date. Keys that "
    "are commented out\n"
    "# have no default, or are the long form of the key before them. Paths are relative to the file. Any key "
    "can be set on a\n"
    "# command line: `--set broker.retries=3`, `--set stages.0.replicas=2`, `--set 'cache.grids=[1, 2]'`.\n";

#define MAX_PARTS 8

struct parts {
    int n;
    const char *at[MAX_PARTS];
    int length[MAX_PARTS];
};

static struct parts split(const char *path)
{
    struct parts p = {0};
    while (p.n < MAX_PARTS) {
        p.at[p.n] = path;
        p.length[p.n] = (int)strcspn(path, ".");
        path += p.length[p.n++];
        if (*path++ != '.')
            break;
    }
    return p;
}

static bool is_item(const struct parts *p, int i)
{
    return p->length[i] == 1 && *p->at[i] == '#';
}

/* Number of leading components that two paths share. */
static int shared(const struct parts *a, const struct parts *b)
{
    int i = 0;
    while (i < a->n && i < b->n && a->length[i] == b->length[i] &&
           !memcmp(a->at[i], b->at[i], (size_t)a->length[i]))
        i++;
    return i;
}

static void print_value(FILE *to, const struct key *k)
{
    const char *c = k->initial ? k->initial : k->example;
    if (!k->most || *c == '[') {
        fputs(c, to);
        return;
    }
    fputc('[', to);
    for (; *c; c++)
        fputs(*c == ' ' ? ", " : (char[2]){*c, 0}, to);
    fputc(']', to);
}

static void print_help(FILE *to, const struct key *k, int indent)
{
    char takes[160];
    fprintf(to, "%*s# %s\n", indent, "", k->help);
    if (k->type != KEY_PATH && k->type != KEY_LABELS && k->type != KEY_TEXT)
        fprintf(to, "%*s# (%s%s)\n", indent, "", k->most ? "a list; each: " : "",
                key_takes(k, takes, sizeof takes));
}

/* One row. A row inside an item of a list of mappings is commented out with the list it is in. */
static void print_row(FILE *to, const struct key *k, const struct parts *before)
{
    struct parts p = split(k->path);
    int n = p.n - is_item(&p, p.n - 1), common = shared(&p, before);
    bool in_item = false, first = false;
    bool off = !k->initial && strcmp(k->path, "model");
    for (int i = 0; i < n - 1; i++) {
        in_item |= is_item(&p, i) || is_item(&p, i + 1);
        first = is_item(&p, i) && i >= common;
        if (!is_item(&p, i) && (i >= common || (i == before->n - 1 && in_item)))
            fprintf(to, "%s%s%*s%.*s:\n", in_item && common ? "" : "\n", in_item ? "# " : "", 2 * i, "",
                    p.length[i], p.at[i]);
    }
    if (in_item) {
        fprintf(to, "# %*s%s%.*s: ", 2 * (n - 1) - 2 * first, "", first ? "- " : "", p.length[n - 1],
                p.at[n - 1]);
    } else {
        if (n == 1)
            fputc('\n', to);
        print_help(to, k, 2 * (n - 1));
        fprintf(to, "%*s%s%.*s: ", 2 * (n - 1), "", off ? "# " : "", p.length[n - 1], p.at[n - 1]);
    }
    print_value(to, k);
    if (in_item)
        fprintf(to, " # %s", k->help);
    fputc('\n', to);
}

void pipeline_print_reference(FILE *to)
{
    struct parts before = {0};
    fputs(reference_head, to);
    for (int i = 0; i < pipeline_n_keys; i++) {
        const struct key *k = &pipeline_keys[i];
        if (!strcmp(k->path, "labels.#"))
            continue; /* the help of `labels` has said it */
        print_row(to, k, &before);
        before = split(k->path);
    }
}

static void print_exits(FILE *to, const struct pipeline *p)
{
    if (!p->n_exits) {
        fprintf(to, "exits: %s\n", p->exits_auto ? "auto" : "none");
        return;
    }
    fputs("exits:\n", to);
    for (int i = 0; i < p->n_exits; i++) {
        fprintf(to, "  - {name: %s, after: ", p->exit[i].name);
        yaml_print_quoted(to, p->exit[i].after);
        if (p->exit[i].kind)
            fprintf(to, ", kind: %s", p->exit[i].kind);
        fputs("}\n", to);
    }
}

static bool default_endpoint(const struct pipeline *p, int stage, int replica)
{
    char folder[128], endpoint[192];
    const char *given = p->stage[stage].replica[replica].endpoint;
    if (p->n_hosts)
        return true;
    pipeline_socket_folder(p, folder, sizeof folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/stage.%d.%d", folder, stage, replica);
    return !given || !strcmp(given, endpoint);
}

static bool default_host(const struct replica_config *r)
{
    return r->placed || !r->host || !strcmp(r->host, "local");
}

/* The cache service that pipeline_place chooses. */
static bool default_cache(const struct pipeline *p, const struct replica_config *r)
{
    return p->n_hosts ? r->cache < 0 || !r->host || !strcmp(p->cache.host[r->cache], r->host) : r->cache <= 0;
}

static bool plain_replica(const struct pipeline *p, int stage, int replica)
{
    const struct replica_config *r = &p->stage[stage].replica[replica];
    return default_host(r) && default_cache(p, r) && !r->n_cpus && default_endpoint(p, stage, replica);
}

static void print_replica(FILE *to, const struct pipeline *p, int stage, int replica)
{
    const struct replica_config *r = &p->stage[stage].replica[replica];
    const char *comma = "";
    fputs("      - {", to);
    if (!default_host(r)) {
        fputs("host: ", to);
        yaml_print_quoted(to, r->host);
        comma = ", ";
    }
    if (!default_cache(p, r) || (default_host(r) && !r->n_cpus && default_endpoint(p, stage, replica))) {
        fprintf(to, "%scache: %d", comma, r->cache < 0 ? 0 : r->cache);
        comma = ", ";
    }
    if (!default_endpoint(p, stage, replica)) {
        fprintf(to, "%sendpoint: ", comma);
        yaml_print_quoted(to, r->endpoint);
        comma = ", ";
    }
    for (int i = 0; i < r->n_cpus; i++)
        fprintf(to, "%s%s%d%s", i ? "" : comma, i ? ", " : "cpus: [", r->cpu[i],
                i == r->n_cpus - 1 ? "]" : "");
    fputs("}\n", to);
}

static void print_stages(FILE *to, const struct pipeline *p)
{
    fputs("stages:\n", to);
    for (int i = 0; i < p->n_stages; i++) {
        const struct stage_config *s = &p->stage[i];
        int plain = 0;
        fprintf(to, "  - threads: %d\n    batch: %d\n%s", s->threads, s->max_batch,
                s->fixed_batch ? "    fixed_batch: true\n" : "");
        if (s->last) {
            fputs("    last: ", to);
            yaml_print_quoted(to, s->last);
            fputc('\n', to);
        }
        while (plain < s->n_replicas && plain_replica(p, i, plain))
            plain++;
        if (plain == s->n_replicas) {
            fprintf(to, "    replicas: %d\n", plain ? plain : 1);
            continue;
        }
        fputs("    replicas:\n", to);
        for (int r = 0; r < s->n_replicas; r++)
            print_replica(to, p, i, r);
    }
}

static const char *line_start(const char *text, int line)
{
    for (; line > 1; line--) {
        const char *end = strchr(text, '\n');
        if (!end)
            return text + strlen(text);
        text = end + 1;
    }
    return text;
}

/* Where the text of a top-level key ends: before the blank lines and comments at the margin that lead to the
 * next key. */
static const char *block_end(const char *begin, const char *next)
{
    while (next > begin) {
        const char *line = next - 1;
        while (line > begin && line[-1] != '\n')
            line--;
        if (line == begin || (*line != '\n' && *line != '#' && *line != '\r'))
            break;
        next = line;
    }
    return next;
}

static bool top_level(const struct yaml_entry *entry)
{
    return *entry->path && !strchr(entry->path, '.');
}

/* Copies `text`, its `stages` and `exits` replaced. FL_CONFIG when the keys do not each begin a line. */
static int print_rewritten(FILE *to, const struct pipeline *p, const char *text, const struct yaml_entries *y,
                           struct error *e)
{
    const char *from = text;
    bool stages = false, exits = false;
    for (int i = 0; i < y->n; i++) {
        const struct yaml_entry *entry = &y->item[i];
        const char *begin, *next = text + strlen(text);
        bool is_stages = !strcmp(entry->path, "stages"), is_exits = !strcmp(entry->path, "exits");
        if (top_level(entry) && entry->key_column != 1)
            return error_set(e, FL_CONFIG,
                             "%s:%d:%d: cannot rewrite a file whose keys do not begin at the margin", p->path,
                             entry->key_line, entry->key_column);
        if (!is_stages && !is_exits)
            continue;
        for (int j = i + 1; j < y->n; j++)
            if (top_level(&y->item[j])) {
                next = line_start(text, y->item[j].key_line);
                break;
            }
        begin = line_start(text, entry->key_line);
        fwrite(from, 1, (size_t)(begin - from), to);
        (is_stages ? print_stages : print_exits)(to, p);
        from = block_end(begin, next);
        stages |= is_stages;
        exits |= is_exits;
    }
    fputs(from, to);
    if (*from && from[strlen(from) - 1] != '\n')
        fputc('\n', to);
    if (!exits)
        print_exits(to, p);
    if (!stages)
        print_stages(to, p);
    return FL_OK;
}

/* The file as text, NUL-terminated, owned; NULL when it cannot be read. */
static char *read_text(const char *path, size_t *size)
{
    char *text = malloc(YAML_MAX_BYTES + 1);
    FILE *f = text ? fopen(path, "re") : NULL;
    if (!f) {
        free(text);
        return NULL;
    }
    *size = fread(text, 1, YAML_MAX_BYTES, f);
    text[*size] = '\0';
    fclose(f);
    return text;
}

/* The whole new text, checked by loading it. *out is owned by the caller. */
static int rewritten(const struct pipeline *p, char **out, size_t *size, struct error *e)
{
    struct yaml_entries y = {0};
    struct pipeline *check = NULL;
    size_t old_size;
    char *old = read_text(p->path, &old_size);
    FILE *to;
    int rc;
    *out = NULL;
    if (!old)
        return error_set(e, FL_CONFIG, "cannot read the pipeline file %s: %s", p->path, strerror(errno));
    to = open_memstream(out, size);
    rc = to ? yaml_read(&y, old, old_size, p->path, NULL, e) : error_set(e, FL_NOMEM, "out of memory");
    if (!rc)
        rc = print_rewritten(to, p, old, &y, e);
    if (to && fclose(to) && !rc)
        rc = error_set(e, FL_NOMEM, "out of memory while writing %s", p->path);
    if (!rc && (rc = pipeline_parse(&check, *out, *size, p->path, NULL, 0, e)))
        error_wrap(e, FL_CONFIG, "the file cannot be rewritten, change stages and exits by hand");
    pipeline_free(check);
    yaml_entries_free(&y);
    free(old);
    return rc;
}

int pipeline_rewrite(const struct pipeline *p, const char *path, struct error *e)
{
    char *text = NULL;
    size_t size = 0;
    int rc = rewritten(p, &text, &size, e);
    if (!rc)
        rc = file_replace(path, &(struct file_part){text, size}, 1, e);
    free(text);
    return rc;
}
