/* mischief_liars.c - workers that lie (liar.c), and what must be said of them */
#include "mischief.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* How often the logs have told of this liar: its supervisor of its ends, the broker that it was put aside. */
static int times_told(struct siege *s, const struct trial *t)
{
    char who[64];

    if (t->fault->number)
        return town_said(s->town, "supervisor", t->name[0], "ended with status 3; starts again in");
    snprintf(who, sizeof who, "stage %c replica %c", t->name[0][5], t->name[0][7]);
    return town_said(s->town, "broker", who, "is put aside");
}

/* A worker of the last stage, or of any, lies from now on: what it sends passes through liar.c. */
int mischief_lie(struct siege *s, struct trial *t, struct error *e)
{
    int rc = mischief_draw(s, t, t->fault->victims, 1, e);
    FILE *f = rc ? NULL : fopen(s->lies, "we");

    if (rc)
        return rc;
    if (!f)
        return error_set(e, FL_IO, "cannot write %s", s->lies);
    t->told_before = times_told(s, t);
    fprintf(f, "%s %s\n", t->name[0] + strlen("stage"), t->fault->name + strlen("lie-"));
    fclose(f);
    if (t->fault->number)
        process_signal(&t->process[0], t->fault->number);
    return FL_OK;
}

void mischief_truth(struct siege *s, struct trial *t)
{
    (void)t;
    remove(s->lies);
}

/* A slow worker gets little to do (broker/state/router.h): what the others take must hardly show. */
#define SLOWER_WANTED 1.5

bool mischief_slow_hardly_shows(struct siege *s, struct trial *t)
{
    (void)s;
    t->figure = t->sum.p99_ms / t->calm_p99_ms;
    t->missed = t->figure > SLOWER_WANTED;
    snprintf(t->note, sizeof t->note, "p99 %.1f ms, %.2f times the calm's", t->sum.p99_ms, t->figure);
    return true;
}

/* Its supervisor says how it ends, and waits longer each time. */
bool mischief_crash_is_told(struct siege *s, struct trial *t)
{
    int told = times_told(s, t) - t->told_before;

    snprintf(t->note, sizeof t->note, "started again %d times", told);
    if (told >= 2)
        return true;
    snprintf(t->why, sizeof t->why, "the supervisor has told of %d ends of %s", told, t->name[0]);
    return false;
}

/* The broker put it aside, and its log says whom. */
bool mischief_is_named(struct siege *s, struct trial *t)
{
    int told = times_told(s, t) - t->told_before;

    snprintf(t->note, sizeof t->note, "put aside %d times", told);
    if (told)
        return true;
    snprintf(t->why, sizeof t->why, "%s was not put aside", t->name[0]);
    return false;
}
