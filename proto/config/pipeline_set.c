/* pipeline_set.c - putting one value of the table into a pipeline */
#include "pipeline_keys.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "endpoint.h"

/* The first n stay as they are. */
static void keep_replicas(struct stage_config *s, int n)
{
    for (; s->n_replicas > n; s->n_replicas--) {
        struct replica_config *r = &s->replica[s->n_replicas - 1];
        free(r->host);
        free(r->endpoint);
        memset(r, 0, sizeof *r);
    }
}

void pipeline_clear_stages(struct pipeline *p)
{
    for (int i = 0; i < p->n_stages; i++) {
        keep_replicas(&p->stage[i], 0);
        free(p->stage[i].last);
    }
    memset(p->stage, 0, sizeof p->stage);
    p->n_stages = 0;
}

void pipeline_clear_exits(struct pipeline *p)
{
    for (int i = 0; i < p->n_exits; i++) {
        free(p->exit[i].name);
        free(p->exit[i].after);
        free(p->exit[i].kind);
    }
    memset(p->exit, 0, sizeof p->exit);
    p->n_exits = 0;
    p->exits_auto = false;
}

void pipeline_clear_brokers(struct pipeline *p)
{
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++) {
        free(p->broker.replica[i].host);
        free(p->broker.replica[i].requests);
        free(p->broker.replica[i].control);
        free(p->broker.replica[i].results);
        free(p->broker.replica[i].http);
    }
    memset(p->broker.replica, 0, sizeof p->broker.replica);
    p->broker.n_replicas = 0;
}

void pipeline_clear_labels(struct pipeline *p)
{
    for (int i = 0; i < p->n_labels; i++)
        free(p->label[i]);
    free(p->label);
    p->label = NULL;
    p->n_labels = 0;
}

void pipeline_clear_hosts(struct pipeline *p)
{
    for (int i = 0; i < p->n_hosts; i++) {
        free(p->host[i].name);
        free(p->host[i].address);
        free(p->host[i].ssh);
    }
    memset(p->host, 0, sizeof p->host);
    p->n_hosts = 0;
}

void pipeline_clear_variants(struct pipeline *p)
{
    for (int i = 0; i < PIPELINE_MAX_VARIANTS; i++) {
        free(p->variant[i].name);
        free(p->variant[i].file);
        for (int k = 0; k < PIPELINE_MAX_SETS; k++)
            free(p->variant[i].set[k]);
    }
    memset(p->variant, 0, sizeof p->variant);
    p->n_variants = 0;
}

struct stage_config *pipeline_add_stage(struct pipeline *p)
{
    struct stage_config *s = &p->stage[p->n_stages++];
    s->threads = atoi(key_find("stages.#.threads")->initial);
    s->max_batch = atoi(key_find("stages.#.batch")->initial);
    return s;
}

struct replica_config *pipeline_add_replica(struct stage_config *s)
{
    struct replica_config *r = &s->replica[s->n_replicas++];
    r->cache = -1; /* until pipeline_place */
    return r;
}

static bool below(const char *pattern, const char *item)
{
    size_t length = strlen(item);
    return !strncmp(pattern, item, length) && (!pattern[length] || pattern[length] == '.');
}

static int no_such_item(struct key_source o, const char *list, int index, int n, int most, struct error *e)
{
    if (n >= most)
        return key_error(o, true, e, "%s has more than %d items", list, most);
    return key_error(o, true, e, "there is no %s.%d: the next one is %s.%d", list, index, list, n);
}

/* The item `index` of a list: one that is there, or the next one, which is then there. */
static int reach_item(int *n, const char *list, int index, int most, struct key_source o, struct error *e)
{
    if (index > *n || index >= most)
        return no_such_item(o, list, index, *n, most, e);
    *n += index == *n;
    return FL_OK;
}

/* Makes the items of lists of mappings that the path leads through, where they are the next ones. */
static int reach(struct pipeline *p, const char *pattern, const int *index, struct key_source o,
                 struct error *e)
{
    struct stage_config *s;
    if (below(pattern, "exits.#")) {
        p->exits_auto = false;
        return reach_item(&p->n_exits, "exits", index[0], PIPELINE_MAX_EXITS, o, e);
    }
    if (below(pattern, "hosts.#"))
        return reach_item(&p->n_hosts, "hosts", index[0], PIPELINE_MAX_HOSTS, o, e);
    if (below(pattern, "variants.#"))
        return reach_item(&p->n_variants, "variants", index[0], PIPELINE_MAX_VARIANTS, o, e);
    if (below(pattern, "broker.replicas.#"))
        return reach_item(&p->broker.n_replicas, "broker.replicas", index[0], PIPELINE_MAX_BROKERS, o, e);
    if (!below(pattern, "stages.#"))
        return FL_OK;
    if (index[0] > p->n_stages || index[0] >= PIPELINE_MAX_STAGES)
        return no_such_item(o, "stages", index[0], p->n_stages, PIPELINE_MAX_STAGES, e);
    if (index[0] == p->n_stages)
        pipeline_add_stage(p);
    if (!below(pattern, "stages.#.replicas.#"))
        return FL_OK;
    s = &p->stage[index[0]];
    if (index[1] > s->n_replicas || index[1] >= PIPELINE_MAX_REPLICAS)
        return no_such_item(o, "replicas", index[1], s->n_replicas, PIPELINE_MAX_REPLICAS, e);
    if (index[1] == s->n_replicas)
        pipeline_add_replica(s);
    return FL_OK;
}

/* The struct that holds the key, and how many of the path's indices lead there. */
static void *holder(struct pipeline *p, const char *pattern, const int *index, int *used)
{
    *used = 2;
    if (below(pattern, "stages.#.replicas.#"))
        return &p->stage[index[0]].replica[index[1]];
    *used = 1;
    if (below(pattern, "stages.#"))
        return &p->stage[index[0]];
    if (below(pattern, "exits.#"))
        return &p->exit[index[0]];
    if (below(pattern, "hosts.#"))
        return &p->host[index[0]];
    if (below(pattern, "variants.#"))
        return &p->variant[index[0]];
    if (below(pattern, "broker.replicas.#"))
        return &p->broker.replica[index[0]];
    *used = 0;
    return p;
}

static size_t item_bytes(enum key_type type)
{
    return type == KEY_INT ? sizeof(int) : type == KEY_FLOAT ? sizeof(float) : sizeof(char *);
}

const void *key_at(const struct pipeline *p, const struct key *k, const int *index)
{
    int used;
    const char *base = holder((struct pipeline *)(uintptr_t)p, k->path, index, &used),
               *items = base + k->offset;
    if (k->most && k->offset == offsetof(struct pipeline, label))
        items = (const char *)p->label;
    return k->most ? items + (size_t)index[used] * item_bytes(k->type) : items;
}

int key_items(const struct pipeline *p, const char *pattern, const int *index)
{
    char item[YAML_MAX_PATH];
    const struct key *k;
    int used;

    if (!strcmp(pattern, "stages"))
        return p->n_stages;
    if (!strcmp(pattern, "stages.#.replicas"))
        return p->stage[index[0]].n_replicas;
    if (!strcmp(pattern, "exits"))
        return p->n_exits;
    if (!strcmp(pattern, "hosts"))
        return p->n_hosts;
    if (!strcmp(pattern, "variants"))
        return p->n_variants;
    if (!strcmp(pattern, "broker.replicas"))
        return p->broker.n_replicas;
    snprintf(item, sizeof item, "%s.#", pattern);
    if (!(k = key_find(item)))
        return -1;
    return *(const int *)(const void *)((const char *)holder((struct pipeline *)(uintptr_t)p, pattern, index,
                                                             &used) +
                                        k->count_offset);
}

/* Where the value goes; NULL with *e set when it is an item that cannot be. */
static void *slot(struct pipeline *p, const struct key *k, const int *index, struct key_source o,
                  struct error *e)
{
    int used;
    char *base = holder(p, k->path, index, &used);
    int *n;
    char *items = base + k->offset;
    if (!k->most)
        return items;
    n = (int *)(void *)(base + k->count_offset);
    if (index[used] > *n || index[used] >= k->most) {
        no_such_item(o, k->path, index[used], *n, k->most, e);
        return NULL;
    }
    if (k->offset == offsetof(struct pipeline, label)) {
        if (!p->label && !(p->label = calloc(PIPELINE_MAX_LABELS, sizeof *p->label))) {
            error_set(e, FL_NOMEM, "out of memory while reading labels");
            return NULL;
        }
        items = (char *)p->label;
    }
    *n += index[used] == *n;
    return items + (size_t)index[used] * item_bytes(k->type);
}

static int wrong(const struct key *k, const char *text, struct key_source o, struct error *e)
{
    char takes[160];
    return key_error(o, false, e, "%s takes %s, not `%.100s`", k->path, key_takes(k, takes, sizeof takes),
                     text);
}

static bool to_integer(const struct key *k, const char *text, long long *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return !errno && end != text && !*end && (double)*out >= k->min && (double)*out <= k->max;
}

static bool to_number(const struct key *k, const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out) && *out >= k->min && *out <= k->max;
}

static bool to_bool(const char *text, bool *out)
{
    *out = !strcmp(text, "true") || !strcmp(text, "yes") || !strcmp(text, "on");
    return *out || !strcmp(text, "false") || !strcmp(text, "no") || !strcmp(text, "off");
}

/* Index of the word in "a|b|c", or -1. */
static int choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (int i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (n == length && !memcmp(choices, text, n))
            return i;
        choices += n + (choices[n] == '|');
    }
    return -1;
}

bool pipeline_name_ok(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && n < 64 && !text[n] && text[0] != '.' && text[0] != '-';
}

/* What may stand in an endpoint, and on the command line of ssh. */
static bool host_ok(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:%-");
    return n > 0 && n < 254 && !text[n] && text[0] != '-';
}

/* Takes "NAME/.." out of an absolute path, in place. Not where NAME is a symbolic link: its ".." is another
 * folder. */
static void tidy(char *path)
{
    char *up, *name;
    struct stat st;
    while ((up = strstr(path, "/../")) && up > path) {
        *up = '\0';
        name = strrchr(path, '/');
        bool plain = name && strcmp(name, "/..") && !lstat(path, &st) && S_ISDIR(st.st_mode);
        *up = '/';
        if (!plain)
            return;
        memmove(name, up + 3, strlen(up + 3) + 1);
    }
}

/* Absolute path of `text`: relative to the pipeline file, or to the working directory when --set gives it.
 * Owned. */
static char *absolute(const char *prefix, const char *text, struct key_source o)
{
    char cwd[2048] = "", *out;
    const char *slash = o.entry && !o.entry->line ? NULL : strrchr(o.file, '/');
    int folder = slash ? (int)(slash - o.file) : 0;
    while (!strncmp(text, "./", 2))
        text += 2;
    if (*text == '/')
        return asprintf(&out, "%s%s", prefix, text) < 0 ? NULL : out;
    if (slash != o.file && (!slash || *o.file != '/') && !getcwd(cwd, sizeof cwd))
        return NULL;
    if (asprintf(&out, "%s%s%s%.*s/%s", prefix, cwd, *cwd && folder ? "/" : "", folder, o.file, text) < 0)
        return NULL;
    tidy(out + strlen(prefix));
    return out;
}

/* Absolute form of an endpoint's or Redis' path. */
static char *absolute_endpoint(const char *text, struct key_source o)
{
    static const char *const schemes[] = {"ipc://", "unix:"};
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (!strncmp(text, schemes[i], n) && text[n] && text[n] != '@' && text[n] != '*')
            return absolute(schemes[i], text + n, o);
    }
    return strdup(text);
}

char *pipeline_absolute_set(const char *set, const char *file)
{
    const struct yaml_entry from = {.line = file ? 1 : 0};
    const struct key_source here = {.file = file ? file : "", .entry = &from};
    const char *equals = strchr(set, '=');
    char key[YAML_MAX_PATH], pattern[YAML_MAX_PATH], *value = NULL, *out = NULL;
    int index[YAML_MAX_INDICES];
    const struct key *k = NULL;

    if (equals && equals - set < (int)sizeof key) {
        snprintf(key, sizeof key, "%.*s", (int)(equals - set), set);
        k = yaml_pattern(key, pattern, sizeof pattern, index) ? key_find(pattern) : NULL;
    }
    if (!k || !equals[1] || strchr("[{", equals[1]))
        return strdup(set);
    if (k->type == KEY_PATH || k->type == KEY_LABELS)
        value = absolute("", equals + 1, here);
    else
        value = absolute_endpoint(equals + 1,
                                  here); /* kept as it is when it is no endpoint: it is refused later */
    if (value && asprintf(&out, "%s=%s", key, value) < 0)
        out = NULL;
    free(value);
    return out;
}

static bool redis_ok(const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end;
    long port;
    if (!strncmp(text, "unix:", 5))
        return text[5] != '\0';
    port = colon ? strtol(colon + 1, &end, 10) : 0;
    return colon && colon > text && port > 0 && port < 65536 && !*end && !strpbrk(text, " /");
}

static int set_text(char **to, const struct key *k, const char *text, struct key_source o, struct error *e)
{
    char *value, bare[256];
    size_t n = strlen(text);
    if (k->type == KEY_HOST && n > 2 && n < sizeof bare && *text == '[' && text[n - 1] == ']') {
        snprintf(bare, sizeof bare, "%.*s", (int)n - 2, text + 1);
        text = bare;
    }
    if ((k->type == KEY_HOST && !host_ok(text)) || (k->type == KEY_NAME && !pipeline_name_ok(text)) ||
        (k->type == KEY_CHOICE && choice(k->choices, text) < 0) ||
        (k->type == KEY_REDIS && !redis_ok(text)) || !*text)
        return wrong(k, text, o, e);
    if (k->type == KEY_PATH)
        value = absolute("", text, o);
    else if (k->type == KEY_ENDPOINT || k->type == KEY_REDIS)
        value = absolute_endpoint(text, o);
    else
        value = strdup(text);
    if (!value)
        return error_set(e, FL_NOMEM, "out of memory while reading %s", o.file);
    if (k->type == KEY_ENDPOINT) {
        const struct security anywhere = {.mode = SECURITY_NONE};
        struct error why;
        if (endpoint_check(value, &anywhere, &why)) {
            free(value);
            return key_error(o, false, e, "%s: %.300s", k->path, why.text);
        }
    }
    free(*to);
    *to = value;
    return FL_OK;
}

static int add_label(struct pipeline *p, char *line, int number, const char *path, struct key_source o,
                     struct error *e)
{
    line[strcspn(line, "\r\n")] = '\0';
    if (!*line || strlen(line) > 255)
        return key_error(o, false, e, "line %d of %.200s is empty or too long", number, path);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return key_error(o, false, e, "line %d of %.200s has a control character", number, path);
    if (p->n_labels == PIPELINE_MAX_LABELS)
        return key_error(o, false, e, "%.200s has more than %d lines", path, PIPELINE_MAX_LABELS);
    if (!(p->label[p->n_labels] = strdup(line)))
        return error_set(e, FL_NOMEM, "out of memory while reading labels");
    p->n_labels++;
    return FL_OK;
}

/* One label per line. Only a regular file is read. */
static int read_labels(struct pipeline *p, const char *path, struct key_source o, struct error *e)
{
    char line[1024];
    struct stat st;
    bool regular = !stat(path, &st) && S_ISREG(st.st_mode);
    FILE *f = regular ? fopen(path, "re") : NULL;
    int rc = FL_OK;
    if (!f)
        return key_error(o, false, e, "cannot read labels from %.250s: %s", path,
                         regular || errno == ENOENT ? strerror(errno) : "not a text file");
    pipeline_clear_labels(p);
    p->label = calloc(PIPELINE_MAX_LABELS, sizeof *p->label);
    if (!p->label)
        rc = error_set(e, FL_NOMEM, "out of memory while reading labels");
    for (int number = 1; !rc && fgets(line, sizeof line, f); number++)
        rc = add_label(p, line, number, path, o, e);
    fclose(f);
    if (!rc && !p->n_labels)
        rc = key_error(o, false, e, "%.250s has no labels", path);
    return rc;
}

static int set_labels(struct pipeline *p, const char *text, struct key_source o, struct error *e)
{
    char *path = absolute("", text, o);
    int rc =
        path ? read_labels(p, path, o, e) : error_set(e, FL_NOMEM, "out of memory while reading %s", o.file);
    free(path);
    return rc;
}

/* The words and numbers that stand for whole lists. */
static int set_shorthand(struct pipeline *p, const struct key *k, const int *index, const char *text,
                         struct key_source o, struct error *e)
{
    long long n;
    if (k->type == KEY_LABELS)
        return set_labels(p, text, o, e);
    if (k->type == KEY_EXITS) {
        if (choice(k->choices, text) < 0)
            return wrong(k, text, o, e);
        pipeline_clear_exits(p);
        p->exits_auto = !strcmp(text, "auto");
        return FL_OK;
    }
    if (!to_integer(k, text, &n))
        return wrong(k, text, o, e);
    if (k->type == KEY_BROKERS) {
        pipeline_clear_brokers(p);
        p->broker.n_replicas = (int)n;
        return FL_OK;
    }
    if (k->type == KEY_STAGES)
        for (pipeline_clear_stages(p); n; n--)
            pipeline_add_stage(p);
    else
        for (keep_replicas(&p->stage[index[0]], (int)n); p->stage[index[0]].n_replicas < n;)
            pipeline_add_replica(&p->stage[index[0]]);
    return FL_OK;
}

static int set_number(void *to, const struct key *k, const char *text, struct key_source o, struct error *e)
{
    long long n;
    double x;
    if (k->type == KEY_FLOAT || k->type == KEY_DOUBLE) {
        if (!to_number(k, text, &x))
            return wrong(k, text, o, e);
        if (k->type == KEY_FLOAT)
            *(float *)to = (float)x;
        else
            *(double *)to = x;
        return FL_OK;
    }
    if (!to_integer(k, text, &n))
        return wrong(k, text, o, e);
    if (k->type == KEY_INT)
        *(int *)to = (int)n;
    else
        *(int64_t *)to = n; /* KEY_INT64, and KEY_UINT64, whose range begins at 0 */
    return FL_OK;
}

int key_set(struct pipeline *p, const struct key *k, const int *index, const char *text, struct key_source o,
            struct error *e)
{
    void *to;
    int rc = reach(p, k->path, index, o, e);
    if (rc)
        return rc;
    if (k->type == KEY_LABELS || k->type == KEY_EXITS || k->type == KEY_STAGES || k->type == KEY_REPLICAS ||
        k->type == KEY_BROKERS)
        return set_shorthand(p, k, index, text, o, e);
    if (!(to = slot(p, k, index, o, e)))
        return e ? (int)e->code : FL_CONFIG;
    switch (k->type) {
    case KEY_BOOL:
        return to_bool(text, to) ? FL_OK : wrong(k, text, o, e);
    case KEY_RULE:
        rc = choice(k->choices, text);
        *(unsigned *)to = (unsigned)(rc < 0 ? 0 : rc);
        return rc < 0 ? wrong(k, text, o, e) : FL_OK;
    case KEY_INT:
    case KEY_INT64:
    case KEY_UINT64:
    case KEY_FLOAT:
    case KEY_DOUBLE:
        return set_number(to, k, text, o, e);
    default:
        return set_text(to, k, text, o, e);
    }
}

int key_start_item(struct pipeline *p, const char *pattern, const int *index, struct key_source o,
                   struct error *e)
{
    return reach(p, pattern, index, o, e);
}

int key_start_list(struct pipeline *p, const char *pattern, const int *index, struct key_source o,
                   struct error *e)
{
    char item[YAML_MAX_PATH];
    const struct key *k;
    int used, rc = reach(p, pattern, index, o, e);
    char *base;
    if (rc)
        return rc;
    if (!strcmp(pattern, "stages"))
        pipeline_clear_stages(p);
    else if (!strcmp(pattern, "stages.#.replicas"))
        keep_replicas(&p->stage[index[0]], 0);
    else if (!strcmp(pattern, "broker.replicas"))
        pipeline_clear_brokers(p);
    else if (!strcmp(pattern, "exits"))
        pipeline_clear_exits(p);
    else if (!strcmp(pattern, "labels"))
        pipeline_clear_labels(p);
    else if (!strcmp(pattern, "hosts"))
        pipeline_clear_hosts(p);
    else if (!strcmp(pattern, "variants"))
        pipeline_clear_variants(p);
    else if (snprintf(item, sizeof item, "%s.#", pattern) < (int)sizeof item && (k = key_find(item))) {
        base = holder(p, pattern, index, &used);
        if (k->type == KEY_ENDPOINT || k->type == KEY_HOST)
            for (int i = 0; i < k->most; i++) {
                free(((char **)(void *)(base + k->offset))[i]);
                ((char **)(void *)(base + k->offset))[i] = NULL;
            }
        *(int *)(void *)(base + k->count_offset) = 0;
    }
    return FL_OK;
}

/* A default of a list is written "1 2 4". */
static int set_default(struct pipeline *p, const struct key *k, struct error *e)
{
    struct key_source o = {.file = p->path};
    char words[128], *rest = words, *word;
    int rc = FL_OK;
    if (!k->most)
        return key_set(p, k, (int[YAML_MAX_INDICES]){0}, k->initial, o, e);
    snprintf(words, sizeof words, "%s", k->initial);
    for (int i = 0; !rc && (word = strsep(&rest, " ")); i++)
        rc = key_set(p, k, (int[YAML_MAX_INDICES]){i}, word, o, e);
    return rc;
}

int key_set_defaults(struct pipeline *p, struct error *e)
{
    int rc = FL_OK;
    for (int i = 0; !rc && i < pipeline_n_keys; i++) {
        const struct key *k = &pipeline_keys[i];
        if (k->initial && k->type != KEY_STAGES && !strstr(k->path, ".#."))
            rc = set_default(p, k, e);
    }
    return rc;
}
