/* hardening.h - what a service gives up before it serves
 *
 * It gains no privileges by starting programs, leaves no core file where it has keys, and files that it makes
 * are for its user alone. System calls that a service never needs fail with EPERM from then on: starting
 * programs, tracing other processes, mounting, loading modules, changing clocks. Threads that are there keep
 * to it, too. Of root's capabilities those for files and ports below 1024 stay, in threads that are made from
 * then on.
 */
#ifndef FREEZELINE_HARDENING_H
#define FREEZELINE_HARDENING_H

#include <stdbool.h>

/* Call when no program is to be started any more. False: the kernel does not filter system calls here, all
 * else holds. Once for a process. */
bool harden(bool has_secrets);

#endif
