/* duplicates.h - the same picture twice: in the data that the caches are made of and in
 * those that judge them */
#ifndef FREEZELINE_DUPLICATES_H
#define FREEZELINE_DUPLICATES_H

#include "dataset.h"

struct duplicates {
    int64_t shared;                    /* calibration records that are training records too */
    bool *is_shared;                   /* [calibration records] */
    int64_t shared_train, shared_with; /* the first of them: records of training and of calibration */
    int64_t distinct;                  /* calibration records that are not, each picture counted once */
    int64_t repeated, repeat;          /* the first repeat: records of calibration */
};

/* Compares pictures as the network gets them, by a digest of 64 bits: 16 bytes of memory for each record.
 * Labels do not matter. FL_NOMEM. Release in any case. */
int duplicates_find(struct duplicates *out, const struct dataset *train, const struct dataset *calibrate,
                    struct error *e);
void duplicates_release(struct duplicates *d);

#endif
