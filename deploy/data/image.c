/* image.c - pictures from files, resizing by separable triangles */
#include "image_decoders.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dataset.h"
#include "npy.h"

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

/* Weight of source sample s in output sample o: the triangle (growing) or box (shrinking) that resizing uses
 * along one axis. Calls for s in [*first, *last] only. */
struct kernel {
    double scale; /* source samples per output sample */
    int limit;    /* number of source samples */
};

static void kernel_span(const struct kernel *k, int o, int *first, int *last)
{
    double low = k->scale > 1 ? o * k->scale : (o + 0.5) * k->scale - 1.5;
    double high = k->scale > 1 ? (o + 1) * k->scale : (o + 0.5) * k->scale + 0.5;

    *first = (int)floor(low);
    *last = (int)ceil(high);
    *first = *first < 0 ? 0 : *first;
    *last = *last > k->limit - 1 ? k->limit - 1 : *last;
}

static double kernel_weight(const struct kernel *k, int o, int s)
{
    double low, high;

    if (k->scale <= 1) {
        double at = (o + 0.5) * k->scale - 0.5, w;
        at = at < 0 ? 0 : at > k->limit - 1 ? k->limit - 1 : at;
        w = 1 - fabs(at - s);
        return w > 0 ? w : 0;
    }
    low = fmax(o * k->scale, s);
    high = fmin((o + 1) * k->scale, s + 1);
    return high > low ? high - low : 0;
}

/* Columns first: [height][width][3] bytes to [height][w][3] floats. */
static void shrink_rows(const struct image *i, int w, float *out)
{
    struct kernel k = {(double)i->width / w, i->width};

    for (int x = 0; x < w; x++) {
        int first, last;
        kernel_span(&k, x, &first, &last);
        for (int y = 0; y < i->height; y++) {
            const uint8_t *row = i->rgb + (size_t)3 * (size_t)i->width * (size_t)y;
            double sum[3] = {0}, total = 0;
            for (int s = first; s <= last; s++) {
                double weight = kernel_weight(&k, x, s);
                total += weight;
                for (int c = 0; c < 3; c++)
                    sum[c] += weight * row[3 * s + c];
            }
            for (int c = 0; c < 3; c++)
                out[3 * ((size_t)y * (size_t)w + (size_t)x) + (size_t)c] = (float)(sum[c] / total);
        }
    }
}

/* Then rows, into planes of [h][w] floats in 0..255. */
static void shrink_columns(const float *from, int height, int w, int h, float *planes)
{
    struct kernel k = {(double)height / h, height};

    for (int y = 0; y < h; y++) {
        int first, last;
        kernel_span(&k, y, &first, &last);
        for (int x = 0; x < w; x++) {
            double sum[3] = {0}, total = 0;
            for (int s = first; s <= last; s++) {
                double weight = kernel_weight(&k, y, s);
                total += weight;
                for (int c = 0; c < 3; c++)
                    sum[c] += weight * from[3 * ((size_t)s * (size_t)w + (size_t)x) + (size_t)c];
            }
            for (int c = 0; c < 3; c++)
                planes[((size_t)c * (size_t)h + (size_t)y) * (size_t)w + (size_t)x] = (float)(sum[c] / total);
        }
    }
}

static void normalise(const float *planes, int channels, int64_t plane, const struct pipeline *p, float *out)
{
    for (int c = 0; c < channels; c++) {
        float mean = pipeline_mean(p, c), std = pipeline_std(p, c);
        for (int64_t i = 0; i < plane; i++) {
            float v = channels == 1
                          ? 0.299f * planes[i] + 0.587f * planes[plane + i] + 0.114f * planes[2 * plane + i]
                          : planes[c * plane + i];
            out[c * plane + i] = (v - mean) / std;
        }
    }
}

int image_to_input(const struct image *i, const struct tensor *input, const struct pipeline *p, float *out,
                   struct error *e)
{
    int64_t w, h;
    float *rows, *planes;
    int rc = FL_OK;
    char text[128];

    if (input->dtype != TENSOR_F32 || input->rank != 4 || input->dim[0] != 1 ||
        (input->dim[1] != 1 && input->dim[1] != 3) || input->dim[2] < 1 || input->dim[3] < 1 ||
        input->dim[2] > IMAGE_MAX_SIDE || input->dim[3] > IMAGE_MAX_SIDE)
        return error_set(e, FL_SHAPE, "the model takes %s, which is no picture",
                         tensor_describe(input, text, sizeof text));
    h = input->dim[2];
    w = input->dim[3];
    rows = malloc((size_t)(3 * w * i->height) * sizeof *rows);
    planes = malloc((size_t)(3 * w * h) * sizeof *planes);
    if (rows && planes) {
        shrink_rows(i, (int)w, rows);
        shrink_columns(rows, i->height, (int)w, (int)h, planes);
        normalise(planes, (int)input->dim[1], w * h, p, out);
    } else {
        rc = error_set(e, FL_NOMEM, "no memory to resize a picture");
    }
    free(rows);
    free(planes);
    return rc;
}

/* dims [c,h,w] count as [1,c,h,w] */
static void add_leading_one(struct tensor *t, int rank)
{
    if (t->rank != rank - 1)
        return;
    memmove(t->dim + 1, t->dim, sizeof t->dim[0] * (size_t)t->rank);
    t->dim[0] = 1;
    t->rank++;
}

static int read_npy_input(struct tensor *out, const char *path, const struct tensor *input,
                          const struct pipeline *p, struct error *e)
{
    struct tensor t;
    char have[128], want[128];
    int rc = npy_read(&t, path, e);

    if (rc)
        return rc;
    add_leading_one(&t, input->rank);
    if (!tensor_same_shape(&t, input) || (t.dtype != input->dtype && t.dtype != TENSOR_U8))
        rc = error_set(e, FL_SHAPE, "%s is %s, the model takes %s", path,
                       tensor_describe(&t, have, sizeof have), tensor_describe(input, want, sizeof want));
    else if (t.dtype == input->dtype)
        memcpy(out->data, t.data, (size_t)tensor_bytes(&t));
    else if (t.rank == 4 && input->dtype == TENSOR_F32)
        image_normalise(t.data, (int)t.dim[1], t.dim[2] * t.dim[3], p, out->data);
    else
        rc = error_set(e, FL_DTYPE, "%s is %s, the model takes %s", path,
                       tensor_describe(&t, have, sizeof have), tensor_describe(input, want, sizeof want));
    tensor_release(&t);
    return rc;
}

int image_read_input(struct tensor *out, const char *path, const struct tensor *input,
                     const struct pipeline *p, struct error *e)
{
    size_t n = strlen(path);
    struct image i;
    int rc;

    *out = *input;
    out->data = NULL;
    if (tensor_alloc(out))
        return error_set(e, FL_NOMEM, "no memory for the input");
    if (n > 4 && !strcmp(path + n - 4, ".npy")) {
        rc = read_npy_input(out, path, input, p, e);
    } else if (!(rc = image_load(&i, path, e))) {
        rc = image_to_input(&i, input, p, out->data, e);
        image_release(&i);
    }
    if (rc)
        tensor_release(out);
    return rc;
}
