/* progress.h - how far a long piece of work has come: a bar with the time left on a terminal, plain lines
 * elsewhere */
#ifndef FREEZELINE_PROGRESS_H
#define FREEZELINE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *to;
    bool terminal;
    char phase[96];
    char note[64];    /* the caller's: shown after the number */
    const char *unit; /* the caller's: of what is counted, where nobody could guess; NULL: none */
    int parts;        /* the caller's: `done` and `total` count that many to a unit; 0: whole units */
    uint64_t phase_ns, drawn_ns;
    int64_t first; /* done when the phase began: resumed work has no rate */
};

void progress_open(struct progress *p, FILE *to);
/* `done` of `total` of `phase`, 0: nobody knows of how many; a new phase ends the line of the last one.
 * `number` is shown when it is a number. */
void progress_update(struct progress *p, const char *phase, int64_t done, int64_t total, double number);
/* Ends the line, so that what is printed next stands on its own. */
void progress_close(struct progress *p);

#endif
