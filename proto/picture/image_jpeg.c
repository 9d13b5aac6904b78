/* image_jpeg.c - JPEG through TurboJPEG, after a walk over the file's markers
 *
 * The walk counts scans, since a progressive file of a few kB can ask for hours, looks whether the file has
 * its end, which the decoder would make up, and finds the orientation that a camera noted.
 */
#include <stdlib.h>
#include <string.h>

#include <turbojpeg.h>

#include "image_decoders.h"

#define MOST_SCANS    200
#define SCANS_OF_MOST 10 /* so often all pixels of a picture as large as may be: each scan goes over all */

enum marker { START_OF_IMAGE = 0xd8, END_OF_IMAGE = 0xd9, START_OF_SCAN = 0xda, APPLICATION_1 = 0xe1 };

struct walk {
    int scans, orientation;
    bool ended;
};

/* 00 after ff is a byte of data, d0 to d7 stand between parts of a scan, and neither they nor 01 have a
 * segment. */
static bool is_marker(uint8_t b)
{
    return b > 1 && b < 0xff && (b < 0xd0 || b > START_OF_IMAGE);
}

/* Markers are looked for byte by byte, as the decoder does where there is something between them. */
static struct walk walk_markers(const uint8_t *bytes, size_t size)
{
    struct walk w = {.orientation = 1};
    size_t at = 2;

    while (at + 1 < size) {
        const uint8_t *found = memchr(bytes + at, 0xff, size - 1 - at);
        size_t length;
        if (!found)
            break;
        at = (size_t)(found - bytes) + 1;
        if (!is_marker(bytes[at]))
            continue;
        w.ended = bytes[at] == END_OF_IMAGE;
        if (w.ended || size - at < 3)
            break;
        w.scans += bytes[at] == START_OF_SCAN;
        length = (size_t)bytes[at + 1] << 8 | bytes[at + 2];
        if (length < 2 || length > size - at - 1)
            break;
        if (bytes[at] == APPLICATION_1 && length > 8 && !memcmp(bytes + at + 3, "Exif\0", 6))
            w.orientation = image_exif_orientation(bytes + at + 9, length - 8);
        at += 1 + length;
    }
    return w;
}

/* (a x b) / 255, rounded. */
static uint8_t scaled(int a, int b)
{
    int t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Inks are stored inverted, as Adobe does: 255 is no ink. */
static void mix_inks(uint8_t *rgb, const uint8_t *cmyk, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) {
            int black = cmyk[4 * i + 3];
            rgb[3 * i + (size_t)c] = (uint8_t)(black - scaled(255 - cmyk[4 * i + (size_t)c], black));
        }
}

/* Warnings pass: the decoder mends what it warns of, and the end of the file was looked for before. */
static bool decode(tjhandle j, const uint8_t *bytes, size_t size, uint8_t *to, const struct image *i,
                   int format)
{
    return !tjDecompress2(j, bytes, (unsigned long)size, to, i->width, 0, i->height, format, 0) ||
           tjGetErrorCode(j) == TJERR_WARNING;
}

static int read_pixels(tjhandle j, struct image *out, const uint8_t *bytes, size_t size, int scans,
                       const char *name, struct error *e)
{
    int width = 0, height = 0, subsampling, space = TJCS_RGB, rc;
    uint8_t *cmyk = NULL;
    bool inks, done;

    /* It also fails where it has no name for the subsampling, which does not keep it from decoding. */
    tjDecompressHeader3(j, bytes, (unsigned long)size, &width, &height, &subsampling, &space);
    if (width < 1 || height < 1)
        return error_set(e, FL_CORRUPT, "%s: %s", name, tjGetErrorStr2(j));
    if ((rc = image_take_pixels(out, width, height, name, e)))
        return rc;
    if ((int64_t)width * height * scans > SCANS_OF_MOST * out->most_pixels)
        return error_set(e, FL_TOO_LARGE, "%s: %dx%d pixels in %d scans are too much", name, width, height,
                         scans);
    inks = space == TJCS_CMYK || space == TJCS_YCCK;
    if (inks && !(cmyk = malloc((size_t)4 * (size_t)width * (size_t)height)))
        return error_set(e, FL_NOMEM, "no memory for %s", name);
    done = decode(j, bytes, size, inks ? cmyk : out->rgb, out, inks ? TJPF_CMYK : TJPF_RGB);
    if (!done)
        rc = error_set(e, FL_CORRUPT, "%s: %s", name, tjGetErrorStr2(j));
    else if (inks)
        mix_inks(out->rgb, cmyk, (size_t)width * (size_t)height);
    free(cmyk);
    return rc;
}

int image_decode_jpeg(struct image *out, const uint8_t *bytes, size_t size, const char *name, struct error *e)
{
    struct walk w = walk_markers(bytes, size);
    tjhandle j;
    int rc;

    if (!w.ended)
        return error_set(e, FL_CORRUPT, "%s: the file is cut off", name);
    if (w.scans > MOST_SCANS)
        return error_set(e, FL_CORRUPT, "%s: more than %d scans", name, MOST_SCANS);
    if (!(j = tjInitDecompress()))
        return error_set(e, FL_NOMEM, "no memory for %s", name);
    rc = read_pixels(j, out, bytes, size, w.scans, name, e);
    tjDestroy(j);
    out->orientation = w.orientation;
    return rc;
}
