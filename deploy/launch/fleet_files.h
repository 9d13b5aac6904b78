/* fleet_files.h - what the hosts of a pipeline need of this machine: programs, model, caches, the pipeline
 * file
 *
 * The pipeline file that goes there says all that p is, with --set and places folded in, and paths below its
 * own folder. The one that is kept here, STATE/run/placed.yaml, says the same with paths of this machine.
 */
#ifndef FREEZELINE_FLEET_FILES_H
#define FREEZELINE_FLEET_FILES_H

#include "deploy/hosts/shipment.h"
#include "fleet.h"

enum fleet_part {
    FLEET_ALL,
    FLEET_KEYS, /* nothing else: what was brought before stays */
    FLEET_FILE, /* the pipeline file, and keys */
};

/* Brings them to all hosts; the fleet has their folders then. With `why` a host that fails is no error, but
 * has a text there. */
int fleet_ship(struct fleet *f, const struct pipeline *p, enum fleet_part what, char (*why)[300],
               struct error *e);

/* What that is, as a shipment named `id`, the caller's to free. */
int fleet_files(struct shipment *s, const char *id, const struct pipeline *p, enum fleet_part what,
                struct error *e);

int fleet_note_placed(const struct pipeline *p, struct error *e);

#endif
