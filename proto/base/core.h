/* core.h - waking a thread on the core of the one that wakes it
 *
 * The scheduler wakes a thread on a core that idles. That is right where there is work for both; where the
 * one that wakes is about to sleep, the other core has first to be woken itself (tens of microseconds, far
 * more in a virtual machine), runs slowly at first, and has nothing of what is to be computed in its cache.
 *
 * No privilege is needed among processes of one user. What fails changes nothing.
 */
#ifndef FREEZELINE_CORE_H
#define FREEZELINE_CORE_H

#include <stdbool.h>
#include <sys/types.h>

/* May others decide where the calling thread wakes up? It is its process's first, which its process number
 * stands for, and nobody has bound it to some of the cores. */
bool core_is_free(void);
/* `thread`, which sleeps, will wake up on the core that the caller is on, and is bound to it until it lets
 * itself go. */
void core_pull(pid_t thread);
/* The calling thread may run on any core again. */
void core_release(void);

#endif
