/* dataset.h - labelled images on disk, mapped, never copied whole
 *
 *   cifar10:FILE[,FILE...]      CIFAR-10 binary: records of 1 label byte and 3 planes (R, G, B) of 32x32
 * bytes npy:IMAGES.npy,LABELS.npy   uint8 or float32 [n,c,h,w]; labels of any whole-number type [n]; LABELS
 * may be left out
 *
 * `#from-to` (inclusive, from 0) at the end takes a range of all records; when another file of the list has
 * its own suffix, each suffix counts for its own file. Bytes are pixels and get normalised; float32 is fed as
 * it is. A data set is read-only once open and may be shared by threads.
 */
#ifndef FREEZELINE_DATASET_H
#define FREEZELINE_DATASET_H

#include <stdint.h>

#include "base/error.h"
#include "base/pipeline.h"
#include "wire/tensor.h"

struct dataset;

/* FL_USAGE when `spec` is not one of the above, FL_IO, FL_CORRUPT when a size does not fit, FL_NOMEM. */
int dataset_open(struct dataset **out, const char *spec, struct error *e);
void dataset_close(struct dataset *d);

/* From now on records with out[i] are none: the others move up. Before others share the set. FL_NOMEM. */
int dataset_leave_out(struct dataset *d, const bool *out, struct error *e);

int64_t dataset_count(const struct dataset *d);
/* One image: float32 1xCxHxW, no data. */
struct tensor dataset_shape(const struct dataset *d);
bool dataset_has_labels(const struct dataset *d);
/* FL_SHAPE when the model's input (its shape for one request) does not take these images. */
int dataset_fits(const struct dataset *d, const struct tensor *input, struct error *e);

/* Writes image i (0 <= i < count) as float32 NCHW, normalised with the pipeline's mean and std. */
void dataset_image(const struct dataset *d, int64_t i, const struct pipeline *p, float *out);
/* -1 when there are no labels. */
int32_t dataset_label(const struct dataset *d, int64_t i);

#define DATASET_RECORD_NAME 1024
/* Record i as its file counts it, "FILE#7"; cut to `size`. Returns `buf`. */
const char *dataset_record_name(const struct dataset *d, int64_t i, char *buf, size_t size);
/* FL_VALUE, with the first record's name, when a label is none of the model's `classes`. */
int dataset_labels_fit(const struct dataset *d, int classes, struct error *e);

/* A number that is another one when the records are others: from sizes, ranges and a sample of the bytes. */
uint64_t dataset_identity(const struct dataset *d);

#endif
