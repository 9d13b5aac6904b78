/* variants.h - pipelines that answer the same question as a pipeline file's own
 */
#ifndef FREEZELINE_VARIANTS_H
#define FREEZELINE_VARIANTS_H

#include "pipeline.h"

/* Loads the pipeline of variant `name` of `front`, which was loaded with these --sets: the front itself for
 * the first one, else its own file, or the front's with what the variant sets and its state in
 * STATE/variants/NAME. It has no variants of its own. FL_NOT_FOUND with the names that there are; errors as
 * pipeline_load. */
int variant_load(struct pipeline **out, const struct pipeline *front, const char *name,
                 const char *const *sets, int n_sets, struct error *e);

#endif
