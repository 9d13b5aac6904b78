/* blank_manifest.h - a manifest of a pipeline's exits, before there are caches */
#ifndef FREEZELINE_BLANK_MANIFEST_H
#define FREEZELINE_BLANK_MANIFEST_H

#include "cache_service/store/manifest.h"
#include "stages/place/placement.h"

/* Fills in what file and model say: identity, classes, exits with what it takes to teach them. Times are
 * guessed from the layers' work; no exit has a file. Errors as model_classes. */
int blank_manifest(struct manifest *m, const struct graph *g, const struct placement *place,
                   const struct pipeline *p, struct error *e);
/* Multiply-adds that one look-up of a learned cache may take: one that takes longer must answer many more
 * requests to be worth it. */
int64_t blank_most_work(const struct graph *g);

#endif
