/* startup.h - how a service starts: its options, its pipeline file, its log, its signals
 *
 * All services take -c, --set, --host, --log, --version and --help. The options that only one of them takes
 * are numbers.
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
    enum party party;    /* whose keys it has, where the file says security: curve */
    const char *usage;   /* what --help prints before the options that all have */
    struct startup_number number[STARTUP_MAX_NUMBERS];
    /* from the command line */
    const char *config, *log, *host, *set[STARTUP_MAX_SETS];
    int n_sets;
};

/* Fills *s from the command line. < 0: go on. Otherwise the process ends with this status; the text is
 * printed. */
int startup_options(struct startup *s, int argc, char **argv);

/* Catches signals, raises limits, reads the pipeline file and keys, opens the log of `role` ("stage1.0")
 * where the file and the options say. The caller frees *out, after an error too. */
int startup_pipeline(const struct startup *s, const char *role, struct pipeline **out, struct error *e);

#endif
