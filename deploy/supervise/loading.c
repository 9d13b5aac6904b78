/* loading.c - see loading.h */
#include "loading.h"

#include <stdlib.h>
#include <string.h>

#include "changes.h"
#include "deploy/build/built_exits.h"
#include "deploy/process/served.h"

#define MAY_CHANGE (CHANGE_TOGETHER | CHANGE_NUMBER | CHANGE_STAGES | CHANGE_BUILD)

int loading_here(const struct pipeline *p, struct error *e)
{
    struct role all[ROLES_MAX], here[ROLES_MAX];
    int n_all, n_here, stages = 0, rc;

    if ((rc = roles_list(p, all, &n_all, e)) || (rc = roles_list_here(p, here, &n_here, e)))
        return rc;
    for (int i = 0; i < n_all; i++)
        stages += all[i].kind == ROLE_KIND_STAGE;
    for (int i = 0; i < n_here; i++)
        stages -= here[i].kind == ROLE_KIND_STAGE;
    return stages ? error_set(e, FL_UNSUPPORTED,
                              "stage workers run on other hosts, too, and this supervisor tends one host: "
                              "`freezeline apply` and `freezeline restart` do it for all")
                  : FL_OK;
}

static int check_changes(const struct pipeline *now, const struct pipeline *next, struct error *e)
{
    struct changes *c = calloc(1, sizeof *c);
    const char *key = "";
    int rc = FL_OK;

    if (!c)
        return error_set(e, FL_NOMEM, "no memory");
    changes_find(c, now, next);
    for (int i = 0; i < c->n && !*key; i++)
        if (c->item[i].effect & ~(unsigned)MAY_CHANGE)
            key = c->item[i].key;
    if (c->effect & ~(unsigned)MAY_CHANGE)
        rc = error_set(e, FL_CONFIG,
                       "`%s` has changed in the pipeline file, and not stage workers alone read it: "
                       "`freezeline apply -c %.200s` takes it",
                       key, now->path);
    free(c);
    return rc;
}

static int compare(struct loading *l, const struct pipeline *next, const struct status_reply *said,
                   struct model_shape *model, struct served *served, struct error *e)
{
    bool caches = next->cache.n_endpoints > 0 && strcmp(next->cache.kind, "none") != 0;
    struct promise_record built;
    int rc = model_shape_load(model, next, e);

    if (rc || (caches && (rc = built_exits_check(model, next, e))))
        return rc;
    promise_record_load(&built, next);
    served_take(served, said, model, &built, next);
    if (l->serve && served->file == SERVED_UNKNOWN)
        return error_set(e, FL_UNAVAILABLE, "the broker does not tell yet what the stage workers serve");
    l->together = l->serve && served->file != SERVED_SAME;
    l->reads_caches = caches && served->unserved && served->fits;
    return FL_OK;
}

int loading_look(struct loading *l, const struct pipeline *now, const struct pipeline *next,
                 const struct status_reply *said, struct error *e)
{
    struct model_shape *model = malloc(sizeof *model);
    struct served *served = malloc(sizeof *served);
    int rc = model && served ? loading_here(next, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && !(rc = check_changes(now, next, e)))
        rc = compare(l, next, said, model, served, e);
    free(served);
    free(model);
    return rc;
}
