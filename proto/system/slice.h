/* slice.h - short turns for threads that move messages
 *
 * Where all cores compute, a thread that was woken waits for the end of another's turn, milliseconds long, at
 * each hop of a request. One that asks for short turns is let in at once (Linux 6.12 and newer; elsewhere
 * nothing changes). It gets no more of a core than before, only sooner. Needs no privilege.
 */
#ifndef FREEZELINE_SLICE_H
#define FREEZELINE_SLICE_H

#include <stdbool.h>

/* For the calling thread, and for those that it makes from now on. */
void slice_short(bool yes);
/* Longer turns than others have: whoever is woken is let in at once. Also for those that it makes from now
 * on. */
void slice_long(void);

#endif
