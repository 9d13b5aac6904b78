/* augment.h - more pictures than there are, made of those that there are
 *
 * The network knows its training pictures by heart: its activations on them are surer than on any other. A
 * learned cache that saw nothing else would be too sure of what it is asked later. So it also learns from
 * copies that the network has never seen, with the scores that the network gives to the copy: the first copy
 * of each picture is mirrored or not and shifted by up to an eighth of its sides (what is beyond the edge is
 * 0, the mean colour); the others are then mixed with another copy like that, one half of them all over
 * (mixup, Zhang et al. 2018), the other half by a square (CutMix, Yun et al. 2019).
 */
#ifndef FREEZELINE_AUGMENT_H
#define FREEZELINE_AUGMENT_H

#include "dataset.h"

#define AUGMENT_MIXED 2 /* the first copy that is */

struct augmentation {
    const struct dataset *data;
    uint64_t seed;
    float *room; /* two pictures, as floats */
};

/* Copy 1, 2, .. of a record, as dataset_planes would give it: a function of data, seed, record and copy
 * alone.
 */
void augment_planes(const struct augmentation *a, int64_t record, int copy, float *out);

#endif
