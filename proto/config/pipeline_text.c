/* pipeline_text.c - settings as text: a section as one line, and what differs between two pipelines */
#include "pipeline_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define TAIL_BYTES 21 /* "...#", 16 digits, end */

/* The beginning of a text, and the digest of all of it. */
struct line {
    char *buf;
    size_t size, n; /* n: bytes of the whole text */
    uint64_t digest;
    bool whole; /* so far the text stands in buf as it is */
};

static void add(struct line *l, const char *text)
{
    l->digest = XXH3_64bits_withSeed(text, strlen(text), l->digest);
    for (; *text; text++, l->n++) {
        bool plain = *text >= ' ' && *text <= '~';
        l->whole = l->whole && plain && l->n + 1 < l->size;
        if (l->n < l->size)
            l->buf[l->n] = plain ? *text : '?';
    }
}

/* The word that stands for a number in "a|b|c". */
static void print_choice(char *buf, size_t size, const char *choices, int n)
{
    for (; n > 0 && strchr(choices, '|'); n--)
        choices = strchr(choices, '|') + 1;
    snprintf(buf, size, "%.*s", (int)strcspn(choices, "|"), choices);
}

void key_text(char *buf, size_t size, const struct key *k, const void *at)
{
    const char *text;
    switch (k->type) {
    case KEY_BOOL:
        snprintf(buf, size, "%s", *(const bool *)at ? "true" : "false");
        return;
    case KEY_INT:
        snprintf(buf, size, "%d", *(const int *)at);
        return;
    case KEY_INT64:
    case KEY_UINT64:
        snprintf(buf, size, "%" PRId64, *(const int64_t *)at);
        return;
    case KEY_FLOAT:
        snprintf(buf, size, "%.9g", (double)*(const float *)at);
        return;
    case KEY_DOUBLE:
        snprintf(buf, size, "%.17g", *(const double *)at);
        return;
    case KEY_RULE:
        print_choice(buf, size, k->choices, *(const int *)at);
        return;
    case KEY_EXITS:
    case KEY_STAGES:
    case KEY_REPLICAS:
    case KEY_BROKERS:
    case KEY_LABELS:
        buf[0] = '\0'; /* sections that have none */
        return;
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_PATH:
    case KEY_HOST:
    case KEY_ENDPOINT:
    case KEY_REDIS:
    case KEY_CHOICE:
        text = *(char *const *)at;
        snprintf(buf, size, "%s", text ? text : "");
        return;
    }
}

static void add_key(struct line *l, const struct pipeline *p, const struct key *k, const char *name)
{
    int n = k->most ? *(const int *)(const void *)((const char *)p + k->count_offset) : 1;
    char value[YAML_MAX_SCALAR + 1];
    if (!k->most) {
        key_text(value, sizeof value, k, key_at(p, k, (int[]){0}));
        if (!*value || (k->initial && !strcmp(value, k->initial)))
            return;
    }
    for (int i = 0; i < n; i++) {
        if (!i) {
            char word[64];
            snprintf(word, sizeof word, "%s%.*s", l->n ? "; " : "", (int)strcspn(name, "#") - (k->most > 0),
                     name);
            add(l, word);
        }
        key_text(value, sizeof value, k, key_at(p, k, (int[]){i}));
        add(l, " ");
        add(l, value);
    }
}

char *pipeline_section_text(const struct pipeline *p, const char *section, char *buf, size_t size)
{
    struct line l = {.buf = buf, .size = size, .whole = true};
    size_t length = strlen(section);
    for (int i = 0; i < pipeline_n_keys; i++) {
        const char *path = pipeline_keys[i].path;
        if (!strncmp(path, section, length) && path[length] == '.')
            add_key(&l, p, &pipeline_keys[i], path + length + 1);
    }
    if (l.whole)
        buf[l.n] = '\0';
    else {
        size_t at = l.n < size - TAIL_BYTES ? l.n : size - TAIL_BYTES;
        snprintf(buf + at, TAIL_BYTES, "...#%016" PRIx64, l.digest);
    }
    return buf;
}

/* ---- differences ---- */

struct differing {
    const struct pipeline *a, *b;
    int index[YAML_MAX_INDICES];
    pipeline_difference each;
    void *arg;
};

static bool is_list(const struct key *k)
{
    size_t length = strlen(k->path);
    return length > 2 && !strcmp(k->path + length - 2, ".#");
}

/* The items of a list one behind the other; of a list of mappings, how many there are. */
static void value_of(char *buf, size_t size, const struct pipeline *p, const struct key *k, int *index,
                     int depth)
{
    char list[YAML_MAX_PATH], value[YAML_MAX_SCALAR + 1];
    size_t n = 0;

    snprintf(list, sizeof list, "%.*s", (int)(strlen(k->path) - (is_list(k) ? 2 : 0)), k->path);
    buf[0] = '\0';
    if (k->type == KEY_EXITS && p->exits_auto)
        snprintf(buf, size, "auto");
    else if (k->type == KEY_EXITS || k->type == KEY_STAGES || k->type == KEY_REPLICAS)
        snprintf(buf, size, "%d", key_items(p, list, index));
    else if (!is_list(k))
        key_text(buf, size, k, key_at(p, k, index));
    else
        for (int i = 0; i < key_items(p, list, index) && n < size; i++) {
            index[depth] = i;
            key_text(value, sizeof value, k, key_at(p, k, index));
            n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? " " : "", value);
        }
}

/* The path with its indices. */
static void name_of(char *buf, size_t size, const struct key *k, const int *index)
{
    size_t length = strlen(k->path) - (is_list(k) ? 2 : 0), n = 0;
    for (size_t i = 0; i < length && n < size; i++)
        n += (size_t)(k->path[i] == '#' ? snprintf(buf + n, size - n, "%d", *index++)
                                        : snprintf(buf + n, size - n, "%c", k->path[i]));
}

static void compare(struct differing *d, const struct key *k, int depth)
{
    char a[YAML_MAX_SCALAR + 1], b[YAML_MAX_SCALAR + 1], name[YAML_MAX_PATH];

    if (k->type == KEY_LABELS)
        return; /* those are labels.# */
    value_of(a, sizeof a, d->a, k, d->index, depth);
    value_of(b, sizeof b, d->b, k, d->index, depth);
    name_of(name, sizeof name, k, d->index);
    if (strcmp(a, b))
        d->each(d->arg, name, k->path, a, b);
}

/* Goes through the lists of mappings that the path leads through, from its character `from` on. */
static void compare_below(struct differing *d, const struct key *k, size_t from, int depth)
{
    const char *mark = strstr(k->path + from, ".#.");
    char list[YAML_MAX_PATH];
    int a, b;

    if (!mark) {
        compare(d, k, depth);
        return;
    }
    snprintf(list, sizeof list, "%.*s", (int)(mark - k->path), k->path);
    a = key_items(d->a, list, d->index);
    b = key_items(d->b, list, d->index);
    for (int i = 0; i < a && i < b; i++) {
        d->index[depth] = i;
        compare_below(d, k, (size_t)(mark - k->path) + 2, depth + 1);
    }
}

void pipeline_differences(const struct pipeline *a, const struct pipeline *b, pipeline_difference each,
                          void *arg)
{
    struct differing d = {.a = a, .b = b, .each = each, .arg = arg};
    const struct {
        const char *list;
        int a, b;
    } count[] = {{"hosts", a->n_hosts, b->n_hosts}, {"variants", a->n_variants, b->n_variants}};
    char x[16], y[16];

    for (int i = 0; i < pipeline_n_keys; i++)
        compare_below(&d, &pipeline_keys[i], 0, 0);
    for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
        snprintf(x, sizeof x, "%d", count[i].a);
        snprintf(y, sizeof y, "%d", count[i].b);
        if (count[i].a != count[i].b)
            each(arg, count[i].list, count[i].list, x, y);
    }
}
