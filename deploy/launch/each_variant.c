/* each_variant.c - commands on a pipeline whose file names variants: each variant is a pipeline of its own
 *
 * `up`, `apply` start or change the other variants first, so that they are there when the first one, which
 * hands requests on to them, is; `down` ends the first one first. With --variant NAME a command is about that
 * one alone. Each is run as if its own pipeline file were named (variants.h). Under budget.memory_mb only
 * those are brought up that fit, and only those that run are asked: the first one's supervisor brings up
 * others when requests would use them more (supervise/pager.h).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/choice/figures.h"
#include "config/variants.h"
#include "deploy/process/claim.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"

enum order { OTHERS_FIRST, OTHERS_LAST, ALONE }; /* ALONE: the first one, unless another is named */

static const struct {
    const char *command;
    enum order order;
} commands[] = {{"up", OTHERS_FIRST},     {"apply", OTHERS_FIRST}, {"reload", OTHERS_FIRST},
                {"restart", OTHERS_LAST}, {"status", OTHERS_LAST}, {"logs", OTHERS_LAST},
                {"down", OTHERS_LAST},    {"scale", ALONE}};

struct words {
    struct pipeline_arguments where;
    bool json, foreground, names; /* --json, --foreground; it names processes */
    char **argv;
    int argc;
    command_function run;
};

/* The value of `--NAME VALUE`, `--NAME=VALUE` or, with a letter, `-L VALUE` at argv[*i]; NULL: it is not
 * that. */
static const char *value_of(char **argv, int argc, int *i, const char *name, char letter)
{
    const char *word = argv[*i];
    size_t n = strlen(name);

    if (word[0] != '-')
        return NULL;
    if (word[1] == '-' && !strncmp(word + 2, name, n) && word[2 + n] == '=')
        return word + 3 + n;
    if (letter && word[1] == letter && word[2])
        return word + 2;
    if ((word[1] == '-' && !strcmp(word + 2, name)) || (letter && word[1] == letter))
        return *i + 1 < argc ? argv[++*i] : NULL;
    return NULL;
}

/* Neither an option nor, as far as can be told here, the value of one. */
static bool is_name(char **argv, int i)
{
    const char *before = i > 1 ? argv[i - 1] : "";
    return argv[i][0] != '-' &&
           (strncmp(before, "--", 2) || strchr(before, '=') || !strcmp(before, "--json") ||
            !strcmp(before, "--rolling") || !strcmp(before, "--follow"));
}

static void scan(struct words *w, int argc, char **argv)
{
    const char *v;

    w->argc = argc;
    w->argv = argv;
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        if ((v = value_of(argv, argc, &i, "config", 'c'))) {
            w->where.path = v;
            continue;
        }
        if ((v = value_of(argv, argc, &i, "variant", 0))) {
            w->where.variant = v;
            continue;
        }
        if ((v = value_of(argv, argc, &i, "set", 0))) {
            if (w->where.sets.n < ARGUMENTS_MAX_LIST)
                w->where.sets.item[w->where.sets.n++] = v;
            continue;
        }
        w->json |= !strcmp(argv[i], "--json");
        w->foreground |= !strcmp(argv[i], "--foreground");
        w->names |= is_name(argv, i);
    }
}

/* The same words, but for the pipeline file `path` (NULL: as they are) and without what belongs to the front.
 */
static char **words_for(const struct words *w, const char *path, int *argc)
{
    char **out = calloc((size_t)w->argc + 3, sizeof *out);
    const char *v;

    *argc = 0;
    for (int i = 0; out && i < w->argc; i++) {
        int at = i;
        if (i && (value_of(w->argv, w->argc, &i, "variant", 0) ||
                  (path &&
                   ((v = value_of(w->argv, w->argc, &i, "config", 'c')) ||
                    (v = value_of(w->argv, w->argc, &i, "set", 0)) || !strcmp(w->argv[i], "--foreground")))))
            continue;
        for (; at <= i; at++)
            out[(*argc)++] = w->argv[at];
    }
    if (out && path) {
        out[(*argc)++] = (char *)(uintptr_t) "-c";
        out[(*argc)++] = (char *)(uintptr_t)path;
    }
    return out;
}

/* What others print is for people: a program reads the first one's. */
static int run_quietly(command_function run, int argc, char **argv, bool quiet, struct error *e)
{
    int kept = -1, nowhere, rc;

    fflush(stdout);
    if (quiet && (kept = dup(STDOUT_FILENO)) >= 0 && (nowhere = open("/dev/null", O_WRONLY)) >= 0) {
        dup2(nowhere, STDOUT_FILENO);
        close(nowhere);
    }
    rc = run(argc, argv, e);
    fflush(stdout);
    if (kept >= 0) {
        dup2(kept, STDOUT_FILENO);
        close(kept);
    }
    return rc;
}

static int run_one(const struct words *w, const struct pipeline *front, const char *name, bool quiet,
                   struct error *e)
{
    char *path = NULL, **argv = NULL;
    int argc, rc = variant_file(&path, front, name, w->where.sets.item, w->where.sets.n, e);

    if (!rc && !(argv = words_for(w, path, &argc)))
        rc = error_set(e, FL_NOMEM, "no memory");
    if (!rc)
        rc = run_quietly(w->run, argc, argv, quiet, e);
    free(argv);
    free(path);
    return rc;
}

/* Which ones fit into budget.memory_mb. Figures that cannot be used are the broker's to complain of. */
static uint32_t fitting(const struct pipeline *front)
{
    struct choice *c;
    uint32_t mask = ~0u;

    if (front->budget.memory_mb > 0 && !figures_choice(&c, front, 1, NULL, NULL)) {
        mask = choice_wants(c, 0, 0);
        choice_free(c);
    }
    return mask;
}

static bool runs(const struct words *w, const struct pipeline *front, const char *name)
{
    struct pipeline *p;
    struct process who;
    bool is;

    if (variant_load(&p, front, name, w->where.sets.item, w->where.sets.n, NULL))
        return true; /* the command says what is wrong */
    is = claim_look(p, &who) != CLAIM_NOBODY;
    pipeline_free(p);
    return is;
}

/* It is put away, and the command says nothing of it. */
static bool passes_over(const struct words *w, const struct pipeline *front, int i, uint32_t fit)
{
    const char *name = front->variant[i].name;
    bool away = front->budget.memory_mb > 0 && w->run != command_down &&
                (w->run == command_up ? !(fit >> i & 1) : !runs(w, front, name));

    if (away && !w->json)
        printf("variant %s: put away, since budget.memory_mb has room for others\n", name);
    return away;
}

static int run_others(const struct words *w, const struct pipeline *front, bool go_on, struct error *e)
{
    uint32_t fit = w->run == command_up ? fitting(front) : 0;
    int rc = FL_OK;

    for (int i = 1; i < front->n_variants && (go_on || !rc); i++) {
        struct error mine = {FL_OK, ""};
        int one;
        if (passes_over(w, front, i, fit))
            continue;
        if (!w->json)
            printf("%svariant %s\n", i > 1 || go_on ? "\n" : "", front->variant[i].name);
        if ((one = run_one(w, front, front->variant[i].name, w->json, &mine)) && !rc) {
            rc = one;
            *e = mine;
            error_wrap(e, (enum fl_code)one, "variant %s", front->variant[i].name);
        }
    }
    if (rc && !go_on)
        return rc;
    if (!w->json && !go_on)
        printf("\nvariant %s\n", front->variant[0].name);
    return rc;
}

static int run_all(const struct words *w, const struct pipeline *front, enum order order, struct error *e)
{
    struct words down = *w;
    struct error others = {FL_OK, ""};
    int rc, first;

    if (order == OTHERS_FIRST) {
        if ((rc = run_others(w, front, false, e)))
            return rc;
        rc = w->run(w->argc, w->argv, e);
        down.run = command_down;
        down.argv = (char *[]){(char *)(uintptr_t) "down", NULL};
        down.argc = 1;
        if (w->foreground)
            run_others(&down, front, true, &others);
        return rc;
    }
    first = w->run(w->argc, w->argv, e);
    rc = run_others(w, front, true, &others);
    if (!first && rc)
        *e = others;
    return first ? first : rc;
}

int command_each_variant(const char *command, command_function run, int argc, char **argv, struct error *e)
{
    struct words w = {.run = run};
    struct pipeline *front = NULL;
    size_t i = 0, n = sizeof commands / sizeof *commands;
    int rc;

    while (i < n && strcmp(command, commands[i].command))
        i++;
    scan(&w, argc, argv);
    if (i == n || !w.where.path ||
        pipeline_load(&front, w.where.path, w.where.sets.item, w.where.sets.n, NULL))
        return run(argc, argv, e); /* which says what is wrong */
    if (w.where.variant)
        rc = run_one(&w, front, w.where.variant, false, e);
    else if (front->n_variants > 1 && !w.names && commands[i].order != ALONE)
        rc = run_all(&w, front, commands[i].order, e);
    else
        rc = run(argc, argv, e);
    pipeline_free(front);
    return rc;
}
