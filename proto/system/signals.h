/* signals.h - what signals do to a service
 *
 * SIGTERM and SIGINT ask it to end. SIGHUP opens its log again (log_to) and is counted. SIGPIPE is ignored: a
 * peer that is gone is an error of the write. Where SIGNALS_TENDED is in the environment, SIGTERM and SIGINT
 * count from the parent process alone while that lives: Slurm sends them to every process of a job at once,
 * and a supervisor that drains first still needs its children.
 */
#ifndef FREEZELINE_SIGNALS_H
#define FREEZELINE_SIGNALS_H

#define SIGNALS_TENDED "FREEZELINE_TENDED"

extern volatile int signals_stop;     /* how often the process was asked to end */
extern volatile int signals_hang_ups; /* how often SIGHUP came */

/* Blocking calls return when one of them comes. One that comes just before such a call is seen when the call
 * ends, so no loop should sleep for longer than a second. */
void signals_catch(void);

#endif
