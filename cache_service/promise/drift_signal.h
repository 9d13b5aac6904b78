/* drift_signal.h - whether traffic looks otherwise than it did: no truth is needed, and nothing is proved
 *
 * Each look-up tells which exit answered and how sure exits were. Means over windows of requests are compared
 * with those of the first windows: at once by their distance in standard deviations, and summed up (Page
 * 1954) for changes that are small and stay. The fewer windows say how traffic looks, the further their mean
 * is from it by chance, which looks like such a change: with 8 of 100 requests 12% of 20,000 requests without
 * change raise a signal, with 24 1.5%. A signal only asks for more audits, which decide (alarm.h). It is up
 * for some windows, from which traffic is learned anew: what has changed once and stays is no news for ever.
 *
 * Deviations of means are at least those between the first windows, so requests that come in bursts raise no
 * signal by that alone. Nothing is allocated per request. Pure, not for several threads.
 */
#ifndef FREEZELINE_DRIFT_SIGNAL_H
#define FREEZELINE_DRIFT_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRIFT_FIRST   8  /* windows that say how traffic looks; after them each is judged, .. */
#define DRIFT_LEARNED 24 /* .. and up to so many say it, too, where they are no news */
#define DRIFT_WHILE   16 /* windows that a signal is up */

struct drift_signal;

/* What has changed: the share that `exit` answers (exit = exits: that none answers), or its mean confidence.
 */
struct drift_cause {
    int exit;
    bool confidence;
    double before, now; /* of confidence: of sign(c) log(1 + |c|) */
};

/* Windows of `window` requests (500 is a good choice). FL_VALUE when there are too many exits or window < 20;
 * FL_NOMEM.
 */
int drift_signal_new(struct drift_signal **out, int n_exits, int64_t window);
void drift_signal_free(struct drift_signal *s);

/* One request: the exit that answered (n_exits: none), and confidence[n_exits] (NaN: not asked, or no
 * verdict). */
void drift_signal_see(struct drift_signal *s, int exit, const float *confidence);
bool drift_signal_up(const struct drift_signal *s);
/* How often it went up, and why the last time. */
int64_t drift_signal_count(const struct drift_signal *s);
struct drift_cause drift_signal_cause(const struct drift_signal *s);

#endif
