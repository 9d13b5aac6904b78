/* mishap.h - things that others can make happen at will: each is counted, at most one line in 5 s is logged
 *
 * A process has one struct per kind ("what came through this socket is no message"), zero at first. One
 * thread.
 */
#ifndef FREEZELINE_MISHAP_H
#define FREEZELINE_MISHAP_H

#include "log.h"

struct mishap {
    uint64_t count;
    uint64_t told;    /* of them, up to the last line */
    uint64_t next_ns; /* no line before */
};

/* It happened at `now`. The line is "WHAT: TEXT (N times since the last such line)". */
void mishap(struct mishap *m, enum log_level level, const char *what, const char *text, uint64_t now);

#endif
