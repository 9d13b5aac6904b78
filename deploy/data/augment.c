/* augment.c - mirrored, shifted and mixed pictures */
#include "augment.h"

#include <math.h>
#include <string.h>

#include "numbers/shuffle.h"

#define SHIFT 8 /* by at most side / SHIFT */

/* A record mirrored or not and shifted, planes of h x w; through `whole`. */
static void move_image(const struct augmentation *a, int64_t record, struct shuffle *s, float *whole,
                       float *out)
{
    struct picture p = dataset_picture(a->data);
    int h = p.height, w = p.width;
    bool mirrored = shuffle_below(s, 2);
    int down = (int)shuffle_below(s, 2 * (uint32_t)(h / SHIFT) + 1) - h / SHIFT;
    int right = (int)shuffle_below(s, 2 * (uint32_t)(w / SHIFT) + 1) - w / SHIFT;

    dataset_planes(a->data, record, whole);
    for (int64_t row = 0; row < p.channels * h; row++) {
        int y = (int)(row % h) - down;
        const float *plane = whole + row / h * h * w;
        for (int x = 0; x < w; x++) {
            int at = mirrored ? w - 1 - (x - right) : x - right;
            *out++ = y < 0 || y >= h || at < 0 || at >= w ? 0 : plane[y * w + at];
        }
    }
}

static void blend(float *to, const float *other, int64_t n, float share)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += share * (other[i] - to[i]);
}

/* A square of the other that covers `share` of the picture. */
static void paste(const struct picture *p, float *to, const float *other, float share, struct shuffle *s)
{
    int h = p->height, w = p->width;
    int rows = (int)((float)h * sqrtf(share)), columns = (int)((float)w * sqrtf(share));
    int top = (int)shuffle_below(s, (uint32_t)(h - rows + 1)),
        left = (int)shuffle_below(s, (uint32_t)(w - columns + 1));

    for (int64_t plane = 0; plane < p->channels; plane++) {
        for (int y = top; y < top + rows; y++) {
            int64_t at = (plane * h + y) * w + left;
            memcpy(to + at, other + at, (size_t)columns * sizeof *to);
        }
    }
}

void augment_planes(const struct augmentation *a, int64_t record, int copy, float *out)
{
    struct picture p = dataset_picture(a->data);
    int64_t size = (int64_t)p.channels * p.height * p.width, other;
    float *whole = a->room, *second = a->room + size, share;
    struct shuffle s;

    shuffle_seed(&s, a->seed ^ ((uint64_t)record * 0x9e3779b97f4a7c15u), (uint64_t)copy);
    move_image(a, record, &s, whole, out);
    if (copy < AUGMENT_MIXED)
        return;
    other = (int64_t)(shuffle_uniform(&s) * (double)dataset_count(a->data));
    move_image(a, other, &s, whole, second);
    share = (float)shuffle_uniform(&s);
    if (shuffle_below(&s, 2))
        blend(out, second, size, share);
    else
        paste(&p, out, second, share, &s);
}
