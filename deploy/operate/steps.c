/* steps.c - an order's steps as progress */
#include "steps.h"

#include <math.h>
#include <stdio.h>

void steps_heard(void *arg, const char *who, int step, int of)
{
    struct steps *s = arg;

    if (s->quiet)
        return;
    if (!s->begun)
        progress_open(&s->progress, stderr);
    s->begun = true;
    snprintf(s->progress.note, sizeof s->progress.note, "%s", who);
    progress_update(&s->progress, "processes", step - 1, of, NAN);
}

void steps_end(struct steps *s)
{
    if (s->begun)
        progress_close(&s->progress);
}
