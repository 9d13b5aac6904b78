/* rotation_seen.h - which processes ran when a step of a rotation was taken, and which of them still do
 *
 * A process has the keys that there were when it started. So whoever ran when a step was taken has to be
 * another process before the next one. They are kept in KEYS/.rotation, a line each.
 */
#ifndef FREEZELINE_ROTATION_SEEN_H
#define FREEZELINE_ROTATION_SEEN_H

#include "wire/message.h"

int rotation_seen_keep(const char *directory, const struct status_reply *s, struct error *e);
void rotation_seen_forget(const char *directory);
bool rotation_seen_any(const char *directory);
/* Those that are the same processes as then, as a list in `still`; returns how many. */
int rotation_seen_still(const char *directory, const struct status_reply *s, char *still, size_t size);

#endif
