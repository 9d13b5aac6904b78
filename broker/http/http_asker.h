/* http_asker.h - what the broker is asked about itself, and true labels, by a thread that may wait for
 * replies
 *
 * HTTP's thread puts questions and takes replies; neither waits. The asker's thread has clients of its own.
 */
#ifndef FREEZELINE_HTTP_ASKER_H
#define FREEZELINE_HTTP_ASKER_H

#include "config/pipeline.h"
#include "wire/message.h"

struct http_asker;

enum http_question { ASK_STATUS, ASK_TIMES, HTTP_QUESTIONS };

/* True labels on their way, and what became of them. */
struct http_labels {
    struct http_labels *next; /* the asker's */
    void *call;               /* whoever waits; NULL: nobody does any more */
    int n;
    struct feedback_item item[MESSAGE_MAX_FEEDBACK];
    int rc;
    struct feedback reply;
    struct error error;
};

/* Borrows p for its life. */
int http_asker_new(struct http_asker **out, const struct pipeline *p, struct error *e);
/* Waits for the question that is being asked, a second at most. NULL is fine. */
void http_asker_free(struct http_asker *a);

/* Readable when there are replies to take. */
int http_asker_fd(const struct http_asker *a);
/* Asks, unless that is being asked already. */
void http_asker_ask(struct http_asker *a, enum http_question q);
/* Takes a heap object over; http_asker_told gives it back. */
void http_asker_tell(struct http_asker *a, struct http_labels *labels);

/* Has a reply come, or been given up, since the last call? Then *answered says which; a status or times are
 * copied. */
bool http_asker_status(struct http_asker *a, struct status_reply *out, bool *answered);
bool http_asker_times(struct http_asker *a, struct times *out, bool *answered);
/* Labels whose fate is known; NULL: none. */
struct http_labels *http_asker_told(struct http_asker *a);

#endif
