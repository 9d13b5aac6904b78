/* quantization.h - as which integers a network's values are taken: one step for each value
 *
 * Made by `freezeline quantize` from calibration data, kept as a text file that belongs to one network. A
 * value that is not listed stays in float32, and so does the product that takes it.
 */
#ifndef FREEZELINE_QUANTIZATION_H
#define FREEZELINE_QUANTIZATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"

struct quantized_value {
    char *name; /* in the graph */
    float step; /* what one integer stands for */
    bool is_signed;
};

struct quantization {
    uint8_t model[DIGEST_BYTES]; /* graph digest */
    int n;
    struct quantized_value *value; /* in the order of names */
};

/* NULL where the value is not taken as integers, or `q` is NULL. */
const struct quantized_value *quantization_find(const struct quantization *q, const char *name);
/* Adds a value; the name is copied. FL_NOMEM; FL_VALUE for a step that is not above 0. */
int quantization_add(struct quantization *q, const char *name, float step, bool is_signed);
void quantization_release(struct quantization *q);

/* Reads a file that quantization_save wrote. FL_IO, FL_NOT_FOUND, FL_CORRUPT, FL_NOMEM. */
int quantization_load(struct quantization *out, const char *path, struct error *e);
/* `choice` is the precision that keeps the promise in the least time, for `precision: auto`. FL_IO, FL_NOMEM.
 */
int quantization_save(const struct quantization *q, const char *choice, const char *path, struct error *e);

#endif
