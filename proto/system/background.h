/* background.h - a process that computes when others leave room, and a little even where they leave none */
#ifndef FREEZELINE_BACKGROUND_H
#define FREEZELINE_BACKGROUND_H

/* For this process and the threads that it starts from now on: nice 19, and long turns, so that whoever is
 * woken is let in at once. (SCHED_IDLE would not do it: where the kernel groups by session it compares
 * sessions.) Where the kernel shares processors out by session first (sched_autogroup(7)), a nice value
 * counts within a session alone: so the session, too, falls back if this process leads it and by that has it
 * for itself, to a tenth of what another gets. What the kernel does not let be stays as it was. */
void background_enter(void);

#endif
