/* oip_picture.c - a picture as it is, for the model */
#include <stdlib.h>

#include "oip_request.h"
#include "picture/preprocess.h"

#define MOST_PIXELS (16ll << 20) /* others wait while it is decoded */

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
