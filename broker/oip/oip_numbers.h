/* oip_numbers.h - JSON arrays of numbers read by hand
 *
 * Nearly all of a request in JSON is one array of numbers. A JSON library makes an object of each; here each
 * goes straight into the tensor. Pure.
 */
#ifndef FREEZELINE_OIP_NUMBERS_H
#define FREEZELINE_OIP_NUMBERS_H

#include "base/error.h"
#include "wire/tensor.h"

/* Reads `count` elements from text[0 .. size), a JSON array, flat or of arrays of arrays, into `to`,
 * row-major. Its first character is `[`, its last one is the `]` that belongs to it. FL_VALUE: another number
 * of elements, one that `dtype` can't hold, or no JSON; FL_DTYPE: such elements have no form in JSON. */
int oip_numbers_read(const char *text, size_t size, enum tensor_dtype dtype, int64_t count, void *to,
                     struct error *e);

#endif
