/* http_server.h - what is said to each request, once it is whole
 *
 * http_door.c has the connections and the thread; here is what is asked for and what the reply is. One
 * thread.
 */
#ifndef FREEZELINE_HTTP_SERVER_H
#define FREEZELINE_HTTP_SERVER_H

#include "broker/page/live.h"
#include "http_backend.h"
#include "http_counts.h"

struct http_server {
    const struct pipeline *pipeline; /* borrowed */
    struct settings *settings;       /* borrowed */
    struct http_backend *backend;
    struct http_memory memory; /* of bodies */
    struct http_counts counts;
    struct live *live;
    uint64_t told_ns; /* when those who watch were told last */
    uint64_t spans;   /* the last that was given to a trace */
    bool ends;     /* the broker goes away: nothing waits any more, connections close with their next reply */
    uint64_t sent; /* inferences */
    bool idle;     /* the thread slept its time out: nothing came */
    /* since these were set false: */
    bool busy; /* connections have bytes or replies that libmicrohttpd may go on with at once */
    bool held; /* connections that are not suspended wait for answers */
};

/* Close it after an error, too, and when libmicrohttpd has ended. */
int http_server_open(struct http_server *h, const struct pipeline *p, struct settings *settings,
                     struct error *e);
void http_server_close(struct http_server *h);

/* The request is whole. Without a reply it waits for answers, and this is called again: at each turn, or when
 * its connection, which is suspended after a moment, is resumed. MHD_NO ends the connection. */
enum MHD_Result http_server_serve(struct http_server *h, struct http_call *c);
/* Hands c's reply over as it is. */
enum MHD_Result http_server_reply(struct http_server *h, struct http_call *c);
/* Answers that came go to their calls; those who watch are told. */
void http_server_turn(struct http_server *h);
/* The broker has replied to what was asked: calls that wait for that go on. */
void http_server_hear(struct http_server *h);
/* Whoever asked has gone: c, which waits for answers, ends. */
void http_server_gone(struct http_server *h, struct http_call *c);
/* All that waits ends, and so does whatever comes from now on. */
void http_server_abandon(struct http_server *h);

#endif
