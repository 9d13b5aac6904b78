/* array_view.h - pixels of many pictures where they lie in memory, in any order and number type
 *
 * Bytes are pixels, 0 to 255, and get normalised; floating point is fed as it is.
 */
#ifndef FREEZELINE_ARRAY_VIEW_H
#define FREEZELINE_ARRAY_VIEW_H

#include "base/error.h"
#include "config/pipeline.h"
#include "picture/image.h"
#include "picture/picture.h"

struct array_view {
    const uint8_t *base;
    enum tensor_dtype dtype; /* uint8, float32, float64, float16 */
    int64_t count;
    int64_t picture, channel, row, column; /* bytes from one to the next */
};

/* An array [n, c, h, w] or [n, h, w, c], or [n, h, w] where there is one channel, C or Fortran order. Its
 * sizes are those of *p or, where `resizes`, bytes may have others, which *p becomes. Borrows a->data; `name`
 * is for messages. FL_SHAPE, FL_DTYPE. */
int array_view_open(struct array_view *out, const struct tensor *a, bool fortran, struct picture *p,
                    bool resizes, const char *name, struct error *e);

/* Picture i as [channels][height][width] floats, normalised where it is bytes. */
void array_view_planes(const struct array_view *v, int64_t i, const struct picture *p,
                       const struct pipeline *pipeline, float *out);
/* The same in p's layout, as float32 or uint8. */
void array_view_put(const struct array_view *v, int64_t i, const struct picture *p,
                    const struct pipeline *pipeline, enum tensor_dtype dtype, void *out);
/* Picture i of bytes, with 1 or 3 channels, as RGB. FL_NOMEM. */
int array_view_image(const struct array_view *v, int64_t i, const struct picture *p, struct image *out,
                     struct error *e);

#endif
