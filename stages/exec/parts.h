/* parts.h - early layers of a batch a few images at a time */
#ifndef FREEZELINE_PARTS_H
#define FREEZELINE_PARTS_H

#include "exec_internal.h"

/* Sets `part` of steps, and which slots hold only one part. After kernels are chosen, before the arena is
 * planned. */
void parts_find(struct exec *x);
/* The last step that shares the loop over parts with step i; i itself where the batch goes as a whole. */
int parts_end(const struct exec *x, int i);
/* The times in which a slot's storage is its own. */
void parts_life(const struct exec *x, const struct slot *s, int *first, int *last);

#endif
