/* batch.h - a pipeline as one job of Slurm: the script that sbatch takes */
#ifndef FREEZELINE_BATCH_H
#define FREEZELINE_BATCH_H

#include <stdio.h>

#include "deploy/tool/arguments.h"

/* Nodes and processors of each node that the pipeline needs: what launch.slurm says, or what follows from
 * hosts and threads. */
int batch_nodes(const struct pipeline *p);
int batch_cpus(const struct pipeline *p);

/* Writes the script. Inside of the job it runs `freezeline up --on slurm --foreground` in this folder,
 * so this folder, the state directory and this program are to be where the nodes see them. FL_CONFIG for what
 * a line of sbatch cannot say. Makes the folder of the job's log. */
int batch_script(FILE *to, const struct pipeline *p, const struct pipeline_arguments *a, struct error *e);

#endif
