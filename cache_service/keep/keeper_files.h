/* keeper_files.h - STATE/caches: the build on this host's disk, and what one service learned from it */
#ifndef FREEZELINE_KEEPER_FILES_H
#define FREEZELINE_KEEPER_FILES_H

#include "cache_service/store/snapshot.h"

struct keeper_files {
    char dir[3072];  /* STATE/caches */
    char prefix[24]; /* "live-INDEX" */
};

/* FL_CONFIG: the path is too long. */
int keeper_files_init(struct keeper_files *f, const char *state, int index, struct error *e);
/* What can be read, each NULL where there is none; the log says what is refused. What was learned from
 * another build than the one that is there stays where it is, until something is learned from this one. */
void keeper_files_read(const struct keeper_files *f, struct snapshot **built, struct snapshot **learned);
int keeper_files_save(const struct keeper_files *f, const struct snapshot *s, struct error *e);
/* Says that a cache, wherever it was read from, is not used. */
void keeper_log_refused(const char *text);

#endif
