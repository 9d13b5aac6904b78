/* shift.h - live requests go to the pipeline beside, by steps
 *
 * The broker that serves hands a share of its clients' requests on, and asks both for some more, to compare
 * (broker, "Relays"). What the pipeline beside fails is computed by the one that serves, so no client sees
 * it. The share lasts as long as this is at work: the broker takes it back when nobody asks for it any more.
 */
#ifndef FREEZELINE_SHIFT_H
#define FREEZELINE_SHIFT_H

#include "client/client.h"
#include "pair_comparison.h"

#define SHIFT_STEPS_MAX 16

struct shift_steps {
    int n;
    double percent[SHIFT_STEPS_MAX]; /* of the requests; each more than the one before */
    double mirror_percent;           /* asked of both beside that */
    int seconds;                     /* each step lasts so long, .. */
    int enough; /* .. or until so many requests were handed on in it, and as many compared */
};

struct shift {
    struct comparison total; /* what is known of all steps; its limits are the caller's */
    int64_t handed_on, failed;
    int done; /* steps that it has passed */
};

/* "1,10,50"; "none" is none. FL_USAGE. */
int shift_parse(struct shift_steps *s, const char *text, struct error *e);
/* Shifts requests of the pipeline of c to the one whose broker is at `endpoint`, and back at the end. `why`
 * is what it is worse by; empty: it is no worse. FL_CANCELLED: interrupted. Whatever is returned, all
 * requests go to the pipeline of c again. */
int shift_run(struct shift *s, const struct shift_steps *steps, struct client *c, const char *endpoint,
              bool quiet, char *why, size_t size, struct error *e);

#endif
