/* half.c - half precision storage, float32 arithmetic */
#include "half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET_AVX2   __attribute__((target("avx2,fma,f16c")))
#define TARGET_AVX512 __attribute__((target("avx512f")))
#endif

#define ROWS_AT_ONCE 4    /* their weights stay in the L1 cache while the batch goes by */
#define PIECE        1152 /* columns that are decoded at once: 18 KiB */
#define HUGE_PAGE    (2u << 20)

uint16_t *half_alloc(size_t n)
{
    size_t bytes = (n > 0 ? n : 1) * sizeof(uint16_t);
    void *p;
    if (bytes < HUGE_PAGE / 2)
        return malloc(bytes);
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    p = aligned_alloc(HUGE_PAGE, bytes);
    if (p)
        madvise(p, bytes, MADV_HUGEPAGE); /* fewer pages to find; without them it works as well */
    return p;
}

bool half_all_finite(const uint16_t *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((h[i] & 0x7c00u) == 0x7c00u)
            return false;
    }
    return true;
}

static void decode_plain(const uint16_t *from, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = half_to_float(from[i]);
}

static float distance2_plain(const uint16_t *w, const float *x, int cols)
{
    float sum = 0;
    for (int c = 0; c < cols; c++) {
        float d = half_to_float(w[c]) - x[c];
        sum += d * d;
    }
    return sum;
}

static float norm2_plain(const uint16_t *w, int cols)
{
    float sum = 0;
    for (int c = 0; c < cols; c++) {
        float v = half_to_float(w[c]);
        sum += v * v;
    }
    return sum;
}

static float dot_plain(const uint16_t *w, const float *x, int from, int cols)
{
    float sum = 0;
    for (int c = from; c < cols; c++)
        sum += half_to_float(w[c]) * x[c];
    return sum;
}

void half_product_plain(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int i = 0; i < n; i++)
            y[i * rows + r] = dot_plain(w + r * cols, x + (size_t)i * (size_t)cols, 0, cols);
    }
}

#if defined(__x86_64__)

/* A look-up comes to tables that the network's weights have pushed out of the caches, and four streams with a
 * page's end every few rows are more than the hardware foresees: ask for the same columns of the rows after
 * these. Past the end of the table that is a hint without effect. */
static inline void fetch_next_rows(const uint16_t *w, int cols)
{
    for (int r = ROWS_AT_ONCE; r < 2 * ROWS_AT_ONCE; r++)
        __builtin_prefetch((const char *)w + (size_t)r * (size_t)cols * sizeof *w, 0, 2);
}

/* --- AVX-512: tails by mask --- */

TARGET_AVX512 static __m512 load_tail_512(const uint16_t *w, int left)
{
    uint16_t padded[16] = {0};
    memcpy(padded, w, (size_t)left * sizeof *w);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)padded));
}

TARGET_AVX512 static inline __m512 load_512(const uint16_t *w)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)w));
}

/* Four rows against one x. */
TARGET_AVX512 static void dot4_avx512(const uint16_t *w, int cols, const float *x, float *y)
{
    const uint16_t *w0 = w, *w1 = w + cols, *w2 = w1 + cols, *w3 = w2 + cols;
    __m512 a0 = _mm512_setzero_ps(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    int c = 0;
    for (; c + 32 <= cols; c += 32) {
        __m512 u = _mm512_loadu_ps(x + c), v = _mm512_loadu_ps(x + c + 16);
        fetch_next_rows(w + c, cols);
        a0 = _mm512_fmadd_ps(load_512(w0 + c), u, a0);
        a1 = _mm512_fmadd_ps(load_512(w1 + c), u, a1);
        a2 = _mm512_fmadd_ps(load_512(w2 + c), u, a2);
        a3 = _mm512_fmadd_ps(load_512(w3 + c), u, a3);
        b0 = _mm512_fmadd_ps(load_512(w0 + c + 16), v, b0);
        b1 = _mm512_fmadd_ps(load_512(w1 + c + 16), v, b1);
        b2 = _mm512_fmadd_ps(load_512(w2 + c + 16), v, b2);
        b3 = _mm512_fmadd_ps(load_512(w3 + c + 16), v, b3);
    }
    for (; c < cols; c += 16) {
        int left = cols - c < 16 ? cols - c : 16;
        __m512 u = _mm512_maskz_loadu_ps((__mmask16)((1u << left) - 1), x + c);
        a0 = _mm512_fmadd_ps(load_tail_512(w0 + c, left), u, a0);
        a1 = _mm512_fmadd_ps(load_tail_512(w1 + c, left), u, a1);
        a2 = _mm512_fmadd_ps(load_tail_512(w2 + c, left), u, a2);
        a3 = _mm512_fmadd_ps(load_tail_512(w3 + c, left), u, a3);
    }
    y[0] = _mm512_reduce_add_ps(_mm512_add_ps(a0, b0));
    y[1] = _mm512_reduce_add_ps(_mm512_add_ps(a1, b1));
    y[2] = _mm512_reduce_add_ps(_mm512_add_ps(a2, b2));
    y[3] = _mm512_reduce_add_ps(_mm512_add_ps(a3, b3));
}

/* Four rows, decoded, against four x: 16 sums from 8 loads. */
TARGET_AVX512 static void tile_avx512(const float *w, int cols, const float *x, int64_t x_stride, float *y,
                                      int64_t y_stride)
{
    __m512 sum[ROWS_AT_ONCE][4];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS_AT_ONCE; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[r][i] = _mm512_setzero_ps();
    }
    for (int c = 0; c < cols; c += 16) {
        __mmask16 some = cols - c < 16 ? (__mmask16)((1u << (cols - c)) - 1) : 0xffff;
        __m512 a[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            a[i] = _mm512_maskz_loadu_ps(some, x + i * x_stride + c);
#pragma GCC unroll 4
        for (int r = 0; r < ROWS_AT_ONCE; r++) {
            __m512 b = _mm512_maskz_loadu_ps(some, w + r * cols + c);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                sum[r][i] = _mm512_fmadd_ps(b, a[i], sum[r][i]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS_AT_ONCE; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            y[i * y_stride + r] += _mm512_reduce_add_ps(sum[r][i]);
    }
}

TARGET_AVX512 static void decode_avx512(const uint16_t *from, float *to, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, load_512(from + i));
    decode_plain(from + i, to + i, n - i);
}

TARGET_AVX512 static float distance2_avx512(const uint16_t *w, const float *x, int cols)
{
    __m512 sum = _mm512_setzero_ps();
    int c = 0;
    for (; c + 16 <= cols; c += 16) {
        __m512 d = _mm512_sub_ps(load_512(w + c), _mm512_loadu_ps(x + c));
        sum = _mm512_fmadd_ps(d, d, sum);
    }
    return _mm512_reduce_add_ps(sum) + distance2_plain(w + c, x + c, cols - c);
}

TARGET_AVX512 static float norm2_avx512(const uint16_t *w, int cols)
{
    __m512 sum = _mm512_setzero_ps();
    int c = 0;
    for (; c + 16 <= cols; c += 16) {
        __m512 v = load_512(w + c);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    return _mm512_reduce_add_ps(sum) + norm2_plain(w + c, cols - c);
}

/* --- AVX2 with F16C: tails by the plain form --- */

TARGET_AVX2 static inline __m256 load_256(const uint16_t *w)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)w));
}

TARGET_AVX2 static inline float sum_256(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

TARGET_AVX2 static void dot4_avx2(const uint16_t *w, int cols, const float *x, float *y)
{
    __m256 sum[ROWS_AT_ONCE][2];
    int c = 0;
    for (int r = 0; r < ROWS_AT_ONCE; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (; c + 16 <= cols; c += 16) {
        __m256 u = _mm256_loadu_ps(x + c), v = _mm256_loadu_ps(x + c + 8);
        fetch_next_rows(w + c, cols);
        for (int r = 0; r < ROWS_AT_ONCE; r++) {
            const uint16_t *row = w + (size_t)r * (size_t)cols + c;
            sum[r][0] = _mm256_fmadd_ps(load_256(row), u, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(load_256(row + 8), v, sum[r][1]);
        }
    }
    for (int r = 0; r < ROWS_AT_ONCE; r++)
        y[r] = sum_256(_mm256_add_ps(sum[r][0], sum[r][1])) +
               dot_plain(w + (size_t)r * (size_t)cols, x, c, cols);
}

TARGET_AVX2 static void decode_avx2(const uint16_t *from, float *to, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, load_256(from + i));
    decode_plain(from + i, to + i, n - i);
}

TARGET_AVX2 static float distance2_avx2(const uint16_t *w, const float *x, int cols)
{
    __m256 sum = _mm256_setzero_ps();
    int c = 0;
    for (; c + 8 <= cols; c += 8) {
        __m256 d = _mm256_sub_ps(load_256(w + c), _mm256_loadu_ps(x + c));
        sum = _mm256_fmadd_ps(d, d, sum);
    }
    return sum_256(sum) + distance2_plain(w + c, x + c, cols - c);
}

#endif

/* --- the choice --- */

enum level { PLAIN, AVX2, AVX512 };

static enum level cpu_level(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return AVX2;
#endif
    return PLAIN;
}

static void dot4(enum level level, const uint16_t *w, int cols, const float *x, float *y)
{
#if defined(__x86_64__)
    if (level == AVX512) {
        dot4_avx512(w, cols, x, y);
        return;
    }
    if (level == AVX2) {
        dot4_avx2(w, cols, x, y);
        return;
    }
#endif
    (void)level;
    for (int r = 0; r < ROWS_AT_ONCE; r++)
        y[r] = dot_plain(w + (size_t)r * (size_t)cols, x, 0, cols);
}

#if defined(__x86_64__)
/* Asks for the rows after these while these are worked on. */
static void decode_rows(const uint16_t *w, int64_t cols, int some, float *piece)
{
    for (int k = 0; k < ROWS_AT_ONCE; k++) {
        const uint16_t *row = w + k * cols;
        for (int c = 0; c < some; c += 32)
            __builtin_prefetch((const char *)(row + c) + ROWS_AT_ONCE * cols * (int64_t)sizeof *w, 0, 2);
        decode_avx512(row, piece + k * some, (size_t)some);
    }
}

/* Many x: rows are decoded once, a piece that stays in the L1 cache at a time. rows and n: multiples of 4. */
static void product_of_many(const uint16_t *w, int64_t rows, int64_t cols, const float *x, int64_t n,
                            float *y)
{
    float piece[ROWS_AT_ONCE * PIECE];
    memset(y, 0, (size_t)(rows * n) * sizeof *y);
    for (int64_t r = 0; r < rows; r += ROWS_AT_ONCE) {
        for (int64_t from = 0; from < cols; from += PIECE) {
            int some = cols - from < PIECE ? (int)(cols - from) : PIECE;
            decode_rows(w + r * cols + from, cols, some, piece);
            for (int64_t i = 0; i < n; i += 4)
                tile_avx512(piece, some, x + i * cols + from, cols, y + i * rows + r, rows);
        }
    }
}
#endif

void half_product(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y)
{
    enum level level = cpu_level();
    int64_t r = 0;
#if defined(__x86_64__)
    if (level == AVX512 && n >= 4 && rows % ROWS_AT_ONCE == 0) {
        int many = n / 4 * 4;
        product_of_many(w, rows, cols, x, many, y);
        x += (size_t)many * (size_t)cols;
        y += many * rows;
        n -= many;
    }
#endif
    for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE) {
        for (int i = 0; i < n; i++)
            dot4(level, w + r * cols, cols, x + (size_t)i * (size_t)cols, y + i * rows + r);
    }
    for (; r < rows; r++) {
        for (int i = 0; i < n; i++)
            y[i * rows + r] = dot_plain(w + r * cols, x + (size_t)i * (size_t)cols, 0, cols);
    }
}

void half_decode(const uint16_t *from, float *to, size_t n)
{
#if defined(__x86_64__)
    enum level level = cpu_level();
    if (level == AVX512) {
        decode_avx512(from, to, n);
        return;
    }
    if (level == AVX2) {
        decode_avx2(from, to, n);
        return;
    }
#endif
    decode_plain(from, to, n);
}

float half_distance2(const uint16_t *w, const float *x, int cols)
{
#if defined(__x86_64__)
    enum level level = cpu_level();
    if (level == AVX512)
        return distance2_avx512(w, x, cols);
    if (level == AVX2)
        return distance2_avx2(w, x, cols);
#endif
    return distance2_plain(w, x, cols);
}

float half_norm2(const uint16_t *w, int cols)
{
#if defined(__x86_64__)
    if (cpu_level() == AVX512)
        return norm2_avx512(w, cols);
#endif
    return norm2_plain(w, cols);
}
