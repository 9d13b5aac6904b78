/* array_view.c - see array_view.h */
#include "array_view.h"

#include <stdlib.h>
#include <string.h>

#include "picture/planes.h"
#include "tensor_io.h"

static bool has_sizes(const struct tensor *a, int64_t x, int64_t y, int64_t z)
{
    return a->dim[1] == x && a->dim[2] == y && a->dim[3] == z;
}

/* Bytes from one index of dimension d to the next. */
static void find_steps(const struct tensor *a, bool fortran, int64_t step[4])
{
    int64_t bytes = (int64_t)tensor_dtype_bytes(a->dtype);

    for (int k = 0; k < 4; k++) {
        int d = fortran ? k : 3 - k;
        step[d] = bytes;
        bytes *= a->dim[d];
    }
}

/* The sizes of an array of bytes that are not the model's. */
static bool other_sizes(struct picture *p, const struct tensor *t)
{
    struct tensor one = *t;

    one.dim[0] = 1;
    return t->dtype == TENSOR_U8 && picture_of(p, &one) && (p->channels == 1 || p->channels == 3);
}

int array_view_open(struct array_view *out, const struct tensor *a, bool fortran, struct picture *p,
                    bool resizes, const char *name, struct error *e)
{
    struct tensor t = *a;
    struct picture other;
    char have[128];
    int64_t step[4];
    bool last;

    if (t.rank == 3)
        t.dim[t.rank++] = 1; /* [n, h, w] is [n, h, w, 1] */
    if (t.dtype != TENSOR_U8 && t.dtype != TENSOR_F32 && t.dtype != TENSOR_F64 && t.dtype != TENSOR_F16)
        return error_set(
            e, FL_DTYPE,
            "%s: pictures are uint8 (0 to 255, normalised) or floating point (fed as they are), not %s", name,
            tensor_dtype_name(t.dtype));
    last = !(t.rank == 4 && has_sizes(&t, p->channels, p->height, p->width));
    if (last && !(t.rank == 4 && has_sizes(&t, p->height, p->width, p->channels))) {
        if (!resizes || !other_sizes(&other, &t))
            return error_set(e, FL_SHAPE,
                             "%s is %s: the model takes pictures of %d channels, %d high and %d wide: give "
                             "[n, c, h, w] or "
                             "[n, h, w, c], or bytes of another size and input.resize in the pipeline file",
                             name, tensor_describe(a, have, sizeof have), p->channels, p->height, p->width);
        last = other.interleaved;
        *p = other;
    }
    find_steps(&t, fortran, step);
    *out = (struct array_view){.base = t.data,
                               .dtype = t.dtype,
                               .count = t.dim[0],
                               .picture = step[0],
                               .channel = step[last ? 3 : 1],
                               .row = step[last ? 1 : 2],
                               .column = step[last ? 2 : 3]};
    return FL_OK;
}

/* Planes of bytes, one after the other, without gaps. */
static bool is_planes(const struct array_view *v, const struct picture *p)
{
    return v->dtype == TENSOR_U8 && v->column == 1 && v->row == p->width && v->channel == v->row * p->height;
}

/* The number at `from`, which need not be aligned. */
static float number_at(const uint8_t *from, enum tensor_dtype dtype)
{
    union {
        uint64_t bytes[1];
        double number;
    } room = {{0}};
    struct tensor t = {.dtype = dtype, .data = &room};

    memcpy(&room, from, tensor_dtype_bytes(dtype));
    return (float)tensor_io_element(&t, 0);
}

static void gather(const struct array_view *v, const uint8_t *from, int n, float *out)
{
    if (v->dtype == TENSOR_U8)
        for (int x = 0; x < n; x++, from += v->column)
            out[x] = *from;
    else if (v->dtype == TENSOR_F32)
        for (int x = 0; x < n; x++, from += v->column)
            memcpy(out + x, from, sizeof *out);
    else
        for (int x = 0; x < n; x++, from += v->column)
            out[x] = number_at(from, v->dtype);
}

/* n values of a row from column x, normalised where they are bytes. */
static void read_row(const struct array_view *v, const uint8_t *row, int x, int n, const struct pipeline *p,
                     int channel, float *out)
{
    float mean = pipeline_mean(p, channel), std = pipeline_std(p, channel);

    gather(v, row + x * v->column, n, out);
    for (int k = 0; v->dtype == TENSOR_U8 && k < n; k++)
        out[k] = (out[k] - mean) / std;
}

void array_view_planes(const struct array_view *v, int64_t i, const struct picture *p,
                       const struct pipeline *pipeline, float *out)
{
    const uint8_t *at = v->base + i * v->picture;

    if (is_planes(v, p)) {
        planes_normalise(at, p, pipeline, out);
        return;
    }
    for (int c = 0; c < p->channels; c++)
        for (int y = 0; y < p->height; y++, out += p->width)
            read_row(v, at + c * v->channel + y * v->row, 0, p->width, pipeline, c, out);
}

void array_view_put(const struct array_view *v, int64_t i, const struct picture *p,
                    const struct pipeline *pipeline, enum tensor_dtype dtype, void *out)
{
    enum { PIECE = 256 };
    const uint8_t *at = v->base + i * v->picture;
    float piece[PIECE];

    if (!p->interleaved && dtype == TENSOR_F32) {
        array_view_planes(v, i, p, pipeline, out);
        return;
    }
    for (int c = 0; c < p->channels; c++)
        for (int y = 0; y < p->height; y++)
            for (int x = 0; x < p->width; x += PIECE) {
                int n = p->width - x < PIECE ? p->width - x : PIECE;
                read_row(v, at + c * v->channel + y * v->row, x, n, pipeline, c, piece);
                planes_put_row(piece, p, c, y, x, n, dtype, out);
            }
}

int array_view_image(const struct array_view *v, int64_t i, const struct picture *p, struct image *out,
                     struct error *e)
{
    const uint8_t *from = v->base + i * v->picture;
    uint8_t *to;

    *out = (struct image){.width = p->width,
                          .height = p->height,
                          .orientation = 1,
                          .rgb = malloc((size_t)3 * (size_t)p->width * (size_t)p->height)};
    if (!(to = out->rgb))
        return error_set(e, FL_NOMEM, "no memory for a picture");
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            for (int c = 0; c < 3; c++)
                *to++ = from[y * v->row + x * v->column + (p->channels == 3 ? c * v->channel : 0)];
    return FL_OK;
}
