/* transport.h - running commands on the hosts of a pipeline
 *
 * A transport is opened once by a command and reaches all hosts of a list: by the local shell, by OpenSSH, by
 * Slurm. What it hands to a host is a script for `sh`, on standard input, so neither the login shell there
 * nor the length of a command line changes what is run, and what a login shell prints by itself is left out.
 *
 * Threads: calls for different hosts may run side by side (transport_each does it); for one host one at a
 * time. A signal that interrupt.h caught ends a call that waits with FL_CANCELLED.
 */
#ifndef FREEZELINE_TRANSPORT_H
#define FREEZELINE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/error.h"

#define TRANSPORT_OUT_BYTES 262144 /* of what a command prints the end is kept, up to this */

enum transport_kind { TRANSPORT_LOCAL, TRANSPORT_SSH, TRANSPORT_SLURM };

struct host {
    const char *name;    /* as the pipeline file says it */
    const char *address; /* how other hosts reach it */
    const char *ssh;     /* what ssh is given: "user@a"; NULL: the address */
    int slots;           /* workers it has room for */
};

struct host_list {
    const struct host *host;
    int n;
};

struct transport_options {
    const char
        *ssh; /* the ssh client with its first arguments, by spaces; NULL: $FREEZELINE_SSH, else "ssh" */
    const char *job; /* Slurm's; NULL: the one that this process is in */
    const char *log; /* a file here: what Slurm says of the steps that go on; NULL: nowhere */
    int connect_s;   /* give up on a host that has not let us in by then; 0: 10 */
    bool some;       /* hosts do where not all can be reached: what is asked of the others fails at once */
};

struct transport;

/* "local", "ssh", "slurm"; FL_USAGE with the known ones otherwise. */
int transport_kind_from(enum transport_kind *out, const char *word, struct error *e);

/* Connects to all hosts at once. Borrows `hosts` and its texts until transport_close; `o` may be NULL.
 * FL_UNAVAILABLE names each host that cannot be reached, why, and what to do. */
int transport_open(struct transport **out, enum transport_kind kind, const struct host_list *hosts,
                   const struct transport_options *o, struct error *e);
/* Ends the connections; what transport_start started goes on. NULL is fine. */
void transport_close(struct transport *t);

int transport_hosts(const struct transport *t);
const char *transport_host(const struct transport *t, int host); /* its name */

struct host_result {
    int status; /* the command's exit status; 128 + signal */
    char *out;  /* end of stdout and stderr in the order in which they came, 0-terminated; caller frees */
    size_t size;
};

struct transport_bytes {
    const void *data;
    size_t size;
};

/* Runs argv (argv[0] in PATH there, in the home directory) and waits for its end, at most timeout_ms (0: for
 * ever). `in` is its standard input; NULL: empty. FL_OK when it ran, whatever its status; `r` may be NULL
 * where only FL_OK for status 0 is wanted: then another status is FL_UNAVAILABLE with the end of what it
 * printed. FL_DEADLINE: it took too long and was ended there too. FL_UNAVAILABLE: the connection is lost. */
int transport_run(struct transport *t, int host, char *const *argv, const struct transport_bytes *in,
                  int timeout_ms, struct host_result *r, struct error *e);

/* The same for a script of sh; `next` gives its standard input bit by bit (0: the end, negative: give up,
 * with *e set), `said` takes what it prints as it comes instead of `r`. Either may be NULL. */
struct transport_stream {
    ssize_t (*next)(void *arg, void *to, size_t room, struct error *e);
    void (*said)(void *arg, const char *text, size_t size);
    void *arg;
};
int transport_script(struct transport *t, int host, const char *script, const struct transport_stream *s,
                     int timeout_ms, struct host_result *r, struct error *e);

/* Starts argv there in a session of its own, so that it outlives the connection; what it prints is appended
 * to the file `log` there, whose folder is made. FL_OK says that it was started, not that it lives. */
int transport_start(struct transport *t, int host, char *const *argv, const char *log, struct error *e);

/* A host that was out of reach when the transport was opened (options.some) is tried again by the next call
 * for it. */
void transport_retry(struct transport *t, int host);

/* Does `work` for all hosts at once, each on a thread of its own. The first host's error that is not FL_OK is
 * returned, with the number of others that failed. */
int transport_each(struct transport *t,
                   int (*work)(struct transport *t, int host, void *arg, struct error *e), void *arg,
                   struct error *e);

#endif
