/* image.c - which kind of file it is, and reading it */
#include "image_decoders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IMAGE_MAX_BYTES (256ll << 20) /* of a file */

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
