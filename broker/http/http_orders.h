/* http_orders.h - the broker's end of its host's supervisor's socket (deploy/supervise/orders.h) */
#ifndef FREEZELINE_HTTP_ORDERS_H
#define FREEZELINE_HTTP_ORDERS_H

#include "config/pipeline.h"

/* Orders `what` of the supervisor and waits for its end, or until stop_fd is readable: it is carried out all
 * the same then. FL_NOT_FOUND: no supervisor of this host tends the pipeline. FL_UNAVAILABLE: it ended
 * meanwhile, or is busy, or this broker goes away. Else the error that it gave. */
int http_order(const struct pipeline *p, const char *what, int stop_fd, struct error *e);

#endif
