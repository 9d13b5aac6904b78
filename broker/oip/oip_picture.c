/* oip_picture.c - a picture as it is, or in a form, for the model */
#include <stdlib.h>
#include <string.h>

#include "oip_request.h"
#include "picture/preprocess.h"

#define MOST_PIXELS     (16ll << 20) /* others wait while it is decoded */
#define FORM_LINE_BYTES 72           /* as RFC 2046 bounds it, with its dashes */

static int read_picture(struct oip_request *out, struct image *i, const struct oip_model *m,
                        const struct pipeline *p, struct error *e)
{
    struct tensor row = m->input.tensor;
    struct picture to;
    char text[128];
    int rc;

    if (!picture_of(&to, &row))
        return error_set(e, FL_SHAPE, "the model takes %s, which is no picture: send it as a tensor",
                         tensor_describe(&row, text, sizeof text));
    if (tensor_alloc(&row))
        return error_set(e, FL_NOMEM, "out of memory for the input");
    if ((rc = preprocess_image(i, &row, &to, p, e))) {
        tensor_release(&row);
        return rc;
    }
    out->owned = row.data;
    out->data = row.data;
    out->rows = 1;
    out->row_bytes = (size_t)tensor_bytes(&row);
    return FL_OK;
}

int oip_request_picture(struct oip_request *out, const char *body, size_t size, const struct oip_model *model,
                        const struct pipeline *p, struct error *e)
{
    struct image image;
    int rc = image_decode_within(&image, body, size, "the body", MOST_PIXELS, e);

    *out = (struct oip_request){.rows = 0};
    if (!rc)
        rc = read_picture(out, &image, model, p, e);
    image_release(&image);
    return rc;
}

/* Its first line is what parts it (RFC 2046, 5.1.1): nothing stands before that in a form. */
int oip_form_file(const char **body, size_t *size, struct error *e)
{
    char line[2 + FORM_LINE_BYTES] = "\r\n"; /* it ends what it follows with its line break */
    const char *end = *body + *size, *at = memmem(*body, *size, "\r\n", 2), *to = NULL;
    size_t n = at ? (size_t)(at - *body) : 0;

    if (n > 2 && n <= FORM_LINE_BYTES && !memcmp(*body, "--", 2)) {
        memcpy(line + 2, *body, n);
        at = memmem(at, (size_t)(end - at), "\r\n\r\n", 4); /* behind the headers */
        at = at ? at + 4 : NULL;
        to = at ? memmem(at, (size_t)(end - at), line, n + 2) : NULL;
    }
    if (!to)
        return error_set(e, FL_PROTOCOL, "the body is no whole form (multipart/form-data)");
    if (end - to < (ptrdiff_t)n + 4 || memcmp(to + n + 2, "--", 2))
        return error_set(e, FL_PROTOCOL,
                         "a form is to bring one picture and nothing else: parameters stand behind the path, "
                         "as in ?exits=false");
    *body = at;
    *size = (size_t)(to - at);
    return FL_OK;
}
