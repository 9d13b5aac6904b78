/* ship.h - brings a pipeline's files to its hosts
 *
 * On a host, below the launch directory:
 *
 *   objects/DIGEST              contents, each once, kept for the next time (bounded)
 *   objects/DIGEST.FROM.part    half a copy: a later one goes on behind it
 *   pipelines/ID@HOST/...       the files of a shipment at their places, hard links to contents
 *
 * A content counts only when the freezeline that was shipped along has read it there and found its digest.
 * That proves besides that freezeline starts there. Hosts may share the folder (a home on NFS).
 */
#ifndef FREEZELINE_SHIP_H
#define FREEZELINE_SHIP_H

#include <stdio.h>

#include "ship_plan.h"
#include "transport.h"

struct ship_options {
    const char *directory; /* on the hosts; relative: below the home directory there */
    int64_t keep_bytes;    /* the store's size; beyond it the pipelines shipped longest ago go. 0: 8 GiB */
    FILE *progress;        /* a bar or lines; NULL: none */
    bool some;             /* a host that fails is not an error, but has `why` in its place of shipped[] */
};

struct shipped {
    char folder[PLAN_PATH_BYTES + 192]; /* the pipeline's on that host, absolute */
    int files;                          /* that were sent */
    int64_t bytes;
    char why[300]; /* it failed; "": it did not */
};

/* Brings the shipment, which has bin/freezeline in it, unless it is partial, to all hosts of `t`, and fills
 * shipped[] of each. Sends only what a host has not. FL_UNSUPPORTED, before anything is sent anywhere: a host
 * where our programs cannot run. FL_IO: no space there. FL_CORRUPT: a disk that returns other bytes than were
 * written. */
int ship(struct transport *t, const struct shipment *s, const struct ship_options *o, struct shipped *shipped,
         struct error *e);

#endif
