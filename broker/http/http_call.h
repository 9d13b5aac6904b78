/* http_call.h - one HTTP request: what came of its body, the rows that it became, the reply
 *
 * Pure but for memory, which http_memory bounds for all calls together. One thread.
 */
#ifndef FREEZELINE_HTTP_CALL_H
#define FREEZELINE_HTTP_CALL_H

#include "config/pipeline.h"
#include "http_route.h"
#include "broker/oip/oip_response.h"

/* What bodies take, all together; and calls that ended, whose memory serves the next ones. */
struct http_memory {
    size_t used, most;
    size_t most_of_one;
    struct http_call *spare; /* list, by `after` */
    int spares;
};

/* A body that is refused is thrown away as it comes: whoever was still sending when the connection ended
 * might lose the reply with it. But not more than so many times what is allowed. */
#define HTTP_WASTE 16

enum http_coding { CODING_PLAIN, CODING_GZIP, CODING_DEFLATE };

/* A trace context (W3C, version 00), which begins at the client and goes on here. */
#define TRACE_BYTES 56 /* "00-" 32 digits "-" 16 digits "-" 2 digits */

struct http_reply {
    int status; /* 0: not known yet */
    struct json_text text;
    enum http_coding coding; /* of text */
    const char *type;        /* of its content */
    int64_t header;          /* Inference-Header-Content-Length; -1: none */
    uint32_t retry_after_ms; /* 0: none */
    const char *allow;       /* NULL: none */
    const char *challenge;   /* WWW-Authenticate; NULL: none */
};

struct http_call {
    struct http_call **list;          /* in which it waits; NULL: in none */
    struct http_call *before, *after; /* there */
    void *connection;                 /* the server's */
    struct http_memory *memory;
    struct http_route route;
    int64_t header;           /* as oip_request_read takes it */
    bool deflated;            /* the body is compressed */
    bool picture;             /* it is a PNG or JPEG file */
    bool form;                /* .. in a form */
    enum http_coding accepts; /* of the reply, too */
    bool open_metrics;        /* its client reads OpenMetrics */
    bool reads_json;          /* .. says that it does JSON */
    json_t *wishes;           /* of a body without JSON (oip_wish_add); NULL: none */
    char trace[TRACE_BYTES];  /* of the reply; "": none */
    struct http_context {
        uint64_t high, low, parent, span; /* as in struct request */
        bool sampled;
    } context;
    char *body;
    size_t size, room;
    bool refused; /* the body is not kept: `error` says why */
    bool endless; /* .. and longer than anybody takes, or nobody knows how long */
    bool last;    /* nothing more is read from its connection */

    struct oip_request request;
    struct oip_model model;
    struct oip_row *row; /* where the row was answered */
    float *scores;       /* rows x classes; behind the rows in their memory */
    int classes;
    uint64_t began_ns;          /* when its body was whole; 0: not an inference */
    uint64_t read_ns, told_ns;  /* how long it took to make rows of the body, and the reply of the answers */
    uint64_t first_id;          /* of the requests to the broker, one a row, which count up */
    int sent, left;             /* of these; without an answer */
    uint64_t until_ns;          /* there is an answer by then, or none comes */
    bool suspended;             /* its connection: the answer takes a while */
    uint64_t asked_ns;          /* since when it waits for what the broker tells of itself; 0: it does not */
    struct http_labels *labels; /* true labels that it has brought (http_asker.h); NULL: none */
    bool told;                  /* .. and what became of them is known */
    struct http_loading
        *loading; /* the model is loaded or unloaded for it (http_loader.h); NULL: it is not */
    bool loaded;  /* .. and that has ended */

    struct error error; /* the first one */
    uint32_t retry_after_ms;
    struct http_reply reply;
};

/* NULL: out of memory. End it by http_call_end. */
struct http_call *http_call_new(struct http_memory *memory, const struct http_route *route);
void http_call_end(struct http_call *c);
/* Once all calls have ended. */
void http_memory_free(struct http_memory *memory);
/* The same in the caller's own memory. */
void http_call_begin(struct http_call *c, struct http_memory *memory, const struct http_route *route);
void http_call_free(struct http_call *c);

/* Adds to the body. False: nothing more is read, end the connection. */
bool http_call_body(struct http_call *c, const char *bytes, size_t n);
/* The body is whole: a compressed one is unpacked, rows are made of it for `m`. An error is left in c->error.
 */
int http_call_read(struct http_call *c, const struct oip_model *m, const struct pipeline *p);
/* The answer to the row that was sent as the request `id` came. */
void http_call_answer(struct http_call *c, const struct answer *a, const float *scores, int n);
/* All rows have their answers, or there is an error: makes the reply. */
void http_call_finish(struct http_call *c, const struct pipeline *p, const struct view *v);

/* Which compression a client takes, by its Accept-Encoding (NULL: none). */
enum http_coding http_accepts(const char *header);
/* Compresses the text, where that is worth it. Out of memory: it stays as it is. */
void http_reply_pack(struct http_reply *r, enum http_coding coding);
/* The trace context of the header, with a parent of our own, `span`: into c->trace and c->context. */
void http_trace(struct http_call *c, const char *header, uint64_t span);
void http_reply_error(struct http_reply *r, const struct error *e);
/* The status that goes with an error of the pipeline. */
int http_status(int code);

#endif
