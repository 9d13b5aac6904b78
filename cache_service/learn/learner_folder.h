/* learner_folder.h - where a learner keeps what it learns from, and that one learner of a host has it */
#ifndef FREEZELINE_LEARNER_FOLDER_H
#define FREEZELINE_LEARNER_FOLDER_H

#include "base/error.h"

struct learner_folder {
    char dir[3072];       /* STATE/learner */
    char reservoir[3200]; /* a file */
    char work[3200];      /* a folder, for what teaching writes */
    int lock;             /* -1: not taken */
};

/* Makes the folders. FL_CONFIG when the path is too long, FL_IO. */
int learner_folder_make(struct learner_folder *f, const char *state, struct error *e);
/* Does nothing where it is taken. FL_UNAVAILABLE: another learner of this host has it. FL_IO. */
int learner_folder_take(struct learner_folder *f, struct error *e);
void learner_folder_leave(struct learner_folder *f);

#endif
