/* resize.c - see resize.h; after Pillow's Resample.c and Geometry.c, whose numbers it gives */
#include "resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PRECISION 22 /* bits of a weight behind the point */
#define PI        3.14159265358979323846

static double box(double x)
{
    return x > -0.5 && x <= 0.5;
}

static double triangle(double x)
{
    return fmax(0, 1 - fabs(x));
}

static double hamming(double x)
{
    x = fabs(x);
    return x == 0 ? 1 : x >= 1 ? 0 : sin(PI * x) / (PI * x) * (0.54 + 0.46 * cos(PI * x));
}

static double cubic(double x)
{
    const double a = -0.5;

    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(PI * x) / (PI * x);
}

static double lanczos(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct filter {
    const char *name;
    double (*weight)(double x); /* NULL: the nearest pixel */
    double support;             /* weight is 0 further away than this */
} filters[] = {{"nearest", NULL, 0},    {"box", box, 0.5},     {"bilinear", triangle, 1},
               {"hamming", hamming, 1}, {"bicubic", cubic, 2}, {"lanczos", lanczos, 3}};

static const struct filter *find(const char *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (!strcmp(filters[i].name, name))
            return &filters[i];
    return NULL;
}

/* Which source pixels make each of n output pixels along one axis. */
struct taps {
    int n, most; /* most: taps of an output pixel */
    int *first;  /* [n] */
    int *count;  /* [n] */
    int *weight; /* [n][most] */
};

static void taps_free(struct taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

/* Weights of output pixel o of `size`, in row i of t; `w` has room for t->most. */
static void weigh(struct taps *t, int i, const struct filter *f, int source, int64_t size, int64_t o,
                  double *w)
{
    double scale = (double)source / (double)size, wide = fmax(scale, 1), support = f->support * wide;
    double center = ((double)o + 0.5) * scale, sum = 0;
    int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);

    first = first < 0 ? 0 : first;
    end = end > source ? source : end;
    t->first[i] = first;
    t->count[i] = end - first;
    for (int k = 0; k < end - first; k++)
        sum += w[k] = f->weight((k + first - center + 0.5) / wide);
    for (int k = 0; k < end - first; k++) {
        double v = (sum != 0 ? w[k] / sum : w[k]) * (1 << PRECISION);
        t->weight[(size_t)i * (size_t)t->most + (size_t)k] = (int)(v < 0 ? v - 0.5 : v + 0.5);
    }
}

/* For output pixels from .. from + n - 1 of `size`. */
static bool taps_make(struct taps *t, const struct filter *f, int source, int64_t size, int64_t from, int n)
{
    double *w;

    *t =
        (struct taps){.n = n, .most = (int)ceil(f->support * fmax((double)source / (double)size, 1)) * 2 + 1};
    t->first = malloc((size_t)n * sizeof *t->first);
    t->count = malloc((size_t)n * sizeof *t->count);
    t->weight = malloc((size_t)n * (size_t)t->most * sizeof *t->weight);
    w = malloc((size_t)t->most * sizeof *w);
    for (int i = 0; t->first && t->count && t->weight && w && i < n; i++)
        weigh(t, i, f, source, size, from + i, w);
    free(w);
    return t->first && t->count && t->weight && w;
}

static uint8_t clip(int sum)
{
    sum >>= PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Columns of rows from .. from + n - 1; out: [n][t->n][channels]. */
static void shrink_rows(const uint8_t *in, int width, int channels, const struct taps *t, int from, int n,
                        uint8_t *out)
{
    for (int y = from; y < from + n; y++) {
        const uint8_t *row = in + (size_t)y * (size_t)width * (size_t)channels;
        for (int x = 0; x < t->n; x++) {
            const int *w = t->weight + (size_t)x * (size_t)t->most;
            for (int c = 0; c < channels; c++) {
                const uint8_t *p = row + t->first[x] * channels + c;
                int sum = 1 << (PRECISION - 1);
                for (int k = 0; k < t->count[x]; k++)
                    sum += w[k] * p[k * channels];
                *out++ = clip(sum);
            }
        }
    }
}

/* Rows: `in` begins with row `from` of the source; `line`: bytes of a row. */
static void shrink_columns(const uint8_t *in, size_t line, const struct taps *t, int from, uint8_t *out)
{
    for (int y = 0; y < t->n; y++) {
        const int *w = t->weight + (size_t)y * (size_t)t->most;
        const uint8_t *top = in + (size_t)(t->first[y] - from) * line;
        for (size_t x = 0; x < line; x++) {
            int sum = 1 << (PRECISION - 1);
            for (int k = 0; k < t->count[y]; k++)
                sum += w[k] * top[(size_t)k * line + x];
            *out++ = clip(sum);
        }
    }
}

static bool filtered(const uint8_t *from, int width, int height, int channels, const struct filter *f,
                     const struct resize_target *to, uint8_t *out)
{
    struct taps x, y = {0};
    bool made = taps_make(&x, f, width, to->width, to->left, to->window_width) &&
                taps_make(&y, f, height, to->height, to->top, to->window_height);
    int first = made ? y.first[0] : 0, last = made ? y.first[y.n - 1] + y.count[y.n - 1] : 1;
    size_t line = (size_t)to->window_width * (size_t)channels;
    uint8_t *rows = made ? malloc((size_t)(last - first) * line) : NULL;

    if (rows) {
        shrink_rows(from, width, channels, &x, first, last - first, rows);
        shrink_columns(rows, line, &y, first, out);
    }
    taps_free(&x);
    taps_free(&y);
    free(rows);
    return rows != NULL;
}

/* Which source pixel each of the window's n shows: steps are added up, as Pillow does, so that rounding is
 * the same. */
static int *nearest_pixels(int source, int64_t size, int64_t from, int n)
{
    double step = (double)source / (double)size, at = step * 0.5;
    int *pixel = malloc((size_t)n * sizeof *pixel);

    for (int64_t i = 0; pixel && i < from + n; i++, at += step)
        if (i >= from)
            pixel[i - from] = at < source ? (int)at : source - 1;
    return pixel;
}

static bool nearest(const uint8_t *from, int width, int height, int channels, const struct resize_target *to,
                    uint8_t *out)
{
    int *x = nearest_pixels(width, to->width, to->left, to->window_width);
    int *y = nearest_pixels(height, to->height, to->top, to->window_height);
    size_t pixel = (size_t)channels;
    bool made = x && y;

    for (int j = 0; made && j < to->window_height; j++)
        for (int i = 0; i < to->window_width; i++, out += pixel)
            memcpy(out, from + ((size_t)y[j] * (size_t)width + (size_t)x[i]) * pixel, pixel);
    free(x);
    free(y);
    return made;
}

bool resize_pixels(const uint8_t *from, int width, int height, int channels, const char *filter,
                   const struct resize_target *to, uint8_t *out)
{
    const struct filter *f = find(filter);

    /* Filters that overshoot would change pixels even at the same size, were they asked. */
    if (!f || !f->weight || (to->width == width && to->height == height))
        return nearest(from, width, height, channels, to, out);
    return filtered(from, width, height, channels, f, to, out);
}
