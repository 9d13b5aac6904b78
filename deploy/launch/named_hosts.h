/* named_hosts.h - a host file as `hosts` of a pipeline file */
#ifndef FREEZELINE_NAMED_HOSTS_H
#define FREEZELINE_NAMED_HOSTS_H

#include "deploy/hosts/host_file.h"
#include "deploy/tool/arguments.h"

/* Adds to the --set arguments one of `hosts`, before all others: what the pipeline file says of them, with
 * the lines of the host file: their slots and users count for hosts that are there, the others follow. *text
 * is the argument, the caller's to free. */
int named_hosts(struct pipeline_arguments *a, const char *host_file, char **text, struct error *e);
/* The same for lines that stand for whatever the file calls its hosts: each of those gets a line, by name or
 * else in order, for its address; where the file names none, the lines are the hosts. FL_CONFIG: there are
 * too few. */
int named_hosts_in_order(struct pipeline_arguments *a, const struct host_file *f, char **text,
                         struct error *e);

#endif
