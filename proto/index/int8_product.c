/* int8_product.c - sums of products of bytes, for one CPU or another */
#include "int8.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE     inline __attribute__((always_inline))
#define STEP_BYTES (INT8_PANEL * INT8_STEP) /* of all rows of a panel */

static enum int8_level most_used = INT8_VNNI;

void int8_limit(enum int8_level most)
{
    most_used = most;
}

enum int8_level int8_level(void)
{
#if defined(__x86_64__)
    if (most_used >= INT8_VNNI && __builtin_cpu_supports("avx512vnni"))
        return INT8_VNNI;
    if (most_used >= INT8_AVX2 && __builtin_cpu_supports("avx2"))
        return INT8_AVX2;
#endif
    return INT8_PLAIN;
}

/* Panels side by side times rows of x. */
struct tile {
    const int8_t *panel;
    const uint8_t *x;
    int32_t *y;
    size_t panel_bytes, x_stride, y_stride;
    int steps;
};

static void panel_plain(const int8_t *w, const uint8_t *x, int steps, int32_t *y)
{
    int32_t sum[INT8_PANEL] = {0};
    for (; steps > 0; steps--, w += STEP_BYTES, x += INT8_STEP) {
        for (int r = 0; r < INT8_PANEL; r++)
            sum[r] += w[4 * r] * x[0] + w[4 * r + 1] * x[1] + w[4 * r + 2] * x[2] + w[4 * r + 3] * x[3];
    }
    memcpy(y, sum, sizeof sum);
}

static void product_plain(struct tile t, int panels, int n)
{
    for (int i = 0; i < n; i++) {
        for (int p = 0; p < panels; p++)
            panel_plain(t.panel + (size_t)p * t.panel_bytes, t.x + (size_t)i * t.x_stride, t.steps,
                        t.y + (size_t)i * t.y_stride + p * INT8_PANEL);
    }
}

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))
#define VNNI __attribute__((target("avx512f,avx512vnni")))

static INLINE int32_t four_bytes(const uint8_t *x)
{
    int32_t v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* --- AVX2: bytes become words, and neighbours' products are added --- */

/* One panel times p rows of x. */
AVX2 static INLINE void tile_avx2(const struct tile *t, int p)
{
    __m256i sum[2][4]; /* two sums of each of four rows */
#pragma GCC unroll 2
    for (int i = 0; i < p; i++) {
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++)
            sum[i][q] = _mm256_setzero_si256();
    }
    for (int k = 0; k < t->steps; k++) {
        __m256i x[2];
#pragma GCC unroll 2
        for (int i = 0; i < p; i++)
            x[i] = _mm256_cvtepu8_epi16(
                _mm_set1_epi32(four_bytes(t->x + (size_t)i * t->x_stride + (size_t)k * INT8_STEP)));
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) {
            const __m128i *at = (const __m128i *)(t->panel + (size_t)k * STEP_BYTES) + q;
            __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
#pragma GCC unroll 2
            for (int i = 0; i < p; i++)
                sum[i][q] = _mm256_add_epi32(sum[i][q], _mm256_madd_epi16(w, x[i]));
        }
    }
#pragma GCC unroll 2
    for (int i = 0; i < p; i++) {
        int32_t *y = t->y + (size_t)i * t->y_stride;
#pragma GCC unroll 2
        for (int q = 0; q < 4; q += 2)
            _mm256_storeu_si256((__m256i *)(y + 4 * q),
                                _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[i][q], sum[i][q + 1]), 0xd8));
    }
}

AVX2 static void product_avx2(struct tile t, int panels, int n)
{
    for (int at = 0; at < panels; at++, t.panel += t.panel_bytes, t.y += INT8_PANEL) {
        struct tile u = t;
        for (int p, left = n; left > 0;
             left -= p, u.x += (size_t)p * t.x_stride, u.y += (size_t)p * t.y_stride) {
            p = left < 2 ? 1 : 2;
            if (p == 2)
                tile_avx2(&u, 2);
            else
                tile_avx2(&u, 1);
        }
    }
}

/* --- AVX-512 VNNI --- */

/* v panels times p rows of x. Asks for the panels behind these: between two look-ups the network drives them
 * out of the processor's caches. */
VNNI static INLINE void tile_vnni(const struct tile *t, int v, int p)
{
    __m512i sum[8][4];
#pragma GCC unroll 8
    for (int i = 0; i < p; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < v; j++)
            sum[i][j] = _mm512_setzero_si512();
    }
    for (int k = 0; k < t->steps; k++) {
        __m512i w[4];
#pragma GCC unroll 4
        for (int j = 0; j < v; j++) {
            const int8_t *at = t->panel + (size_t)j * t->panel_bytes + (size_t)k * STEP_BYTES;
            w[j] = _mm512_loadu_si512(at);
            __builtin_prefetch(at + (size_t)v * t->panel_bytes, 0, 2);
        }
#pragma GCC unroll 8
        for (int i = 0; i < p; i++) {
            __m512i x = _mm512_set1_epi32(four_bytes(t->x + (size_t)i * t->x_stride + (size_t)k * INT8_STEP));
#pragma GCC unroll 4
            for (int j = 0; j < v; j++)
                sum[i][j] = _mm512_dpbusd_epi32(sum[i][j], x, w[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < p; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < v; j++)
            _mm512_storeu_si512(t->y + (size_t)i * t->y_stride + (size_t)j * INT8_PANEL, sum[i][j]);
    }
}

/* v panels times all n rows of x. */
VNNI static INLINE void panels_vnni(struct tile t, int v, int n)
{
    for (int p; n > 0; n -= p, t.x += (size_t)p * t.x_stride, t.y += (size_t)p * t.y_stride) {
        p = n >= 8 && v <= 2 ? 8 : n >= 4 ? 4 : 1;
        if (p == 8)
            tile_vnni(&t, v, v <= 2 ? 8 : 1);
        else if (p == 4)
            tile_vnni(&t, v, 4);
        else
            tile_vnni(&t, v, 1);
    }
}

/* Few panels at once where x has many rows: they stay in the L1 cache, and there are sums enough. */
VNNI static void product_vnni(struct tile t, int panels, int n)
{
    for (int v; panels > 0; panels -= v, t.panel += (size_t)v * t.panel_bytes, t.y += v * INT8_PANEL) {
        v = n < 8 && panels >= 4 ? 4 : panels >= 2 ? 2 : 1;
        if (v == 4)
            panels_vnni(t, 4, n);
        else if (v == 2)
            panels_vnni(t, 2, n);
        else
            panels_vnni(t, 1, n);
    }
}

#endif

void int8_product(const struct int8_rows *w, const uint8_t *x, int n, int32_t *y)
{
    struct tile t = {.panel = w->panel,
                     .x = x,
                     .y = y,
                     .panel_bytes = INT8_PANEL * (size_t)int8_stride(w->cols),
                     .x_stride = (size_t)int8_stride(w->cols),
                     .y_stride = (size_t)int8_padded(w->rows),
                     .steps = int8_stride(w->cols) / INT8_STEP};
    int panels = int8_padded(w->rows) / INT8_PANEL;
#if defined(__x86_64__)
    if (int8_level() >= INT8_AVX2) {
        (int8_level() == INT8_VNNI ? product_vnni : product_avx2)(t, panels, n);
        return;
    }
#endif
    product_plain(t, panels, n);
}
