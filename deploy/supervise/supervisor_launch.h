/* supervisor_launch.h - starting and stopping a pipeline from a command: its supervisor, the wait until it is
 * ready */
#ifndef FREEZELINE_SUPERVISOR_LAUNCH_H
#define FREEZELINE_SUPERVISOR_LAUNCH_H

#include <stdbool.h>

#include "deploy/tool/arguments.h"
#include "deploy/process/process.h"

/* Takes run/lock, starts the supervisor and waits until the pipeline is ready. What an earlier run left is
 * taken over (adoption.h), or ended. On failure what was started is stopped and the error has the reason; the
 * log's last lines go to stderr.
 * FL_UNAVAILABLE when it is up already. */
int launch_up(const struct pipeline *p, const struct pipeline_arguments *a, int timeout_s,
              struct process *supervisor, struct error *e);

struct launch_end {
    int drain_s;   /* wait for so long until what is in flight is answered */
    bool call_off; /* a signal meanwhile calls it off (interrupt.h); else it ends the wait */
};

/* Drains, stops, removes what is left. *ended: there was something to stop. FL_UNAVAILABLE when another
 * container or host tends the pipeline: then nothing is touched. FL_CANCELLED when it was called off. */
int launch_down(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e);

/* Why run/lock could not be taken: who holds it. FL_UNAVAILABLE. */
int launch_say_holder(const struct pipeline *p, struct error *e);

/* Waits until nothing is in flight, at most drain_s. FL_CANCELLED: a signal came, and the broker admits
 * again. (It does so by itself when this process ends before it is done.) */
int launch_drain(const struct pipeline *p, const struct launch_end *how, struct error *e);

#endif
