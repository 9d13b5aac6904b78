/* figures.h - what `freezeline variants` measured, in STATE/variants/measured, and a pipeline's choice by it
 *
 * The file is text, a line for each variant, so that people can read it and a measurement from elsewhere can
 * be written by hand: freezeline variants 1 cascade_loss 0.42 int8 loss 0.11 loss_upper 0.38 ms 3.1 cpu_s
 * 0.0031 bytes 14000000 sure inf
 */
#ifndef FREEZELINE_FIGURES_H
#define FREEZELINE_FIGURES_H

#include "choice.h"
#include "config/pipeline.h"

struct figures {
    int n;
    struct choice_variant variant[CHOICE_MAX];
    double cascade_loss; /* points: a bound of what the cascade loses; 0: there is none */
};

/* The file's path for this pipeline. Returns buf. */
#define FIGURES_PATH_BYTES 1024
char *figures_path(const struct pipeline *p, char buf[FIGURES_PATH_BYTES]);
/* FL_IO, FL_NOMEM. The folder is there. */
int figures_save(const struct figures *f, const char *path, struct error *e);
/* Reads the file's text, which is taken apart for that; `name` is for messages. FL_CORRUPT with the line. */
int figures_parse(struct figures *out, char *text, const char *name, struct error *e);
/* FL_NOT_FOUND, FL_CORRUPT with the line, FL_IO, FL_NOMEM. */
int figures_load(struct figures *out, const char *path, struct error *e);

/* The choice among the variants of a pipeline file, under its `choose` and `budget`, by what was measured. Of
 * one that was not measured nothing is known: under `choose: budget` and `cascade` only the first is used
 * then;
 * `*unmeasured` (may be NULL) becomes true. Errors as choice_new and figures_load, apart from FL_NOT_FOUND.
 */
int figures_choice(struct choice **out, const struct pipeline *p, uint64_t seed, bool *unmeasured,
                   struct error *e);

#endif
