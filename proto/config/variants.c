/* variants.c - from a variant's entry in a pipeline file to its pipeline */
#include "variants.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/whole_file.h"
#include "pipeline_keys.h"

#define STATE_BYTES 1024

static int no_such_variant(const struct pipeline *front, const char *name, struct error *e)
{
    char names[300] = "";
    size_t n = 0;
    for (int i = 0; i < front->n_variants && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", front->variant[i].name);
    return error_set(e, FL_NOT_FOUND, "%s has no variant `%.64s`%s%s", front->path, name,
                     *names ? ": it has " : ", and no `variants` at all", names);
}

static void drop(char **text)
{
    free(*text);
    *text = NULL;
}

int pipeline_set_apart(struct pipeline *p, char *state, struct error *e)
{
    char *endpoint;

    pipeline_clear_list(p, "variants");
    free(p->state);
    p->state = state;
    for (int i = 0; i < p->broker.n_replicas; i++) {
        struct broker_replica *b = &p->broker.replica[i];
        drop(&b->requests);
        drop(&b->control);
        drop(&b->results);
        drop(&b->http);
        if (i || !p->n_hosts)
            drop(&b->host);
    }
    if (p->n_hosts) {
        free(p->broker.host);
        p->broker.host = p->broker.replica[0].host;
        p->broker.replica[0].host = NULL;
    }
    p->broker.n_replicas = 0;
    drop(&p->broker.requests);
    drop(&p->broker.control);
    drop(&p->broker.results);
    drop(&p->broker.http);
    if (p->n_hosts || p->cache.n_endpoints == 1) {
        for (int i = 0; i < p->cache.n_endpoints; i++)
            drop(&p->cache.endpoint[i]);
        p->cache.n_endpoints = 0; /* the default */
    }
    for (int i = 0; i < p->cache.n_endpoints; i++) {
        if (asprintf(&endpoint, "ipc://%s/sock/cache.%d", state, i) < 0)
            return error_set(e, FL_NOMEM, "no memory");
        free(p->cache.endpoint[i]);
        p->cache.endpoint[i] = endpoint;
    }
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            drop(&p->stage[s].replica[r].endpoint);
    if (!p->n_hosts)
        p->security.mode = SECURITY_LOOPBACK;
    return FL_OK;
}

static int out_of_memory(struct error *e)
{
    return error_set(e, FL_NOMEM, "out of memory");
}

/* The front's file, its --sets, what the variant sets; with a state and a name of its own. */
static int load_other(struct pipeline **out, const struct pipeline *front, const struct variant_config *v,
                      const char *const *sets, int n_sets, struct error *e)
{
    char **all = calloc((size_t)(n_sets + v->n_sets + 1), sizeof *all), *state = NULL, *name = NULL;
    int n = 0, rc = all ? FL_OK : FL_NOMEM;

    for (int i = 0; !rc && i < n_sets + v->n_sets; i++)
        if (!(all[n++] =
                  i < n_sets ? strdup(sets[i]) : pipeline_absolute_set(v->set[i - n_sets], front->path)))
            rc = FL_NOMEM;
    if (!rc && (asprintf(&state, "%s/variants/%s", front->state, v->name) < 0 ||
                asprintf(&name, "%s-%s", front->name, v->name) < 0))
        rc = FL_NOMEM;
    rc = rc ? out_of_memory(e) : pipeline_load(out, front->path, (const char *const *)all, n, e);
    if (!rc) {
        free((*out)->name);
        (*out)->name = name;
        if ((*out)->redis.managed)
            drop(&(*out)->redis.endpoint);
        rc = pipeline_set_apart(*out, state, e);
        state = name = NULL;
    }
    for (int i = 0; i < n; i++)
        free(all[i]);
    free(all);
    free(state);
    free(name);
    return rc;
}

/* The text of the pipeline file that it would have. */
static int write_other(struct file_part *out, const struct pipeline *front, const struct variant_config *v,
                       const char *const *sets, int n_sets, struct error *e)
{
    struct pipeline *p = NULL;
    char *text = NULL;
    FILE *to;
    int rc;

    if (front->n_hosts)
        return error_set(e, FL_UNSUPPORTED,
                         "the pipeline file names hosts: processes of this variant would get the places and "
                         "ports of the first one's. Give it a `file` of its own, with another `port` and "
                         "`state`");
    if ((rc = load_other(&p, front, v, sets, n_sets, e)))
        return rc;
    if ((to = open_memstream(&text, &out->size)))
        pipeline_print(to, p);
    if (!to || fclose(to))
        rc = out_of_memory(e);
    out->data = text;
    pipeline_free(p);
    return rc;
}

static const struct variant_config *find(const struct pipeline *front, const char *name)
{
    for (int i = 0; i < front->n_variants; i++)
        if (!strcmp(front->variant[i].name, name))
            return &front->variant[i];
    return NULL;
}

int variant_load(struct pipeline **out, const struct pipeline *front, const char *name,
                 const char *const *sets, int n_sets, struct error *e)
{
    const struct variant_config *v = find(front, name);
    struct file_part text = {0};
    int rc;

    *out = NULL;
    if (!v)
        return no_such_variant(front, name, e);
    if (v == front->variant)
        rc = pipeline_load(out, front->path, sets, n_sets, e);
    else if (v->file)
        rc = pipeline_load(out, v->file, NULL, 0, e);
    else if (!(rc = write_other(&text, front, v, sets, n_sets, e)))
        rc = pipeline_parse(out, text.data, text.size, front->path, NULL, 0, e);
    free((void *)(uintptr_t)text.data);
    if (rc)
        return error_wrap(e, (enum fl_code)rc, "variant %s", name);
    pipeline_clear_list(*out, "variants");
    return FL_OK;
}

static int other_endpoint(char **out, const struct pipeline *front, const char *name)
{
    struct pipeline there = {0};
    char folder[STATE_BYTES];
    int n = asprintf(&there.state, "%s/variants/%s", front->state, name);

    if (n < 0)
        return FL_NOMEM;
    pipeline_socket_folder(&there, folder, sizeof folder);
    n = asprintf(out, "ipc://%s/requests", folder);
    free(there.state);
    if (n < 0)
        *out = NULL;
    return n < 0 ? FL_NOMEM : FL_OK;
}

int variant_endpoint(char **out, const struct pipeline *front, int i, int broker, struct error *e)
{
    const struct variant_config *v = &front->variant[i];
    struct pipeline *p = NULL;
    int rc;

    *out = NULL;
    if (!v->file)
        return other_endpoint(out, front, v->name) ? out_of_memory(e) : FL_OK;
    if ((rc = pipeline_load(&p, v->file, NULL, 0, e)))
        return error_wrap(e, (enum fl_code)rc, "variant %s", v->name);
    if (!(*out = strdup(pipeline_broker(p, broker % pipeline_brokers(p)).requests)))
        rc = out_of_memory(e);
    pipeline_free(p);
    return rc;
}

static int make_folder(const char *path, struct error *e)
{
    return mkdir(path, 0700) && errno != EEXIST
               ? error_set(e, FL_IO, "cannot make the folder %s: %s", path, strerror(errno))
               : FL_OK;
}

static bool is_there(const char *path, const struct file_part *text)
{
    void *data = NULL;
    size_t size = 0;
    bool same = !file_read(&data, &size, path, text->size, NULL) && size == text->size &&
                !memcmp(data, text->data, size);
    free(data);
    return same;
}

int variant_file(char **out, const struct pipeline *front, const char *name, const char *const *sets,
                 int n_sets, struct error *e)
{
    const struct variant_config *v = find(front, name);
    struct file_part text = {0};
    char folder[3][STATE_BYTES];
    int rc = FL_OK;

    *out = NULL;
    if (!v)
        return no_such_variant(front, name, e);
    if (v == front->variant)
        return FL_OK;
    if (v->file)
        return (*out = strdup(v->file)) ? FL_OK : out_of_memory(e);
    snprintf(folder[0], sizeof folder[0], "%s", front->state);
    snprintf(folder[1], sizeof folder[1], "%s/variants", front->state);
    snprintf(folder[2], sizeof folder[2], "%s/variants/%s", front->state, v->name);
    if (asprintf(out, "%s/pipeline.yaml", folder[2]) < 0) {
        *out = NULL;
        return out_of_memory(e);
    }
    if (!(rc = write_other(&text, front, v, sets, n_sets, e)))
        for (int i = 0; i < 3 && !rc; i++)
            rc = make_folder(folder[i], e);
    if (!rc && !is_there(*out, &text))
        rc = file_replace(*out, &text, 1, e);
    free((void *)(uintptr_t)text.data);
    return rc ? error_wrap(e, (enum fl_code)rc, "variant %s", name) : FL_OK;
}
