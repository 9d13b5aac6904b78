/* syllabus.h - what a candidate is taught with, as manifest and pipeline file have it; pure */
#ifndef FREEZELINE_SYLLABUS_H
#define FREEZELINE_SYLLABUS_H

#include "cache_service/store/manifest.h"
#include "learner_brain.h"
#include "cache_service/teach/reservoir.h"
#include "cache_service/teach/teaching.h"
#include "cache_service/teach/textbook.h"

/* For reservoir_open: the exits that can be taught. `path` is borrowed. */
void syllabus_reservoir(struct reservoir_setup *out, const struct manifest *m, const char *path, double mb);
/* For decision d (LEARNER_TEACH, LEARNER_TUNE). `from`: the caches of candidate d->of by exit, or NULL;
 * `book`: what the build learned from, or NULL; borrowed with all the rest. The reservoir and the folder to
 * work in are the caller's to fill in. */
void syllabus_teaching(struct teaching *out, const struct manifest *m, const struct pipeline *p,
                       const struct learner_decision *d, struct cache *const *from,
                       const struct textbook *book);

#endif
