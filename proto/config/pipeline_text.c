/* pipeline_text.c - a section of a pipeline file as one line: the same settings give the same text */
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
