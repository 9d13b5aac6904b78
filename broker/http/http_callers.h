/* http_callers.h - the connections: which are too slow, and which have gone
 *
 * libmicrohttpd does not read a connection whose request waits for its answer, so it does not see that the
 * client has gone: the sockets are watched here as well. One thread.
 */
#ifndef FREEZELINE_HTTP_CALLERS_H
#define FREEZELINE_HTTP_CALLERS_H

#include "http_call.h"

struct http_caller {
    struct http_caller *before, *after;
    int fd;
    uint64_t address;       /* a hash of where it comes from */
    uint64_t since_ns;      /* when it began a request, or had its last reply */
    struct http_call *call; /* its request, which is whole, and whose reply is not out yet; NULL: none */
    bool gone;              /* it sends no more */
};

struct http_callers {
    struct http_caller *list;
    int watch; /* readable when some have gone */
    uint64_t looked_ns;
};

/* FL_IO. */
int http_callers_open(struct http_callers *all, struct error *e);
void http_callers_close(struct http_callers *all);
/* NULL: no memory. */
struct http_caller *http_callers_add(struct http_callers *all, int fd, uint64_t now);
void http_callers_remove(struct http_callers *all, struct http_caller *caller); /* NULL is fine */

/* Those that for so long have brought no whole request are shut, which libmicrohttpd sees. */
void http_callers_shut_slow(struct http_callers *all, uint64_t most_ns, uint64_t now);
/* Calls `gone` for the call of each that has gone since, where it has one. */
void http_callers_find_gone(struct http_callers *all, void (*gone)(void *arg, struct http_call *c),
                            void *arg);
/* Do some wait for replies? */
bool http_callers_wait(const struct http_callers *all);

#endif
