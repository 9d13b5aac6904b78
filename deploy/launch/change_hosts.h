/* change_hosts.h - a pipeline on several hosts becomes another while it serves
 *
 * Each brings files to the hosts and has each host apply them. FL_NOT_FOUND: launch.json tells of no
 * pipeline.
 */
#ifndef FREEZELINE_CHANGE_HOSTS_H
#define FREEZELINE_CHANGE_HOSTS_H

#include "deploy/process/serving.h"
#include "deploy/tool/arguments.h"

/* What the files are now. Workers to which the file gives no host stay where they are. `quiet`: says nothing
 * of the hosts. */
int apply_hosts(const struct pipeline *p, int timeout_s, bool quiet, struct error *e);
/* The same as a pipeline, in *next, beside what serves in *was (`was` may be NULL); `now` is its copy. Both
 * are the caller's to free, or NULL. Nothing is brought anywhere. */
int files_for_hosts(struct pipeline **was, struct pipeline **next, const struct pipeline *p,
                    const struct serving *now, struct error *e);

/* n workers of a stage, and nothing else: new ones come where slots are free. Where one cannot start, all is
 * as it was. Hosts out of reach are left out until `apply`, unless a worker is to end there. `quiet`: says
 * nothing of the hosts. */
int scale_hosts(const struct pipeline *p, int stage, int n, int timeout_s, bool quiet, struct error *e);

/* The keys, and nothing else; processes read the list of allowed ones within a second. Hosts that could not
 * be reached are named in `left`, with why; "" when there are none. */
int keys_to_hosts(const struct pipeline *p, char *left, size_t size, struct error *e);

#endif
