/* slurm_up.h - a pipeline as a job of Slurm: outside of the job submitting and ending it, inside its hosts
 *
 * STATE/run/job names the job that was submitted; the `up` inside leaves STATE/run/job-ready when it serves.
 */
#ifndef FREEZELINE_SLURM_UP_H
#define FREEZELINE_SLURM_UP_H

#include "deploy/tool/arguments.h"

/* Adds to the --set arguments one of `hosts`: the nodes of the allocation that this process is in, with their
 * processors as slots, where the file names none; else each of its hosts gets a node of its own, by name or
 * in order. *text is the argument, the caller's to free. */
int slurm_hosts(struct pipeline_arguments *a, char **text, struct error *e);

/* Submits the pipeline as a job and returns when it serves there. On failure, and after Ctrl-C, the job has
 * ended; the end of its log is on stderr. FL_UNAVAILABLE: it is up already. */
int slurm_up(const struct pipeline *p, const struct pipeline_arguments *a, int timeout_s, struct error *e);
/* The `up` inside of the job says that it serves. */
void slurm_say_ready(const struct pipeline *p);

/* The steps that this process started have all ended: now; within what Slurm gives them after SIGTERM. */
bool slurm_steps_over(void);
bool slurm_wait_for_steps(void);

/* Is there a job that was submitted and has not ended, as far as Slurm says? job[] (SLURM_ID_BYTES) gets its
 * id.
 */
bool slurm_submitted(const struct pipeline *p, char *job);
/* Ends that job, unless it is `ended` and will end by itself; waits until it has. */
int slurm_down(const struct pipeline *p, const char *job, bool ended, struct error *e);
/* Nothing serves yet, or any more. */
void slurm_say_unready(const struct pipeline *p);

#endif
