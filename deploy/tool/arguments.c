/* arguments.c - parsing of options, and --help from the same table */
#include "arguments.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest_word.h"
#include "config/here.h"
#include "config/variants.h"
#include "help.h"
#include "stages/place/precision_options.h"

#define ARGUMENTS_MAX_OPTIONS 40

static int unknown_option(const struct usage *u, const struct argument *table, const char *word,
                          struct error *e)
{
    const char *known[ARGUMENTS_MAX_OPTIONS], *near;
    char name[64];
    int n = 0;

    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    for (const struct argument *a = table; a->kind != ARGUMENT_END && n < ARGUMENTS_MAX_OPTIONS - 1; a++)
        known[n++] = a->name;
    known[n++] = "help";
    near = nearest_word(name + strspn(name, "-"), known, n);
    if (near)
        return error_set(e, FL_USAGE, "unknown option %s; did you mean --%s?", name, near);
    return error_set(e, FL_USAGE, "unknown option %s; 'freezeline %s --help' lists the options", name,
                     u->command);
}

/* The option that argv[*i] names; *value is what follows '=' or the letter, or NULL. */
static const struct argument *find_option(const struct argument *table, const char *word, const char **value)
{
    *value = NULL;
    for (const struct argument *a = table; a->kind != ARGUMENT_END; a++) {
        size_t n = strlen(a->name);
        if (word[1] == '-' && !strncmp(word + 2, a->name, n) && (word[2 + n] == '=' || !word[2 + n])) {
            *value = word[2 + n] ? word + 3 + n : NULL;
            return a;
        }
        if (word[1] != '-' && a->letter && word[1] == a->letter && (!word[2] || a->kind != ARGUMENT_FLAG)) {
            *value = word[2] ? word + 2 : NULL;
            return a;
        }
    }
    return NULL;
}

static int check_range(const struct argument *a, double x, struct error *e)
{
    if ((a->low != 0 || a->high != 0) && !(x >= a->low && x <= a->high))
        return error_set(e, FL_USAGE, "--%s %.15g is out of range: %.15g to %.15g", a->name, x, a->low,
                         a->high);
    return FL_OK;
}

static int store_number(const struct argument *a, const char *text, struct error *e)
{
    char *end;
    double x = strtod(text, &end);

    if (end == text || *end || !isfinite(x))
        return error_set(e, FL_USAGE, "--%s takes a number, not '%s'", a->name, text);
    if (check_range(a, x, e))
        return FL_USAGE;
    if (a->kind == ARGUMENT_NUMBER) {
        *(double *)a->into = x;
        return FL_OK;
    }
    if (x != floor(x) || x < INT_MIN || x > INT_MAX)
        return error_set(e, FL_USAGE, "--%s takes a whole number, not '%s'", a->name, text);
    *(int *)a->into = (int)x;
    return FL_OK;
}

static int append(struct argument_list *list, const char *text, const char *what, struct error *e)
{
    if (list->n == ARGUMENTS_MAX_LIST)
        return error_set(e, FL_USAGE, "too many %s: at most %d", what, ARGUMENTS_MAX_LIST);
    list->item[list->n++] = text;
    return FL_OK;
}

static int store(const struct argument *a, const char *text, struct error *e)
{
    switch (a->kind) {
    case ARGUMENT_TEXT:
        *(const char **)a->into = text;
        return FL_OK;
    case ARGUMENT_LIST:
        return append(a->into, text, a->name, e);
    default:
        return store_number(a, text, e);
    }
}

/* One option at argv[*i]; steps over a value that stands apart. */
static int parse_option(const struct usage *u, const struct argument *table, int argc, char **argv, int *i,
                        struct error *e)
{
    const char *value;
    const struct argument *a = find_option(table, argv[*i], &value);

    if (!a)
        return unknown_option(u, table, argv[*i], e);
    if (a->kind == ARGUMENT_FLAG) {
        if (value)
            return error_set(e, FL_USAGE, "--%s takes no value", a->name);
        *(bool *)a->into = true;
        return FL_OK;
    }
    if (!value && *i + 1 == argc)
        return error_set(e, FL_USAGE, "--%s needs a value: %s", a->name, a->value);
    return store(a, value ? value : argv[++*i], e);
}

static bool is_pipeline_file(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static int check_operands(const struct usage *u, const struct argument_list *operands, struct error *e)
{
    if (operands->n < u->min_operands)
        return error_set(e, FL_USAGE, "%s is missing; 'freezeline %s --help' tells more", u->operands,
                         u->command);
    if (operands->n > u->max_operands && is_pipeline_file(operands->item[u->max_operands]))
        return error_set(e, FL_USAGE, "unexpected argument '%s'; did you mean -c %s?",
                         operands->item[u->max_operands], operands->item[u->max_operands]);
    if (operands->n > u->max_operands)
        return error_set(e, FL_USAGE, "unexpected argument '%s'; 'freezeline %s --help' tells more",
                         operands->item[u->max_operands], u->command);
    return FL_OK;
}

int arguments_parse(const struct usage *u, const struct argument *table, int argc, char **argv,
                    struct argument_list *operands, struct error *e)
{
    struct argument_list none = {.n = 0};
    const char *way;
    int rc;

    operands = operands ? operands : &none;
    operands->n = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--")) {
            while (++i < argc)
                if ((rc = append(operands, argv[i], "arguments", e)))
                    return rc;
            break;
        }
        if ((way = help_asked(argv[i]))) {
            help_print(u, table, way);
            return ARGUMENTS_HELPED;
        }
        if (argv[i][0] == '-' && argv[i][1])
            rc = parse_option(u, table, argc, argv, &i, e);
        else
            rc = append(operands, argv[i], "arguments", e);
        if (rc)
            return rc;
    }
    return check_operands(u, operands, e);
}

int arguments_load(struct pipeline **out, const struct pipeline_arguments *a, struct error *e)
{
    struct pipeline *front;
    int rc;

    *out = NULL;
    if (!a->path)
        return error_set(e, FL_USAGE, "-c P.yaml is missing: which pipeline?");
    if ((rc = pipeline_load(&front, a->path, a->sets.item, a->sets.n, e)))
        return rc;
    if (!a->variant) {
        *out = front;
    } else {
        rc = variant_load(out, front, a->variant, a->sets.item, a->sets.n, e);
        pipeline_free(front);
    }
    if (!rc && a->host && (rc = here_settle(*out, a->host, e))) {
        pipeline_free(*out);
        *out = NULL;
    }
    return rc;
}

void arguments_warn_of_precision(const struct pipeline *p)
{
    char doubt[ERROR_TEXT_BYTES];

    if (*precision_doubt(p, doubt, sizeof doubt))
        fprintf(stderr, "warning: %s\n", doubt);
}

void arguments_warn_of_units(const struct pipeline *p)
{
    char doubt[ERROR_TEXT_BYTES];

    if (*pipeline_units_doubt(p, doubt, sizeof doubt))
        fprintf(stderr, "warning: %s\n", doubt);
}
