/* simd.h - inner loops, compiled for several instruction sets; one set is picked at start
 *
 * The loops are written once (simd_template.h) with the compiler's vector types and built per instruction set
 * in files of their own, so that nothing but these functions needs the CPU they are built for.
 */
#ifndef FREEZELINE_SIMD_H
#define FREEZELINE_SIMD_H

#include "stages/graph/graph.h"

/* Products of a few rows with a packed panel:
 *     c[r][j] = start[r][j] + sum over taps t and i < k of row[t * rows + r][shift + i] * panel[(t * k + i) *
 * width + j] where width = SIMD lanes x vectors. The start is bias + residual when `first`, else c itself, so
 * that c may lie where the residual lies. When `last`, the activation is applied. Columns from n on (n <=
 * width) are not stored. */
struct panel_call {
    int rows;    /* 1..simd->rows */
    int vectors; /* 1..simd->vectors */
    int n;       /* columns stored */
    int taps;
    int64_t k;
    int64_t shift; /* floats to skip at the front of each row */
    const float *const *row;
    const float *panel;
    const float *ahead; /* taps * k vectors that are read later, fetched into cache meanwhile; or NULL */
    const float *bias;  /* padded to width; NULL: 0 */
    float *c;
    int64_t ldc;           /* floats between rows of c and of residual */
    const float *residual; /* or NULL */
    const struct post *post;
    bool first, last;
};

#define DEPTHWISE_PIXELS 4

/* One pixel, or DEPTHWISE_PIXELS next to each other, of a depthwise convolution: for each of them and i < c
 *     y[i] = post(bias[i] + residual[i] + sum over t < taps of row[t][i] * w[t * c + i])
 * with `row` and what follows pointing at the first of them. */
struct depthwise_call {
    const float *const *row;
    int taps, pixels;
    int64_t c, x_step, y_step;        /* floats between pixels in the rows, and in y and residual */
    const float *w, *bias, *residual; /* residual: or NULL */
    float *y;
    const struct post *post;
};

struct simd {
    const char *name;  /* "AVX-512" */
    int lanes;         /* floats per vector */
    int rows, vectors; /* largest tile of `panel` */
    void (*panel)(const struct panel_call *c);

    /* x = post(x + residual) over n floats; residual may be NULL. In place. */
    void (*post)(const struct post *p, float *x, const float *residual, int64_t n);
    /* y[i] = post(x[i] * scale[i] + shift[i]) over rows of c floats, x_step floats apart in x; scale, shift
     * may be NULL. */
    void (*scale_shift)(const struct post *p, const float *x, int64_t x_step, const float *scale,
                        const float *shift, float *y, int64_t rows, int64_t c);
    /* y += the sum of `rows` rows of x, `stride` floats apart, over n columns. */
    void (*sum)(float *y, const float *x, int64_t rows, int64_t stride, int64_t n);
    /* y *= a over n floats. */
    void (*scale)(float *y, float a, int64_t n);
    /* y[i] = the largest of row[t][i] over t < taps (NaN when one of them is), or a times their sum; y may be
     * one of the rows. */
    void (*pool_max)(const float *const *row, int taps, float *y, int64_t c);
    void (*pool_mean)(const float *const *row, int taps, float a, float *y, int64_t c);
    void (*depthwise)(const struct depthwise_call *c);
    /* z[i] = x[i] OP y[i]; OP is one of + - * / */
    void (*binary)(char op, const float *x, const float *y, float *z, int64_t n);
    /* z[i] = x[i] OP a, or a OP x[i] when `swapped` */
    void (*binary_scalar)(char op, const float *x, float a, bool swapped, float *z, int64_t n);

    /* One row of n floats: y = e^x / the sum of e^x, and
     * y = (x - mean) / sqrt(variance + epsilon) * scale + shift (NULL: 0); y may be x. */
    void (*softmax)(const float *x, float *y, int64_t n);
    void (*layer_norm)(const float *x, const float *scale, const float *shift, float epsilon, float *y,
                       int64_t n);

    /* Winograd F(4x4, 3x3): 6x6 patches at row[0..36) (each c floats) to 36 planes of `stride` floats, and
     * back: 36 planes to 4x4 results. `out` points to 16 places or NULL for those outside of the image. */
    void (*wino_input)(const float *const *row, float *v, int64_t stride, int64_t c);
    void (*wino_output)(const float *m, int64_t stride, float *const *out, const float *const *residual,
                        const float *bias, const struct post *post, int64_t c);

    /* *low and *high become as small and as large as what is in x, where they are not yet. */
    void (*range)(const float *x, int64_t n, float *low, float *high);

    /* Between float32 and lower types, rounded to nearest, ties to even: bfloat16, and x / step + zero as an
     * integer of 8 bits (NaN: zero). */
    void (*to_bf16)(const float *x, uint16_t *y, int64_t n);
    void (*from_bf16)(const uint16_t *x, float *y, int64_t n);
    void (*to_u8)(const float *x, float step, int zero, uint8_t *y, int64_t n);
    void (*from_u8)(const uint8_t *x, float step, int zero, float *y, int64_t n);
    void (*to_i8)(const float *x, float step, int zero, int8_t *y, int64_t n);
    void (*from_i8)(const int8_t *x, float step, int zero, float *y, int64_t n);
};

/* The best for this CPU. */
const struct simd *simd_best(void);
/* All that this CPU can run, for tests: NULL after the last. */
const struct simd *simd_nth(int i);
/* For tests: kernels that are prepared from now on use this one. NULL: the best again. */
void simd_force(const struct simd *s);

extern const struct simd simd_generic;
#if defined(__x86_64__)
extern const struct simd simd_avx2, simd_avx512;
#endif

#endif
