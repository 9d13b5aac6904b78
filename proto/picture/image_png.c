/* image_png.c - PNG through libpng's simplified API, pixels as they are stored
 *
 * That API converts to sRGB what a file says of its gamma, and takes 16 bits for linear light. Networks are
 * trained on the stored numbers. So it is shown only the chunks that hold pixels; without the others it
 * converts nothing, and 16 bits become 8 by v / 257, rounded. Alpha is left out, not laid on a ground.
 */
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "image_decoders.h"

#define SIGNATURE_BYTES 8
#define CHUNK_BYTES     12 /* length, type, checksum */

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool holds_pixels(const uint8_t *type)
{
    return !memcmp(type, "IHDR", 4) || !memcmp(type, "PLTE", 4) || !memcmp(type, "IDAT", 4) ||
           !memcmp(type, "IEND", 4);
}

/* Copies signature and chunks with pixels to `to`, which has room for all; returns how many bytes, 0 where
 * the file ends before its last chunk. */
static size_t keep_pixels(uint8_t *to, const uint8_t *bytes, size_t size, int *orientation)
{
    size_t n = SIGNATURE_BYTES, at = SIGNATURE_BYTES;

    memcpy(to, bytes, SIGNATURE_BYTES);
    while (size - at >= CHUNK_BYTES) {
        const uint8_t *chunk = bytes + at;
        size_t length = big_endian(chunk);
        if (length > size - at - CHUNK_BYTES)
            return 0;
        if (!memcmp(chunk + 4, "eXIf", 4))
            *orientation = image_exif_orientation(chunk + 8, length);
        if (holds_pixels(chunk + 4)) {
            memcpy(to + n, chunk, length + CHUNK_BYTES);
            n += length + CHUNK_BYTES;
        }
        if (!memcmp(chunk + 4, "IEND", 4))
            return n;
        at += length + CHUNK_BYTES;
    }
    return 0;
}

static void drop_alpha(uint8_t *rgb, const uint8_t *rgba, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        memcpy(rgb + 3 * i, rgba + 4 * i, 3);
}

static int read_pixels(struct image *out, png_image *png, const char *name, struct error *e)
{
    bool alpha = png->format & PNG_FORMAT_FLAG_ALPHA;
    size_t pixels = (size_t)out->width * (size_t)out->height;
    uint8_t *rgba = alpha ? malloc(4 * pixels) : NULL;
    int rc = FL_OK;

    if (alpha && !rgba)
        return error_set(e, FL_NOMEM, "no memory for %s", name);
    png->format = alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    png->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    /* A warning (level 1) may leave a whole picture; an error leaves none. */
    if (!png_image_finish_read(png, NULL, alpha ? rgba : out->rgb, 0, NULL))
        rc = error_set(e, FL_CORRUPT, "%s: %s", name, png->message);
    else if (alpha)
        drop_alpha(out->rgb, rgba, pixels);
    free(rgba);
    return rc;
}

int image_decode_png(struct image *out, const uint8_t *bytes, size_t size, const char *name, struct error *e)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    uint8_t *kept = malloc(size);
    size_t n = kept ? keep_pixels(kept, bytes, size, &out->orientation) : 0;
    int rc;

    if (!n)
        rc = kept ? error_set(e, FL_CORRUPT, "%s: the file is cut off", name)
                  : error_set(e, FL_NOMEM, "no memory for %s", name);
    else if (!png_image_begin_read_from_memory(&png, kept, n))
        rc = error_set(e, FL_CORRUPT, "%s: %s", name, png.message);
    else if (!(rc = image_take_pixels(out, png.width, png.height, name, e)))
        rc = read_pixels(out, &png, name, e);
    png_image_free(&png);
    free(kept);
    return rc;
}
