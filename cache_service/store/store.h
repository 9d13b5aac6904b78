/* store.h - caches, updates and the learner's lease in Redis
 *
 * Keys, all with the hash tag {NAME} so that a script may touch them together:
 *   freezeline:{NAME}:epoch        the head (head.h)
 *   freezeline:{NAME}:manifest     manifest.h: as the build wrote it, under a promise of what serves
 *   freezeline:{NAME}:exit:EXIT    packed cache (cache.h)
 *   freezeline:{NAME}:held:BUILD   a service that has this build on its disk; expires
 *   freezeline:{NAME}:updates      stream; one field "u" with a record (update.h), not dealt with yet
 *   freezeline:{NAME}:producer:ID  the last sequence number accepted from one producer; expires after a week
 *   freezeline:{NAME}:lease        "FENCE:ID" of the learner; expires
 *   freezeline:{NAME}:fence        counts learners
 * and the channel freezeline:{NAME}:hint, on which a new head is published, "updates" when the stream is no
 * longer empty, and "damaged SEQUENCE" by a service that can't use the caches of that head.
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

#include "lineage.h"
#include "redis_link.h"
#include "snapshot.h"
#include "update.h"

struct store;

/* Borrows `link`; `name` is the pipeline's, `id` this process's own (hex). */
int store_new(struct store **out, struct redis_link *link, const char *name, const char *id, struct error *e);
void store_free(struct store *s); /* NULL is fine */

/* The head of history. FL_NOT_FOUND: there is none; FL_PROTOCOL: it is none that this program knows. */
int store_head(struct store *s, struct head *head, struct error *e);

/* Says for LINEAGE_HOLD_MS that a living service (`who`, for people) has this build on its disk. */
int store_hold(struct store *s, const uint8_t build[DIGEST_BYTES], const char *who, struct error *e);
/* Who has; "" = nobody. */
#define STORE_WHO_BYTES 96
int store_holder(struct store *s, const uint8_t build[DIGEST_BYTES], char who[STORE_WHO_BYTES],
                 struct error *e);

/* Loads the state that `head` stands for. A cache, or the manifest, that is missing there or refused is taken
 * from `mine` where that is of the same build (NULL is fine). */
struct store_load {
    snapshot_refused refused; /* told each, if not NULL */
    int damaged;              /* out: caches, manifest included, that are not in Redis as they should be */
    int lost;                 /* out: those of them that `mine` does not have either */
};
int store_load(struct store *s, struct snapshot **out, const struct head *head, const struct snapshot *mine,
               struct store_load *how, struct error *e);

/* Replaces everything by `snapshot`, when the head is still that of *head (empty text: when there is none),
 * which becomes the new one. Makes the stream and its group, and sees to it that ids of coming updates are
 * above the snapshot's `applied`. */
int store_publish(struct store *s, const struct snapshot *snapshot, struct head *head, struct error *e);

/* Asks the other services to publish the caches of this head again. */
int store_tell_damaged(struct store *s, const struct head *head, struct error *e);
/* The channel of hints. What was said there: */
const char *store_channel(const struct store *s);
enum store_hint { STORE_HINT_HEAD, STORE_HINT_UPDATES, STORE_HINT_DAMAGED };
enum store_hint store_hint(const char *text, size_t size, uint64_t *sequence); /* of the damaged head */

/* Records of one producer, numbered first, first + 1, .. */
#define STORE_PRODUCER_BYTES 32
struct store_parcel {
    char producer[STORE_PRODUCER_BYTES]; /* a process, as `id` of store_new */
    uint64_t first;
    int n;
    const struct update_record *record; /* [n], borrowed */
};
/* Appends the records; *accepted of them are in the stream now, those that were there already included. Fewer
 * than n: the stream has max_entries or max_bytes. */
int store_append(struct store *s, const struct store_parcel *p, int64_t max_entries, int64_t max_bytes,
                 int *accepted, struct error *e);

int store_acquire(struct store *s, uint64_t duration_ms, uint64_t *fence,
                  struct error *e); /* fence 0: taken by another */
int store_renew(struct store *s, uint64_t fence, uint64_t duration_ms, bool *ok, struct error *e);
int store_release(struct store *s, uint64_t fence, struct error *e);

/* The first stream entries, up to `capacity`, whoever read them before: they stay until they are
 * acknowledged, or committed. */
struct store_batch {
    int n;
    struct update **update; /* [n], owned; NULL where the entry is no record */
    char (*id)[MANIFEST_ID_BYTES];
};
int store_read(struct store *s, uint64_t fence, int capacity, struct store_batch *out, struct error *e);
void store_batch_free(struct store_batch *b);

/* The batch is dealt with, without new caches: it and all before it is trimmed. */
int store_ack(struct store *s, uint64_t fence, const struct store_batch *batch, struct error *e);

/* Puts `next` in the place of `old`, whose head is *head: caches that differ, under a promise the manifest
 * (with digests of these very caches), head; the stream is trimmed up to what `next` has applied. *head
 * becomes the new one. FL_STALE too where learning under a promise is frozen (store_history.h). */
int store_commit(struct store *s, uint64_t fence, const struct snapshot *old, const struct snapshot *next,
                 struct head *head, struct error *e);

#endif
