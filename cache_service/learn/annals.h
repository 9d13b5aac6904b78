/* annals.h - what the learner writes into Redis for operators, and the word with which they stop it
 *
 * Events wait until Redis has them, the oldest dropped when there are too many; each epoch that serves is
 * kept there, to go back to (store_history.h). What Redis refuses, as a key of another type, is said and
 * given up: learning goes on without. One thread.
 */
#ifndef FREEZELINE_ANNALS_H
#define FREEZELINE_ANNALS_H

#include "cache_service/store/store_history.h"

struct annals;

int annals_new(struct annals **out); /* FL_NOMEM */
void annals_free(struct annals *a);  /* NULL is fine */

void annals_add(struct annals *a, const struct history_event *event);
/* s serves, as the epoch of its number. */
void annals_keep(struct annals *a, struct snapshot *s);
/* Which epochs are kept is to be looked at again. */
void annals_doubt(struct annals *a);

/* There is something to do now; when there will be. */
bool annals_due(const struct annals *a, uint64_t now_ns);
uint64_t annals_next_ns(const struct annals *a);
/* Does all of it. FL_UNAVAILABLE: the connection is lost. */
int annals_write(struct annals *a, struct store *store, struct error *e);

bool annals_ready(const struct annals *a);    /* annals_last is known */
uint64_t annals_last(const struct annals *a); /* the largest number of an epoch that is kept; 0: none */
bool annals_frozen(const struct annals *a);   /* as of the last look: nothing is to be committed */

#endif
