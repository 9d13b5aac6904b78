/* view.c - see view.h */
#include "view.h"

#include <string.h>

#include "planes.h"
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

int view_array(struct view *out, const struct tensor *a, bool fortran, const struct picture *p,
               const char *name, struct error *e)
{
    struct tensor t = *a;
    char have[128];
    int64_t step[4];
    int channel, row;

    if (t.rank == 3 && p->channels == 1)
        t.dim[t.rank++] = 1; /* [n, h, w] is [n, h, w, 1] */
    if (t.rank == 4 && has_sizes(&t, p->channels, p->height, p->width))
        channel = 1, row = 2;
    else if (t.rank == 4 && has_sizes(&t, p->height, p->width, p->channels))
        channel = 3, row = 1;
    else
        return error_set(
            e, FL_SHAPE,
            "%s is %s: the model takes pictures of %d channels, %d high, %d wide: give [n, c, h, w] "
            "or [n, h, w, c]",
            name, tensor_describe(a, have, sizeof have), p->channels, p->height, p->width);
    if (t.dtype != TENSOR_U8 && t.dtype != TENSOR_F32 && t.dtype != TENSOR_F64 && t.dtype != TENSOR_F16)
        return error_set(
            e, FL_DTYPE,
            "%s: pictures are uint8 (0 to 255, normalised) or floating point (fed as they are), not %s", name,
            tensor_dtype_name(t.dtype));
    find_steps(&t, fortran, step);
    *out = (struct view){.base = t.data,
                         .dtype = t.dtype,
                         .count = t.dim[0],
                         .picture = step[0],
                         .channel = step[channel],
                         .row = step[row],
                         .column = step[row + 1]};
    return FL_OK;
}

/* Planes of bytes, one after the other, without gaps. */
static bool is_planes(const struct view *v, const struct picture *p)
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

static void gather(const struct view *v, const uint8_t *from, int n, float *out)
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

void view_planes(const struct view *v, int64_t i, const struct picture *p, const struct pipeline *pipeline,
                 float *out)
{
    const uint8_t *at = v->base + i * v->picture;

    if (is_planes(v, p)) {
        planes_normalise(at, p, pipeline, out);
        return;
    }
    for (int c = 0; c < p->channels; c++) {
        float mean = pipeline_mean(pipeline, c), std = pipeline_std(pipeline, c);
        float *plane = out;
        for (int y = 0; y < p->height; y++, out += p->width)
            gather(v, at + c * v->channel + y * v->row, p->width, out);
        for (; v->dtype == TENSOR_U8 && plane < out; plane++)
            *plane = (*plane - mean) / std;
    }
}
