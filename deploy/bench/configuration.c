/* configuration.c - opening what is measured */
#include "configuration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "client/client.h"
#include "deploy/build/promised.h"

#define STATUS_WAIT_MS 3000

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

static bool knows_model(const struct process_status *s)
{
    static const uint8_t none[DIGEST_BYTES];

    return s->role == ROLE_STAGE && strcmp(s->state, "dead") && memcmp(s->model, none, sizeof none);
}

/* The pipeline that runs may have been started from other settings. All of its workers have the same model.
 */
static int compare_model(struct configuration *c, struct error *e)
{
    char served[DIGEST_TEXT_BYTES], own[DIGEST_TEXT_BYTES];
    struct status_reply *s = malloc(sizeof *s);
    struct client *client = NULL;
    int rc = s ? client_new(&client, c->pipeline, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc)
        rc = client_status(client, STATUS_WAIT_MS, s, e);
    for (int i = 0; !rc && i < s->n_processes; i++)
        if (knows_model(&s->process[i]) &&
            memcmp(s->process[i].model, c->model->identity.model, DIGEST_BYTES)) {
            snprintf(c->other_model, sizeof c->other_model, "the pipeline serves another model: %s, not %s",
                     digest_text(s->process[i].model, served), digest_text(c->model->identity.model, own));
            break;
        }
    client_free(client);
    free(s);
    return rc;
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
    promise_record_load(&out->promise, out->pipeline);
    if (out->caches && !traced)
        promise_record_warn(&out->promise, "bench");
    if ((rc = open_target(out, no_cache, clients, e)))
        return rc;
    target_trace(out->target, traced);
    return out->whole ? FL_OK : compare_model(out, e);
}

void configuration_close(struct configuration *c)
{
    target_free(c->target);
    free(c->model);
    pipeline_free(c->owned);
}

static json_t *model_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) ? json_null() : json_integer((json_int_t)st.st_size);
}

/* What was built counts. Where that is not on this machine, the pipeline file has the word. */
static json_t *promise(const struct configuration *c)
{
    char text[PROMISE_TEXT_BYTES];
    struct promise_terms t = promised_terms(c->pipeline);

    if (c->promise.known)
        return c->promise.promised ? json_string(promise_text(&c->promise.promise.terms, text)) : json_null();
    if (c->pipeline->cache.rule != THRESHOLD_RISK)
        return json_null();
    return json_sprintf("%s (says the pipeline file)", promise_text(&t, text));
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
                     c->caches && c->promise.asked[0] ? json_string(c->promise.asked) : json_null());
}
