/* readiness.h - is the pipeline ready: all workers say so, and one request has run through
 *
 * Asked again and again by the supervisor; never waits longer than a fraction of a second. The request that
 * warms the pipeline up is all zeros and runs without look-ups.
 */
#ifndef FREEZELINE_READINESS_H
#define FREEZELINE_READINESS_H

#include <stdbool.h>

#include "base/error.h"
#include "config/pipeline.h"

struct readiness;

/* Loads the model for the shape of its input. */
int readiness_new(struct readiness **out, const struct pipeline *p, struct error *e);
void readiness_free(struct readiness *r);
/* True once the broker says ready. Asks at most a few times a second, less often when it was ready the last
 * time. */
bool readiness_check(struct readiness *r);

/* Asks at the next check, however short ago it asked. */
void readiness_hurry(struct readiness *r);

/* What the broker said when it was asked last, at *asked_ns; all zero when it did not answer. */
const struct status_reply *readiness_status(const struct readiness *r, uint64_t *asked_ns);

#endif
