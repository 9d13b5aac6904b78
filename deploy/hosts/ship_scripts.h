/* ship_scripts.h - the scripts that are run on a host to bring it a shipment */
#ifndef FREEZELINE_SHIP_SCRIPTS_H
#define FREEZELINE_SHIP_SCRIPTS_H

#include "ship_plan.h"

/* Where things lie on one host. */
struct ship_place {
    const char *store;  /* relative: below the home directory */
    char folder[128];   /* of the pipeline, below the store */
    char part[32];      /* what the names of our half copies end with */
    int64_t most_bytes; /* of the store */
};

/* All return text that the caller frees; NULL: no memory. */

/* Prints what host_facts_read reads. */
char *ship_ask_script(const struct shipment *s, int host, const struct ship_place *at);

/* Takes the files that are to be sent from standard input, one behind the other, puts all at their places and
 * checks them. Prints "bad OBJECT" for each that it threw away, and "full" where the store is larger than it
 * may be. */
#define SHIP_CANNOT_RUN 4 /* exit status: freezeline does not start there */
char *ship_settle_script(const struct shipment *s, const struct ship_step *step, const struct ship_place *at);

/* Makes room in a store that is too full: what no pipeline has, then pipelines that do not run on that host,
 * the oldest first, but never one called `id`. To be run when all hosts have what they need: they may share
 * the store. */
char *ship_prune_script(const char *id, const struct ship_place *at);

#endif
