/* cold_start.c - a blank manifest with times and a promise, as the first state of a pipeline's caches */
#include "cold_start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/precision.h"
#include "blank_manifest.h"
#include "built_exits.h"
#include "deploy/tool/state.h"
#include "deploy/extract/exit_times.h"
#include "promise_record.h"
#include "promised.h"

bool cold_start_possible(const struct pipeline *p)
{
    return pipeline_learns(p) && !precision_lower(p);
}

static bool same_kinds(const struct manifest *m, const struct model_shape *model)
{
    for (int i = 0; i < m->n_exits; i++)
        if (i >= model->n_exits || strcmp(m->exit[i].kind, model->exit[i].kind))
            return false;
    return true;
}

/* It began so, and the pipeline file still says the same. */
static bool fits(const struct manifest *m, const struct pipeline *p, const struct model_shape *model)
{
    struct promise_terms asks = promised_terms(p);

    return m->promised && promise_same(&asks, &m->promise.terms) && same_kinds(m, model) &&
           !built_exits_check(model, p, NULL);
}

/* What look-ups take is guessed, the rest measured. */
static int measure(struct manifest *m, const struct pipeline *p, const struct graph *g,
                   const struct placement *place, struct error *e)
{
    struct cache *none[PIPELINE_MAX_EXITS] = {0};
    struct exit_times times;
    struct progress progress;
    int rc;

    progress_open(&progress, stderr);
    rc = exit_times_measure(&times, p, g, place, none, NULL, &progress, e);
    progress_close(&progress);
    for (int i = 0; !rc && i < m->n_exits; i++) {
        m->exit[i].before = times.before[i];
        m->exit[i].lookup += times.lookup[i];
    }
    return rc;
}

static void promise(struct manifest *m, const struct pipeline *p, const struct placement *place)
{
    int n = 0;

    m->cold = m->promised = true;
    m->promise =
        (struct manifest_promise){.terms = promised_terms(p), .live = promised_terms(p), .upper = NAN};
    m->built_ms = clock_wall_ms();
    for (int i = 0; i < place->n_exits; i++)
        n += placed_has_cache(&place->exit[i]);
    for (int i = 0; n && i < m->n_exits; i++)
        m->exit[i].budget_bytes = (uint64_t)(p->cache.memory_mb * 1e6 / n);
}

static int begin(struct manifest *m, const struct manifest *before, const struct pipeline *p, struct error *e)
{
    struct placement *place = malloc(sizeof *place);
    struct graph *g = NULL;
    int rc = place ? placement_load(&g, p, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && !(rc = placement_resolve(place, g, p, e)) && !(rc = manifest_begin_build(m, before, e)) &&
        !(rc = blank_manifest(m, g, place, p, e)) && !(rc = measure(m, p, g, place, e)))
        promise(m, p, place);
    graph_free(g);
    free(place);
    return rc;
}

int cold_start(const struct pipeline *p, const struct model_shape *model, bool *began, struct error *e)
{
    struct manifest *m = calloc(2, sizeof *m), *before = NULL;
    char path[STATE_PATH_BYTES];
    int rc = m ? state_path(path, p, e, "caches") : error_set(e, FL_NOMEM, "no memory");

    *began = false;
    if (!rc && !(rc = state_make(path, e)) && !(rc = state_path(path, p, e, "caches/manifest.json"))) {
        rc = manifest_load(&m[1], path, NULL);
        before = rc ? NULL : &m[1];
        *began = rc == FL_NOT_FOUND || (before && before->cold && !fits(before, p, model));
        rc = FL_OK;
    }
    if (!rc && *began && !(rc = begin(m, before, p, e)))
        rc = manifest_save(m, path, e);
    free(m);
    return rc;
}
