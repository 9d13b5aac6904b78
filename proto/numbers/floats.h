/* floats.h - arrays of float32, and half precision (IEEE 754) */
#ifndef FREEZELINE_FLOATS_H
#define FREEZELINE_FLOATS_H

#include <stdbool.h>
#include <stdint.h>

/* No element is NaN or infinite. */
bool floats_finite(const float *x, int64_t n);

#define HALF_MAX 65504.0f

/* Rounds to nearest even; beyond HALF_MAX: infinity. */
uint16_t half_from_float(float f);
float half_to_float(uint16_t h);

#endif
