/* up_hosts.h - starting a pipeline on the hosts that its file names, and stopping it there */
#ifndef FREEZELINE_UP_HOSTS_H
#define FREEZELINE_UP_HOSTS_H

#include "deploy/tool/arguments.h"
#include "deploy/supervise/supervisor_launch.h"

struct up_hosts {
    const struct pipeline *pipeline;
    const struct pipeline_arguments *arguments;
    const char *on;
    const char *job; /* of Slurm; NULL: the one that this command is in */
    int timeout_s;
    int lease_s; /* of its supervisors (supervise/supervisor_lease.h); 0: none */
};

/* Brings the files to all hosts, starts a supervisor on each, waits until each says ready. On failure says
 * which process on which host, with the end of its log on stderr, and everything is stopped again. */
int up_hosts(const struct up_hosts *u, struct error *e);

/* Drains the pipeline that launch.json tells of, and stops it on all hosts. FL_NOT_FOUND: it tells of none.
 * Where a host can't be reached what can be is stopped, and launch.json stays for another `down`. */
int down_hosts(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e);
/* The same, or launch_down where launch.json tells of none. */
int down_wherever(const struct pipeline *p, const struct launch_end *how, bool *ended, struct error *e);

#endif
