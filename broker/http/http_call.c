/* http_call.c - bodies in, rows out; answers in, a reply out */
#include "http_call.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FIRST_BYTES 4096
#define SPARES      64        /* calls that are kept for the next ones, .. */
#define SPARE_BYTES 16384     /* .. with bodies of so much room at most */
#define RETRY_MS    1000      /* where nobody knows better */
#define ANY_FORMAT  (15 + 32) /* zlib's: gzip or deflate, as its head says */

void http_call_begin(struct http_call *c, struct http_memory *memory, const struct http_route *route)
{
    *c = (struct http_call){.memory = memory, .route = *route, .header = OIP_NO_HEADER};
    c->reply.header = -1;
}

static void drop_body(struct http_call *c)
{
    c->memory->used -= c->room;
    free(c->body);
    c->body = NULL;
    c->size = c->room = 0;
}

void http_call_free(struct http_call *c)
{
    drop_body(c);
    oip_request_release(&c->request);
    free(c->row);
    json_decref(c->wishes);
    json_text_free(&c->reply.text);
}

struct http_call *http_call_new(struct http_memory *memory, const struct http_route *route)
{
    struct http_call *c = memory->spare;
    char *body = c ? c->body : NULL;
    size_t room = body ? c->room : 0;
    if (c) {
        memory->spare = c->after;
        memory->spares--;
    } else if (!(c = malloc(sizeof *c))) {
        return NULL;
    }
    http_call_begin(c, memory, route);
    if (room > memory->most - memory->used) {
        free(body);
        return c;
    }
    c->body = body;
    c->room = room;
    memory->used += room;
    return c;
}

/* A body of the usual size stays with the call. */
void http_call_end(struct http_call *c)
{
    struct http_memory *memory = c->memory;
    char *body = c->body;
    size_t room = c->room;
    if (room > SPARE_BYTES || memory->spares >= SPARES)
        body = NULL;
    if (body) {
        memory->used -= room;
        c->body = NULL;
        c->room = 0;
    }
    http_call_free(c);
    if (memory->spares >= SPARES) {
        free(c);
        return;
    }
    c->body = body;
    c->room = room;
    c->after = memory->spare;
    memory->spare = c;
    memory->spares++;
}

void http_memory_free(struct http_memory *memory)
{
    for (struct http_call *c = memory->spare, *after; c; c = after) {
        after = c->after;
        free(c->body);
        free(c);
    }
    memory->spare = NULL;
    memory->spares = 0;
}

/* Room for `n` bytes. */
static int make_room(struct http_call *c, char **at, size_t *room, size_t n)
{
    struct http_memory *m = c->memory;
    size_t more = *room ? *room : FIRST_BYTES;
    char *grown;
    if (n <= *room)
        return FL_OK;
    if (n > m->most_of_one)
        return error_set(&c->error, FL_TOO_LARGE,
                         "the body is larger than broker.max_request_mb, %.3g MB, allows",
                         (double)m->most_of_one / (1 << 20));
    while (more < n)
        more *= 2;
    more = more < m->most_of_one ? more : m->most_of_one;
    if (more - *room > m->most - m->used) {
        c->retry_after_ms = 1000;
        return error_set(&c->error, FL_OVERLOADED,
                         "bodies that are being received have filled broker.max_memory_mb");
    }
    if (!(grown = realloc(*at, more)))
        return error_set(&c->error, FL_NOMEM, "out of memory for the body");
    m->used += more - *room;
    *at = grown;
    *room = more;
    return FL_OK;
}

bool http_call_body(struct http_call *c, const char *bytes, size_t n)
{
    if (c->refused) { /* whoever sends on and on is cut off */
        c->size += n;
        return c->size <= HTTP_WASTE * c->memory->most_of_one;
    }
    if (!http_has_body(c->route.target) || !n)
        return true;
    if (make_room(c, &c->body, &c->room, c->size + n)) {
        drop_body(c);
        c->refused = true;
        return true;
    }
    memcpy(c->body + c->size, bytes, n);
    c->size += n;
    return true;
}

/* ---- compressed bodies ---- */

/* *size bytes come of it. What gzip packs may be several pieces, one after the other (RFC 1952). */
static int unpack(struct http_call *c, z_stream *z, char **out, size_t *room, size_t *size)
{
    int rc = Z_OK;
    *size = 0;
    while (rc == Z_OK) {
        if (*size == *room && make_room(c, out, room, *room + 1))
            return c->error.code;
        z->next_out = (unsigned char *)*out + *size;
        z->avail_out = (uInt)(*room - *size);
        rc = inflate(z, Z_NO_FLUSH);
        *size = *room - z->avail_out;
        if (rc == Z_STREAM_END && z->avail_in)
            rc = inflateReset(z);
    }
    if (rc != Z_STREAM_END || z->avail_in)
        return error_set(&c->error, FL_PROTOCOL, "the body is not what its Content-Encoding says");
    return FL_OK;
}

static int unpack_body(struct http_call *c)
{
    z_stream z = {.next_in = (unsigned char *)c->body, .avail_in = (uInt)c->size};
    char *out = NULL;
    size_t room = 0, size;
    int rc;
    if (inflateInit2(&z, ANY_FORMAT) != Z_OK)
        return error_set(&c->error, FL_NOMEM, "out of memory for the body");
    rc = unpack(c, &z, &out, &room, &size);
    inflateEnd(&z);
    drop_body(c);
    c->body = out;
    c->room = room;
    c->size = rc ? 0 : size;
    return rc;
}

/* ---- rows ---- */

int http_call_read(struct http_call *c, const struct oip_model *m, const struct pipeline *p)
{
    const char *body;
    size_t size, rows;
    int rc;
    if (c->error.code)
        return c->error.code;
    if (c->deflated && (rc = unpack_body(c)))
        return rc;
    c->model = *m;
    body = c->body ? c->body : "";
    size = c->size;
    if (c->form && (rc = oip_form_file(&body, &size, &c->error)))
        return rc;
    rc = c->picture ? oip_request_picture(&c->request, body, size, m, p, &c->error)
                    : oip_request_read(&c->request, body, size, c->header, m, &c->error);
    if (!rc && c->wishes)
        rc = oip_request_wishes(&c->request, c->wishes, &c->error);
    if (rc)
        return rc;
    c->classes = (int)tensor_count(&m->output.tensor);
    rows = (size_t)c->request.rows;
    if (!(c->row = malloc(rows * (sizeof *c->row + (size_t)c->classes * sizeof *c->scores))))
        return error_set(&c->error, FL_NOMEM, "out of memory for the answer");
    c->scores = (float *)(void *)(c->row + rows);
    return FL_OK;
}

void http_call_answer(struct http_call *c, const struct answer *a, const float *scores, int n)
{
    int i = (int)(a->id - c->first_id);
    float *to = c->scores + (size_t)i * (size_t)c->classes;
    bool whole = n == c->classes;
    c->left--;
    if (a->error) {
        if (!c->error.code)
            error_set(&c->error, (enum fl_code)a->error, "%s",
                      *a->text ? a->text : error_sentence((int)a->error));
        if (a->retry_after_ms > c->retry_after_ms)
            c->retry_after_ms = a->retry_after_ms;
        return;
    }
    c->row[i] = (struct oip_row){.label = a->label,
                                 .exit = a->exit,
                                 .confidence = a->confidence,
                                 .epoch = a->epoch,
                                 .request = a->request,
                                 .total_ns = a->total_ns,
                                 .known = a->known,
                                 .loss_promised = a->loss_promised,
                                 .one_hot = !whole};
    memcpy(c->row[i].variant, a->variant, sizeof a->variant);
    c->row[i].trace = a->trace;
    if (whole) {
        memcpy(to, scores, (size_t)n * sizeof *to);
        return;
    }
    memset(to, 0, (size_t)c->classes * sizeof *to);
    if (a->label >= 0 && a->label < c->classes)
        to[a->label] = 1;
}

/* ---- the reply ---- */

int http_status(int code)
{
    switch (code) {
    case FL_OK:
        return 200;
    case FL_USAGE:
    case FL_SHAPE:
    case FL_DTYPE:
    case FL_VALUE:
    case FL_PROTOCOL:
    case FL_CORRUPT:
        return 400;
    case FL_NOT_FOUND:
        return 404;
    case FL_DEADLINE:
        return 408;
    case FL_CANCELLED:
        return 499;
    case FL_TOO_LARGE:
        return 413;
    case FL_OVERLOADED:
        return 429;
    case FL_UNSUPPORTED:
        return 501;
    case FL_UNAVAILABLE:
    case FL_STALE:
    case FL_NOMEM:
        return 503;
    default:
        return 500;
    }
}

void http_reply_error(struct http_reply *r, const struct error *e)
{
    json_text_free(&r->text);
    r->status = http_status(e->code);
    r->type = "application/json";
    r->header = -1;
    r->retry_after_ms = r->status == 429 || r->status == 503 ? RETRY_MS : 0;
    oip_error_text(&r->text, e->text);
}

void http_call_finish(struct http_call *c, const struct pipeline *p, const struct view *v)
{
    struct oip_answer a = {p->name,    &c->request, &c->model,   c->row, c->scores,
                           c->classes, p->label,    p->n_labels, v};
    struct error nomem = {FL_NOMEM, "out of memory for the answer"};
    if (c->error.code) {
        http_reply_error(&c->reply, &c->error);
        if (c->retry_after_ms)
            c->reply.retry_after_ms = c->retry_after_ms;
        return;
    }
    oip_answer_text(&c->reply.text, &a, &c->reply.header);
    c->reply.status = 200;
    c->reply.type = c->reply.header < 0 ? "application/json" : "application/octet-stream";
    if (c->reply.text.failed)
        http_reply_error(&c->reply, &nomem);
}
