/* hang.h - when is a process that lives, but says nothing, to be killed
 *
 * Silence is counted in time during which whoever counts was awake and looked again and again: a machine that
 * slept, a paused virtual machine, a supervisor that got no core, add one step at most. What is heard of once
 * counts from nothing again. Pure.
 */
#ifndef FREEZELINE_HANG_H
#define FREEZELINE_HANG_H

#include <stdbool.h>
#include <stdint.h>

#define HANG_STEP_NS (3ull * 1000 * 1000 * 1000) /* between two looks, at most */

struct hang {
    int64_t pid;
    uint64_t looked_ns, silent_ns;
};

/* A look at `now`: is the process `pid` silent? True when it has been for limit_ns. */
bool hang_look(struct hang *h, int64_t pid, bool silent, uint64_t now, uint64_t limit_ns);

#endif
