/* half.h - numbers stored as IEEE 754 half precision, and the products that look-ups need from them
 *
 * Projections and points are kept as halves: a look-up is bound by how fast they come from memory. Arithmetic
 * is float32. Each function has a plain form that is always there and AVX2 / AVX-512 forms that are chosen by
 * what the CPU can do; they differ in the order of summation only. No function but half_alloc allocates; all
 * may be called by several threads.
 */
#ifndef FREEZELINE_HALF_H
#define FREEZELINE_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "numbers/floats.h"

/* Room for n halves, not cleared, on large pages where the table is large; freed with free(). NULL: no
 * memory. */
uint16_t *half_alloc(size_t n);
void half_decode(const uint16_t *from, float *to, size_t n);
bool half_all_finite(const uint16_t *h, size_t n);

/* y[i * rows + r] = sum over c of w[r * cols + c] * x[i * cols + c], for i < n, r < rows. */
void half_product(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y);
/* The same by the plain kernel: what the others are tested against. */
void half_product_plain(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y);
/* Sum over c of (w[c] - x[c])^2. */
float half_distance2(const uint16_t *w, const float *x, int cols);
/* Sum over c of w[c]^2, and the same of floats. */
float half_norm2(const uint16_t *w, int cols);
float floats_norm2(const float *x, int n);
/* Sum over i of w[i] * x[i]. */
float floats_dot(const float *w, const float *x, int n);
/* dot[j] = x2 - 2 dot[j] + w2[j], at least 0 and so for NaN: products become squared distances. `which` gets
 * the j for which that is not above the bound, ascending; returns how many. */
int half_nearer(float *dot, const float *w2, float x2, int n, float bound, int32_t *which);

enum half_level { HALF_PLAIN, HALF_AVX2, HALF_AVX512 };
/* For tests, before other threads start: the best loops from now on, where the CPU has them. */
void half_limit(enum half_level level);

#endif
