/* input_file.c - see input_file.h */
#include "input_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "array_view.h"
#include "npy.h"
#include "picture/planes.h"
#include "picture/preprocess.h"

static int read_picture(struct tensor *out, const char *path, const struct picture *to,
                        const struct pipeline *p, struct error *e)
{
    struct image i;
    int rc = image_load(&i, path, e);

    if (!rc)
        rc = preprocess_image(&i, out, to, p, e);
    image_release(&i);
    return rc;
}

/* One picture of an array, whose leading 1 may be missing. */
static int view_one(struct tensor *out, const struct npy_map *m, const char *path, const struct picture *to,
                    const struct pipeline *p, struct error *e)
{
    float *planes = malloc((size_t)tensor_count(out) * sizeof *planes);
    struct tensor one = m->tensor;
    struct picture has = *to;
    struct image image;
    struct array_view v;
    int rc;

    if (one.rank < 4 && !(one.rank == 3 && one.dim[0] == 1)) {
        memmove(one.dim + 1, one.dim, sizeof one.dim[0] * (size_t)one.rank);
        one.dim[0] = 1;
        one.rank++;
    }
    if (!planes)
        rc = error_set(e, FL_NOMEM, "no memory for the input");
    else if (!(rc = array_view_open(&v, &one, m->fortran, &has, p->n_resize || p->n_crop, path, e)) &&
             v.count != 1)
        rc = error_set(e, FL_SHAPE, "%s holds %lld pictures: one is needed", path, (long long)v.count);
    if (!rc && picture_same(&has, to)) {
        array_view_planes(&v, 0, to, p, planes);
        planes_put(planes, to, out->dtype, out->data);
    } else if (!rc && !(rc = array_view_image(&v, 0, &has, &image, e))) {
        rc = preprocess_image(&image, out, to, p, e);
        image_release(&image);
    }
    free(planes);
    return rc;
}

/* Is it what the model takes already? The leading 1 may be missing. */
static bool as_it_is(const struct npy_map *m, const struct tensor *input)
{
    int missing = input->rank - m->tensor.rank;

    if (m->fortran || m->tensor.dtype != input->dtype || missing < 0 || missing > 1 ||
        (missing && input->dim[0] != 1))
        return false;
    return !memcmp(m->tensor.dim, input->dim + missing, sizeof input->dim[0] * (size_t)m->tensor.rank);
}

static int read_array(struct tensor *out, const char *path, const struct tensor *input,
                      const struct pipeline *p, struct error *e)
{
    struct picture to;
    struct npy_map m;
    char have[128], want[128];
    int rc = npy_map_open(&m, path, e);

    if (rc)
        return rc;
    if (as_it_is(&m, input))
        memcpy(out->data, m.tensor.data, (size_t)tensor_bytes(input));
    else if (picture_of(&to, input))
        rc = view_one(out, &m, path, &to, p, e);
    else
        rc = error_set(e, FL_SHAPE, "%s is %s, the model takes %s", path,
                       tensor_describe(&m.tensor, have, sizeof have),
                       tensor_describe(input, want, sizeof want));
    npy_map_close(&m);
    return rc;
}

static bool is_array(const char *path)
{
    static const char magic[] = "\x93NUMPY";
    const char *end = strrchr(path, '.');
    char first[sizeof magic - 1];
    FILE *f;
    bool found;

    if (end && !strcasecmp(end, ".npy"))
        return true;
    if (!(f = fopen(path, "re")))
        return false;
    found = fread(first, sizeof first, 1, f) == 1 && !memcmp(first, magic, sizeof first);
    fclose(f);
    return found;
}

int input_file_read(struct tensor *out, const char *path, const struct tensor *input,
                    const struct pipeline *p, struct error *e)
{
    struct picture to;
    char text[128];
    int rc;

    *out = *input;
    out->data = NULL;
    if (tensor_alloc(out))
        return error_set(e, FL_NOMEM, "no memory for the input");
    if (is_array(path))
        rc = read_array(out, path, input, p, e);
    else if (picture_of(&to, input))
        rc = read_picture(out, path, &to, p, e);
    else
        rc = error_set(e, FL_SHAPE, "the model takes %s, which is no picture: give it as .npy",
                       tensor_describe(input, text, sizeof text));
    if (rc)
        tensor_release(out);
    return rc;
}
