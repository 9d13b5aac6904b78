/* int8.c - weights as bytes; numbers to bytes and back */
#include "int8.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE  inline __attribute__((always_inline))
#define LEAST   1e-30f /* what is smaller counts as 0 */
#define ALIGNED 64u

int int8_padded(int rows)
{
    return (rows + INT8_PANEL - 1) / INT8_PANEL * INT8_PANEL;
}

int int8_stride(int cols)
{
    return (cols + INT8_STEP - 1) / INT8_STEP * INT8_STEP;
}

static size_t group_bytes(const struct int8_rows *w)
{
    return (size_t)int8_padded(w->rows) * (size_t)int8_stride(w->cols);
}

size_t int8_bytes(const struct int8_rows *w)
{
    return (size_t)w->groups * group_bytes(w);
}

static size_t sums(const struct int8_rows *w)
{
    return (size_t)w->groups * (size_t)int8_padded(w->rows);
}

size_t int8_all_bytes(const struct int8_rows *w)
{
    return int8_bytes(w) + (size_t)w->groups * (size_t)w->rows * sizeof *w->scale + sums(w) * sizeof *w->sum;
}

int int8_new(struct int8_rows *out, int groups, int rows, int cols)
{
    struct int8_rows w = {groups, rows, cols, NULL, NULL, NULL, false};
    size_t bytes = (int8_bytes(&w) + ALIGNED - 1) / ALIGNED * ALIGNED;
    w.panel = aligned_alloc(ALIGNED, bytes);
    w.scale = calloc((size_t)groups * (size_t)rows, sizeof *w.scale);
    w.sum = calloc(sums(&w), sizeof *w.sum);
    if (w.panel == NULL || w.scale == NULL || w.sum == NULL) {
        int8_release(&w);
        return FL_NOMEM;
    }
    memset(w.panel, 0, bytes);
    *out = w;
    return FL_OK;
}

int int8_copy(struct int8_rows *out, const struct int8_rows *of)
{
    int rc = int8_new(out, of->groups, of->rows, of->cols);
    if (rc != FL_OK)
        return rc;
    memcpy(out->panel, of->panel, int8_bytes(of));
    memcpy(out->scale, of->scale, (size_t)of->groups * (size_t)of->rows * sizeof *of->scale);
    memcpy(out->sum, of->sum, sums(of) * sizeof *of->sum);
    return FL_OK;
}

void int8_release(struct int8_rows *w)
{
    if (!w->borrowed) {
        free(w->panel);
        free(w->scale);
    }
    free(w->sum);
    memset(w, 0, sizeof *w);
}

struct int8_rows int8_group(const struct int8_rows *w, int group)
{
    struct int8_rows one = *w;
    one.groups = 1;
    one.panel += (size_t)group * group_bytes(w);
    one.scale += (size_t)group * (size_t)w->rows;
    one.sum += (size_t)group * (size_t)int8_padded(w->rows);
    one.borrowed = true;
    return one;
}

/* Column c of a row; the INT8_STEP columns from a multiple of INT8_STEP on lie together. */
static int8_t *byte_at(const struct int8_rows *w, int r, int c)
{
    size_t in_group = (size_t)(r % w->rows), panel = in_group / INT8_PANEL, row = in_group % INT8_PANEL;
    return w->panel + (size_t)(r / w->rows) * group_bytes(w) +
           panel * INT8_PANEL * (size_t)int8_stride(w->cols) +
           (size_t)(c / INT8_STEP) * (INT8_PANEL * INT8_STEP) + row * INT8_STEP + c % INT8_STEP;
}

static int32_t *sum_at(const struct int8_rows *w, int r)
{
    return w->sum + r / w->rows * int8_padded(w->rows) + r % w->rows;
}

int int8_measure(struct int8_rows *w)
{
    const int8_t *panel = w->panel;
    w->sum = calloc(sums(w), sizeof *w->sum);
    if (w->sum == NULL)
        return FL_NOMEM;
    for (size_t at = 0; at < sums(w); at += INT8_PANEL) { /* panel by panel, as they lie */
        for (int c = 0; c < w->cols; c += INT8_STEP) {
            for (int i = 0; i < INT8_PANEL * INT8_STEP; i++)
                w->sum[at + (size_t)(i / INT8_STEP)] += *panel++;
        }
    }
    return FL_OK;
}

void int8_set(struct int8_rows *w, int r, const float *x)
{
    float most = 0, per = 0;
    for (int c = 0; c < w->cols; c++)
        most = fabsf(x[c]) > most ? fabsf(x[c]) : most;
    per = most >= LEAST ? 127 / most : 0;
    w->scale[r] = most >= LEAST ? most / 127 : 0;
    *sum_at(w, r) = 0;
    for (int c = 0; c < w->cols; c++) {
        *byte_at(w, r, c) = (int8_t)((int)(x[c] * per + 128.5f) - 128);
        *sum_at(w, r) += *byte_at(w, r, c);
    }
}

void int8_get(const struct int8_rows *w, int r, float *x)
{
    for (int c = 0; c < w->cols; c++)
        x[c] = (float)*byte_at(w, r, c) * w->scale[r];
}

/* --- loops over numbers: the same code for AVX2, without fused additions, so the same bits --- */

/* The bits of floats that are not negative have the order of the floats: loops over integers are vectorised,
 * and NaN is the largest. */
static INLINE int32_t magnitude(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (int32_t)(bits & 0x7fffffffu);
}

static INLINE float of_bits(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static INLINE float largest(const float *x, int n)
{
    int32_t most = 0;
    for (int i = 0; i < n; i++)
        most = magnitude(x[i]) > most ? magnitude(x[i]) : most;
    return of_bits(most);
}

/* What s of q is where `most` is the largest number; false: q is all `zero`. */
static INLINE bool has_scale(float most, float parts, float *s)
{
    bool has = most >= LEAST && most <= FLT_MAX;
    *s = has ? most / parts : most < LEAST ? 0 : NAN;
    return has;
}

/* q = x / s + zero, rounded; s = most / parts. */
static INLINE float round_loop(const float *x, int n, float parts, float zero, uint8_t *q)
{
    float most = largest(x, n), per = parts / most, s;
    if (!has_scale(most, parts, &s)) {
        memset(q, (int)zero, (size_t)n);
        return s;
    }
    for (int i = 0; i < n; i++)
        q[i] = (uint8_t)(int)(x[i] * per + (zero + 0.5f));
    return s;
}

struct standard {
    const float *mean, *scale;
    int cells, features;
};

/* q = z / s + INT8_ZERO of z = (x - mean) * scale. */
static INLINE float standardise_loop(const float *x, const struct standard *t, uint8_t *q)
{
    int n = t->cells * t->features;
    int32_t most = 0;
    float s, per;
    for (int at = 0; at < n; at += t->features)
        for (int i = 0; i < t->features; i++) {
            int32_t m = magnitude((x[at + i] - t->mean[i]) * t->scale[i]);
            most = m > most ? m : most;
        }
    per = 127 / of_bits(most);
    if (!has_scale(of_bits(most), 127, &s)) {
        memset(q, INT8_ZERO, (size_t)n);
        return s;
    }
    for (int at = 0; at < n; at += t->features)
        for (int i = 0; i < t->features; i++)
            q[at + i] = (uint8_t)(int)((x[at + i] - t->mean[i]) * t->scale[i] * per + (INT8_ZERO + 0.5f));
    return s;
}

static INLINE void floats_loop(const int32_t *y, const int32_t *sum, int32_t zero, float s,
                               const float *scale, const float *bias, int n, float *out)
{
    for (int r = 0; r < n; r++)
        out[r] = (float)(y[r] - zero * sum[r]) * (s * scale[r]) + bias[r];
}

#if defined(__x86_64__)

#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))

AVX2 static float round_avx2(const float *x, int n, float parts, float zero, uint8_t *q)
{
    return round_loop(x, n, parts, zero, q);
}

AVX2 static void floats_avx2(const int32_t *y, const int32_t *sum, int32_t zero, float s, const float *scale,
                             const float *bias, int n, float *out)
{
    floats_loop(y, sum, zero, s, scale, bias, n, out);
}

AVX2 static float standardise_avx2(const float *x, const struct standard *t, uint8_t *q)
{
    return standardise_loop(x, t, q);
}

/* Of a multiple of 16 features. Numbers that are standardised already have no mean. */
AVX512 static INLINE __m512 z_avx512(const float *x, const struct standard *t, int i)
{
    __m512 v = _mm512_loadu_ps(x + i);
    if (!t->mean)
        return v;
    return _mm512_mul_ps(_mm512_sub_ps(v, _mm512_loadu_ps(t->mean + i)), _mm512_loadu_ps(t->scale + i));
}

AVX512 static INLINE float round_wide(const float *x, const struct standard *t, float parts, float zero,
                                      uint8_t *q)
{
    const __m512i all_but_sign = _mm512_set1_epi32(0x7fffffff);
    const __m512 half = _mm512_set1_ps(zero + 0.5f);
    int n = t->cells * t->features;
    __m512i most = _mm512_setzero_si512();
    __m512 per;
    float s;
    for (int at = 0; at < n; at += t->features)
        for (int i = 0; i < t->features; i += 16) {
            __m512i z = _mm512_castps_si512(z_avx512(x + at, t, i));
            most = _mm512_max_epi32(most, _mm512_and_si512(z, all_but_sign));
        }
    per = _mm512_set1_ps(parts / of_bits(_mm512_reduce_max_epi32(most)));
    if (!has_scale(of_bits(_mm512_reduce_max_epi32(most)), parts, &s)) {
        memset(q, (int)zero, (size_t)n);
        return s;
    }
    for (int at = 0; at < n; at += t->features)
        for (int i = 0; i < t->features; i += 16) {
            __m512 y = _mm512_add_ps(_mm512_mul_ps(z_avx512(x + at, t, i), per), half);
            _mm_storeu_si128((__m128i *)(void *)(q + at + i), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(y)));
        }
    return s;
}

AVX512 static float standardise_avx512(const float *x, const struct standard *t, uint8_t *q)
{
    return round_wide(x, t, 127, INT8_ZERO, q);
}

AVX512 static float round_avx512(const float *x, int n, float parts, float zero, uint8_t *q)
{
    const struct standard as_it_is = {NULL, NULL, 1, n};
    return round_wide(x, &as_it_is, parts, zero, q);
}

#endif

static float round_bytes(const float *x, int n, float parts, float zero, uint8_t *q)
{
#if defined(__x86_64__)
    if (int8_level() >= INT8_VNNI && n % 16 == 0)
        return round_avx512(x, n, parts, zero, q);
    if (int8_level() >= INT8_AVX2)
        return round_avx2(x, n, parts, zero, q);
#endif
    return round_loop(x, n, parts, zero, q);
}

float int8_round_signed(const float *x, int n, uint8_t *q)
{
    return round_bytes(x, n, 127, INT8_ZERO, q);
}

float int8_round_positive(const float *x, int n, uint8_t *q)
{
    return round_bytes(x, n, 255, 0, q);
}

float int8_round_standardised(const float *x, const float *mean, const float *scale, int cells, int features,
                              uint8_t *q)
{
    const struct standard t = {mean, scale, cells, features};
#if defined(__x86_64__)
    if (int8_level() >= INT8_VNNI && features % 16 == 0)
        return standardise_avx512(x, &t, q);
    if (int8_level() >= INT8_AVX2)
        return standardise_avx2(x, &t, q);
#endif
    return standardise_loop(x, &t, q);
}

void int8_floats(const struct int8_rows *w, int from, int n, const int32_t *y, float s, bool has_signs,
                 const float *bias, float *out)
{
    int32_t zero = has_signs ? INT8_ZERO : 0;
#if defined(__x86_64__)
    if (int8_level() >= INT8_AVX2) {
        floats_avx2(y, w->sum + from, zero, s, w->scale + from, bias, n, out);
        return;
    }
#endif
    floats_loop(y, w->sum + from, zero, s, w->scale + from, bias, n, out);
}
