/* spool.h - updates on their way from the look-up thread to the keeper thread
 *
 * Bounded in number and bytes; when full the oldest goes (what traffic is like now matters more) and is
 * counted. The only thing that the two threads share besides the caches; the lock is held for a few
 * instructions.
 */
#ifndef FREEZELINE_SPOOL_H
#define FREEZELINE_SPOOL_H

#include <stdbool.h>

#include "cache_service/store/update.h"

struct spool;

int spool_new(struct spool **out, int max_count, size_t max_bytes);
void spool_free(struct spool *s); /* NULL is fine; frees what is in it */

/* Takes u. True where it is the first: who waits for one is to be told. */
bool spool_push(struct spool *s, struct update *u);
/* Moves up to n updates to out (owned by the caller from then on); returns how many. */
int spool_pop(struct spool *s, struct update **out, int n);

int spool_count(struct spool *s);
bool spool_fills(struct spool *s); /* more than half */
uint64_t spool_dropped(struct spool *s);

#endif
