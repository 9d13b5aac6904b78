/* dataset.h - pictures with labels: the layouts of dataset_spec.h, each record as the model takes it
 *
 * Files are mapped, never copied whole; pictures from files are decoded once (picture_pack.h). A data set is
 * read-only once open and may be shared by threads.
 */
#ifndef FREEZELINE_DATASET_H
#define FREEZELINE_DATASET_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "config/pipeline.h"
#include "dataset_spec.h"
#include "deploy/tool/progress.h"
#include "picture/picture.h"

struct dataset;

struct dataset_options {
    const struct pipeline *pipeline; /* how pixels become inputs; borrowed while the set is open */
    /* what the model takes for one request; NULL: pictures as they are, as floats */
    const struct tensor *input;
    int classes;               /* of the model; 0: not known */
    int64_t most;              /* the first records alone; 0: all */
    bool skip_broken;          /* leave out pictures that cannot be read */
    struct progress *progress; /* while pictures are read; NULL: not shown */
    FILE *notes;               /* what was taken for what, and what is broken; NULL: nowhere */
};

/* FL_USAGE when `spec` is none of the layouts, FL_IO, FL_CORRUPT when a size does not fit or a picture cannot
 * be read, FL_SHAPE and FL_DTYPE when the model does not take these pictures, FL_VALUE, FL_NOMEM,
 * FL_CANCELLED. */
int dataset_open(struct dataset **out, const char *spec, const struct dataset_options *o, struct error *e);
void dataset_close(struct dataset *d);

/* From now on records with out[i] are none: the others move up. Before others share the set. FL_NOMEM. */
int dataset_leave_out(struct dataset *d, const bool *out, struct error *e);

int64_t dataset_count(const struct dataset *d);
/* What the model takes for one request; no data. */
struct tensor dataset_shape(const struct dataset *d);
/* The same as a picture. */
struct picture dataset_picture(const struct dataset *d);
bool dataset_has_labels(const struct dataset *d);
/* Bytes of 0 to 255, which get normalised; else floating point, which is fed as it is. */
bool dataset_is_pixels(const struct dataset *d);

/* Writes image i (0 <= i < count) as the model takes it. */
void dataset_image(const struct dataset *d, int64_t i, void *out);
/* A batch of n such images from there on, behind the last one the first again. */
void dataset_images(const struct dataset *d, int64_t from, int n, void *out);
/* One as planes of floats, [channels][height][width]; and from such planes, which may have been changed,
 * to what the model takes. */
void dataset_planes(const struct dataset *d, int64_t i, float *out);
void dataset_put(const struct dataset *d, const float *planes, void *out);
/* -1 when there are no labels. */
int32_t dataset_label(const struct dataset *d, int64_t i);

#define DATASET_RECORD_NAME 1024
/* Record i as its file counts it, "FILE#7", or a picture's path; cut to `size`. Returns `buf`. */
const char *dataset_record_name(const struct dataset *d, int64_t i, char *buf, size_t size);
/* FL_VALUE, with the first record's name, when a label is none of the model's `classes`. */
int dataset_labels_fit(const struct dataset *d, int classes, struct error *e);

/* A number that is another one when the records are others: from sizes, ranges and a sample of the pixels. */
uint64_t dataset_identity(const struct dataset *d);

#endif
