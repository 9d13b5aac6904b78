/* startup.h - how a service starts: its options, its pipeline file, its log, its signals
 *
 * All services take -c, --set, --log, --version and --help. What one takes beside these is a number. Errors
 * are told as the service would log them.
 */
#ifndef FREEZELINE_STARTUP_H
#define FREEZELINE_STARTUP_H

#include "pipeline.h"

#define STARTUP_MAX_SETS    256
#define STARTUP_MAX_NUMBERS 4

/* An option "--NAME N" with 0 <= N < below. */
struct startup_number {
    const char *name; /* NULL: the end of the list */
    long below;
    int value; /* the default; -1: it must be given */
};

struct startup {
    const char *program; /* "freezeline-broker" */
    const char *usage;   /* what --help prints before the options that all have */
    struct startup_number number[STARTUP_MAX_NUMBERS];
    /* from the command line */
    const char *config, *log, *set[STARTUP_MAX_SETS];
    int n_sets;
};

/* Fills *s from the command line. < 0: go on; else the status to exit with, and all is said. */
int startup_options(struct startup *s, int argc, char **argv);

/* Catches signals, raises limits, reads the pipeline file and opens the log of `role` ("stage1.0") where it
 * and the options want it. *out is the caller's to free, after an error too (NULL, or read). */
int startup_pipeline(const struct startup *s, const char *role, struct pipeline **out, struct error *e);

#endif
