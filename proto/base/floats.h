/* floats.h - arrays of float32 */
#ifndef FREEZELINE_FLOATS_H
#define FREEZELINE_FLOATS_H

#include <stdbool.h>
#include <stdint.h>

/* No element is NaN or infinite. */
bool floats_finite(const float *x, int64_t n);

#endif
