/* rounds.h - what the parts of table.py have in common: a line of JSON when ready, then one for each line
 * read
 *
 * The table lets all its parts run a round in turn, so that whatever else the machine does meets all alike.
 * By hand, each press of Enter is a round, and the end of the input is the end.
 */
#ifndef FREEZELINE_ROUNDS_H
#define FREEZELINE_ROUNDS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static inline bool rounds_next(void)
{
    char line[64];
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != NULL;
}

static inline void rounds_need(bool there, const char *what)
{
    if (there)
        return;
    perror(what);
    exit(1);
}

#endif
