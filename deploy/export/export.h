/* export.h - what a kind of export is given, and what several kinds share */
#ifndef FREEZELINE_EXPORT_H
#define FREEZELINE_EXPORT_H

#include <stdio.h>

#include "deploy/process/roles.h"
#include "deploy/tool/arguments.h"

struct export
{
    const struct pipeline *pipeline;
    const struct pipeline_arguments *arguments;
    const char *to;    /* a file or, for kinds of several files, a folder; NULL: the kind's default */
    const char *bin;   /* the folder of the programs; NULL: the kind's default */
    const char *user;  /* whose processes they are to be; NULL: the user who exports */
    const char *image; /* of containers */
};

int export_systemd(const struct export *x, struct error *e);
int export_compose(const struct export *x, struct error *e);
int export_kubernetes(const struct export *x, struct error *e);

/* The command line of a process that another launcher starts and whose log goes to stderr. `bin` is put
 * before the program's name; NULL: the name alone, to be found in PATH there. */
int export_command(struct role_command *out, const struct role *r, const struct export *x, const char *bin,
                   struct error *e);

/* Has `write` fill the file x->to, or standard output where none is named. */
int export_write(const struct export *x, int (*write)(FILE *to, const void *arg, struct error *e),
                 struct error *e);

/* Calls `write` for each host of the file, with the pipeline as it is seen from there, whose processes
 * roles_list_here then lists, and with to/HOST as the place to write to. Once, with `to` itself, where the
 * file names no hosts, and for the one host that --host says. FL_CONFIG: what is written could not meet
 * there. */
int export_hosts(const struct export *x, int (*write)(const struct export *at, struct error *e),
                 struct error *e);

#endif
