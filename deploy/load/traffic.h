/* traffic.h - which record of a data set each request shows
 *
 * Repeats make caches look better than they are, so who sends a pick asks whether its record was shown
 * before. Pure: a function of kind, number of records and seed.
 *
 *   order      as in the data set, then from the start again
 *   shuffled   each record once in a random order, then once again in another
 *   uniform    any record, each time anew
 *   zipf:S     the r-th most popular record with probability proportional to 1/r^S (S = 1 when left out);
 *              which one is how popular is drawn
 *   stream:N   frames of a camera, sent as such: a record stays for N of them on average (geometric; 16 when
 *              left out) while the view drifts over it a pixel at a time, at most 2 from where it began; then
 *              the next, shuffled
 */
#ifndef FREEZELINE_TRAFFIC_H
#define FREEZELINE_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define TRAFFIC_DRIFT 2 /* pixels from the middle, at most */

struct traffic;

struct traffic_pick {
    int64_t record;
    int dx, dy; /* the picture is to be shifted by so many pixels, its edge repeated */
};

/* FL_USAGE when `spec` is not one of the above, FL_TOO_LARGE for more than 2^31 records, FL_NOMEM. */
int traffic_new(struct traffic **out, const char *spec, int64_t records, uint64_t seed, struct error *e);
void traffic_free(struct traffic *t);

struct traffic_pick traffic_next(struct traffic *t);
/* Notes that a record is shown; true when it was before. */
bool traffic_show(struct traffic *t, int64_t record);

/* How many were picked, and picking until so many were. */
int64_t traffic_picked(const struct traffic *t);
void traffic_skip(struct traffic *t, int64_t until);

/* "order", "shuffled", "uniform", "zipf" or "stream"; S of zipf, 0 for the others. */
const char *traffic_name(const struct traffic *t);
double traffic_zipf_s(const struct traffic *t);
/* Frames of a scene on average, of stream; 0 for the others. */
double traffic_scene_frames(const struct traffic *t);

/* Shifts each of `channels` planes of height x width floats by (dx, dy), edges repeated. from != to. */
void traffic_shift(const float *from, float *to, int channels, int height, int width, int dx, int dy);

#endif
