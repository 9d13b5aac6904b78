/* backlog.h - updates that wait for Redis on this host's disk, oldest first, each with its producer and
 * number
 *
 * A folder of segments (NUMBER.seg). A segment holds records of one producer with consecutive numbers behind
 * a header that says from which on they are not acknowledged yet; each record has a digest. So what a process
 * that died left is sent by the next one under the numbers that it had, and Redis takes none twice. Bounded
 * in bytes: the oldest segment goes and is counted. A torn end (the process or the host died) is left out, a
 * damaged record is passed over.
 *
 * What is added survives the death of the process at once, and that of the host once it was synced. One
 * thread; the folder is locked, and who does not get the lock is told FL_AGAIN. Nothing is read or written
 * before the first call.
 */
#ifndef FREEZELINE_BACKLOG_H
#define FREEZELINE_BACKLOG_H

#include "cache_service/store/store.h"

struct backlog;

/* FL_NOMEM. */
int backlog_new(struct backlog **out, const char *folder, uint64_t max_bytes);
void backlog_free(struct backlog *b); /* NULL is fine; what is on the disk stays */

/* Sees what is there; the others do it first where nobody did. FL_IO, FL_AGAIN. */
int backlog_open(struct backlog *b, struct error *e);
/* Adds all of p at the end, or none of it. `sync`: it is on the disk itself then. FL_IO, FL_AGAIN. */
int backlog_add(struct backlog *b, const struct store_parcel *p, bool sync, struct error *e);
/* The oldest records, up to *n of one producer and about most_bytes; to[] gets them (owned by the caller), *n
 * how many, 0: there are none. They stay until they are acknowledged. FL_IO, FL_AGAIN, FL_NOMEM. */
int backlog_read(struct backlog *b, char producer[STORE_PRODUCER_BYTES], uint64_t *first,
                 struct update_record *to, int *n, size_t most_bytes, struct error *e);
/* Redis has that producer's records up to that number: they go. */
void backlog_acknowledge(struct backlog *b, const char *producer, uint64_t last);

/* Records that are there; that were dropped or damaged since this process began. */
uint64_t backlog_count(const struct backlog *b);
uint64_t backlog_lost(const struct backlog *b);

#endif
