/* arrivals.h - when requests are due, fixed before anything is sent
 *
 * Times depend on the rate, the seed and the file alone, never on how a server answers. In ns after the
 * beginning, ascending. Pure: no clock.
 *
 *   poisson      independent of one another: exponential gaps
 *   uniform      equal gaps
 *   mmpp         bursty: a Poisson process whose rate is switched by a Markov chain of two states. A tenth of
 *                the time is burst at 5 times the mean rate, the rest is calm at 5/9 of it; bursts last 0.2 s
 *                on average, calm 1.8 s
 *   trace:FILE   recorded: a line per request, its time in seconds, then perhaps a comma and anything. The
 *                first one is due at 0. Empty lines, lines that begin with '#', and a heading are skipped
 */
#ifndef FREEZELINE_ARRIVALS_H
#define FREEZELINE_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define ARRIVALS_MAX_TRACE (1 << 24) /* times in a file */
#define ARRIVALS_MAX_RATE  1e6

struct arrivals;

/* `spec` is one of the above. `rate` is the mean in requests per second; not used by a trace. FL_USAGE when
 * spec or rate make no sense, FL_IO, FL_CORRUPT with FILE:LINE when a trace is cut off or a line is no time,
 * FL_TOO_LARGE, FL_NOMEM. */
int arrivals_new(struct arrivals **out, const char *spec, double rate, uint64_t seed, struct error *e);
void arrivals_free(struct arrivals *a);

/* The next time; false at the end of a trace (the others never end). */
bool arrivals_next(struct arrivals *a, uint64_t *due_ns);

/* "poisson", "uniform", "mmpp" or "trace". */
const char *arrivals_name(const struct arrivals *a);
/* Requests per second, in the mean; of a trace over its length. */
double arrivals_rate(const struct arrivals *a);
/* The same, but of a trace over a second at least: a burst alone is no rate to hold. */
double arrivals_steady_rate(const struct arrivals *a);

#endif
