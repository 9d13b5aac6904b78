/* order.h - the other end of orders.h: a command orders something of the supervisor, and waits for it */
#ifndef FREEZELINE_ORDER_H
#define FREEZELINE_ORDER_H

#include <jansson.h>

#include "changes.h"

/* A stream socket at STATE/run/orders, however long that path is: bound to it, or connected. FL_UNAVAILABLE:
 * nobody listens there. */
int order_socket(int *fd, const struct pipeline *p, bool bind, struct error *e);

/* What is heard while an order is carried out. */
typedef void (*order_progress)(void *arg, const char *who, int step, int of);

/* Sends the order (taken) and waits for its end, at most timeout_s; *reply (may be NULL) is the line that
 * ended it, owned. A signal (interrupt.h), or too much time, calls it off: FL_CANCELLED, FL_DEADLINE, when
 * nothing is under way any more. FL_UNAVAILABLE: no supervisor of this host tends the pipeline, or it ended
 * meanwhile. Otherwise the error that the supervisor gave. */
int order_give(const struct pipeline *p, json_t *order, int timeout_s, order_progress progress, void *arg,
               json_t **reply, struct error *e);

/* The names of those that a change concerns (changes.h), in the order of a rolling restart: stages, cache
 * services, learner, Redis, the broker last. Owned. */
json_t *order_rolling(const struct role *role, int n, unsigned effect);

#endif
