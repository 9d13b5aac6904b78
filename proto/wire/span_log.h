/* span_log.h - the spans of traced requests that a process has noted, until they are taken
 *
 * A ring of fixed size, allocated with the first span: who traces nothing has none. When it is full, or there
 * is no memory for it, spans are counted as lost; those that are in it stay, so that early requests are
 * complete. Pure. One thread.
 */
#ifndef FREEZELINE_SPAN_LOG_H
#define FREEZELINE_SPAN_LOG_H

#include "message.h"

struct span_log {
    int capacity, first, n;
    uint64_t lost; /* since spans were last taken */
    struct span *span;
    uint32_t role, stage, replica; /* of this process */
};

void span_log_init(struct span_log *l, int capacity, uint32_t role, uint32_t stage, uint32_t replica);
void span_log_free(struct span_log *l); /* one that is all zero is fine */

/* What this process did for a request, from start to end (broker time); nothing when it ends before it
 * starts. */
void span_log_note(struct span_log *l, enum span_kind kind, uint64_t request, uint32_t attempt, int32_t exit,
                   uint64_t start_ns, uint64_t end_ns);
/* A span that another process noted. */
void span_log_put(struct span_log *l, const struct span *s);
/* Moves up to MESSAGE_MAX_SPANS into *out, oldest first, with what was lost and how many are left. False when
 * there is nothing to tell. */
bool span_log_take(struct span_log *l, struct spans *out);
/* Sends all of it to a broker through `send`, in *scratch. Those that can't be sent now count as lost. */
void span_log_send(struct span_log *l, int (*send)(void *arg, int broker, const struct message *m), void *arg,
                   int broker, struct message *scratch);

#endif
