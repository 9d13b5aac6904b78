/* image.c - pictures from files */
#include "image_decoders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IMAGE_MAX_BYTES (256ll << 20) /* of a file */

int image_take_pixels(struct image *out, int64_t width, int64_t height, const char *name, struct error *e)
{
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        width * height > IMAGE_MAX_PIXELS)
        return error_set(e, FL_TOO_LARGE, "%s: %lldx%lld pixels is over the limit of %d a side, %lld in all",
                         name, (long long)width, (long long)height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
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
        if (at > size - ENTRY)
            return 1;
        if (short_at(tiff + at, little) == TAG && short_at(tiff + at + 2, little) == SHORT) {
            unsigned value = short_at(tiff + at + 8, little);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
}

int image_decode(struct image *out, const void *bytes, size_t size, const char *name, struct error *e)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, jpeg[2] = {0xff, 0xd8};
    int rc;

    *out = (struct image){.orientation = 1};
    if (size >= sizeof png && !memcmp(bytes, png, sizeof png))
        rc = image_decode_png(out, bytes, size, name, e);
    else if (size >= sizeof jpeg && !memcmp(bytes, jpeg, sizeof jpeg))
        rc = image_decode_jpeg(out, bytes, size, name, e);
    else if (size < sizeof png)
        rc = error_set(e, FL_CORRUPT, "%s: too short to be a picture", name);
    else
        rc = error_set(e, FL_UNSUPPORTED, "%s: neither PNG nor JPEG", name);
    if (rc)
        image_release(out);
    return rc;
}

/* All bytes of a file that is no longer than IMAGE_MAX_BYTES. */
static int read_file(uint8_t **out, size_t *size, const char *path, struct error *e)
{
    struct stat st;
    FILE *f = fopen(path, "rbe");
    int rc = FL_OK;

    if (!f)
        return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fileno(f), &st) || !S_ISREG(st.st_mode))
        rc = error_set(e, FL_IO, "%s: not a regular file", path);
    else if (st.st_size > IMAGE_MAX_BYTES)
        rc = error_set(e, FL_TOO_LARGE, "%s: over the limit of %lld bytes", path, IMAGE_MAX_BYTES);
    else if (!(*out = malloc((size_t)st.st_size + 1)))
        rc = error_set(e, FL_NOMEM, "no memory for %s", path);
    if (!rc) {
        *size = fread(*out, 1, (size_t)st.st_size, f);
        if (ferror(f))
            rc = error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    }
    fclose(f);
    return rc;
}

int image_load(struct image *out, const char *path, struct error *e)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    int rc = read_file(&bytes, &size, path, e);

    *out = (struct image){.orientation = 1};
    if (!rc)
        rc = image_decode(out, bytes, size, path, e);
    free(bytes);
    return rc;
}

void image_release(struct image *i)
{
    free(i->rgb);
    *i = (struct image){.orientation = 1};
}
