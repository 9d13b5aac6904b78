/* keyring.h - the keys of a process of a pipeline
 */
#ifndef FREEZELINE_KEYRING_H
#define FREEZELINE_KEYRING_H

#include "keys/keys.h"
#include "pipeline.h"

/* keys_open for a process of this host (p->here), which knows on which host each of the others is. */
int keyring_open(struct keys **out, const struct pipeline *p, enum party self, struct error *e);

#endif
