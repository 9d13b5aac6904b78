/* built_exits.c - the exits of a pipeline file beside those of the caches in STATE */
#include "built_exits.h"

#include <stdlib.h>
#include <string.h>

#include "cache_service/store/snapshot.h"
#include "deploy/tool/state.h"

int built_manifest(struct manifest *out, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "caches/manifest.json");
    return rc ? rc : manifest_load(out, path, e);
}

int built_exit_check(const struct manifest_exit *of, const struct origin *now, struct error *e)
{
    if (of->origin == now->digest)
        return FL_OK;
    return error_set(
        e, FL_STALE,
        "exit %s was built after `%.100s` (%.60s); the pipeline file puts it after `%.100s` (%.60s): "
        "run freezeline build again",
        of->name, of->after, of->layout, now->after, now->layout);
}

int built_identity_check(const struct identity *built, const struct identity *now, const struct pipeline *p,
                         struct error *e)
{
    char difference[IDENTITY_DIFFERENCE_BYTES];

    if (!identity_difference(built, now, difference)[0])
        return FL_OK;
    return error_set(e, FL_STALE,
                     "the caches in %.150s/caches were built for another model: run freezeline build -c "
                     "%.100s again, or go "
                     "without caches (--set cache.kind=none); it was %s",
                     p->state, p->path, difference);
}

/* Exits go by their number between stage workers and cache services. */
static int check_exit(const struct manifest *m, const struct model_shape *model, int i, struct error *e)
{
    const struct model_exit *exit = &model->exit[i];

    if (i >= m->n_exits || strcmp(m->exit[i].name, exit->name))
        return error_set(e, FL_STALE,
                         "exit %s is number %d in the pipeline file, %s in the caches that were built: run "
                         "freezeline build again",
                         exit->name, i + 1, i < m->n_exits ? m->exit[i].name : "none");
    return built_exit_check(&m->exit[i], &exit->origin, e);
}

static int check_all(const struct manifest *m, const struct model_shape *model, const struct pipeline *p,
                     struct error *e)
{
    int rc = built_identity_check(&m->identity, &model->identity, p, e);

    if (rc)
        return rc;
    for (int i = 0; i < model->n_exits; i++)
        if ((rc = check_exit(m, model, i, e)))
            return rc;
    for (int i = model->n_exits; m->promised && i < m->n_exits; i++)
        if (m->exit[i].file[0])
            return error_set(
                e, FL_STALE,
                "the promise was made for caches at exit %s too, which the pipeline file does not "
                "have: run freezeline build again",
                m->exit[i].name);
    return FL_OK;
}

/* Under a promise a service answers from all caches or from none: each file has to be usable. */
static int check_promised_files(const struct manifest *m, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "caches");

    for (int i = 0; m->promised && !rc && i < m->n_exits; i++) {
        struct cache *c = NULL;
        if (m->exit[i].file[0])
            rc = snapshot_load_cache(&c, m, i, path, e);
        cache_free(c);
    }
    return rc;
}

int built_exits_check(const struct model_shape *model, const struct pipeline *p, struct error *e)
{
    struct manifest *m = malloc(sizeof *m);
    int rc = m ? built_manifest(m, p, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc)
        rc = check_all(m, model, p, e);
    if (!rc && (rc = check_promised_files(m, p, e)) == FL_NOT_FOUND)
        rc = FL_STALE;
    free(m);
    return rc == FL_NOT_FOUND ? FL_OK : rc;
}
