/* preprocess.c - see preprocess.h */
#include "preprocess.h"

#include <stdlib.h>
#include <string.h>

#include "planes.h"
#include "resize.h"

/* Orientations 5 to 8 lie on their side; of the others, and of these once they stand, 2, 3, 6, 7 are mirrored
 * left to right and 3, 4, 7, 8 top to bottom. */
static bool turn(struct image *i)
{
    bool lying = i->orientation >= 5, mirrored, flipped;
    int width = lying ? i->height : i->width, height = lying ? i->width : i->height, o = i->orientation;
    uint8_t *out = malloc((size_t)3 * (size_t)width * (size_t)height), *to = out;

    if (!out)
        return false;
    mirrored = o == 2 || o == 3 || o == 6 || o == 7;
    flipped = o == 3 || o == 4 || o == 7 || o == 8;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to += 3) {
            int u = mirrored ? width - 1 - x : x, v = flipped ? height - 1 - y : y;
            memcpy(to,
                   i->rgb + (size_t)3 * (lying ? (size_t)u * (size_t)i->width + (size_t)v
                                               : (size_t)v * (size_t)i->width + (size_t)u),
                   3);
        }
    free(i->rgb);
    *i = (struct image){.width = width, .height = height, .orientation = 1, .rgb = out};
    return true;
}

/* In place: one byte for three, with the weights and the rounding of PIL's convert("L"). */
static void to_grey(uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        rgb[i] =
            (uint8_t)((rgb[3 * i] * 19595u + rgb[3 * i + 1] * 38470u + rgb[3 * i + 2] * 7471u + 0x8000u) >>
                      16);
}

/* Sides after resizing. */
static void resized(const struct image *i, const struct picture *to, const struct pipeline *p, int64_t *width,
                    int64_t *height)
{
    int64_t shorter = i->width < i->height ? i->width : i->height, side = p->resize[0];

    *width = i->width;
    *height = i->height;
    if (p->n_resize == 1) { /* torchvision rounds the longer side down */
        *width = i->width == shorter ? side : side * i->width / shorter;
        *height = i->height == shorter ? side : side * i->height / shorter;
    } else if (p->n_resize == 2) {
        *height = p->resize[0];
        *width = p->resize[1];
    } else if (!p->n_crop) {
        *width = to->width;
        *height = to->height;
    }
}

/* Where a middle of `n` begins in `size`; negative where it is larger. Halves go to even numbers, as Python
 * rounds. */
static int64_t middle(int64_t size, int64_t n)
{
    int64_t left = size - n;

    if (left < 0)
        return -(-left / 2);
    return left / 2 + (left % 2 && left / 2 % 2);
}

/* The part of the middle of to->width x to->height that lies in the resized picture; *x, *y: where it belongs
 * in it. */
static struct resize_target cut(const struct picture *to, int64_t width, int64_t height, int *x, int *y)
{
    int64_t left = middle(width, to->width), top = middle(height, to->height);

    *x = left < 0 ? (int)-left : 0;
    *y = top < 0 ? (int)-top : 0;
    return (struct resize_target){.width = width,
                                  .height = height,
                                  .left = left < 0 ? 0 : left,
                                  .top = top < 0 ? 0 : top,
                                  .window_width = (int)(width < to->width ? width : to->width),
                                  .window_height = (int)(height < to->height ? height : to->height)};
}

/* [window height][window width][channels] into planes, which are 0 around it. */
static void lay(const uint8_t *window, const struct resize_target *t, const struct picture *to, int x, int y,
                uint8_t *planes)
{
    size_t plane = (size_t)to->width * (size_t)to->height;

    if (t->window_width < to->width || t->window_height < to->height)
        memset(planes, 0, plane * (size_t)to->channels);
    for (int j = 0; j < t->window_height; j++)
        for (int i = 0; i < t->window_width; i++)
            for (int c = 0; c < to->channels; c++)
                planes[(size_t)c * plane + (size_t)(y + j) * (size_t)to->width + (size_t)(x + i)] = *window++;
}

/* Takes over `i`, whose pixels may change. */
static int fit(struct image *i, const struct picture *to, const struct pipeline *p, uint8_t *planes,
               struct error *e)
{
    struct resize_target t;
    int64_t width, height;
    uint8_t *window;
    bool done = true;
    int x, y;

    if (p->exif_orientation && i->orientation > 1)
        done = turn(i);
    if (to->channels == 1)
        to_grey(i->rgb, (size_t)i->width * (size_t)i->height);
    resized(i, to, p, &width, &height);
    t = cut(to, width, height, &x, &y);
    window = malloc((size_t)t.window_width * (size_t)t.window_height * (size_t)to->channels);
    done = done && window &&
           resize_pixels(i->rgb, i->width, i->height, to->channels, p->filter ? p->filter : "bilinear", &t,
                         window);
    if (done)
        lay(window, &t, to, x, y, planes);
    free(window);
    return done ? FL_OK : error_set(e, FL_NOMEM, "no memory to resize a picture");
}

int preprocess_pixels(struct image *i, const struct picture *to, const struct pipeline *p, uint8_t *planes,
                      struct error *e)
{
    if (to->channels != 1 && to->channels != 3)
        return error_set(e, FL_SHAPE, "the model's pictures have %d channels: PNG and JPEG files give 1 or 3",
                         to->channels);
    return fit(i, to, p, planes, e);
}

int preprocess_image(struct image *i, struct tensor *out, const struct picture *to, const struct pipeline *p,
                     struct error *e)
{
    size_t values = (size_t)to->width * (size_t)to->height * (size_t)to->channels;
    uint8_t *pixels = malloc(values);
    float *planes = malloc(values * sizeof *planes);
    int rc = pixels && planes ? preprocess_pixels(i, to, p, pixels, e)
                              : error_set(e, FL_NOMEM, "no memory for the input");

    if (!rc) {
        planes_normalise(pixels, to, p, planes);
        planes_put(planes, to, out->dtype, out->data);
    }
    free(pixels);
    free(planes);
    return rc;
}
