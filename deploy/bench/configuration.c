/* configuration.c - opening what is measured */
#include "configuration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"

static bool has_caches(const struct model_shape *m)
{
    for (int i = 0; i < m->n_exits; i++)
        if (strcmp(m->exit[i].kind, "none"))
            return true;
    return false;
}

static int open_target(struct configuration *c, bool no_cache, int clients, struct error *e)
{
    if (c->whole)
        return target_whole(&c->target, c->pipeline, e);
    return target_pipeline(&c->target, c->pipeline, no_cache ? JOB_NO_CACHE : 0, clients, e);
}

/* The pipeline that runs may have been started from other settings. */
static void compare(struct configuration *c)
{
    char served[DIGEST_TEXT_BYTES], own[DIGEST_TEXT_BYTES];

    if (c->served.file == SERVED_OTHER_MODEL)
        snprintf(c->other_model, sizeof c->other_model, "the pipeline serves another model: %s, not %s",
                 digest_text(c->served.model, served), digest_text(c->model->identity.model, own));
    else if (c->served.file == SERVED_OTHER_INPUT)
        snprintf(c->other_model, sizeof c->other_model,
                 "the pipeline serves another `input`, precision or `labels` than the pipeline file has");
    else if (c->served.file == SERVED_OTHER_PLAN)
        snprintf(c->other_model, sizeof c->other_model,
                 "the pipeline serves other cuts or exits than the pipeline file has");
}

/* "traced" or "traced:SHARE": what tracing costs. 0: neither; negative: no share. */
static double traced_share(const char *what)
{
    char *end;
    double share;

    if (strncmp(what, "traced", 6) || (what[6] && what[6] != ':'))
        return 0;
    if (!what[6])
        return 0.01;
    share = strtod(what + 7, &end);
    return *end || end == what + 7 || !(share > 0 && share <= 1) ? -1 : share;
}

bool configuration_traces(const char *what)
{
    return traced_share(what) != 0;
}

/* Another file may give the same name: then the file tells them apart. */
static void make_label(struct configuration *c, const char *what, const struct pipeline *base)
{
    const char *name = c->pipeline->name, *file = strrchr(what, '/');

    if (traced_share(what) > 0)
        snprintf(c->label, sizeof c->label, "%.100s, %g%% traced", name, 100 * traced_share(what));
    else if (c->owned && !strcmp(name, base->name))
        snprintf(c->label, sizeof c->label, "%.100s (%.50s)", name, file ? file + 1 : what);
    else
        snprintf(c->label, sizeof c->label, "%.120s%s", name,
                 c->whole                    ? " in one process"
                 : !strcmp(what, "no-cache") ? " without caches"
                                             : "");
}

int configuration_open(struct configuration *out, const char *what, const struct pipeline *base, int clients,
                       struct error *e)
{
    bool no_cache = !strcmp(what, "no-cache");
    double traced = traced_share(what);
    int rc;

    memset(out, 0, sizeof *out);
    out->whole = !strcmp(what, "whole");
    if (traced < 0)
        return error_set(e, FL_USAGE, "%s: the share of traced requests is a number up to 1", what);
    if (*what && !no_cache && !out->whole && !traced && (rc = pipeline_load(&out->owned, what, NULL, 0, e)))
        return rc;
    out->pipeline = out->owned ? out->owned : base;
    out->clients = out->whole ? 0 : clients;
    make_label(out, what, base);
    if (!(out->model = calloc(1, sizeof *out->model)))
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = model_shape_load(out->model, out->pipeline, e)))
        return rc;
    out->caches = !no_cache && !out->whole && has_caches(out->model);
    if ((rc = open_target(out, no_cache, clients, e)))
        return rc;
    target_trace(out->target, traced);
    if (out->whole)
        return FL_OK;
    if ((rc = served_ask(&out->served, out->pipeline, out->model, e)))
        return rc;
    compare(out);
    if (out->caches && !traced)
        served_warn(&out->served, out->pipeline, "bench");
    return FL_OK;
}

void configuration_close(struct configuration *c)
{
    target_free(c->target);
    dataset_close(c->data);
    free(c->model);
    pipeline_free(c->owned);
}

static json_t *model_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) ? json_null() : json_integer((json_int_t)st.st_size);
}

/* The promise of the caches that answer, not of those on disk. */
static json_t *promise(const struct configuration *c)
{
    char text[PROMISE_TEXT_BYTES];
    const struct promise_record *r = &c->served.answers;

    return r->promised ? json_string(promise_text(&r->promise.terms, text)) : json_null();
}

json_t *configuration_json(const struct configuration *c)
{
    const struct pipeline *p = c->pipeline;
    json_t *replicas = json_array(), *exits = json_array();

    if (c->whole)
        json_array_append_new(replicas, json_integer(1));
    for (int i = 0; !c->whole && i < p->n_stages; i++)
        json_array_append_new(replicas, json_integer(p->stage[i].n_replicas));
    for (int i = 0; !c->whole && i < c->model->n_exits; i++)
        json_array_append_new(exits, json_string(c->model->exit[i].name));
    return json_pack("{s:s, s:s, s:o, s:i, s:o, s:o, s:b, s:o, s:o}", "file", p->path ? p->path : "", "model",
                     p->model, "model_bytes", model_bytes(p->model), "stages",
                     c->whole ? 1 : c->model->n_stages, "replicas", replicas, "exits", exits, "caches",
                     c->caches, "promise", c->caches ? promise(c) : json_null(), "promise_asked",
                     c->caches && c->served.answers.asked[0] ? json_string(c->served.answers.asked)
                                                             : json_null());
}
