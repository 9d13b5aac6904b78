/* word.h - one line that the supervisor leaves in STATE/run for a command that waits for it */
#ifndef FREEZELINE_WORD_H
#define FREEZELINE_WORD_H

#include <stdbool.h>

#include "config/pipeline.h"

/* Best effort: who waits has a time limit. Atomic. */
void word_leave(const struct pipeline *p, const char *name, const char *text);
bool word_read(const struct pipeline *p, const char *name, char *buf, size_t size); /* false: none is there */
void word_remove(const struct pipeline *p, const char *name);

#endif
