/* trace_join.h - the spans of each request, put together
 *
 * Spans come from several processes, in any order, each within a heartbeat of what it tells. A request is
 * handed out a while after the span that is the request itself, or given up a minute after its first span.
 * Bounded: of the requests beyond TRACES_MOST, and the spans beyond TRACE_SPANS of one, nothing is kept.
 * Pure.
 */
#ifndef FREEZELINE_TRACE_JOIN_H
#define FREEZELINE_TRACE_JOIN_H

#include "wire/message.h"

#define TRACES_MOST 2048
#define TRACE_SPANS 64

struct traced {
    uint64_t request;
    int n;
    struct span span[TRACE_SPANS];
    uint64_t since_ns; /* when its first span came; once it has its own span, when that did */
    bool here, whole;  /* in the table; it has its own span */
    int chain;
};

struct trace_join;

/* `wait_ns`: after a request's own span, for those of others. FL_NOMEM. */
int trace_join_new(struct trace_join **out, uint64_t wait_ns);
void trace_join_free(struct trace_join *j);
void trace_join_add(struct trace_join *j, const struct span *s, uint64_t now);
/* The next request that is due; `all`: whatever has its own span. NULL: none. Valid until the next call. */
const struct traced *trace_join_take(struct trace_join *j, bool all, uint64_t now);
uint64_t trace_join_lost(const struct trace_join *j); /* spans, ever */

#endif
