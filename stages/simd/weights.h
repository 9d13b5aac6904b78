/* weights.h - where constants lie: big chunks on huge pages where the system has them, freed all at once */
#ifndef FREEZELINE_WEIGHTS_H
#define FREEZELINE_WEIGHTS_H

#include <stddef.h>

struct weights;

int weights_new(struct weights **out); /* FL_NOMEM */
void weights_free(struct weights *w);
/* Zeroed, 64-byte aligned, lives until weights_free or weights_rewind; NULL when there is no memory. */
void *weights_alloc(struct weights *w, size_t bytes);
/* Gives back all that was allocated since the mark was taken. */
struct weights_mark {
    int chunk;
    size_t used, bytes;
};
struct weights_mark weights_mark(const struct weights *w);
void weights_rewind(struct weights *w, struct weights_mark mark);
size_t weights_bytes(const struct weights *w); /* allocated, rounded up to 64 each */

#endif
