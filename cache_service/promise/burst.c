/* burst.c - how often audits are nearly the same as audits before them */
#include "burst.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define KEPT    64   /* numbers of a descriptor, at equal distances */
#define LAGS    10   /* 1, 2, 4, .. BURST_FARTHEST */
#define RING    1024 /* descriptors */
#define NEARLY  0.05 /* of the usual squared distance */
#define OFTENER 0.05 /* than one long before, as a share of audits */
#define MEMORY  1000 /* audits */
#define FEWEST  50

struct lag {
    double audits, near; /* near: the share of the last ones */
};

struct burst {
    int64_t seen, counted;
    double usual; /* squared distance at the largest lag */
    struct lag lag[LAGS];
    float ring[RING][KEPT];
};

int burst_new(struct burst **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? FL_OK : FL_NOMEM;
}

void burst_free(struct burst *b)
{
    free(b);
}

static void keep(float *kept, const float *descriptor, int64_t dim)
{
    for (int64_t i = 0; i < KEPT; i++)
        kept[i] = i < dim ? descriptor[dim > KEPT ? i * dim / KEPT : i] : 0;
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < KEPT; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sum;
}

/* Means of the last MEMORY audits or so. */
static void move(double *average, double value, double n)
{
    *average += (value - *average) / fmin(n, MEMORY);
}

static void compare(struct burst *b)
{
    const float *now = b->ring[b->seen % RING];
    bool farthest = true;
    for (int i = LAGS - 1; i >= 0; i--) {
        struct lag *l = &b->lag[i];
        int64_t before = b->seen - ((int64_t)1 << i);
        double squared;
        if (before < 0)
            continue;
        squared = distance(now, b->ring[before % RING]);
        if (farthest)
            move(&b->usual, squared, (double)b->seen);
        farthest = false;
        move(&l->near, squared <= NEARLY * b->usual, ++l->audits);
    }
}

int64_t burst_spacing(const struct burst *b)
{
    int farthest = LAGS - 1;
    while (farthest > 0 && b->lag[farthest].audits < FEWEST)
        farthest--;
    for (int i = farthest - 1; i >= 0; i--) {
        if (b->lag[i].near > b->lag[farthest].near + OFTENER)
            return (int64_t)2 << i;
    }
    return 1;
}

bool burst_counts(struct burst *b, const float *descriptor, int64_t dim)
{
    keep(b->ring[b->seen % RING], descriptor, dim);
    compare(b);
    b->seen++;
    if (b->counted > 0 && b->seen - b->counted < burst_spacing(b))
        return false;
    b->counted = b->seen;
    return true;
}
