/* pipeline_print.c - a whole pipeline as a file: everything that was given, chosen or derived, written out
 *
 * Each top-level key is one line, its value in YAML's flow style.
 */
#include "pipeline_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct printing {
    FILE *to;
    const struct pipeline *p;
    int index[YAML_MAX_INDICES];
};

static void print_text(FILE *to, const struct key *k, const void *at)
{
    char text[YAML_MAX_SCALAR + 1];
    key_text(text, sizeof text, k, at);
    if (k->type == KEY_DOUBLE) { /* 0.1 as people write it, where that is the same number */
        char less[32];
        snprintf(less, sizeof less, "%.15g", *(const double *)at);
        if (strtod(less, NULL) == *(const double *)at)
            snprintf(text, sizeof text, "%s", less);
    }
    if (k->type == KEY_BOOL || k->type == KEY_RULE || (k->type >= KEY_INT && k->type <= KEY_DOUBLE))
        fputs(text, to);
    else
        yaml_print_quoted(to, text);
}

/* Is there a value to write? A name that was taken from the model's file, and that a key would not take,
 * comes from there again. */
static bool is_there(const struct key *k, const void *at)
{
    char text[YAML_MAX_SCALAR + 1];
    key_text(text, sizeof text, k, at);
    return *text && (k->type != KEY_NAME || pipeline_name_ok(text));
}

static void print_map(struct printing *s, const char *pattern, int depth);

static void print_list(struct printing *s, const char *item, int n, int depth)
{
    const struct key *k = key_find(item);
    fputc('[', s->to);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", " : "", s->to);
        s->index[depth] = i;
        if (k)
            print_text(s->to, k, key_at(s->p, k, s->index));
        else
            print_map(s, item, depth + 1);
    }
    fputc(']', s->to);
}

static void print_name(struct printing *s, const char *pattern, bool *comma)
{
    const char *dot = strrchr(pattern, '.');
    if (!dot)
        fprintf(s->to, "%s: ", pattern);
    else
        fprintf(s->to, "%s%s: ", *comma ? ", " : "", dot + 1);
    *comma = true;
}

static void print_child(struct printing *s, const char *pattern, int depth, bool *comma)
{
    char item[YAML_MAX_PATH + 4];
    const struct key *k = key_find(pattern);
    int n = key_items(s->p, pattern, s->index);

    snprintf(item, sizeof item, "%s.#", pattern);
    if (n > 0) {
        print_name(s, pattern, comma);
        print_list(s, item, n, depth);
    } else if (k && k->type == KEY_EXITS) {
        print_name(s, pattern, comma);
        fputs(s->p->exits_auto ? "auto" : "none", s->to);
    } else if (k && n < 0 && is_there(k, key_at(s->p, k, s->index))) {
        print_name(s, pattern, comma);
        print_text(s->to, k, key_at(s->p, k, s->index));
    } else if (!k && n < 0) {
        print_name(s, pattern, comma);
        print_map(s, pattern, depth);
    } else {
        return;
    }
    if (!strchr(pattern, '.'))
        fputc('\n', s->to);
}

/* All keys right below a pattern; "" is the file. */
static void print_map(struct printing *s, const char *pattern, int depth)
{
    size_t length = strlen(pattern);
    char child[YAML_MAX_PATH] = "";
    bool comma = false;

    fputs(length ? "{" : "", s->to);
    for (int i = 0; i < pipeline_n_keys; i++) {
        const char *path = pipeline_keys[i].path;
        size_t below = length ? length + 1 : 0, n;
        if (length && (strncmp(path, pattern, length) || path[length] != '.'))
            continue;
        n = below + strcspn(path + below, ".");
        if (strlen(child) == n && !strncmp(child, path, n))
            continue; /* of the list or section before */
        snprintf(child, sizeof child, "%.*s", (int)n, path);
        print_child(s, child, depth, &comma);
    }
    fputs(length ? "}" : "", s->to);
}

void pipeline_print(FILE *to, const struct pipeline *p)
{
    struct printing s = {.to = to, .p = p};
    print_map(&s, "", 0);
}
