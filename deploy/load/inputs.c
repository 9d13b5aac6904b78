/* inputs.c - a ring of pictures */
#include "inputs.h"

#include <stdlib.h>

#include "base/clock.h"

#define READY_MAX   64
#define READY_BYTES (16 << 20)

struct inputs {
    const struct dataset *data;
    struct traffic *traffic;
    int size, first, n;
    size_t bytes;        /* of one input */
    struct tensor shape; /* of one; data points to the one that was taken */
    char *ring;
    float *planes; /* a picture before it is shifted, and after */
    uint64_t takes_ns;
    struct traffic_pick pick[READY_MAX];
};

int inputs_new(struct inputs **out, const struct dataset *d, struct traffic *t, struct error *e)
{
    struct inputs *in = *out = calloc(1, sizeof *in);

    if (!in)
        return error_set(e, FL_NOMEM, "no memory for inputs");
    in->data = d;
    in->traffic = t;
    in->shape = dataset_shape(d);
    in->bytes = (size_t)tensor_bytes(&in->shape);
    in->size = (int)(READY_BYTES / in->bytes);
    in->size = in->size < 2 ? 2 : in->size > READY_MAX ? READY_MAX : in->size;
    in->ring = malloc(in->bytes * (size_t)in->size);
    in->planes = malloc(2 * sizeof *in->planes * (size_t)tensor_count(&in->shape));
    if (!in->ring || !in->planes) {
        inputs_free(in);
        *out = NULL;
        return error_set(e, FL_NOMEM, "no memory for inputs");
    }
    while (!inputs_full(in))
        inputs_prepare(in);
    return FL_OK;
}

void inputs_free(struct inputs *in)
{
    if (!in)
        return;
    free(in->ring);
    free(in->planes);
    free(in);
}

int inputs_ready(const struct inputs *in)
{
    return in->n;
}

bool inputs_full(const struct inputs *in)
{
    return in->n == in->size;
}

uint64_t inputs_takes_ns(const struct inputs *in)
{
    return in->takes_ns;
}

void inputs_prepare(struct inputs *in)
{
    int at = (in->first + in->n) % in->size;
    void *to = in->ring + (size_t)at * in->bytes;
    uint64_t start = clock_ns();
    struct traffic_pick pick = traffic_next(in->traffic);
    struct picture p = dataset_picture(in->data);
    float *shifted = in->planes + (size_t)p.channels * (size_t)p.height * (size_t)p.width;

    if (pick.dx || pick.dy) {
        dataset_planes(in->data, pick.record, in->planes);
        traffic_shift(in->planes, shifted, p.channels, p.height, p.width, pick.dx, pick.dy);
        dataset_put(in->data, shifted, to);
    } else {
        dataset_image(in->data, pick.record, to);
    }
    in->pick[at] = pick;
    in->n++;
    in->takes_ns = (in->takes_ns + clock_ns() - start) / 2;
}

const struct tensor *inputs_take(struct inputs *in, struct traffic_pick *pick)
{
    if (!in->n)
        inputs_prepare(in);
    *pick = in->pick[in->first];
    in->shape.data = in->ring + (size_t)in->first * in->bytes;
    in->first = (in->first + 1) % in->size;
    in->n--;
    return &in->shape;
}
