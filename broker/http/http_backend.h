/* http_backend.h - the pipeline as HTTP clients see it: a client of the broker like any other
 *
 * Rows of calls go out through the client library, answers come back to the calls in any order. One thread.
 */
#ifndef FREEZELINE_HTTP_BACKEND_H
#define FREEZELINE_HTTP_BACKEND_H

#include "http_asker.h"
#include "http_call.h"
#include "http_loader.h"

struct http_backend;

/* Borrows p and settings for its life. */
int http_backend_new(struct http_backend **out, const struct pipeline *p, struct settings *settings,
                     struct error *e);
void http_backend_free(struct http_backend *b);

/* What a reply is made of: nothing that the broker tells; what the model is; the broker's status; that and
 * its times.
 */
enum http_need { NEED_NOTHING, NEED_MODEL, NEED_STATUS, NEED_ALL };
/* Is that here, and fresh, or of a moment since since_ns (0: none)? If not, the broker is asked. */
bool http_backend_has(struct http_backend *b, enum http_need need, uint64_t since_ns);
/* Until the broker has replied, or does not, c waits. */
void http_backend_await(struct http_backend *b, struct http_call *c);

/* What the broker said last; NULL: it did not answer. */
const struct status_reply *http_backend_status(const struct http_backend *b);
const struct times *http_backend_times(const struct http_backend *b);
/* The same as those who look want it; empty where nobody tells. */
const struct view *http_backend_view(const struct http_backend *b);
/* What the model takes and gives. FL_UNAVAILABLE: no stage has told yet. */
int http_backend_model(const struct http_backend *b, struct oip_model *out, struct error *e);

/* Sends the rows of a call that was read. It waits for answers then, unless c->error is set and c->left is 0.
 */
void http_backend_send(struct http_backend *b, struct http_call *c);
/* A call that waits is of no interest any more: the pipeline stops working for it. */
void http_backend_forget(struct http_backend *b, struct http_call *c);
/* True labels of a call, which waits until c->told: c->labels says what became of them then. FL_NOMEM. */
int http_backend_tell(struct http_backend *b, struct http_call *c, const struct feedback_item *item, int n);
/* Loads or unloads the model for a call, which waits until c->loaded: c->loading says what became of it then.
 * FL_NOMEM, or as http_loader_ask. */
int http_backend_load(struct http_backend *b, struct http_call *c, bool loads);
/* Takes all answers that are there, calls `done` for each call that waits no more: answered, failed or
 * overdue. */
void http_backend_collect(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg);
/* The same of what was asked of the broker. */
void http_backend_hear(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg);
/* Ends all calls that wait: with FL_UNAVAILABLE. */
void http_backend_abandon(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg);

/* Readable when there may be answers, and when there is what was asked; call http_backend_collect before each
 * sleep, and http_backend_hear where the second is readable. */
int http_backend_fd(const struct http_backend *b);
int http_backend_asker_fd(const struct http_backend *b);

#endif
