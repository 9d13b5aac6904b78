/* transport_way.h - what one kind of transport must be able to do; for the files transport_*.c alone
 *
 * All that differs between kinds is how a local program is started whose standard streams are those of a
 * shell on the host. transport.c does the rest over that.
 */
#ifndef FREEZELINE_TRANSPORT_WAY_H
#define FREEZELINE_TRANSPORT_WAY_H

#include "transport.h"

#define WAY_MAX_ARGV 48

struct transport {
    const struct transport_way *way;
    const struct host_list *hosts;
    struct transport_options options;
    char tag[40]; /* stands before what our scripts print, which nothing else prints */
    void *own;    /* the kind's; made by its open, freed by its close */
    struct error
        *unreached; /* of each host: why it could not be reached, code 0: it could; NULL: all could */
};

/* The words of a program to start here; those that have to be made lie in `text`. */
struct way_command {
    char *argv[WAY_MAX_ARGV];
    int n;
    char text[6][512];
};

struct transport_way {
    int (*open)(struct transport *t, struct error *e);
    void (*close)(struct transport *t);
    /* Words that run `command`, one line for any login shell, on that host. */
    void (*words)(const struct transport *t, int host, char *command, struct way_command *out);
    /* Fills *e for a command that did not get as far as our script, or lost it: `said` is what the local
     * program printed on stderr, `noise` what came from the host before our script spoke. */
    int (*explain)(const struct transport *t, int host, const char *said, const char *noise, struct error *e);
    /* Is what the local program said of something that is over in a moment? Then it is tried again, for a
     * bounded time. NULL: nothing is. */
    bool (*passing)(const struct transport *t, int host, const char *said);
    /* Starts argv so that it outlives the connection; NULL: in a session of its own, by a script. */
    int (*start)(struct transport *t, int host, char *const *argv, const char *log, struct error *e);
};

extern const struct transport_way transport_way_local, transport_way_ssh, transport_way_slurm;

/* The line that makes a shell there run the `size` bytes of script that come first on its standard input. */
#define WAY_COMMAND_BYTES 64
void way_command_line(char buf[WAY_COMMAND_BYTES], size_t size);
/* Lines of a script that is to start `program` with its output in $log: makes its folder, and ends with a
 * word on stdout where there is no such program. */
void way_prepare_start(FILE *script, const char *program, const char *log);

#endif
