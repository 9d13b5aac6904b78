/* dataset.c - opening, checking and reading of data sets
 *
 * Whatever the layout, pixels are read through a view (array_view.h) on memory: of the mapped files, or of
 * what was decoded.
 */
#include "dataset.h"

#include <limits.h>
#include <stdlib.h>
#include <xxhash.h>

#include "picture_list.h"
#include "picture_pack.h"
#include "picture/planes.h"
#include "records.h"

struct dataset {
    struct dataset_options options;
    struct dataset_spec spec;
    struct records records;   /* of cifar and npy */
    struct picture_list list; /* of folder and list */
    struct picture picture;   /* as the model takes them */
    struct tensor input;      /* the same */
    struct picture_pack pack; /* the visible records, where they had to be decoded or resized */
    struct array_view packed;
    int64_t all;          /* records, visible or not */
    int64_t first, count; /* the range of all records that is visible */
    int64_t *kept;        /* [count]: of that range, where some were left out; or NULL */
    uint64_t identity;    /* of the visible range */
};

/* Where visible record i is among all records. */
static int64_t place_of(const struct dataset *d, int64_t i)
{
    return d->first + (d->kept ? d->kept[i] : i);
}

/* ---- pictures ---- */

static int open_pictures(struct dataset *d, struct error *e)
{
    const struct dataset_options *o = &d->options;
    const char *path = d->spec.entry[0].path;
    int rc;

    if (!o->input)
        return error_set(e, FL_USAGE, "%s: pictures need a model that says how large they are to be", path);
    rc = d->spec.kind == DATASET_FOLDER
             ? picture_list_folder(&d->list, path, o->pipeline, o->classes, o->notes, e)
             : picture_list_file(&d->list, path, o->pipeline, e);
    d->all = d->list.n;
    return rc;
}

static int load_listed(const void *arg, int64_t i, struct image *out, struct error *e)
{
    const struct dataset *d = arg;
    char path[PATH_MAX];

    return image_load(out, picture_list_path(&d->list, d->first + i, path, sizeof path), e);
}

static int load_mapped(const void *arg, int64_t i, struct image *out, struct error *e)
{
    const struct dataset *d = arg;
    int64_t at = d->first + i;
    const struct records_part *part = records_part_of(&d->records, &at);

    return array_view_image(&part->view, at, &d->records.has, out, e);
}

/* Says which pictures are broken; they are left out where that was asked for. */
static int leave_out_broken(struct dataset *d, struct error *e)
{
    const struct picture_pack *k = &d->pack;
    bool told = k->n_broken == 1 && !d->options.skip_broken; /* by the error */
    FILE *to = told ? NULL : d->options.notes;

    if (d->options.progress)
        progress_close(d->options.progress);
    for (int i = 0; to && i < k->n_broken && i < PICTURE_PACK_TOLD; i++)
        fprintf(to, "broken: %s\n", k->why[i].text);
    if (to && k->n_broken > PICTURE_PACK_TOLD)
        fprintf(to, "broken: %lld more\n", (long long)k->n_broken - PICTURE_PACK_TOLD);
    if (!d->options.skip_broken || k->n_broken == d->count)
        return error_set(
            e, FL_CORRUPT,
            "%lld of %lld pictures cannot be read, the first: %.200s; mend them, or leave them out with "
            "--skip-bad",
            (long long)k->n_broken, (long long)d->count, k->why[0].text);
    if (to)
        fprintf(to, "warning: %lld of %lld pictures cannot be read and are left out\n",
                (long long)k->n_broken, (long long)d->count);
    return dataset_leave_out(d, k->broken, e);
}

/* Decodes and resizes the visible records; from now on pixels come from there. */
static int pack(struct dataset *d, struct error *e)
{
    const struct picture_source from = {d->count, d->list.n ? load_listed : load_mapped, d};
    const struct picture *to = &d->picture;
    int rc = picture_pack_make(&d->pack, &from, to, d->options.pipeline, d->options.progress, e);

    if (rc)
        return rc;
    d->packed = (struct array_view){.base = d->pack.pixels,
                                    .dtype = TENSOR_U8,
                                    .count = d->count,
                                    .picture = (int64_t)to->channels * to->height * to->width,
                                    .channel = (int64_t)to->height * to->width,
                                    .row = to->width,
                                    .column = 1};
    return d->pack.n_broken ? leave_out_broken(d, e) : FL_OK;
}

/* ---- the whole ---- */

/* What the last suffix, and the caller, leave of all records. */
static int take_range(struct dataset *d, struct error *e)
{
    const struct dataset_entry *last = &d->spec.entry[d->spec.n - 1];
    int rc;

    d->count = d->all;
    if (dataset_spec_ranges_all(&d->spec)) {
        if ((rc = dataset_spec_check_range(last, d->all, e)))
            return rc;
        d->first = last->from;
        d->count = last->to - last->from + 1;
    }
    if (d->options.most > 0 && d->options.most < d->count)
        d->count = d->options.most;
    return FL_OK;
}

/* The model's input, or where none was named, what there is. */
static int find_input(struct dataset *d, struct error *e)
{
    char text[128];

    if (!d->options.input)
        return FL_OK;
    d->input = *d->options.input;
    d->input.data = NULL;
    if (!picture_of(&d->picture, &d->input))
        return error_set(e, FL_SHAPE, "the model takes %s, which is no picture",
                         tensor_describe(&d->input, text, sizeof text));
    return FL_OK;
}

/* Pictures of another size than the model's are resized where the file says how. */
static int fit_sizes(struct dataset *d, struct error *e)
{
    const struct pipeline *p = d->options.pipeline;
    char text[128];

    if (!d->options.input) {
        d->picture = d->records.has;
        d->picture.interleaved = false;
        d->input =
            (struct tensor){.dtype = TENSOR_F32,
                            .rank = 4,
                            .dim = {1, d->records.has.channels, d->records.has.height, d->records.has.width}};
    }
    if (d->list.n)
        return pack(d, e);
    if (picture_same(&d->records.has, &d->picture))
        return FL_OK;
    if (p->n_resize || p->n_crop)
        return pack(d, e);
    return error_set(e, FL_SHAPE,
                     "the model takes %s, the data set has pictures of %d channels, %d high and %d wide "
                     "(input.resize in the "
                     "pipeline file would have them resized)",
                     tensor_describe(&d->input, text, sizeof text), d->records.has.channels,
                     d->records.has.height, d->records.has.width);
}

static int open_records(struct dataset *d, struct error *e)
{
    int rc;

    if (d->spec.kind == DATASET_FOLDER || d->spec.kind == DATASET_LIST)
        return open_pictures(d, e);
    rc = records_open(&d->records, &d->spec, d->options.input ? &d->picture : NULL, d->options.pipeline, e);
    d->all = d->records.count;
    return rc;
}

static const struct array_view *view_of(const struct dataset *d, int64_t *at)
{
    if (!d->packed.base)
        return &records_part_of(&d->records, at)->view;
    *at -= d->first;
    return &d->packed;
}

/* A digest of the sizes and of a sample of the pixels, before they are normalised. */
static int identify(struct dataset *d, struct error *e)
{
    static const struct pipeline as_is;
    int64_t values = tensor_count(&d->input), step = d->count / 256 + 1;
    float *planes = malloc((size_t)values * sizeof *planes);

    if (!planes)
        return error_set(e, FL_NOMEM, "no memory for a picture");
    d->identity = XXH3_64bits(&d->count, sizeof d->count);
    d->identity = XXH3_64bits_withSeed(&d->input, offsetof(struct tensor, data), d->identity);
    for (int64_t i = 0; i < d->count; i += step) {
        int64_t at = place_of(d, i);
        const struct array_view *v = view_of(d, &at);
        array_view_planes(v, at, &d->picture, &as_is, planes);
        d->identity = XXH3_64bits_withSeed(planes, (size_t)values * sizeof *planes, d->identity);
    }
    free(planes);
    return FL_OK;
}

int dataset_open(struct dataset **out, const char *spec, const struct dataset_options *o, struct error *e)
{
    struct dataset *d = *out = calloc(1, sizeof *d);
    int rc;

    if (!d)
        return error_set(e, FL_NOMEM, "no memory for a data set");
    d->options = *o;
    if ((rc = dataset_spec_parse(&d->spec, spec, e)) || (rc = find_input(d, e)) ||
        (rc = open_records(d, e)) || (rc = take_range(d, e)) || (rc = fit_sizes(d, e)) ||
        (rc = identify(d, e))) {
        dataset_close(d);
        *out = NULL;
    }
    return rc;
}

void dataset_close(struct dataset *d)
{
    if (!d)
        return;
    records_release(&d->records);
    picture_pack_release(&d->pack);
    picture_list_release(&d->list);
    dataset_spec_release(&d->spec);
    free(d->kept);
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

int64_t dataset_count(const struct dataset *d)
{
    return d->count;
}

struct tensor dataset_shape(const struct dataset *d)
{
    return d->input;
}

struct picture dataset_picture(const struct dataset *d)
{
    return d->picture;
}

bool dataset_has_labels(const struct dataset *d)
{
    return d->list.n ? d->list.labelled : d->records.label != NULL;
}

bool dataset_is_pixels(const struct dataset *d)
{
    int64_t at = place_of(d, 0);

    return view_of(d, &at)->dtype == TENSOR_U8;
}

void dataset_planes(const struct dataset *d, int64_t i, float *out)
{
    int64_t at = place_of(d, i);
    const struct array_view *v = view_of(d, &at);

    array_view_planes(v, at, &d->picture, d->options.pipeline, out);
}

void dataset_image(const struct dataset *d, int64_t i, void *out)
{
    int64_t at = place_of(d, i);
    const struct array_view *v = view_of(d, &at);

    array_view_put(v, at, &d->picture, d->options.pipeline, d->input.dtype, out);
}

void dataset_images(const struct dataset *d, int64_t from, int n, void *out)
{
    for (int i = 0; i < n; i++)
        dataset_image(d, (from + i) % d->count, (char *)out + i * tensor_bytes(&d->input));
}

void dataset_put(const struct dataset *d, const float *planes, void *out)
{
    planes_put(planes, &d->picture, d->input.dtype, out);
}

int32_t dataset_label(const struct dataset *d, int64_t i)
{
    int64_t at = place_of(d, i);

    if (d->list.n)
        return picture_list_label(&d->list, at);
    return d->records.label ? d->records.label[at] : -1;
}

const char *dataset_record_name(const struct dataset *d, int64_t i, char *buf, size_t size)
{
    int64_t at = place_of(d, i);
    const char *path;

    if (d->list.n)
        return picture_list_path(&d->list, at, buf, size);
    path = records_part_of(&d->records, &at)->path;
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
    return d->kept ? XXH3_64bits_withSeed(d->kept, (size_t)d->count * sizeof *d->kept, d->identity)
                   : d->identity;
}
