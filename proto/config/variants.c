/* variants.c - from a variant's entry in a pipeline file to its pipeline */
#include "variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline_keys.h"

static int no_such_variant(const struct pipeline *front, const char *name, struct error *e)
{
    char names[300] = "";
    size_t n = 0;
    for (int i = 0; i < front->n_variants && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", front->variant[i].name);
    return error_set(e, FL_NOT_FOUND, "%s has no variant `%.64s`%s%s", front->path, name,
                     *names ? ": it has " : ", and no `variants` at all", names);
}

/* The front's file, its --sets, what the variant sets, and a state of its own. */
static int load_other(struct pipeline **out, const struct pipeline *front, const struct variant_config *v,
                      const char *const *sets, int n_sets, struct error *e)
{
    char **all = calloc((size_t)(n_sets + v->n_sets + 1), sizeof *all);
    int n = 0, rc = all ? FL_OK : FL_NOMEM;

    for (int i = 0; !rc && i < n_sets + v->n_sets; i++)
        if (!(all[n++] =
                  i < n_sets ? strdup(sets[i]) : pipeline_absolute_set(v->set[i - n_sets], front->path)))
            rc = FL_NOMEM;
    if (!rc && asprintf(&all[n++], "state=%s/variants/%s", front->state, v->name) < 0) {
        all[--n] = NULL;
        rc = FL_NOMEM;
    }
    rc = rc ? error_set(e, FL_NOMEM, "out of memory")
            : pipeline_load(out, front->path, (const char *const *)all, n, e);
    for (int i = 0; i < n; i++)
        free(all[i]);
    free(all);
    return rc;
}

int variant_load(struct pipeline **out, const struct pipeline *front, const char *name,
                 const char *const *sets, int n_sets, struct error *e)
{
    const struct variant_config *v = NULL;
    int rc;

    *out = NULL;
    for (int i = 0; i < front->n_variants; i++)
        if (!strcmp(front->variant[i].name, name))
            v = &front->variant[i];
    if (!v)
        return no_such_variant(front, name, e);
    if (v == front->variant)
        rc = pipeline_load(out, front->path, sets, n_sets, e);
    else if (v->file)
        rc = pipeline_load(out, v->file, NULL, 0, e);
    else
        rc = load_other(out, front, v, sets, n_sets, e);
    if (rc)
        return error_wrap(e, (enum fl_code)rc, "variant %s", name);
    pipeline_clear_variants(*out);
    return FL_OK;
}
