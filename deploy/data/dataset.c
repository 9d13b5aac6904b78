/* dataset.c - opening, checking and reading of data sets */
#include "dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "npy.h"
#include "planes.h"

#define CIFAR_IMAGE       3072
#define CIFAR_RECORD      (1 + CIFAR_IMAGE)
#define DATASET_MAX_PARTS 64

/* Records first..first+count-1 of one file. */
struct part {
    const char *path; /* in `list` of the data set */
    const uint8_t *base;
    size_t bytes;
    int64_t first, count;
};

struct dataset {
    char *list;  /* the spec without its kind, cut into paths */
    int n_parts; /* of cifar10 */
    struct part part[DATASET_MAX_PARTS];
    bool is_npy;
    const char *images_path;       /* of npy, in `list` */
    struct npy_map images, labels; /* of npy; labels.base NULL when there are none */
    int64_t first, count;          /* the range of all records that is visible */
    int64_t *kept;                 /* [count]: of that range, where some were left out; or NULL */
    struct tensor shape;
};

/* One "path#from-to" of a spec. */
struct entry {
    char *path;
    bool ranged;
    int64_t from, to;
};

static int parse_range(struct entry *entry, struct error *e)
{
    char *hash = strrchr(entry->path, '#'), *end, *last;

    if (!hash)
        return FL_OK;
    errno = 0;
    entry->from = strtoll(hash + 1, &end, 10);
    if (end == hash + 1 || *end != '-' || hash[1] == '-' || hash[1] == '+')
        return error_set(e, FL_USAGE, "'%s': a range is #from-to, like #5000-9999", hash);
    entry->to = strtoll(end + 1, &last, 10);
    if (last == end + 1 || *last || end[1] == '-' || end[1] == '+' || errno || entry->to < entry->from)
        return error_set(e, FL_USAGE, "'%s': a range is #from-to with from <= to, like #5000-9999", hash);
    entry->ranged = true;
    *hash = 0;
    return FL_OK;
}

/* Splits "a,b#0-9" in place; the paths point into `list`. */
static int split(char *list, struct entry *entry, int *n, struct error *e)
{
    char *save = NULL;

    *n = 0;
    for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        int rc;
        if (*n == DATASET_MAX_PARTS)
            return error_set(e, FL_USAGE, "a data set has at most %d files", DATASET_MAX_PARTS);
        entry[*n] = (struct entry){.path = word};
        if ((rc = parse_range(&entry[*n], e)))
            return rc;
        (*n)++;
    }
    return *n ? FL_OK : error_set(e, FL_USAGE, "the data set names no file");
}

/* True when the suffix of the last entry stands for the whole list: no other entry has one. */
static bool range_of_all(const struct entry *entry, int n)
{
    for (int i = 0; i < n - 1; i++)
        if (entry[i].ranged)
            return false;
    return n > 1 && entry[n - 1].ranged;
}

static int check_range(const struct entry *entry, int64_t count, struct error *e)
{
    if (entry->to >= count)
        return error_set(e, FL_USAGE, "#%lld-%lld is out of range: there are records 0 to %lld",
                         (long long)entry->from, (long long)entry->to, (long long)count - 1);
    return FL_OK;
}

static int map_cifar(struct part *part, const char *path, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *base;

    if (fd < 0)
        return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size % CIFAR_RECORD) {
        close(fd);
        return error_set(e, FL_CORRUPT, "%s: not CIFAR-10 binary: its size is no multiple of %d bytes", path,
                         CIFAR_RECORD);
    }
    base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (base == MAP_FAILED)
        return error_set(e, FL_IO, "cannot map %s: %s", path, strerror(errno));
    part->base = base;
    part->bytes = (size_t)st.st_size;
    part->first = 0;
    part->count = st.st_size / CIFAR_RECORD;
    return FL_OK;
}

static int check_cifar_labels(const struct part *part, const char *path, struct error *e)
{
    for (int64_t i = 0; i < part->count; i++) {
        int label = part->base[(part->first + i) * CIFAR_RECORD];
        if (label > 9)
            return error_set(e, FL_CORRUPT, "%s: record %lld has label %d; CIFAR-10 has 0 to 9", path,
                             (long long)(part->first + i), label);
    }
    return FL_OK;
}

static int open_cifar(struct dataset *d, struct entry *entry, int n, struct error *e)
{
    bool whole = range_of_all(entry, n);
    int rc;

    d->shape = (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}};
    for (int i = 0; i < n; i++) {
        struct part *part = &d->part[i];
        if ((rc = map_cifar(part, entry[i].path, e)))
            return rc;
        part->path = entry[i].path;
        d->n_parts++;
        if (entry[i].ranged && !whole) {
            if ((rc = check_range(&entry[i], part->count, e)))
                return error_wrap(e, rc, "%s", entry[i].path);
            part->first = entry[i].from;
            part->count = entry[i].to - entry[i].from + 1;
        }
        if ((rc = check_cifar_labels(part, entry[i].path, e)))
            return rc;
        d->count += part->count;
    }
    if (whole && (rc = check_range(&entry[n - 1], d->count, e)))
        return rc;
    if (whole) {
        d->first = entry[n - 1].from;
        d->count = entry[n - 1].to - entry[n - 1].from + 1;
    }
    return FL_OK;
}

static int64_t whole_number(const struct tensor *t, int64_t i)
{
    switch (t->dtype) {
    case TENSOR_U8:
        return ((const uint8_t *)t->data)[i];
    case TENSOR_I8:
        return ((const int8_t *)t->data)[i];
    case TENSOR_U16:
        return ((const uint16_t *)t->data)[i];
    case TENSOR_I16:
        return ((const int16_t *)t->data)[i];
    case TENSOR_I32:
        return ((const int32_t *)t->data)[i];
    case TENSOR_I64:
        return ((const int64_t *)t->data)[i];
    default:
        return -1;
    }
}

static int check_npy_labels(const struct dataset *d, const char *path, struct error *e)
{
    const struct tensor *t = &d->labels.tensor;

    if (t->rank != 1 || t->dim[0] != d->images.tensor.dim[0])
        return error_set(e, FL_SHAPE, "%s: one label for each of the %lld images is needed", path,
                         (long long)d->images.tensor.dim[0]);
    if (t->dtype != TENSOR_U8 && t->dtype != TENSOR_I8 && t->dtype != TENSOR_U16 && t->dtype != TENSOR_I16 &&
        t->dtype != TENSOR_I32 && t->dtype != TENSOR_I64)
        return error_set(e, FL_DTYPE, "%s: labels are whole numbers, not %s", path,
                         tensor_dtype_name(t->dtype));
    for (int64_t i = 0; i < t->dim[0]; i++)
        if (whole_number(t, i) < 0 || whole_number(t, i) > INT32_MAX)
            return error_set(e, FL_VALUE,
                             "%s: record %lld has label %lld; labels are numbers of classes, from 0", path,
                             (long long)i, (long long)whole_number(t, i));
    return FL_OK;
}

static int open_npy(struct dataset *d, struct entry *entry, int n, struct error *e)
{
    struct tensor *t = &d->images.tensor;
    const struct entry *range = &entry[n - 1];
    int rc;

    d->is_npy = true;
    if (n > 2 || (n == 2 && entry[0].ranged))
        return error_set(e, FL_USAGE, "npy: takes IMAGES.npy[,LABELS.npy][#from-to]");
    if ((rc = npy_map_open(&d->images, entry[0].path, e)))
        return rc;
    d->images_path = entry[0].path;
    if (d->images.fortran)
        return error_set(e, FL_UNSUPPORTED, "%s: in Fortran order", entry[0].path);
    if (t->rank != 4 || tensor_count(t) <= 0 || tensor_count(t) / t->dim[0] > INT32_MAX)
        return error_set(e, FL_SHAPE, "%s: images are [n, channels, height, width]", entry[0].path);
    if (t->dtype != TENSOR_U8 && t->dtype != TENSOR_F32)
        return error_set(e, FL_DTYPE, "%s: images are uint8 or float32, not %s", entry[0].path,
                         tensor_dtype_name(t->dtype));
    if (n == 2 &&
        ((rc = npy_map_open(&d->labels, entry[1].path, e)) || (rc = check_npy_labels(d, entry[1].path, e))))
        return rc;
    d->shape = (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, t->dim[1], t->dim[2], t->dim[3]}};
    d->count = t->dim[0];
    if (!range->ranged)
        return FL_OK;
    if ((rc = check_range(range, d->count, e)))
        return rc;
    d->first = range->from;
    d->count = range->to - range->from + 1;
    return FL_OK;
}

int dataset_open(struct dataset **out, const char *spec, struct error *e)
{
    struct dataset *d = calloc(1, sizeof *d);
    const char *colon = strchr(spec, ':');
    struct entry entry[DATASET_MAX_PARTS];
    int n = 0, rc;

    *out = NULL;
    if (d && colon)
        d->list = strdup(colon + 1);
    if (!d || (colon && !d->list)) {
        rc = error_set(e, FL_NOMEM, "no memory for a data set");
    } else if (!colon || (strncmp(spec, "cifar10:", 8) && strncmp(spec, "npy:", 4))) {
        rc = error_set(
            e, FL_USAGE,
            "'%s': a data set is cifar10:FILE[,FILE...] or npy:IMAGES.npy,LABELS.npy, with #from-to", spec);
    } else if (!(rc = split(d->list, entry, &n, e))) {
        rc = *spec == 'c' ? open_cifar(d, entry, n, e) : open_npy(d, entry, n, e);
    }
    if (rc)
        dataset_close(d);
    else
        *out = d;
    return rc;
}

void dataset_close(struct dataset *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->n_parts; i++)
        munmap((void *)(uintptr_t)d->part[i].base, d->part[i].bytes);
    npy_map_close(&d->images);
    npy_map_close(&d->labels);
    free(d->kept);
    free(d->list);
    free(d);
}

int dataset_leave_out(struct dataset *d, const bool *out, struct error *e)
{
    int64_t *kept = malloc(((size_t)d->count + 1) * sizeof *kept), n = 0;

    if (!kept)
        return error_set(e, FL_NOMEM, "no memory for %lld records", (long long)d->count);
    for (int64_t i = 0; i < d->count; i++)
        if (!out[i])
            kept[n++] = d->kept ? d->kept[i] : i;
    free(d->kept);
    d->kept = kept;
    d->count = n;
    return FL_OK;
}

/* Where visible record i is among all records. */
static int64_t place_of(const struct dataset *d, int64_t i)
{
    return d->first + (d->kept ? d->kept[i] : i);
}

int64_t dataset_count(const struct dataset *d)
{
    return d->count;
}

struct tensor dataset_shape(const struct dataset *d)
{
    return d->shape;
}

bool dataset_has_labels(const struct dataset *d)
{
    return !d->is_npy || d->labels.base;
}

int dataset_fits(const struct dataset *d, const struct tensor *input, struct error *e)
{
    char want[128], have[128];

    if (input->dtype == TENSOR_F32 && tensor_same_shape(input, &d->shape))
        return FL_OK;
    return error_set(e, FL_SHAPE, "the model takes %s, the data set has %s",
                     tensor_describe(input, want, sizeof want),
                     tensor_describe(&d->shape, have, sizeof have));
}

/* The file of record i of a cifar10 set; *at: its number there. */
static const struct part *cifar_part(const struct dataset *d, int64_t i, int64_t *at)
{
    int k = 0;
    for (i = place_of(d, i); i >= d->part[k].count; k++)
        i -= d->part[k].count;
    *at = d->part[k].first + i;
    return &d->part[k];
}

/* Its bytes: label, then planes. */
static const uint8_t *cifar_record(const struct dataset *d, int64_t i)
{
    int64_t at;
    const struct part *part = cifar_part(d, i, &at);
    return part->base + at * CIFAR_RECORD;
}

void dataset_image(const struct dataset *d, int64_t i, const struct pipeline *p, float *out)
{
    int64_t plane = d->shape.dim[2] * d->shape.dim[3], size = d->shape.dim[1] * plane;

    struct picture to;

    picture_of(&to, &d->shape);
    if (!d->is_npy)
        planes_normalise(cifar_record(d, i) + 1, &to, p, out);
    else if (d->images.tensor.dtype == TENSOR_U8)
        planes_normalise((const uint8_t *)d->images.tensor.data + place_of(d, i) * size, &to, p, out);
    else
        memcpy(out, (const char *)d->images.tensor.data + (size_t)(place_of(d, i) * size) * sizeof *out,
               (size_t)size * sizeof *out);
}

int32_t dataset_label(const struct dataset *d, int64_t i)
{
    if (!d->is_npy)
        return cifar_record(d, i)[0];
    return d->labels.base ? (int32_t)whole_number(&d->labels.tensor, place_of(d, i)) : -1;
}

const char *dataset_record_name(const struct dataset *d, int64_t i, char *buf, size_t size)
{
    int64_t at = place_of(d, i);
    const char *path = d->is_npy ? d->images_path : cifar_part(d, i, &at)->path;

    snprintf(buf, size, "%s#%lld", path, (long long)at);
    return buf;
}

int dataset_labels_fit(const struct dataset *d, int classes, struct error *e)
{
    char record[DATASET_RECORD_NAME];

    for (int64_t i = 0; i < d->count; i++)
        if (dataset_label(d, i) >= classes)
            return error_set(e, FL_VALUE,
                             "record %s has label %d; the model has the classes 0 to %d: these are another "
                             "model's labels",
                             dataset_record_name(d, i, record, sizeof record), dataset_label(d, i),
                             classes - 1);
    return FL_OK;
}

uint64_t dataset_identity(const struct dataset *d)
{
    int64_t size = d->shape.dim[1] * d->shape.dim[2] * d->shape.dim[3], step = d->count / 256 + 1;
    size_t bytes = (size_t)size * (d->is_npy && d->images.tensor.dtype == TENSOR_F32 ? 4 : 1);
    uint64_t h = XXH3_64bits(&d->count, sizeof d->count);

    h = XXH3_64bits_withSeed(&d->shape, offsetof(struct tensor, data), h);
    if (d->kept)
        h = XXH3_64bits_withSeed(d->kept, (size_t)d->count * sizeof *d->kept, h);
    for (int64_t i = 0; i < d->count; i += step) {
        const uint8_t *image = d->is_npy
                                   ? (const uint8_t *)d->images.tensor.data + (size_t)place_of(d, i) * bytes
                                   : cifar_record(d, i) + 1;
        h = XXH3_64bits_withSeed(image, bytes, h);
    }
    return h;
}
