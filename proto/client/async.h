/* async.h - a client for any number of threads, whose answers come by callback or through a descriptor
 *
 * A thread of its own sends requests and receives answers. All functions may be called by any thread, from
 * callbacks too, but for async_free. A program with a loop of its own and one thread needs none of this:
 * client_fd does.
 *
 * Invariants:
 * - Each request that async_send took has exactly one answer: the pipeline's, or an error. Its callback runs
 *   once, or it is given once by async_next.
 * - At most ASYNC_MOST requests are without an answer, or have one that nobody has taken.
 */
#ifndef FREEZELINE_ASYNC_H
#define FREEZELINE_ASYNC_H

#include "client.h"

#define ASYNC_MOST 4096

struct async;

struct async_request {
    struct client_request request;
    /* Called by the client's thread, which does nothing else meanwhile: so be brief. `answer` and `scores`
     * are valid until it returns. NULL: async_next gives the answer. */
    void (*done)(void *arg, uint64_t id, const struct answer *answer, const float *scores, int n);
    void *arg;
};

/* An answer that nobody was called for. */
struct async_answer {
    uint64_t id;
    void *arg; /* the request's */
    struct answer answer;
    const float *scores; /* NULL: none. They are where they came, until async_release */
    int n;
    void *held;
};

/* To all brokers of p (borrows p for the call only). */
int async_new(struct async **out, const struct pipeline *p, struct error *e);
/* What is without an answer is cancelled: callbacks run before this returns, and nothing can be sent any
 * more. Answers that async_next gave stay valid until they are released. NULL is fine. */
void async_free(struct async *a);

/* Never blocks. FL_OVERLOADED: ASYNC_MOST are under way; FL_CANCELLED, FL_NOMEM. What is wrong with the
 * request itself is its answer. */
int async_send(struct async *a, const struct async_request *r, uint64_t *id, struct error *e);
/* As client_cancel; of one that is answered it does nothing. FL_NOT_FOUND: that was never a request;
 * FL_AGAIN: ASYNC_MOST are being cancelled. */
int async_cancel(struct async *a, uint64_t id);

/* Readable while async_next has an answer. */
int async_fd(const struct async *a);
/* FL_AGAIN: none is there. */
int async_next(struct async *a, struct async_answer *out);
void async_release(struct async_answer *answer);

#endif
