/* inputs.c - a ring of pictures */
#include "inputs.h"

#include <stdlib.h>

#include "base/clock.h"

#define READY_MAX   64
#define READY_BYTES (16 << 20)

struct inputs {
    const struct dataset *data;
    const struct pipeline *pipeline;
    struct traffic *traffic;
    int size, first, n;
    int64_t values;      /* of one input */
    struct tensor shape; /* of one; data points to the one that was taken */
    float *ring, *spare; /* spare: a picture before it is shifted */
    uint64_t takes_ns;
    struct traffic_pick pick[READY_MAX];
};

int inputs_new(struct inputs **out, const struct dataset *d, const struct pipeline *p, struct traffic *t,
               struct error *e)
{
    struct inputs *in = *out = calloc(1, sizeof *in);

    if (!in)
        return error_set(e, FL_NOMEM, "no memory for inputs");
    in->data = d;
    in->pipeline = p;
    in->traffic = t;
    in->shape = dataset_shape(d);
    in->values = tensor_count(&in->shape);
    in->size = (int)(READY_BYTES / ((int64_t)sizeof *in->ring * in->values));
    in->size = in->size < 2 ? 2 : in->size > READY_MAX ? READY_MAX : in->size;
    in->ring = malloc(sizeof *in->ring * (size_t)(in->size * in->values));
    in->spare = malloc(sizeof *in->spare * (size_t)in->values);
    if (!in->ring || !in->spare) {
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
    free(in->spare);
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
    float *to = in->ring + at * in->values;
    uint64_t start = clock_ns();
    struct traffic_pick pick = traffic_next(in->traffic);
    const int64_t *dim = in->shape.dim;
    bool shift = pick.dx || pick.dy;

    dataset_image(in->data, pick.record, in->pipeline, shift ? in->spare : to);
    if (shift)
        traffic_shift(in->spare, to, (int)dim[1], (int)dim[2], (int)dim[3], pick.dx, pick.dy);
    in->pick[at] = pick;
    in->n++;
    in->takes_ns = (in->takes_ns + clock_ns() - start) / 2;
}

const struct tensor *inputs_take(struct inputs *in, struct traffic_pick *pick)
{
    if (!in->n)
        inputs_prepare(in);
    *pick = in->pick[in->first];
    in->shape.data = in->ring + in->first * in->values;
    in->first = (in->first + 1) % in->size;
    in->n--;
    return &in->shape;
}
