/* confine.h - a process that writes in some folders and nowhere else (Landlock, Linux 5.19 and later)
 *
 * What is open stays open, reading and connecting stay as they are. Threads that are there already (a math
 * library's) keep what they may; those that the calling thread makes from then on do not have it.
 */
#ifndef FREEZELINE_CONFINE_H
#define FREEZELINE_CONFINE_H

#include <stdbool.h>

/* Rules that allow nothing yet; -1: this kernel has none, or lets nobody make them here. */
int confine_new(void);
/* All may be written below `folder`, which is made for this user alone where it is not there. One that cannot
 * be made is left out: whoever wants to write there says why it fails. */
void confine_allow(int rules, const char *folder);
/* From now on they hold, for good. Takes `rules`. False: they do not. The process gains no privileges any
 * more (hardening.h) before it may ask for this. */
bool confine(int rules);

#endif
