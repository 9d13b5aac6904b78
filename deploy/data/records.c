/* records.c - see records.h */
#include "records.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "npy.h"
#include "tensor_io.h"

/* CIFAR's binary files: records of a few label bytes and 3 planes (R, G, B) of 32x32 bytes. */
static const struct cifar {
    const char *name;
    int labels, at, classes; /* label bytes; which of them counts */
} cifars[] = {[DATASET_CIFAR10] = {"CIFAR-10", 1, 0, 10},
              [DATASET_CIFAR100] = {"CIFAR-100", 2, 1, 100},
              [DATASET_CIFAR100_COARSE] = {"CIFAR-100", 2, 0, 20}};
#define CIFAR_IMAGE 3072

static int map_cifar(struct records_part *part, const char *path, const struct cifar *c, struct error *e)
{
    int record = c->labels + CIFAR_IMAGE, rc = npy_map_file(&part->base, &part->bytes, path, e);

    if (!rc && part->bytes % (size_t)record) {
        munmap(part->base, part->bytes);
        rc = error_set(e, FL_CORRUPT, "%s: not %s binary: its size is no multiple of %d bytes", path, c->name,
                       record);
    }
    if (rc)
        return rc;
    part->count = (int64_t)part->bytes / record;
    part->view = (struct array_view){.base = (const uint8_t *)part->base + c->labels,
                                     .dtype = TENSOR_U8,
                                     .count = part->count,
                                     .picture = record,
                                     .channel = 1024,
                                     .row = 32,
                                     .column = 1};
    return FL_OK;
}

static int take_cifar_labels(struct records *r, const struct records_part *part, const struct cifar *c,
                             struct error *e)
{
    int record = c->labels + CIFAR_IMAGE;
    int32_t *label = realloc(r->label, sizeof *label * (size_t)(r->count + part->count));

    if (!label)
        return error_set(e, FL_NOMEM, "no memory for labels");
    r->label = label;
    for (int64_t i = 0; i < part->count; i++) {
        int value = ((const uint8_t *)part->base)[(part->first + i) * record + c->at];
        if (value >= c->classes)
            return error_set(e, FL_CORRUPT, "%s: record %lld has label %d; %s has 0 to %d", part->path,
                             (long long)(part->first + i), value, c->name, c->classes - 1);
        label[r->count + i] = value;
    }
    return FL_OK;
}

static int open_cifar(struct records *r, const struct dataset_spec *spec, struct error *e)
{
    const struct cifar *c = &cifars[spec->kind];
    bool whole = dataset_spec_ranges_all(spec);
    int rc;

    r->has = (struct picture){3, 32, 32, false};
    for (int i = 0; i < spec->n; i++) {
        const struct dataset_entry *entry = &spec->entry[i];
        struct records_part *part = &r->part[i];
        part->path = entry->path;
        if ((rc = map_cifar(part, entry->path, c, e)))
            return rc;
        r->n++;
        if (entry->ranged && !whole) {
            if ((rc = dataset_spec_check_range(entry, part->count, e)))
                return error_wrap(e, rc, "%s", entry->path);
            part->first = entry->from;
            part->count = entry->to - entry->from + 1;
        }
        if ((rc = take_cifar_labels(r, part, c, e)))
            return rc;
        r->count += part->count;
    }
    return FL_OK;
}

/* ---- arrays ---- */

/* Number i of an array, which may lie at any address. */
static double number(const struct tensor *t, int64_t i)
{
    size_t bytes = tensor_dtype_bytes(t->dtype);
    uint64_t room = 0;
    struct tensor one = {.dtype = t->dtype, .data = &room};

    memcpy(&room, (const uint8_t *)t->data + (size_t)i * bytes, bytes);
    return tensor_io_element(&one, 0);
}

/* One number for each picture, as a row or as a column. */
static int take_labels(struct records *r, const struct tensor *t, const char *path, struct error *e)
{
    int long_sides = 0;
    char have[128];

    for (int k = 0; k < t->rank; k++)
        long_sides += t->dim[k] != 1;
    if (long_sides > 1 || tensor_count(t) != r->count || t->rank < 1)
        return error_set(
            e, FL_SHAPE,
            "%s is %s: one number for each of the %lld pictures is needed (argmax of what is one-hot)", path,
            tensor_describe(t, have, sizeof have), (long long)r->count);
    if (!(r->label = malloc(sizeof *r->label * (size_t)(r->count + 1))))
        return error_set(e, FL_NOMEM, "no memory for labels");
    for (int64_t i = 0; i < r->count; i++) {
        double value = number(t, i); /* that also of a float64 is whole */
        if (!(value >= 0 && value <= INT32_MAX && value == floor(value)))
            return error_set(e, FL_VALUE,
                             "%s: record %lld has label %.17g; labels are numbers of classes, from 0", path,
                             (long long)i, value);
        r->label[i] = (int32_t)value;
    }
    return FL_OK;
}

static int open_arrays(struct records *r, const struct dataset_spec *spec, const struct picture *wanted,
                       const struct pipeline *p, struct error *e)
{
    const struct dataset_entry *entry = spec->entry;
    struct npy_map images, labels;
    int rc;

    if (spec->n > 2 || (spec->n == 2 && entry[0].ranged))
        return error_set(e, FL_USAGE, "npy: takes IMAGES.npy[,LABELS.npy][#from-to]");
    if ((rc = npy_map_open(&images, entry[0].path, e)))
        return rc;
    r->part[0] = (struct records_part){.path = entry[0].path, .base = images.base, .bytes = images.bytes};
    r->n = 1;
    if (tensor_count(&images.tensor) <= 0)
        return error_set(e, FL_SHAPE, "%s is empty", entry[0].path);
    if (wanted) {
        r->has = *wanted;
    } else {
        struct tensor one = images.tensor;
        one.dim[0] = 1;
        one.dtype = TENSOR_F32;
        if (!picture_of(&r->has, &one))
            return error_set(e, FL_SHAPE, "%s: images are [n, channels, height, width]", entry[0].path);
    }
    if ((rc = array_view_open(&r->part[0].view, &images.tensor, images.fortran, &r->has,
                              p->n_resize || p->n_crop, entry[0].path, e)))
        return rc;
    r->count = r->part[0].count = r->part[0].view.count;
    if (spec->n < 2)
        return FL_OK;
    if ((rc = npy_map_open(&labels, entry[1].path, e)))
        return rc;
    rc = take_labels(r, &labels.tensor, entry[1].path, e);
    npy_map_close(&labels);
    return rc;
}

int records_open(struct records *out, const struct dataset_spec *spec, const struct picture *wanted,
                 const struct pipeline *p, struct error *e)
{
    int rc;

    *out = (struct records){0};
    rc = spec->kind == DATASET_NPY ? open_arrays(out, spec, wanted, p, e) : open_cifar(out, spec, e);
    if (!rc && out->count < 1)
        rc = error_set(e, FL_CORRUPT, "%s has no records", spec->entry[0].path);
    return rc;
}

void records_release(struct records *r)
{
    for (int i = 0; i < r->n; i++)
        munmap(r->part[i].base, r->part[i].bytes);
    free(r->label);
    *r = (struct records){0};
}

const struct records_part *records_part_of(const struct records *r, int64_t *i)
{
    int k = 0;

    for (; *i >= r->part[k].count; k++)
        *i -= r->part[k].count;
    *i += r->part[k].first;
    return &r->part[k];
}
