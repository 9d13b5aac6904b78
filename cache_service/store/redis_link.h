/* redis_link.h - a connection to Redis that may be gone at any time
 *
 * One thread. Every wait is bounded. A connection that fails is dropped, and redis_link_open makes a new one:
 * it asks the Sentinels where the master is, says user and password, and refuses who is no master. An answer
 * that is an error leaves the connection as it is, but for one that says that the master has become a
 * replica. When to try again is the caller's business (trouble.h). Uses hiredis as it has been since 0.14.
 *
 * The password comes from a file or from the environment, is read anew for each connection, and is in no
 * message.
 */
#ifndef FREEZELINE_REDIS_LINK_H
#define FREEZELINE_REDIS_LINK_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/pipeline.h"

struct redis_link;

/* Borrows both; security as in pipeline.h. Does not connect yet. FL_CONFIG. */
int redis_link_new(struct redis_link **out, const struct redis_config *config,
                   const struct security *security, struct error *e);
void redis_link_free(struct redis_link *l); /* NULL is fine */

/* Connects, if it is not yet. FL_UNAVAILABLE. */
int redis_link_open(struct redis_link *l, struct error *e);
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

/* Subscribes: nothing else can be asked over this connection then. Poll the descriptor; -1 = not connected.
 */
int redis_link_listen(struct redis_link *l, const char *channel, struct error *e);
int redis_link_fd(const struct redis_link *l);
/* Hands what was published meanwhile to fn, without waiting. FL_UNAVAILABLE: the connection is lost. */
typedef void (*redis_heard)(void *arg, const char *text, size_t size);
int redis_link_hear(struct redis_link *l, redis_heard fn, void *arg, struct error *e);

#define REDIS_PASSWORD_BYTES 4096

/* The first line of redis.password_file, or FREEZELINE_REDIS_PASSWORD; "" where there is neither.
 * FL_UNAVAILABLE: the file can't be read. */
int redis_password(const struct redis_config *c, char password[REDIS_PASSWORD_BYTES], struct error *e);

#endif
