/* catch_up.h - audits that came while a candidate was taught
 *
 * All that a candidate depends on is fixed when its teaching has read it (teaching.h). Audits that come after
 * that trained nothing of it, so they judge it as soon as it is there, in the order in which they came,
 * before any that comes later. Which of them do depends on their places alone.
 *
 * Pure, not for several threads.
 */
#ifndef FREEZELINE_CATCH_UP_H
#define FREEZELINE_CATCH_UP_H

#include "cache_service/teach/reservoir.h"
#include "learner_brain.h"

#define CATCH_UP_MOST 8192 /* audits that are kept: those beyond judge it not */

struct catch_up;

int catch_up_new(struct catch_up **out); /* FL_NOMEM */
void catch_up_free(struct catch_up *c);  /* NULL is fine */

void catch_up_clear(struct catch_up *c);
void catch_up_add(struct catch_up *c, const struct learner_audit *a, const struct reservoir_row *row);
/* The truth about one of them. */
void catch_up_truth(struct catch_up *c, uint64_t request, int32_t truth);
/* The next one, of which *row is where its descriptors are; false: of those that are left, none has `behind`
 * others behind it, which may still wait for their truth. */
bool catch_up_next(struct catch_up *c, int behind, struct learner_audit *a, struct reservoir_row *row);

#endif
