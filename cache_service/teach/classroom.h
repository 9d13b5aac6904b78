/* classroom.h - one teaching at a time, in a thread of the lowest priority, so that reading updates goes on
 *
 * It is left at any batch: when it is called off, when the learner ends. Whoever asked is woken when it is
 * over. One thread asks.
 */
#ifndef FREEZELINE_CLASSROOM_H
#define FREEZELINE_CLASSROOM_H

#include "teaching.h"

struct classroom;

/* `wake` is called in the thread when a teaching is over. */
int classroom_new(struct classroom **out, void (*wake)(void *arg), void *arg);
void classroom_free(struct classroom *c); /* calls off and waits; NULL is fine */

/* Copies *t; what it borrows lives until classroom_take, but for its warm caches, of which references are
 * taken. `plan`: teaching_plan. FL_NOMEM: no thread. Only when none is under way. */
int classroom_begin(struct classroom *c, const struct teaching *t, bool plan, struct error *e);
bool classroom_busy(const struct classroom *c); /* one was begun and not taken */
/* The one under way has read all that its candidate depends on: requests that come from now on may judge it.
 */
bool classroom_fixed(const struct classroom *c);
/* Stops it and waits for that; there is nothing to take then. */
void classroom_call_off(struct classroom *c);

struct classroom_result {
    uint64_t number; /* of the candidate */
    int rc;          /* not FL_OK: `error` says why */
    struct taught taught;
    struct error error;
    double seconds;
};
/* True when one is over: *out is the caller's (taught_release). */
bool classroom_take(struct classroom *c, struct classroom_result *out);

#endif
