/* turns.h - how long who wakes on busy cores waits for its turn */
#ifndef FREEZELINE_TURNS_H
#define FREEZELINE_TURNS_H

#include "measured.h"

/* Keeps all cores that this process may use busy, and wakes a thread again and again that then computes for
 * work_us. Sets m->cost.turn to what it waited at most, but for one time in twenty. Takes one to three
 * seconds. */
int turns_measure(struct measured *m, double work_us, struct error *e);

#endif
