/* image.c - decoding with libpng and libjpeg, resizing by separable triangles */
#include "image.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include "dataset.h"
#include "npy.h"

#define JPEG_MAX_SCANS 200 /* a progressive file of a few kB can otherwise ask for hours */

static int take_pixels(struct image *out, int64_t width, int64_t height, const char *path, struct error *e)
{
    if (width < 1 || height < 1 || width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        width * height > IMAGE_MAX_PIXELS)
        return error_set(e, FL_TOO_LARGE, "%s: %lldx%lld pixels is over the limit of %d a side, %lld in all",
                         path, (long long)width, (long long)height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
    out->width = (int)width;
    out->height = (int)height;
    out->rgb = malloc((size_t)(3 * width * height));
    return out->rgb ? FL_OK : error_set(e, FL_NOMEM, "no memory for %s", path);
}

static int load_png(struct image *out, FILE *f, const char *path, struct error *e)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    png_color black = {0, 0, 0};
    int rc;

    if (!png_image_begin_read_from_stdio(&png, f)) {
        rc = error_set(e, FL_CORRUPT, "%s: %s", path, png.message);
        goto done;
    }
    png.format = PNG_FORMAT_RGB;
    if ((rc = take_pixels(out, png.width, png.height, path, e)))
        goto done;
    /* A warning (level 1) may leave a whole picture; an error leaves none. */
    if (!png_image_finish_read(&png, &black, out->rgb, 3 * out->width, NULL))
        rc = error_set(e, FL_CORRUPT, "%s: %s", path, png.message);
done:
    png_image_free(&png);
    return rc;
}

struct jpeg_trap {
    struct jpeg_error_mgr manager; /* first: libjpeg knows only this part */
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
    bool truncated;
};

static void jpeg_failed(j_common_ptr j)
{
    struct jpeg_trap *t = (struct jpeg_trap *)j->err;
    j->err->format_message(j, t->text);
    longjmp(t->back, 1);
}

/* Warnings pass, except that the data ended early: half a picture is not an answerable question. */
static void jpeg_message(j_common_ptr j, int level)
{
    struct jpeg_trap *t = (struct jpeg_trap *)j->err;
    if (level < 0) {
        j->err->num_warnings++;
        if (j->err->msg_code == JWRN_JPEG_EOF)
            t->truncated = true;
    }
}

static void jpeg_silent(j_common_ptr j)
{
    (void)j;
}

static void jpeg_count_scans(j_common_ptr j)
{
    if (j->is_decompressor && ((j_decompress_ptr)j)->input_scan_number > JPEG_MAX_SCANS) {
        struct jpeg_trap *t = (struct jpeg_trap *)j->err;
        snprintf(t->text, sizeof t->text, "more than %d scans", JPEG_MAX_SCANS);
        longjmp(t->back, 1);
    }
}

/* Everything that may jump back; touches nothing of the caller's but through pointers. */
static int decode_jpeg(struct jpeg_decompress_struct *j, struct image *out, const char *path, struct error *e)
{
    int rc;

    jpeg_read_header(j, TRUE);
    if (j->jpeg_color_space == JCS_CMYK || j->jpeg_color_space == JCS_YCCK)
        return error_set(e, FL_UNSUPPORTED, "%s: a CMYK picture; convert it to RGB", path);
    j->out_color_space = JCS_RGB;
    if ((rc = take_pixels(out, j->image_width, j->image_height, path, e)))
        return rc;
    jpeg_start_decompress(j);
    while (j->output_scanline < j->output_height) {
        JSAMPROW row = out->rgb + (size_t)3 * (size_t)out->width * j->output_scanline;
        jpeg_read_scanlines(j, &row, 1);
    }
    jpeg_finish_decompress(j);
    return FL_OK;
}

static int load_jpeg(struct image *out, FILE *f, const char *path, struct error *e)
{
    struct jpeg_decompress_struct j;
    struct jpeg_progress_mgr scans = {.progress_monitor = jpeg_count_scans};
    struct jpeg_trap trap = {.truncated = false};
    int rc;

    memset(&j, 0, sizeof j);
    j.err = jpeg_std_error(&trap.manager);
    trap.manager.error_exit = jpeg_failed;
    trap.manager.emit_message = jpeg_message;
    trap.manager.output_message = jpeg_silent;
    if (setjmp(trap.back)) {
        jpeg_destroy_decompress(&j);
        return error_set(e, FL_CORRUPT, "%s: %s", path, trap.text);
    }
    jpeg_create_decompress(&j);
    j.progress = &scans;
    jpeg_stdio_src(&j, f);
    rc = decode_jpeg(&j, out, path, e);
    jpeg_destroy_decompress(&j);
    if (!rc && trap.truncated)
        rc = error_set(e, FL_CORRUPT, "%s: the file is cut off", path);
    return rc;
}

int image_load(struct image *out, const char *path, struct error *e)
{
    uint8_t magic[8] = {0};
    FILE *f = fopen(path, "rbe");
    int rc;

    memset(out, 0, sizeof *out);
    if (!f)
        return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(errno));
    if (fread(magic, 1, sizeof magic, f) < sizeof magic || fseek(f, 0, SEEK_SET))
        rc = error_set(e, FL_CORRUPT, "%s: too short to be a picture", path);
    else if (!png_sig_cmp(magic, 0, 8))
        rc = load_png(out, f, path, e);
    else if (magic[0] == 0xff && magic[1] == 0xd8)
        rc = load_jpeg(out, f, path, e);
    else
        rc = error_set(e, FL_UNSUPPORTED, "%s: neither PNG nor JPEG (nor .npy)", path);
    fclose(f);
    if (rc)
        image_release(out);
    return rc;
}

void image_release(struct image *i)
{
    free(i->rgb);
    memset(i, 0, sizeof *i);
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
        float mean = c < p->channels ? p->mean[c] : 0, std = c < p->channels ? p->std[c] : 1;
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
