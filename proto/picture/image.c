/* image.c - which kind of file it is, and reading it */
#include "image_decoders.h"

#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"

#define IMAGE_MAX_BYTES (256ll << 20) /* of a file */

static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, jpeg[2] = {0xff, 0xd8};

static bool starts(const void *bytes, size_t size, const uint8_t *with, size_t n)
{
    return size >= n && !memcmp(bytes, with, n);
}

const char *image_type(const void *bytes, size_t size)
{
    return starts(bytes, size, png, sizeof png)     ? "image/png"
           : starts(bytes, size, jpeg, sizeof jpeg) ? "image/jpeg"
                                                    : NULL;
}

int image_decode(struct image *out, const void *bytes, size_t size, const char *name, struct error *e)
{
    return image_decode_within(out, bytes, size, name, IMAGE_MAX_PIXELS, e);
}

int image_decode_within(struct image *out, const void *bytes, size_t size, const char *name,
                        int64_t most_pixels, struct error *e)
{
    int rc;

    *out = (struct image){.orientation = 1, .most_pixels = most_pixels};
    if (starts(bytes, size, png, sizeof png))
        rc = image_decode_png(out, bytes, size, name, e);
    else if (starts(bytes, size, jpeg, sizeof jpeg))
        rc = image_decode_jpeg(out, bytes, size, name, e);
    else if (size < sizeof png)
        rc = error_set(e, FL_CORRUPT, "%s: too short to be a picture", name);
    else
        rc = error_set(e, FL_UNSUPPORTED, "%s: neither PNG nor JPEG", name);
    if (rc)
        image_release(out);
    return rc;
}

int image_load(struct image *out, const char *path, struct error *e)
{
    void *bytes;
    size_t size;
    int rc = file_read(&bytes, &size, path, IMAGE_MAX_BYTES, e);

    *out = (struct image){.orientation = 1};
    if (!rc)
        rc = image_decode(out, bytes, size, path, e);
    free(bytes);
    return rc;
}
