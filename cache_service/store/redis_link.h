/* redis_link.h - a connection to Redis that may be gone at any time
 *
 * One thread. Every wait is bounded. A failed call drops the connection; the next redis_link_open after the
 * backoff makes a new one. Uses hiredis as it has been since 0.14.
 */
#ifndef FREEZELINE_REDIS_LINK_H
#define FREEZELINE_REDIS_LINK_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct redis_link;

/* endpoint: "unix:PATH" or "HOST:PORT"; security as in pipeline.h. Does not connect yet. FL_CONFIG. */
int redis_link_new(struct redis_link **out, const char *endpoint, const char *security, struct error *e);
void redis_link_free(struct redis_link *l); /* NULL is fine */

/* Connected, or connects when the backoff is over. FL_OK, FL_AGAIN (too early), FL_UNAVAILABLE. */
int redis_link_open(struct redis_link *l, uint64_t now_ns, struct error *e);
bool redis_link_up(const struct redis_link *l);
void redis_link_drop(struct redis_link *l);

/* Arguments of one command; borrowed until the call. */
struct redis_args {
    const char **value;
    size_t *size;
    int n, capacity;
    bool failed; /* out of memory: the call will say so */
};
void redis_args_add(struct redis_args *a, const void *value, size_t size);
void redis_args_text(struct redis_args *a, const char *text);
void redis_args_free(struct redis_args *a);

/* Sends one command, waits for its reply. FL_OK: *reply is owned by the caller (freeReplyObject) and is no
 * error. FL_UNAVAILABLE: the connection is lost, whether the command ran is unknown. FL_IO: Redis answered
 * with an error. */
int redis_link_call(struct redis_link *l, const struct redis_args *a, redisReply **reply, struct error *e);

#endif
