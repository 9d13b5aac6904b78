/* running.c - a JSON file with the pipeline file and the --set arguments that `up` was given */
#include "running.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <jansson.h>

#include "claim.h"
#include "client/client.h"
#include "deploy/tool/state.h"
#include "serving.h"
#include "word.h"

/* Owned. */
static char *real_path(const char *path)
{
    char *real = realpath(path, NULL);
    return real ? real : strdup(path);
}

static int write_words(const struct pipeline *p, const struct pipeline_arguments *a, struct error *e)
{
    char path[STATE_PATH_BYTES], *config = real_path(p->path);
    json_t *sets = json_array(), *root;
    int rc = state_path(path, p, e, "run/arguments");

    for (int i = 0; i < a->sets.n; i++)
        json_array_append_new(sets, json_string(a->sets.item[i]));
    root = json_pack("{s:s, s:o}", "config", config ? config : "", "sets", sets);
    if (!rc && (!root || json_dump_file(root, path, JSON_INDENT(2))))
        rc = error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
    json_decref(root);
    free(config);
    return rc;
}

/* A command with -c alone looks into the state directory that the file names. Where `up` was given another
 * with --set state, the arguments are left in the file's own directory too, unless a pipeline runs there. */
static void point_from_own_state(const struct pipeline *p, const struct pipeline_arguments *a)
{
    struct pipeline_arguments without = {.path = a->path, .host = a->host};
    struct pipeline *own;
    char path[STATE_PATH_BYTES];
    int lock;

    for (int i = 0; i < a->sets.n; i++)
        if (strncmp(a->sets.item[i], "state=", 6))
            without.sets.item[without.sets.n++] = a->sets.item[i];
    if (without.sets.n == a->sets.n || arguments_load(&own, &without, NULL))
        return;
    if (strcmp(own->state, p->state) && !state_path(path, own, NULL, "run") && !state_make(path, NULL) &&
        !claim_take(&lock, own, 0, NULL)) {
        write_words(own, a, NULL);
        close(lock);
    }
    pipeline_free(own);
}

int running_remember(const struct pipeline *p, const struct pipeline_arguments *a, struct error *e)
{
    point_from_own_state(p, a);
    return write_words(p, a, e);
}

/* What was remembered of p's file; NULL: nothing. Owned. */
static json_t *recall(const struct pipeline *p)
{
    char path[STATE_PATH_BYTES], *config = real_path(p->path);
    json_t *root = state_path(path, p, NULL, "run/arguments") ? NULL : json_load_file(path, 0, NULL);
    const char *known = json_string_value(json_object_get(root, "config"));

    if (!known || !config || strcmp(known, config) || !json_array_size(json_object_get(root, "sets"))) {
        json_decref(root);
        root = NULL;
    }
    free(config);
    return root;
}

static void load_again(struct pipeline **out, const struct pipeline_arguments *a, const json_t *sets)
{
    struct pipeline_arguments both = {.path = a->path, .host = a->host};
    struct pipeline *p;
    struct process who;
    struct error e;
    const char *text;

    for (size_t i = 0; i < json_array_size(sets) && both.sets.n < ARGUMENTS_MAX_LIST; i++)
        if ((text = json_string_value(json_array_get(sets, i))))
            both.sets.item[both.sets.n++] = text;
    for (int i = 0; i < a->sets.n && both.sets.n < ARGUMENTS_MAX_LIST; i++)
        both.sets.item[both.sets.n++] = a->sets.item[i];
    if (arguments_load(&p, &both, &e)) {
        fprintf(stderr, "the pipeline was started with other --set arguments, which no longer fit: %s\n",
                e.text);
        return;
    }
    if (strcmp(p->state, (*out)->state) && claim_look(p, &who) == CLAIM_NOBODY &&
        !word_there(p, SERVING_PLACED)) { /* it was stopped since, here and on hosts */
        pipeline_free(p);
        return;
    }
    pipeline_free(*out);
    *out = p;
}

int running_load(struct pipeline **out, const struct pipeline_arguments *a, struct error *e)
{
    json_t *remembered;
    int rc = arguments_load(out, a, e);

    if (rc || !(remembered = recall(*out)))
        return rc;
    load_again(out, a, json_object_get(remembered, "sets"));
    json_decref(remembered);
    return FL_OK;
}

int running_ask(const struct pipeline *p, int wait_ms, struct status_reply *out, struct error *e)
{
    struct client *c = NULL;
    int rc = client_new(&c, p, e);

    if (!rc)
        rc = client_status(c, wait_ms, out, e);
    client_free(c);
    return rc;
}
