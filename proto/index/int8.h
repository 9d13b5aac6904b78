/* int8.h - weights stored as bytes with a scale for each row, and products of bytes that are exact
 *
 * A row of weights is q * scale, q in -127..127. What it is multiplied with is rounded to bytes too, with one
 * scale for all of it. Sums are of integers: every loop (plain, AVX2, AVX-512 VNNI) gives the same bits. No
 * function but int8_new and int8_measure allocates; all may be called by several threads.
 */
#ifndef FREEZELINE_INT8_H
#define FREEZELINE_INT8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define INT8_PANEL    16    /* rows that lie together */
#define INT8_STEP     4     /* columns of a row that lie together */
#define INT8_MAX_COLS 65536 /* so that no sum leaves int32 */
#define INT8_ZERO     128   /* the byte that stands for 0 where numbers have signs */

struct int8_rows {
    int groups, rows, cols; /* rows of each group */
    int8_t *panel;          /* [groups][rows / 16][cols / 4][16][4], both rounded up, zeros there */
    float *scale;           /* [groups][rows] */
    int32_t *sum;           /* of the bytes of each row, [groups][rows rounded up to 16] */
    bool borrowed;          /* panel and scale are someone else's */
};

int int8_padded(int rows);                                           /* to a multiple of 16 */
int int8_stride(int cols);                                           /* to a multiple of 4 */
size_t int8_bytes(const struct int8_rows *w);                        /* of all panels */
size_t int8_all_bytes(const struct int8_rows *w);                    /* and of scales and sums */
int int8_new(struct int8_rows *out, int groups, int rows, int cols); /* all 0; FL_NOMEM */
int int8_copy(struct int8_rows *out, const struct int8_rows *of);    /* likewise */
/* Sums of panels that were filled otherwise: FL_NOMEM. */
int int8_measure(struct int8_rows *w);
void int8_release(struct int8_rows *w); /* all 0 is fine */
/* Row r of all groups' rows one after the other: rounded from, or as, cols floats. */
void int8_set(struct int8_rows *w, int r, const float *x);
void int8_get(const struct int8_rows *w, int r, float *x);
struct int8_rows int8_group(const struct int8_rows *w, int group); /* borrows */

/* n floats as bytes; returns s: x is about q * s, or (q - INT8_ZERO) * s where signs may be. s is NaN, and q
 * all 0, when x is not finite. */
float int8_round_signed(const float *x, int n, uint8_t *q);
float int8_round_positive(const float *x, int n, uint8_t *q); /* no x is negative */
/* As int8_round_signed of z = (x - mean) * scale, for `cells` times so many features; z is stored nowhere. */
float int8_round_standardised(const float *x, const float *mean, const float *scale, int cells, int features,
                              uint8_t *q);

/* y[i][r] = sum over c of w[r][c] * x[i][c], for one group; x: n rows of int8_stride(cols) bytes, y: n rows
 * of int8_padded(rows). */
void int8_product(const struct int8_rows *w, const uint8_t *x, int n, int32_t *y);
/* What n sums of rows `from` .. stand for: y * s * scale + bias, of x that had signs or had none. */
void int8_floats(const struct int8_rows *w, int from, int n, const int32_t *y, float s, bool has_signs,
                 const float *bias, float *out);

enum int8_level { INT8_PLAIN, INT8_AVX2, INT8_VNNI };
enum int8_level int8_level(void); /* of the loops that run here */
/* For tests, before other threads start: the best loops from now on, where the CPU has them. */
void int8_limit(enum int8_level level);

#endif
