/* http_listener.h - the socket at which HTTP clients connect */
#ifndef FREEZELINE_HTTP_LISTENER_H
#define FREEZELINE_HTTP_LISTENER_H

#include "config/pipeline.h"

/* Binds p->broker.http, with p->bind in the place of its host where there is one. *fd is the caller's, does
 * not block. Writes where it listens ("127.0.0.1:8000") into `where`. FL_IO, FL_CONFIG, FL_NOT_FOUND. */
int http_listen(int *fd, const struct pipeline *p, char *where, size_t size, struct error *e);

#endif
