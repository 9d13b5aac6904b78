/* live.h - browsers that watch: each has a reply that goes on, and gets every event whole or not at all
 *
 * A watcher that does not read misses events; it costs one event's bytes and a connection. One thread,
 * libmicrohttpd's.
 */
#ifndef FREEZELINE_LIVE_H
#define FREEZELINE_LIVE_H

#include <microhttpd.h>
#include <stdbool.h>

#include "base/json_text.h"

#define LIVE_MOST 32 /* watchers */

struct live;

struct live *live_new(void); /* NULL: no memory */
void live_free(struct live *l);

/* The reply to one that wants to watch, which begins with `first` (taken over); NULL: there are too many. */
struct MHD_Response *live_watch(struct live *l, struct MHD_Connection *c, struct json_text *first);
bool live_watched(const struct live *l);
/* To all who have had everything before. True: connections were resumed. */
bool live_tell(struct live *l, const struct json_text *event);
/* Ends the replies of all. */
void live_end(struct live *l);

#endif
