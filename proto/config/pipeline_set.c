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

static void begin_stage(void *stage)
{
    struct stage_config *s = stage;
    s->threads = atoi(key_find("stages.#.threads")->initial);
    s->max_batch = atoi(key_find("stages.#.batch")->initial);
}

static void begin_replica(void *replica)
{
    ((struct replica_config *)replica)->cache = -1; /* until pipeline_place */
}

/* The lists of mappings, those within another behind it. */
static const struct list {
    const char *item, *name;       /* path of its items; as messages call it */
    size_t n, items, bytes;        /* in what holds it; of an item */
    int most;                      /* items */
    void (*begin)(void *new_item); /* NULL: all zero */
} lists[] = {
#define ITEMS(type, count, member) offsetof(type, count), offsetof(type, member), sizeof((type *)0)->member[0]
    {"stages.#", "stages", ITEMS(struct pipeline, n_stages, stage), PIPELINE_MAX_STAGES, begin_stage},
    {"stages.#.replicas.#", "replicas", ITEMS(struct stage_config, n_replicas, replica),
     PIPELINE_MAX_REPLICAS, begin_replica},
    {"exits.#", "exits", ITEMS(struct pipeline, n_exits, exit), PIPELINE_MAX_EXITS, NULL},
    {"hosts.#", "hosts", ITEMS(struct pipeline, n_hosts, host), PIPELINE_MAX_HOSTS, NULL},
    {"variants.#", "variants", ITEMS(struct pipeline, n_variants, variant), PIPELINE_MAX_VARIANTS, NULL},
    {"broker.replicas.#", "broker.replicas", ITEMS(struct pipeline, broker.n_replicas, broker.replica),
     PIPELINE_MAX_BROKERS, NULL},
};
#define REPLICAS  (&lists[1])
#define LISTS_END (lists + sizeof lists / sizeof *lists)

static bool below(const char *pattern, const char *item)
{
    size_t length = strlen(item);
    return !strncmp(pattern, item, length) && (!pattern[length] || pattern[length] == '.');
}

/* The first list, from this one on, that leads to the key or section; LISTS_END: none. */
static const struct list *list_to(const char *pattern, const struct list *l)
{
    while (l < LISTS_END && !below(pattern, l->item))
        l++;
    return l;
}

/* NULL: the path is none of a list of mappings. */
static const struct list *list_at(const char *pattern)
{
    size_t length = strlen(pattern);
    for (const struct list *l = lists; l < LISTS_END; l++)
        if (!strncmp(l->item, pattern, length) && !strcmp(l->item + length, ".#"))
            return l;
    return NULL;
}

static int *count_of(char *base, size_t offset)
{
    return (int *)(void *)(base + offset);
}

static bool is_text(const struct key *k)
{
    return k->type <= KEY_CHOICE;
}

static void free_texts(char *base, const struct key *k)
{
    char **text = (char **)(void *)(base + k->offset);
    for (int i = 0; i < (k->most ? k->most : 1); i++) {
        free(text[i]);
        text[i] = NULL;
    }
}

/* The key's texts in all that the lists from `from` on lead to. */
static void free_all_texts(char *base, const struct list *from, const struct key *k)
{
    const struct list *l = list_to(k->path, from);
    if (l == LISTS_END)
        free_texts(base, k);
    else
        for (int i = 0; i < l->most; i++)
            free_all_texts(base + l->items + (size_t)i * l->bytes, l + 1, k);
}

/* Those of all keys below `item` ("": of all keys, but for labels, which lie elsewhere). */
static void free_below(char *base, const struct list *from, const char *item)
{
    for (const struct key *k = pipeline_keys; k < pipeline_keys + pipeline_n_keys; k++)
        if (is_text(k) && (*item ? below(k->path, item) : !below(k->path, "labels")))
            free_all_texts(base, from, k);
}

static void clear(char *base, const struct list *l)
{
    free_below(base, l, l->item);
    memset(base + l->items, 0, (size_t)l->most * l->bytes);
    *count_of(base, l->n) = 0;
}

void pipeline_clear_list(struct pipeline *p, const char *path)
{
    clear((char *)p, list_at(path));
}

static void clear_labels(struct pipeline *p)
{
    for (int i = 0; i < p->n_labels; i++)
        free(p->label[i]);
    free(p->label);
    p->label = NULL;
    p->n_labels = 0;
}

void pipeline_clear_texts(struct pipeline *p)
{
    clear_labels(p);
    free_below((char *)p, lists, "");
}

/* The first n stay as they are. */
static void keep_replicas(struct stage_config *s, int n)
{
    for (; s->n_replicas > n; s->n_replicas--) {
        struct replica_config *r = &s->replica[s->n_replicas - 1];
        free_below((char *)r, REPLICAS + 1, REPLICAS->item);
        memset(r, 0, sizeof *r);
    }
}

struct stage_config *pipeline_add_stage(struct pipeline *p)
{
    struct stage_config *s = &p->stage[p->n_stages++];
    begin_stage(s);
    return s;
}

struct replica_config *pipeline_add_replica(struct stage_config *s)
{
    struct replica_config *r = &s->replica[s->n_replicas++];
    begin_replica(r);
    return r;
}

static int no_such_item(struct key_source o, const char *list, int index, int n, int most, struct error *e)
{
    if (n >= most)
        return key_error(o, true, e, "%s has more than %d items", list, most);
    return key_error(o, true, e, "there is no %s.%d: the next one is %s.%d", list, index, list, n);
}

/* Makes the items of lists of mappings that the path leads through, where they are the next ones. */
static int reach(struct pipeline *p, const char *pattern, const int *index, struct key_source o,
                 struct error *e)
{
    char *base = (char *)p;
    if (below(pattern, "exits.#"))
        p->exits_auto = false;
    for (const struct list *l = list_to(pattern, lists); l < LISTS_END; l = list_to(pattern, l + 1)) {
        int *n = count_of(base, l->n), i = *index++;
        if (i > *n || i >= l->most)
            return no_such_item(o, l->name, i, *n, l->most, e);
        base += l->items + (size_t)i * l->bytes;
        if (i == *n && l->begin)
            l->begin(base);
        *n += i == *n;
    }
    return FL_OK;
}

/* The struct that holds the key, and how many of the path's indices lead there. */
static void *holder(struct pipeline *p, const char *pattern, const int *index, int *used)
{
    char *base = (char *)p;
    *used = 0;
    for (const struct list *l = list_to(pattern, lists); l < LISTS_END; l = list_to(pattern, l + 1))
        base += l->items + (size_t)index[(*used)++] * l->bytes;
    return base;
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
    const struct list *l = list_at(pattern);
    const struct key *k = NULL;
    char *base;
    int used;

    snprintf(item, sizeof item, "%s.#", pattern);
    if (!l && !(k = key_find(item)))
        return -1;
    base = holder((struct pipeline *)(uintptr_t)p, pattern, index, &used);
    return *count_of(base, l ? l->n : k->count_offset);
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
    clear_labels(p);
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
        pipeline_clear_list(p, "exits");
        p->exits_auto = !strcmp(text, "auto");
        return FL_OK;
    }
    if (!to_integer(k, text, &n))
        return wrong(k, text, o, e);
    if (k->type == KEY_BROKERS) {
        pipeline_clear_list(p, "broker.replicas");
        p->broker.n_replicas = (int)n;
        return FL_OK;
    }
    if (k->type == KEY_STAGES)
        for (pipeline_clear_list(p, "stages"); n; n--)
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
    const struct list *l = list_at(pattern);
    int used, rc = reach(p, pattern, index, o, e);
    char *base;
    if (rc)
        return rc;
    base = holder(p, pattern, index, &used);
    if (!strcmp(pattern, "exits"))
        p->exits_auto = false;
    if (l)
        clear(base, l);
    else if (!strcmp(pattern, "labels"))
        clear_labels(p);
    else if (snprintf(item, sizeof item, "%s.#", pattern) < (int)sizeof item && (k = key_find(item))) {
        if (is_text(k))
            free_texts(base, k);
        *count_of(base, k->count_offset) = 0;
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
