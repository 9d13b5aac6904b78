/* picture_pack.h - pictures decoded once, by all cores, into a file without a name
 *
 * Then they are as quick to read as any other data set, in any order and as often as asked, memory stays
 * bounded (the kernel writes out what it needs no more), and every picture that cannot be read is known
 * before the work begins. The file lies in the state directory and goes with the process. Its room is taken
 * before anything is decoded.
 */
#ifndef FREEZELINE_PICTURE_PACK_H
#define FREEZELINE_PICTURE_PACK_H

#include "deploy/tool/progress.h"
#include "picture/image.h"
#include "picture/picture.h"
#include "config/pipeline.h"

#define PICTURE_PACK_TOLD 10 /* broken pictures whose reasons are kept */

/* What there is to decode. load() is called by several threads. */
struct picture_source {
    int64_t count;
    int (*load)(const void *arg, int64_t i, struct image *out, struct error *e);
    const void *arg;
};

struct picture_pack {
    uint8_t *pixels; /* [count][channels][height][width]; of broken pictures: 0 */
    size_t bytes;
    bool *broken; /* [count] */
    int64_t n_broken;
    struct error why[PICTURE_PACK_TOLD]; /* of the first of them */
};

/* Pixels as preprocess_pixels makes them for `to`. Shows progress (NULL: none), stops when interrupt_seen. A
 * picture that cannot be read is counted in n_broken. FL_IO when the room is not there, FL_NOMEM,
 * FL_CANCELLED, FL_UNAVAILABLE. Release in any case. */
int picture_pack_make(struct picture_pack *out, const struct picture_source *from, const struct picture *to,
                      const struct pipeline *p, struct progress *progress, struct error *e);
void picture_pack_release(struct picture_pack *k);

#endif
