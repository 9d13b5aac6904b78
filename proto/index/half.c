/* half.c - half precision storage, float32 arithmetic; the loops of half_template.h for AVX2 and AVX-512 */
#include "half.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define PIECE        512          /* columns of ROWS rows that are decoded at once: at most 16 KiB */
#define PIECE_STRIDE (PIECE + 16) /* so that rows do not meet in the same sets of the L1 cache */
#define FEW          6            /* x for which decoding does not pay beside the product */
#define HUGE_PAGE    (2u << 20)
#define INLINE       inline __attribute__((always_inline))
#define LOADED(v)    __asm__("" : "+v"(v)) /* once into a register, not again from memory at each use */

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

/* --- plain: always there, and what the others are tested against --- */

struct loops {
    void (*decode)(const uint16_t *from, float *to, size_t n);
    void (*product)(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y);
    float (*distance2)(const uint16_t *w, const float *x, int cols);
    float (*dot)(const float *w, const float *x, int n);
    int (*nearer)(float *dot, const float *w2, float x2, int n, float bound, int32_t *which);
};

/* Rows of weights times x: y[i * y_stride + r] = sum over c < cols of rows[r * row_stride + c] * x[i *
 * x_stride + c]. */
struct tile {
    const uint16_t *rows;
    const float *decoded, *x; /* the rows as floats, PIECE_STRIDE apart, where they are decoded */
    float *y;
    int64_t row_stride, x_stride, y_stride;
    int cols;
    bool add; /* to what is there */
};

static void decode_plain(const uint16_t *from, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = half_to_float(from[i]);
}

void half_product_plain(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int i = 0; i < n; i++) {
            float sum = 0;
            for (int c = 0; c < cols; c++)
                sum += half_to_float(w[r * cols + c]) * x[(int64_t)i * cols + c];
            y[i * rows + r] = sum;
        }
    }
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

static float dot_plain(const float *w, const float *x, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += w[i] * x[i];
    return sum;
}

/* From j on, with `found` there already. */
static int nearer_from(float *dot, const float *w2, float x2, int j, int n, float bound, int32_t *which,
                       int found)
{
    for (; j < n; j++) {
        float d = x2 - 2 * dot[j] + w2[j];
        dot[j] = d > 0 ? d : 0;
        if (dot[j] <= bound)
            which[found++] = j;
    }
    return found;
}

static int nearer_plain(float *dot, const float *w2, float x2, int n, float bound, int32_t *which)
{
    return nearer_from(dot, w2, x2, 0, n, bound, which, 0);
}

static const struct loops loops_plain = {decode_plain, half_product_plain, distance2_plain, dot_plain,
                                         nearer_plain};

#if defined(__x86_64__)

/* --- AVX2 with F16C --- */

#define NAME(x)           x##_avx2
#define TARGET            __attribute__((target("avx2,fma,f16c")))
#define V                 __m256
#define LANES             8
#define ROWS              4
#define V_ZERO            _mm256_setzero_ps()
#define V_SET(x)          _mm256_set1_ps(x)
#define V_LOAD(p)         _mm256_loadu_ps(p)
#define V_STORE(p, v)     _mm256_storeu_ps(p, v)
#define V_HALF(p)         _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define V_ADD(a, b)       _mm256_add_ps(a, b)
#define V_SUB(a, b)       _mm256_sub_ps(a, b)
#define V_MAX(a, b)       _mm256_max_ps(a, b)
#define V_FMA(a, b, c)    _mm256_fmadd_ps(a, b, c)
#define V_SUM(v)          sum_avx2(v)
#define V_NOT_ABOVE(a, b) (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LE_OQ))
#define V_PUT_SUMS        put_sums_avx2

TARGET static inline float sum_avx2(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

TARGET static inline void put_sums_avx2(const __m256 *v, bool add, float *y)
{
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    _mm_storeu_ps(y, add ? _mm_add_ps(_mm_loadu_ps(y), t) : t);
}

#include "half_template.h"

/* --- AVX-512 --- */

#define NAME(x)           x##_avx512
#define TARGET            __attribute__((target("avx512f")))
#define V                 __m512
#define LANES             16
#define ROWS              8
#define V_ZERO            _mm512_setzero_ps()
#define V_SET(x)          _mm512_set1_ps(x)
#define V_LOAD(p)         _mm512_loadu_ps(p)
#define V_STORE(p, v)     _mm512_storeu_ps(p, v)
#define V_HALF(p)         _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define V_ADD(a, b)       _mm512_add_ps(a, b)
#define V_SUB(a, b)       _mm512_sub_ps(a, b)
#define V_MAX(a, b)       _mm512_max_ps(a, b)
#define V_FMA(a, b, c)    _mm512_fmadd_ps(a, b, c)
#define V_SUM(v)          _mm512_reduce_add_ps(v)
#define V_NOT_ABOVE(a, b) (unsigned)_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define V_PUT_SUMS        put_sums_avx512

TARGET static inline __m256 fold_avx512(__m512 v)
{
    return _mm256_add_ps(_mm512_castps512_ps256(v),
                         _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
}

TARGET static inline __m256 four_avx512(const __m512 *v)
{
    return _mm256_hadd_ps(_mm256_hadd_ps(fold_avx512(v[0]), fold_avx512(v[1])),
                          _mm256_hadd_ps(fold_avx512(v[2]), fold_avx512(v[3])));
}

TARGET static inline void put_sums_avx512(const __m512 *v, bool add, float *y)
{
    __m256 a = four_avx512(v), b = four_avx512(v + 4);
    __m256 s = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    _mm256_storeu_ps(y, add ? _mm256_add_ps(_mm256_loadu_ps(y), s) : s);
}

#include "half_template.h"

#endif

/* --- the choice --- */

static enum half_level most = HALF_AVX512;

void half_limit(enum half_level level)
{
    most = level;
}

static const struct loops *loops(void)
{
#if defined(__x86_64__)
    if (most >= HALF_AVX512 && __builtin_cpu_supports("avx512f"))
        return &loops_avx512;
    if (most >= HALF_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &loops_avx2;
#endif
    return &loops_plain;
}

void half_product(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y)
{
    loops()->product(w, rows, cols, x, n, y);
}

void half_decode(const uint16_t *from, float *to, size_t n)
{
    loops()->decode(from, to, n);
}

float half_distance2(const uint16_t *w, const float *x, int cols)
{
    return loops()->distance2(w, x, cols);
}

float floats_dot(const float *w, const float *x, int n)
{
    return loops()->dot(w, x, n);
}

int half_nearer(float *dot, const float *w2, float x2, int n, float bound, int32_t *which)
{
    return loops()->nearer(dot, w2, x2, n, bound, which);
}

float half_norm2(const uint16_t *w, int cols)
{
    float piece[PIECE], sum = 0;
    for (int from = 0; from < cols; from += PIECE) {
        int some = cols - from < PIECE ? cols - from : PIECE;
        half_decode(w + from, piece, (size_t)some);
        sum += floats_norm2(piece, some);
    }
    return sum;
}

float floats_norm2(const float *x, int n)
{
    float part[8] = {0}, sum = 0; /* independent sums, so that additions overlap */
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int k = 0; k < 8; k++)
            part[k] += x[i + k] * x[i + k];
    }
    for (; i < n; i++)
        sum += x[i] * x[i];
    for (int k = 0; k < 8; k++)
        sum += part[k];
    return sum;
}
