/* child.h - a program of this machine that is fed and listened to at once
 *
 * It has a session of its own: Ctrl-C on the terminal does not reach it, and it cannot ask there for a
 * password.
 */
#ifndef FREEZELINE_CHILD_H
#define FREEZELINE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct child {
    pid_t pid;        /* 0: none */
    int in, out, err; /* our ends; -1 when closed */
};

/* FL_NOT_FOUND when there is no such program. */
int child_start(struct child *c, char *const *argv, struct error *e);

struct child_talk {
    /* Bytes for its standard input: 0 ends it, negative gives up with *e set. NULL: left open, nothing sent.
     */
    ssize_t (*next)(void *arg, void *to, size_t room, struct error *e);
    /* What it prints; true: enough, the child goes on and its streams stay open. */
    bool (*out)(void *arg, const char *text, size_t size);
    void (*err)(void *arg, const char *text, size_t size);
    void *arg;
    uint64_t until_ns; /* clock_ns() at which waiting ends; 0: never */
};

/* Feeds and listens until the child has closed what it prints, or `out` has enough. A child that does not
 * read what it is given is no error: its end says why. FL_DEADLINE, FL_CANCELLED, or what `next` set: the
 * caller then ends it. */
int child_talk(struct child *c, const struct child_talk *talk, struct error *e);
/* Closes the streams, waits up to wait_ms for its end, then kills it with all that it started. Returns the
 * exit status, 128 + signal. */
int child_end(struct child *c, int wait_ms);
/* Closes the streams and lets it go on; it is a child of this process until that ends. */
void child_leave(struct child *c);

#endif
