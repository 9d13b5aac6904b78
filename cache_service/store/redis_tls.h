/* redis_tls.h - TLS for a connection to Redis, where hiredis has it (1.0 and later) */
#ifndef FREEZELINE_REDIS_TLS_H
#define FREEZELINE_REDIS_TLS_H

#include <hiredis/hiredis.h>

#include "base/error.h"
#include "config/pipeline.h"

/* Can redis.tls be as `c` says? FL_CONFIG: keys that do not go together, or this program has no TLS. */
int redis_tls_check(const struct redis_config *c, struct error *e);

/* Does the handshake on a connection that has just been made. The certificate of Redis has to be signed by
 * redis.tls_ca; the name in it is not compared. FL_UNAVAILABLE: files that cannot be used, or a peer that is
 * not believed. */
int redis_tls_start(redisContext *connection, const struct redis_config *c, struct error *e);

#endif
