/* http_backend.h - the pipeline as HTTP clients see it: a client of the broker like any other
 *
 * Rows of calls go out through the client library, answers come back to the calls in any order. One thread.
 */
#ifndef FREEZELINE_HTTP_BACKEND_H
#define FREEZELINE_HTTP_BACKEND_H

#include "http_call.h"

struct http_backend;

/* Borrows p for its life. */
int http_backend_new(struct http_backend **out, const struct pipeline *p, struct error *e);
void http_backend_free(struct http_backend *b);

/* What the broker says about itself, not older than a tenth of a second; NULL: it does not answer. */
const struct status_reply *http_backend_status(struct http_backend *b);
/* The same as those who look want it, not older than two seconds; empty where nobody tells. */
const struct view *http_backend_view(struct http_backend *b);
/* Where the time of all answers went, not older than a quarter of a second; NULL: the broker does not answer.
 */
const struct times *http_backend_times(struct http_backend *b);
/* What the model takes and gives. FL_UNAVAILABLE: no stage has told yet. */
int http_backend_model(struct http_backend *b, struct oip_model *out, struct error *e);

/* Sends the rows of a call that was read. It waits for answers then, unless c->error is set and c->left is 0.
 */
void http_backend_send(struct http_backend *b, struct http_call *c);
/* A call that waits is of no interest any more: the pipeline stops working for it. */
void http_backend_forget(struct http_backend *b, struct http_call *c);
/* Takes all answers that are there, calls `done` for each call that waits no more: answered, failed or
 * overdue. */
void http_backend_collect(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg);
/* Ends all calls that wait: with FL_UNAVAILABLE. */
void http_backend_abandon(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg);

/* True labels. Errors as client_feedback. */
int http_backend_feedback(struct http_backend *b, const struct feedback_item *item, int n,
                          struct feedback *reply, struct error *e);

bool http_backend_waits(const struct http_backend *b);
/* Readable when there may be answers; call http_backend_collect before each sleep. */
int http_backend_fd(struct http_backend *b);

#endif
