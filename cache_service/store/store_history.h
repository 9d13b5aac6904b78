/* store_history.h - what an operator wants of Redis: the history, epochs to go back to, and a word that stops
 * learning
 *
 *   freezeline:{NAME}:history      list of events (history.h), the newest first, at most STORE_HISTORY_MOST
 *   freezeline:{NAME}:kept         sorted set: the serials of the epochs that are kept, at most STORE_KEPT
 *   freezeline:{NAME}:kept:SERIAL  hash: "manifest", "exit:NAME" for each packed cache, "sum" over all of
 * them freezeline:{NAME}:frozen       who stopped learning, and when; while it exists the learner commits
 * nothing
 *
 * An epoch is kept by one script, and one that is not whole is not given back. Results as in store.h.
 */
#ifndef FREEZELINE_STORE_HISTORY_H
#define FREEZELINE_STORE_HISTORY_H

#include "history.h"
#include "store.h"

#define STORE_HISTORY_MOST 1000
#define STORE_KEPT         8

/* Adding the newest event again adds nothing: a call whose answer was lost may be repeated. */
int store_history_add(struct store *s, const struct history_event *event, struct error *e);
/* The newest events, at most `most`; *out is owned by the caller (free). *strange: lines that are none. */
int store_history_read(struct store *s, int most, struct history_event **out, int *n, int *strange,
                       struct error *e);

/* Keeps an epoch under its number, in the place of one that is kept under it; the one with the smallest
 * number goes when there are too many. */
int store_keep(struct store *s, uint64_t serial, const struct snapshot *snapshot, struct error *e);
/* The numbers of those that are kept, the largest first. */
int store_kept_list(struct store *s, uint64_t serial[STORE_KEPT], int *n, struct error *e);
/* FL_NOT_FOUND: not kept; FL_CORRUPT: not as it was kept. */
int store_kept(struct store *s, struct snapshot **out, uint64_t serial, struct error *e);

struct store_frozen {
    bool frozen;
    uint64_t at_ms;
    char by[STORE_WHO_BYTES]; /* for people */
};
/* FL_STALE: it is frozen already, respectively it is not. */
int store_freeze(struct store *s, const char *by, struct error *e);
int store_thaw(struct store *s, struct error *e);
int store_frozen(struct store *s, struct store_frozen *out, struct error *e);

/* Puts what is kept under `serial` in the place of the head, with a generation above it, so that every
 * service takes it; *head becomes the new one. What was applied of the stream stays applied. FL_VALUE: it is
 * of another build than what serves; FL_STALE: the head moved on meanwhile. */
int store_rollback(struct store *s, uint64_t serial, struct head *head, struct error *e);

#endif
