/* image_pixels.c - what both decoders need: room for pixels, and how the camera was held */
#include "image_decoders.h"

#include <stdlib.h>
#include <string.h>

int image_take_pixels(struct image *out, int64_t width, int64_t height, const char *name, struct error *e)
{
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        width * height > out->most_pixels)
        return error_set(e, FL_TOO_LARGE, "%s: %lldx%lld pixels is over the limit of %d a side, %lld in all",
                         name, (long long)width, (long long)height, IMAGE_MAX_SIDE,
                         (long long)out->most_pixels);
    out->width = (int)width;
    out->height = (int)height;
    out->rgb = malloc((size_t)(3 * width * height));
    return out->rgb ? FL_OK : error_set(e, FL_NOMEM, "no memory for %s", name);
}

static unsigned short_at(const uint8_t *b, bool little)
{
    return little ? b[0] | (unsigned)b[1] << 8 : (unsigned)b[0] << 8 | b[1];
}

static uint32_t long_at(const uint8_t *b, bool little)
{
    return little ? short_at(b, true) | (uint32_t)short_at(b + 2, true) << 16
                  : (uint32_t)short_at(b, false) << 16 | short_at(b + 2, false);
}

int image_exif_orientation(const uint8_t *tiff, size_t size)
{
    enum { HEADER = 8, ENTRY = 12, TAG = 0x0112, SHORT = 3 };
    bool little;
    uint32_t first;

    if (size < HEADER || (memcmp(tiff, "II*\0", 4) && memcmp(tiff, "MM\0*", 4)))
        return 1;
    little = *tiff == 'I';
    first = long_at(tiff + 4, little);
    if (first > size - 2)
        return 1;
    for (unsigned i = 0, n = short_at(tiff + first, little); i < n; i++) {
        size_t at = first + 2 + (size_t)ENTRY * i;
        if (at + ENTRY > size)
            return 1;
        if (short_at(tiff + at, little) == TAG && short_at(tiff + at + 2, little) == SHORT) {
            unsigned value = short_at(tiff + at + 8, little);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
}

void image_release(struct image *i)
{
    free(i->rgb);
    *i = (struct image){.orientation = 1};
}
