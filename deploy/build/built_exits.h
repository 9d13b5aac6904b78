/* built_exits.h - whether a pipeline file's exits are those that the caches in STATE were built for */
#ifndef FREEZELINE_BUILT_EXITS_H
#define FREEZELINE_BUILT_EXITS_H

#include "cache_service/store/manifest.h"
#include "deploy/model/model_shape.h"

/* What the caches in p's STATE say of themselves. Errors as manifest_load: FL_NOT_FOUND where there are none.
 */
int built_manifest(struct manifest *out, const struct pipeline *p, struct error *e);
/* FL_STALE when exit `of` was built after another layer, or from descriptors in another
 * layout, than `now`. */
int built_exit_check(const struct manifest_exit *of, const struct origin *now, struct error *e);
/* FL_STALE when caches that were built for `built` are asked to answer for `now`; the text says how these
 * differ. */
int built_identity_check(const struct identity *built, const struct identity *now, const struct pipeline *p,
                         struct error *e);
/* Whether stage workers with this pipeline file and the caches in STATE would understand one another: they
 * are of one identity, exits that are looked up stand at the same places; under a promise all of them do, and
 * their files can be used. No caches there: FL_OK. */
int built_exits_check(const struct model_shape *model, const struct pipeline *p, struct error *e);

#endif
