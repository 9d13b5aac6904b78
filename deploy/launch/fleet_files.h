/* fleet_files.h - what the hosts of a pipeline need of this machine: programs, model, caches, the pipeline
 * file */
#ifndef FREEZELINE_FLEET_FILES_H
#define FREEZELINE_FLEET_FILES_H

#include "config/pipeline.h"
#include "deploy/hosts/shipment.h"

/* Fills *s, the caller's to free. The pipeline file that goes there says all that p is, with --set and places
 * folded in, and paths below its own folder. */
int fleet_files(struct shipment *s, const struct pipeline *p, struct error *e);

#endif
