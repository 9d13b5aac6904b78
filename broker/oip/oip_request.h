/* oip_request.h - the body of an inference request: JSON, JSON with binary data behind it, or binary data
 * alone
 *
 * Everything in it may be wrong; what comes out is rows that the model takes. Pure.
 */
#ifndef FREEZELINE_OIP_REQUEST_H
#define FREEZELINE_OIP_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "config/pipeline.h"
#include "wire/message.h"

#define OIP_ID_BYTES   257
#define OIP_JSON_BYTES (64 << 10) /* of a request without its numbers */
#define OIP_NO_HEADER  (-1)       /* no Inference-Header-Content-Length: the body is JSON */

/* What the model is, and how much of it at once. */
struct oip_model {
    struct port input, output; /* of one row */
    int most_rows;
};

struct oip_request {
    char id[OIP_ID_BYTES]; /* "": none */
    int rows;
    size_t row_bytes;
    const char *data;     /* rows, one after the other, in the model's type: in the body, or owned */
    void *owned;          /* NULL: data lie in the body */
    uint32_t flags;       /* of each row's request (job_flags) */
    uint32_t deadline_ms; /* 0 = the pipeline's */
    uint32_t priority, loss_allowed; /* as in struct request */
    uint64_t context, stream;        /* hashes of these parameters; 0: none */
    bool binary;                     /* scores are to be binary data */
    int classes;                     /* so many best classes as text instead of scores; 0 = scores */
};

/* Reads body[0 .. size). header: bytes of it that are JSON, or OIP_NO_HEADER. FL_PROTOCOL, FL_VALUE,
 * FL_SHAPE, FL_DTYPE, FL_TOO_LARGE, FL_UNSUPPORTED, FL_NOMEM; then there is nothing to release. */
int oip_request_read(struct oip_request *out, const char *body, size_t size, int64_t header,
                     const struct oip_model *model, struct error *e);
/* The body is a PNG or JPEG file: one row of it, as `input` in the pipeline file says. FL_CORRUPT,
 * FL_TOO_LARGE (16 million pixels), FL_SHAPE: the model takes no pictures; FL_UNSUPPORTED, FL_NOMEM. */
int oip_request_picture(struct oip_request *out, const char *body, size_t size, const struct oip_model *model,
                        const struct pipeline *p, struct error *e);
/* The body is a form (multipart/form-data) of one part: *body and *size become what that holds. FL_PROTOCOL.
 */
int oip_form_file(const char **body, size_t *size, struct error *e);
/* A picture, or binary data alone, have no JSON: what is asked of them comes as texts, one at a time, into
 * *wishes (owned, json_decref; NULL: none yet), those that nobody knows nowhere. False: it is no UTF-8. */
bool oip_wish_add(json_t **wishes, const char *name, const char *value);
/* Reads them, once the body is read. Release `out` on an error, too. */
int oip_request_wishes(struct oip_request *out, const json_t *wishes, struct error *e);
void oip_request_release(struct oip_request *r);

#endif
