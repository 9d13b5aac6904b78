/* serving.c - copies of the pipeline file, and the --set arguments beside them */
#include "serving.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/whole_file.h"
#include "deploy/tool/state.h"
#include "roles.h"
#include "running.h"

#define FILE_MOST (1 << 20) /* as the loader's */

static int copy(const char *from, const char *to, struct error *e)
{
    char real[STATE_PATH_BYTES + 64], *origin = realpath(from, NULL);
    struct file_part part[2] = {{0}, {real, 0}};
    void *text = NULL;
    int rc = file_read(&text, &part[0].size, from, FILE_MOST, e);

    part[0].data = text;
    if (!rc && !pipeline_origin(text)) /* a copy of a copy is of the same file */
        part[1].size =
            (size_t)snprintf(real, sizeof real, "\n%s%.1000s\n", PIPELINE_COPY_OF, origin ? origin : from);
    if (!rc)
        rc = file_replace(to, part, 2, e);
    free(text);
    free(origin);
    return rc;
}

static int own_sets(struct argument_list *to, const struct argument_list *from, struct error *e)
{
    to->n = 0;
    for (int i = 0; i < from->n; i++)
        if (!(to->item[to->n++] = strdup(from->item[i])))
            return error_set(e, FL_NOMEM, "no memory");
    return FL_OK;
}

int serving_take(struct serving *out, const struct pipeline *where, const char *file,
                 const struct argument_list *sets, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc;

    memset(out, 0, sizeof *out);
    if ((rc = state_path(path, where, e, "run/pipeline.next.yaml")) || (rc = copy(file, path, e)) ||
        (rc = own_sets(&out->arguments.sets, sets, e)))
        goto fail;
    if (!(out->arguments.path = strdup(path)) ||
        (where->here >= 0 && !(out->arguments.host = strdup(where->host[where->here].name)))) {
        rc = error_set(e, FL_NOMEM, "no memory");
        goto fail;
    }
    if (!(rc = arguments_load(&out->pipeline, &out->arguments, e)))
        return FL_OK;
fail:
    serving_free(out);
    return rc;
}

int serving_commit(struct serving *s, struct error *e)
{
    char path[STATE_PATH_BYTES], *lasts;
    int rc = state_path(path, s->pipeline, e, "run/pipeline.yaml");

    if (rc)
        return rc;
    if (!(lasts = strdup(path)))
        return error_set(e, FL_NOMEM, "no memory");
    if (rename(s->arguments.path, lasts)) {
        rc = error_set(e, FL_IO, "cannot write %s: %s", lasts, strerror(errno));
        free(lasts);
        return rc;
    }
    free((char *)(uintptr_t)s->arguments.path);
    s->arguments.path = lasts;
    return running_remember(s->pipeline, &s->arguments, e);
}

void serving_free(struct serving *s)
{
    for (int i = 0; i < s->arguments.sets.n; i++)
        free((char *)(uintptr_t)s->arguments.sets.item[i]);
    free((char *)(uintptr_t)s->arguments.path);
    free((char *)(uintptr_t)s->arguments.host);
    pipeline_free(s->pipeline);
    memset(s, 0, sizeof *s);
}

int serving_scaled(struct argument_list *out, const struct argument_list *sets, int stage, int n,
                   char text[48], struct error *e)
{
    int length = snprintf(text, 48, "stages.%d.replicas=", stage);

    *out = *sets;
    out->n = 0;
    for (int i = 0; i < sets->n; i++)
        if (strncmp(sets->item[i], text, (size_t)length))
            out->item[out->n++] = sets->item[i];
    if (out->n == ARGUMENTS_MAX_LIST)
        return error_set(e, FL_USAGE, "more than %d --set arguments", ARGUMENTS_MAX_LIST);
    snprintf(text + length, 48 - (size_t)length, "%d", n);
    out->item[out->n++] = text;
    return FL_OK;
}

/* The stage whose number of replicas a set says; -1: it says something else. */
static int stage_of(const char *set)
{
    int stage = -1, end = 0;
    return sscanf(set, "stages.%d.replicas=%n", &stage, &end) == 1 && end ? stage : -1;
}

/* The file without such sets. */
static int load_unscaled(struct pipeline **out, const char *file, const struct argument_list *sets,
                         struct error *e)
{
    struct pipeline_arguments a = {.path = file};
    for (int i = 0; i < sets->n; i++)
        if (stage_of(sets->item[i]) < 0)
            a.sets.item[a.sets.n++] = sets->item[i];
    return arguments_load(out, &a, e);
}

int serving_sets(struct argument_list *out, const struct serving *now, const char *file, struct error *e)
{
    const struct argument_list *sets = &now->arguments.sets;
    struct pipeline *before = NULL, *after = NULL;
    int rc = load_unscaled(&before, now->arguments.path, sets, e);

    out->n = 0;
    if (!rc)
        rc = load_unscaled(&after, file, sets, e);
    for (int i = 0; !rc && i < sets->n; i++) {
        int stage = stage_of(sets->item[i]);
        if (stage < 0 || (stage < after->n_stages && stage < before->n_stages &&
                          after->stage[stage].n_replicas == before->stage[stage].n_replicas))
            out->item[out->n++] = sets->item[i];
    }
    pipeline_free(before);
    pipeline_free(after);
    return rc;
}

int serving_check_sets(const struct serving *now, const struct argument_list *sets, const char *file,
                       struct error *e)
{
    bool same = true, other = false;
    int i = 0;

    for (; i < sets->n && same; i++) {
        char *set = pipeline_absolute_set(sets->item[i], NULL); /* as `up` keeps them */
        same = other = false;
        for (int k = 0; set && k < now->arguments.sets.n && !same; k++) {
            const char *has = now->arguments.sets.item[k];
            same = !strcmp(has, set);
            other = other || !strncmp(has, set, strcspn(set, "=") + 1);
        }
        free(set);
    }
    if (same)
        return FL_OK;
    return other
               ? error_set(e, FL_USAGE,
                           "--set %s: the pipeline came up with another value by --set, which stays until "
                           "`freezeline down` and `up`",
                           sets->item[i - 1])
               : error_set(e, FL_USAGE,
                           "--set %s: the pipeline did not come up with it, and no file would say it: write "
                           "it into %s, which is what is taken",
                           sets->item[i - 1], file);
}

int serving_recall(struct serving *out, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES], arguments[STATE_PATH_BYTES];
    struct argument_list sets = {0};
    json_t *root = NULL, *set;
    size_t i;
    int rc;

    memset(out, 0, sizeof *out);
    if ((rc = state_path(path, p, e, "run/pipeline.yaml")) ||
        (rc = state_path(arguments, p, e, "run/arguments")))
        return rc;
    if (access(path, R_OK) || !(root = json_load_file(arguments, 0, NULL)))
        return error_set(e, FL_NOT_FOUND, "%s is not there: nothing is up", path);
    json_array_foreach(json_object_get(root, "sets"), i, set) if (sets.n < ARGUMENTS_MAX_LIST)
        sets.item[sets.n++] = json_string_value(set);
    if (!(rc = own_sets(&out->arguments.sets, &sets, e)) &&
        (!(out->arguments.path = strdup(path)) ||
         (p->here >= 0 && !(out->arguments.host = strdup(p->host[p->here].name)))))
        rc = error_set(e, FL_NOMEM, "no memory");
    if (!rc)
        rc = arguments_load(&out->pipeline, &out->arguments, e);
    json_decref(root);
    if (rc)
        serving_free(out);
    return rc;
}

int serving_load(struct pipeline **out, const struct pipeline_arguments *a, struct error *e)
{
    char placed[STATE_PATH_BYTES];
    struct pipeline_arguments both;
    struct pipeline *p;
    struct serving now;
    int rc = running_load(out, a, e);

    if (rc || serving_recall(&now, *out, NULL))
        return rc;
    both = now.arguments;
    if (!state_path(placed, *out, NULL, "run/" SERVING_PLACED) && !access(placed, R_OK))
        both = (struct pipeline_arguments){.path = placed};
    for (int i = 0; i < a->sets.n && both.sets.n < ARGUMENTS_MAX_LIST; i++)
        both.sets.item[both.sets.n++] = a->sets.item[i];
    if (!arguments_load(&p, &both, NULL)) {
        char *as_asked = (*out)->path;
        (*out)->path = p->path;
        p->path = as_asked;
        pipeline_free(*out);
        *out = p;
    }
    serving_free(&now);
    return FL_OK;
}

void serving_words(const char *config)
{
    struct pipeline_arguments a = {.path = config};
    struct role role[ROLES_MAX];
    struct pipeline *p;
    int n = 0;

    if (serving_load(&p, &a, NULL))
        return;
    roles_list(p, role, &n, NULL);
    for (int i = 0; i < n; i++)
        puts(role[i].name);
    pipeline_free(p);
}
