/* http_door.h - the Open Inference Protocol (KServe V2) over HTTP, beside the broker
 *
 * A thread of its own: libmicrohttpd's loop, and a client of the broker (http_backend.h). Nothing of it
 * touches the broker's thread: what is slow here is slow for HTTP alone.
 */
#ifndef FREEZELINE_HTTP_DOOR_H
#define FREEZELINE_HTTP_DOOR_H

#include "broker/state/settings.h"

struct http_door;

/* Listens at p->broker.http and starts the thread. *out is NULL, and all is well, where that names no
 * address. Borrows p and settings for its life. Call when the broker's sockets are bound. FL_CONFIG, FL_IO:
 * it can't listen there. */
int http_door_open(struct http_door **out, const struct pipeline *p, struct settings *settings,
                   struct error *e);

/* Takes no new connections, answers what waits with 503, ends the thread. NULL is fine. */
void http_door_close(struct http_door *d);

#endif
