/* store.h - caches, updates and the learner's lease in Redis
 *
 * Keys, all with the hash tag {NAME} so that a script may touch them together:
 *   freezeline:{NAME}:epoch        the head: "GENERATION BUILT_MS MODEL APPLIED" (APPLIED: stream id of the
 * last update applied) freezeline:{NAME}:manifest     manifest.h, as the build wrote it
 *   freezeline:{NAME}:exit:EXIT    packed cache (cache.h)
 *   freezeline:{NAME}:updates      stream; one field "u" with a record (update.h); consumer group "learners"
 *   freezeline:{NAME}:producer:ID  the last sequence number accepted from one producer; expires after a day
 *   freezeline:{NAME}:lease        "FENCE:ID" of the learner; expires
 *   freezeline:{NAME}:fence        counts learners
 * and the channel freezeline:{NAME}:hint, on which a new head is published.
 *
 * Everything that writes is one script, so it happens whole or not at all, and compares first: appending with
 * the producer's sequence number (a repeated append adds nothing), reading and committing with the lease's
 * token, committing and publishing with the head that the writer knew. So each accepted update changes the
 * caches once, whoever dies when.
 *
 * One thread. Common results: FL_OK; FL_UNAVAILABLE: connection lost; FL_IO: Redis answered with an error;
 * FL_PROTOCOL: Redis answered with nonsense; FL_STALE: lease or head are not what the caller believed.
 */
#ifndef FREEZELINE_STORE_H
#define FREEZELINE_STORE_H

#include "redis_link.h"
#include "snapshot.h"
#include "update.h"

struct store;

/* Borrows `link`; `name` is the pipeline's, `id` this process's own (hex). */
int store_new(struct store **out, struct redis_link *link, const char *name, const char *id, struct error *e);
void store_free(struct store *s); /* NULL is fine */

/* The head of history; FL_NOT_FOUND when there is none. Of *head only identity, built_ms, generation, applied
 * are set. */
int store_head(struct store *s, struct manifest *head, struct error *e);

/* Loads what Redis holds. A cache that is missing there or refused is taken from `mine` where that is of the
 * same build (NULL is fine); `refused` is told each, and *damaged counts those that are missing or corrupt.
 */
int store_load(struct store *s, struct snapshot **out, const struct snapshot *mine, int *damaged,
               snapshot_refused refused, struct error *e);

/* Replaces everything by `snapshot`, when the head is still `known` (NULL: when there is none). Makes the
 * stream and its group, and sees to it that ids of coming updates are above the snapshot's `applied`. */
int store_publish(struct store *s, const struct snapshot *snapshot, const struct manifest *known,
                  struct error *e);

/* Appends updates number first_sequence, +1, ..; *accepted of them are in the stream now (those that were
 * there already included). Fewer than n: the stream is full. */
int store_append(struct store *s, struct update *const *updates, int n, uint64_t first_sequence,
                 int64_t max_stream, int *accepted, struct error *e);

int store_acquire(struct store *s, uint64_t duration_ms, uint64_t *fence,
                  struct error *e); /* fence 0: taken by another */
int store_renew(struct store *s, uint64_t fence, uint64_t duration_ms, bool *ok, struct error *e);
int store_release(struct store *s, uint64_t fence, struct error *e);

/* Up to `capacity` stream entries, in their order: those delivered before and never acknowledged first. */
struct store_batch {
    int n;
    struct update **update; /* [n], owned; NULL where the entry is no record */
    char (*id)[MANIFEST_ID_BYTES];
};
int store_read(struct store *s, uint64_t fence, int capacity, struct store_batch *out, struct error *e);
void store_batch_free(struct store_batch *b);

/* Puts `next` in the place of `old`: caches that differ, head, acknowledgement and trimming of the batch. */
int store_commit(struct store *s, uint64_t fence, const struct snapshot *old, const struct snapshot *next,
                 const struct store_batch *batch, struct error *e);

/* < 0, 0, > 0 by stream order; "" is before all. */
int store_id_compare(const char *a, const char *b);

#endif
