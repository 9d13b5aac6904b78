/* here.h - which of the pipeline's hosts this process is on
 *
 * Asks the name of this machine and its addresses, and where these do not tell the name service: calls may
 * take a while.
 */
#ifndef FREEZELINE_HERE_H
#define FREEZELINE_HERE_H

#include "pipeline.h"

/* The process is on host `name`; NULL: on the one whose name or address is this machine's. Then as
 * pipeline_be_at. Nothing where the file names no hosts. FL_CONFIG: it names none, or several, that are this
 * machine; FL_USAGE: no such host. */
int here_settle(struct pipeline *p, const char *name, struct error *e);

#endif
