/* variants.h - pipelines that answer the same question as a pipeline file's own
 */
#ifndef FREEZELINE_VARIANTS_H
#define FREEZELINE_VARIANTS_H

#include "pipeline.h"

/* Endpoints, HTTP and state of a pipeline become its own, below `state` (taken), and it has no variants, so
 * that it can stand beside the one whose file it was loaded from. What it serves stays. Print it and load
 * that: the defaults are found then. FL_NOMEM. */
int pipeline_set_apart(struct pipeline *p, char *state, struct error *e);

/* Loads the pipeline of variant `name` of `front`, which was loaded with these --sets: the front itself for
 * the first one, else its own file, or the front's with what the variant sets and its state in
 * STATE/variants/NAME. It has no variants of its own. FL_NOT_FOUND with the names that there are; errors as
 * pipeline_load. */
int variant_load(struct pipeline **out, const struct pipeline *front, const char *name,
                 const char *const *sets, int n_sets, struct error *e);

/* Where the broker `broker` of the front reaches variant i (1 ..), owned: a broker of that pipeline. */
int variant_endpoint(char **out, const struct pipeline *front, int i, int broker, struct error *e);

/* The path of its pipeline file, for commands that start processes (owned): what is not a file of its own is
 * written to STATE/variants/NAME/pipeline.yaml. NULL, and FL_OK: it is the front itself. */
int variant_file(char **out, const struct pipeline *front, const char *name, const char *const *sets,
                 int n_sets, struct error *e);

#endif
