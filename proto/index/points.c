/* points.c - embedded points and distances to them */
#include "points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

int points_reserve(struct points *p, int nodes, int64_t capacity)
{
    uint16_t *data;
    float *norm2;
    if (p->nodes != 0 && capacity <= p->capacity)
        return FL_OK;
    data = half_alloc((size_t)capacity * (size_t)nodes);
    if (data == NULL)
        return FL_NOMEM;
    if (p->n > 0)
        memcpy(data, p->data, (size_t)p->n * (size_t)p->nodes * sizeof *data);
    free(p->data);
    p->data = data;
    norm2 = realloc(p->norm2, (size_t)(capacity > 0 ? capacity : 1) * sizeof *norm2);
    if (norm2 == NULL)
        return FL_NOMEM;
    p->norm2 = norm2;
    p->nodes = nodes;
    p->capacity = capacity;
    return FL_OK;
}

int points_copy(struct points *to, const struct points *from, int64_t capacity)
{
    int rc = points_reserve(to, from->nodes, capacity > from->n ? capacity : from->n);
    if (rc != FL_OK)
        return rc;
    memcpy(to->data, from->data, (size_t)from->n * (size_t)from->nodes * sizeof *to->data);
    memcpy(to->norm2, from->norm2, (size_t)from->n * sizeof *to->norm2);
    to->n = from->n;
    return FL_OK;
}

void points_release(struct points *p)
{
    if (!p->borrowed)
        free(p->data);
    free(p->norm2);
    memset(p, 0, sizeof *p);
}

size_t points_entry_bytes(int nodes)
{
    return (size_t)nodes * sizeof(uint16_t) + sizeof(float);
}

void points_set(struct points *p, int64_t i, const float *x)
{
    uint16_t *row = p->data + i * p->nodes;
    for (int c = 0; c < p->nodes; c++)
        row[c] = half_from_float(x[c] > HALF_MAX ? HALF_MAX : x[c] < -HALF_MAX ? -HALF_MAX : x[c]);
    p->norm2[i] = half_norm2(row, p->nodes);
    if (i == p->n)
        p->n++;
}

void points_move(struct points *p, int64_t from, int64_t to)
{
    memmove(p->data + to * p->nodes, p->data + from * p->nodes, (size_t)p->nodes * sizeof *p->data);
    p->norm2[to] = p->norm2[from];
}

void points_measure(struct points *p)
{
    for (int64_t i = 0; i < p->n; i++)
        p->norm2[i] = half_norm2(p->data + i * p->nodes, p->nodes);
}

float points_distance(const struct points *p, int64_t j, const float *x)
{
    float d = sqrtf(half_distance2(p->data + j * p->nodes, x, p->nodes));
    return d > POINTS_MIN_DISTANCE ? d : POINTS_MIN_DISTANCE;
}
