/* slurm_job.h - jobs of Slurm: submitting, asking about, ending them, by Slurm's own commands */
#ifndef FREEZELINE_SLURM_JOB_H
#define FREEZELINE_SLURM_JOB_H

#include <stdbool.h>

#include "base/error.h"

#define SLURM_ID_BYTES    32
#define SLURM_STATE_BYTES 32
#define SLURM_MAX_NODES   256
#define SLURM_NODE_BYTES  64

/* The id of the job that this process is in, or NULL. */
const char *slurm_job_here(void);
/* FL_USAGE when `job` is no job's id: digits, after "_" and "+" too. */
int slurm_id_check(const char *job, struct error *e);

/* "PENDING", "RUNNING", "COMPLETING", ... FL_NOT_FOUND when Slurm knows no such job, or none any more. */
int slurm_job_state(const char *job, char state[SLURM_STATE_BYTES], struct error *e);
/* Has the job that node? */
bool slurm_job_on(const char *job, const char *node);

struct slurm_nodes {
    int n;
    char name[SLURM_MAX_NODES][SLURM_NODE_BYTES];
    int cpus[SLURM_MAX_NODES]; /* that the job has there; 0: not known */
};

/* The nodes of the job that this process is in, from SLURM_JOB_NODELIST and SLURM_JOB_CPUS_PER_NODE. */
int slurm_nodes_here(struct slurm_nodes *out, struct error *e);
/* Reads "8(x2),4" into cpus[0..n): 8, 8, 4. False when it does not say it for n nodes. Pure. */
bool slurm_cpus_parse(const char *text, int *cpus, int n);

/* Their names, a line each; `text` is cut into them. Pure. */
int slurm_names_parse(struct slurm_nodes *to, char *text, struct error *e);

/* Submits `script` with sbatch and these options (up to NULL); job[] gets its id. */
int slurm_submit(char job[SLURM_ID_BYTES], char *const *options, const char *script, struct error *e);
/* Tells it to end (scancel). `script`: SIGTERM to its script alone, which then ends its steps in order. Else
 * SIGTERM to all of it, and SIGKILL after Slurm's KillWait. */
int slurm_cancel(const char *job, bool script, struct error *e);

#endif
