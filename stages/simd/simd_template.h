/* simd_template.h - the inner loops; included once per instruction set, with its lanes and tile given
 *
 * No include guard: this is the body of simd_*.c. NaN passes through every activation, as in the references.
 */
#include <math.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "simd.h"

#define L SIMD_LANES
typedef float vec __attribute__((vector_size(L * 4)));
typedef int32_t ivec __attribute__((vector_size(L * 4)));
typedef uint32_t uvec __attribute__((vector_size(L * 4)));
typedef float unaligned_vec __attribute__((vector_size(L * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p)
{
    return *(const unaligned_vec *)p;
}

INLINE void store(float *p, vec v)
{
    *(unaligned_vec *)p = v;
}

INLINE vec all(float x)
{
    return x - (vec){0};
}

INLINE vec choose(ivec mask, vec yes, vec no)
{
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

/* The larger and the smaller of two, and b where one of them is NaN; n < L floats at p, the rest 0, and back.
 */
#if defined(__AVX512F__)
INLINE vec greater(vec a, vec b)
{
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
}

INLINE vec lesser(vec a, vec b)
{
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
}

INLINE vec load_some(const float *p, int64_t n)
{
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

INLINE void store_some(float *p, vec v, int64_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#else
INLINE vec greater(vec a, vec b)
{
    return choose(a > b, a, b);
}

INLINE vec lesser(vec a, vec b)
{
    return choose(a < b, a, b);
}

INLINE vec load_some(const float *p, int64_t n)
{
    float some[L] = {0};
    memcpy(some, p, (size_t)n * sizeof *p);
    return load(some);
}

INLINE void store_some(float *p, vec v, int64_t n)
{
    float some[L];
    store(some, v);
    memcpy(p, some, (size_t)n * sizeof *p);
}
#endif

/* Those that need no exponential or quotient; the others are sums of products. */
INLINE bool post_is_simple(const struct post *p)
{
    return p->activation < ACT_SIGMOID || p->activation == ACT_HARD_SIGMOID;
}

INLINE vec clamp(vec x, float low, float high)
{
    return lesser(all(high), greater(all(low), x));
}

INLINE vec activate(const struct post *p, vec x)
{
    switch (p->activation) {
    case ACT_RELU:
        return greater(all(0), x);
    case ACT_CLIP:
        return clamp(x, p->alpha, p->beta);
    case ACT_LEAKY_RELU:
        return choose(x < all(0), x * p->alpha, x);
    case ACT_HARD_SWISH:
        return x * clamp(x * (1.0f / 6) + 0.5f, 0, 1);
    case ACT_HARD_SIGMOID:
        return clamp(x * p->alpha + p->beta, 0, 1);
    default:
        return x;
    }
}

/* e^x by 2^n times a polynomial: relative error below 2e-7 within [-87, 88], saturating outside. */
INLINE vec exponential(vec x)
{
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    vec n, r, y;
    ivec nan = x != x;
    uvec bits;
    vec in = x;
    x = choose(x < all(-87.0f), all(-87.0f), x);
    x = choose(x > all(88.0f), all(88.0f), x);
    n = x * 1.44269504f + magic;
    bits = (uvec)n << 23;
    n = n - magic;
    r = x - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    y = all(1.98756915e-4f);
    y = y * r + 1.39819995e-3f;
    y = y * r + 8.33345191e-3f;
    y = y * r + 4.16657960e-2f;
    y = y * r + 1.66666655e-1f;
    y = y * r + 5.00000000e-1f;
    y = y * r * r + r + 1.0f;
    return choose(nan, in, (vec)((uvec)y + bits));
}

/* Quotients of polynomials, as in Eigen and XLA: within a few of float32's last places. */
INLINE vec error_function(vec x)
{
    vec in = clamp(x, -4, 4), s = in * in, p, q;
    p = s * -2.72614225801306e-10f + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    q = s * -1.45660718464996e-05f - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return in * p / q;
}

INLINE vec tangent(vec x)
{
    vec in = clamp(x, -7.90531110763549805f, 7.90531110763549805f), s = in * in, p, q;
    p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
    p = p * s - 8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return in * p / q;
}

/* No activation, ReLU and Clip are two bounds. */
struct bounds {
    vec low, high;
};

INLINE bool bounds_of(const struct post *p, struct bounds *b)
{
    b->low = all(p->activation == ACT_RELU ? 0 : p->activation == ACT_CLIP ? p->alpha : -INFINITY);
    b->high = all(p->activation == ACT_CLIP ? p->beta : INFINITY);
    return p->activation <= ACT_CLIP;
}

INLINE vec within(const struct bounds *b, vec x)
{
    return lesser(b->high, greater(b->low, x));
}

INLINE vec finish(const struct post *p, vec x)
{
    vec s;
    if (post_is_simple(p))
        return activate(p, x);
    switch (p->activation) {
    case ACT_TANH:
        return tangent(x);
    case ACT_ERF:
        return error_function(x);
    case ACT_GELU:
        return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
    case ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tangent(0.79788456f * (x + 0.044715f * x * x * x)));
    default:
        s = 1.0f / (1.0f + exponential(-x));
        return p->activation == ACT_SILU ? x * s : s;
    }
}

/* The same, ready for a loop. */
struct finisher {
    const struct post *post;
    struct bounds bounds;
    bool bounded;
};

INLINE struct finisher finisher_of(const struct post *p)
{
    struct finisher f = {.post = p};
    f.bounded = bounds_of(p, &f.bounds);
    return f;
}

INLINE vec finished(const struct finisher *f, vec x)
{
    return f->bounded ? within(&f->bounds, x) : finish(f->post, x);
}

/* ---- products ---- */

/* Activation, columns that are not stored: the ways out of a tile that are not worth unrolling. */
static __attribute__((noinline)) void tile_finish(const struct panel_call *c, const float *acc)
{
    struct finisher f = finisher_of(c->post);
    for (int r = 0; r < c->rows; r++)
        for (int v = 0; v < c->vectors; v++) {
            float *to = c->c + r * c->ldc + v * L;
            int64_t room = c->n - v * L;
            vec x = load(acc + (r * c->vectors + v) * L);
            if (c->last)
                x = finished(&f, x);
            if (room >= L)
                store(to, x);
            else if (room > 0)
                store_some(to, x, room);
        }
}

INLINE void tile_store(const struct panel_call *c, int rows, int vectors, vec acc[SIMD_ROWS][SIMD_VECTORS])
{
    float spilled[SIMD_ROWS * SIMD_VECTORS * L];
    struct bounds b;
    bool bounded = bounds_of(c->post, &b), straight = c->n >= vectors * L && (!c->last || bounded);
    float *to = straight ? c->c : spilled;
    int64_t ld = straight ? c->ldc : vectors * L;
    bool bind = straight && c->last && c->post->activation != ACT_NONE;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            store(to + r * ld + v * L, bind ? within(&b, acc[r][v]) : acc[r][v]);
    if (!straight)
        tile_finish(c, spilled);
}

INLINE vec load_columns(const struct panel_call *c, const float *p, int v)
{
    int64_t room = c->n - v * L;
    return room >= L ? load(p + v * L) : room > 0 ? load_some(p + v * L, room) : all(0);
}

INLINE vec tile_start(const struct panel_call *c, int r, int v)
{
    vec x;
    if (!c->first)
        return load_columns(c, c->c + r * c->ldc, v);
    x = c->bias ? load(c->bias + v * L) : all(0);
    return c->residual ? x + load_columns(c, c->residual + r * c->ldc, v) : x;
}

INLINE void tile(const struct panel_call *c, int rows, int vectors)
{
    vec acc[SIMD_ROWS][SIMD_VECTORS];
    const float *w = c->panel, *ahead = c->ahead ? c->ahead : c->panel;
    const int64_t ahead_step = c->ahead ? L : 0;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[r][v] = tile_start(c, r, v);
    for (int t = 0; t < c->taps; t++) {
        const float *a[SIMD_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            a[r] = c->row[t * rows + r] + c->shift;
        for (int64_t i = 0; i < c->k; i++, w += vectors * L) {
            vec b[SIMD_VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                b[v] = load(w + v * L);
            __builtin_prefetch(ahead, 0, 2);
            ahead += ahead_step;
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vec x = all(a[r][i]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    acc[r][v] += x * b[v];
            }
        }
    }
    tile_store(c, rows, vectors, acc);
}

#define TILE(rows, vectors)                                                                   \
    static __attribute__((noinline)) void tile_##rows##_##vectors(const struct panel_call *c) \
    {                                                                                         \
        tile(c, rows, vectors);                                                               \
    }
#define TILES(vectors) \
    TILE(1, vectors) TILE(2, vectors) TILE(3, vectors) TILE(4, vectors) TILE(5, vectors) TILE(6, vectors)
#define ENTRIES(vectors)                                                                                \
    {                                                                                                   \
        NULL, tile_1_##vectors, tile_2_##vectors, tile_3_##vectors, tile_4_##vectors, tile_5_##vectors, \
            tile_6_##vectors                                                                            \
    }

#if SIMD_ROWS == 4
#undef TILES
#undef ENTRIES
#define TILES(vectors) TILE(1, vectors) TILE(2, vectors) TILE(3, vectors) TILE(4, vectors)
#define ENTRIES(vectors)                                                             \
    {                                                                                \
        NULL, tile_1_##vectors, tile_2_##vectors, tile_3_##vectors, tile_4_##vectors \
    }
#endif

TILES(1)
TILES(2)
#if SIMD_VECTORS == 4
TILES(3)
TILES(4)
#endif

static void panel(const struct panel_call *c)
{
    static void (*const tiles[SIMD_VECTORS + 1][SIMD_ROWS + 1])(const struct panel_call *) = {
        {NULL},
        ENTRIES(1),
        ENTRIES(2),
#if SIMD_VECTORS == 4
        ENTRIES(3),
        ENTRIES(4),
#endif
    };
    tiles[c->vectors][c->rows](c);
}

/* ---- element by element ---- */

static void post(const struct post *p, float *x, const float *residual, int64_t n)
{
    struct finisher f = finisher_of(p);
    int64_t i = 0;
    for (; i + L <= n; i += L) {
        vec v = load(x + i);
        if (residual)
            v += load(residual + i);
        store(x + i, finished(&f, v));
    }
    if (i < n) {
        vec v = load_some(x + i, n - i);
        if (residual)
            v += load_some(residual + i, n - i);
        store_some(x + i, finished(&f, v), n - i);
    }
}

static void scale_shift(const struct post *p, const float *x, int64_t x_step, const float *scale,
                        const float *shift, float *y, int64_t rows, int64_t c)
{
    struct finisher f = finisher_of(p);
    for (int64_t r = 0; r < rows; r++, x += x_step, y += c) {
        int64_t i = 0;
        for (; i + L <= c; i += L) {
            vec v = load(x + i);
            v = scale ? v * load(scale + i) : v;
            v = shift ? v + load(shift + i) : v;
            store(y + i, finished(&f, v));
        }
        if (i < c) {
            vec v = load_some(x + i, c - i);
            v = scale ? v * load_some(scale + i, c - i) : v;
            v = shift ? v + load_some(shift + i, c - i) : v;
            store_some(y + i, finished(&f, v), c - i);
        }
    }
}

static void sum(float *y, const float *x, int64_t rows, int64_t stride, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 * L <= n; i += 4 * L) {
        vec a = load(y + i), b = load(y + i + L), c = load(y + i + 2 * L), d = load(y + i + 3 * L);
        for (int64_t r = 0; r < rows; r++) {
            const float *p = x + r * stride + i;
            a += load(p), b += load(p + L), c += load(p + 2 * L), d += load(p + 3 * L);
        }
        store(y + i, a), store(y + i + L, b), store(y + i + 2 * L, c), store(y + i + 3 * L, d);
    }
    for (; i + L <= n; i += L) {
        vec a = load(y + i);
        for (int64_t r = 0; r < rows; r++)
            a += load(x + r * stride + i);
        store(y + i, a);
    }
    for (; i < n; i++)
        for (int64_t r = 0; r < rows; r++)
            y[i] += x[r * stride + i];
}

static void scale(float *y, float a, int64_t n)
{
    int64_t i = 0;
    for (; i + L <= n; i += L)
        store(y + i, load(y + i) * a);
    for (; i < n; i++)
        y[i] *= a;
}

/* A NaN in a or b stays. */
INLINE vec larger(vec a, vec b)
{
    return choose((b > a) | (b != b), b, a);
}

INLINE void pool_lanes(const float *const *row, int taps, bool max, float scale, float *y, int64_t i,
                       int vectors)
{
    vec a[4];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        a[v] = load(row[0] + i + v * L);
    for (int t = 1; t < taps; t++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec x = load(row[t] + i + v * L);
            a[v] = max ? larger(a[v], x) : a[v] + x;
        }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        store(y + i + v * L, max ? a[v] : a[v] * scale);
}

INLINE void pool(const float *const *row, int taps, bool max, float scale, float *y, int64_t c)
{
    int64_t i = 0;
    for (; i + 4 * L <= c; i += 4 * L)
        pool_lanes(row, taps, max, scale, y, i, 4);
    for (; i + L <= c; i += L)
        pool_lanes(row, taps, max, scale, y, i, 1);
    if (i < c) {
        vec a = load_some(row[0] + i, c - i);
        for (int t = 1; t < taps; t++) {
            vec x = load_some(row[t] + i, c - i);
            a = max ? larger(a, x) : a + x;
        }
        store_some(y + i, max ? a : a * scale, c - i);
    }
}

static void pool_max(const float *const *row, int taps, float *y, int64_t c)
{
    pool(row, taps, true, 1, y, c);
}

static void pool_mean(const float *const *row, int taps, float scale, float *y, int64_t c)
{
    pool(row, taps, false, scale, y, c);
}

/* A few vectors of channels of some pixels at once, so that weights are loaded once for all. */
INLINE void depthwise_lanes(const struct depthwise_call *d, const struct finisher *f, int64_t i, int pixels,
                            int vectors)
{
    vec a[DEPTHWISE_PIXELS][2], w[2];
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            a[p][v] = load(d->bias + i + v * L);
            if (d->residual)
                a[p][v] += load(d->residual + p * d->y_step + i + v * L);
        }
    for (int t = 0; t < d->taps; t++) {
        const float *x = d->row[t] + i;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            w[v] = load(d->w + t * d->c + i + v * L);
#pragma GCC unroll 4
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                a[p][v] += load(x + p * d->x_step + v * L) * w[v];
    }
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            store(d->y + p * d->y_step + i + v * L, finished(f, a[p][v]));
}

/* The last n < L channels. */
static void depthwise_rest(const struct depthwise_call *d, const struct finisher *f, int64_t i, int64_t n)
{
    for (int p = 0; p < d->pixels; p++) {
        vec a = load_some(d->bias + i, n);
        if (d->residual)
            a += load_some(d->residual + p * d->y_step + i, n);
        for (int t = 0; t < d->taps; t++)
            a += load_some(d->row[t] + p * d->x_step + i, n) * load_some(d->w + t * d->c + i, n);
        store_some(d->y + p * d->y_step + i, finished(f, a), n);
    }
}

static void depthwise(const struct depthwise_call *d)
{
    struct finisher f = finisher_of(d->post);
    int64_t i = 0;
    if (d->pixels == DEPTHWISE_PIXELS) {
        for (; i + 2 * L <= d->c; i += 2 * L)
            depthwise_lanes(d, &f, i, DEPTHWISE_PIXELS, 2);
        for (; i + L <= d->c; i += L)
            depthwise_lanes(d, &f, i, DEPTHWISE_PIXELS, 1);
    } else {
        for (; i + 2 * L <= d->c; i += 2 * L)
            depthwise_lanes(d, &f, i, 1, 2);
        for (; i + L <= d->c; i += L)
            depthwise_lanes(d, &f, i, 1, 1);
    }
    if (i < d->c)
        depthwise_rest(d, &f, i, d->c - i);
}

#define BINARY(OP)                                \
    for (; i + L <= n; i += L)                    \
        store(z + i, load(x + i) OP load(y + i)); \
    for (; i < n; i++)                            \
        z[i] = x[i] OP y[i];                      \
    break

static void binary(char op, const float *x, const float *y, float *z, int64_t n)
{
    int64_t i = 0;
    switch (op) {
    case '+':
        BINARY(+);
    case '-':
        BINARY(-);
    case '*':
        BINARY(*);
    default:
        BINARY(/);
    }
}

#define SCALAR(OP)                                                             \
    for (; i + L <= n; i += L)                                                 \
        store(z + i, swapped ? all(a) OP load(x + i) : load(x + i) OP all(a)); \
    for (; i < n; i++)                                                         \
        z[i] = swapped ? a OP x[i] : x[i] OP a;                                \
    break

static void binary_scalar(char op, const float *x, float a, bool swapped, float *z, int64_t n)
{
    int64_t i = 0;
    switch (op) {
    case '+':
        SCALAR(+);
    case '-':
        SCALAR(-);
    case '*':
        SCALAR(*);
    default:
        SCALAR(/);
    }
}

/* ---- rows ---- */

/* The sum, or the largest, of all lanes. */
INLINE float lanes_sum(vec v)
{
    float lane[L];
    store(lane, v);
#pragma GCC unroll 4
    for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

INLINE float lanes_max(vec v)
{
    float lane[L];
    store(lane, v);
#pragma GCC unroll 4
    for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            lane[i] = lane[i + half] > lane[i] ? lane[i + half] : lane[i];
    return lane[0];
}

INLINE float row_max(const float *x, int64_t n)
{
    vec a = all(-INFINITY), b = a;
    float most;
    int64_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        vec u = load(x + i), v = load(x + i + L);
        a = choose(u > a, u, a);
        b = choose(v > b, v, b);
    }
    most = lanes_max(choose(b > a, b, a));
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* What e^x would not be told from 0 in a sum with 1 is 0, so that what is masked is exactly that. */
INLINE vec small_exponential(vec x)
{
    return choose(x < all(-87.0f), all(0), exponential(x));
}

static void softmax(const float *x, float *y, int64_t n)
{
    float most = row_max(x, n), total, some[L];
    vec sum_a = all(0), sum_b = all(0);
    int64_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        vec a = small_exponential(load(x + i) - most), b = small_exponential(load(x + i + L) - most);
        sum_a += a, sum_b += b;
        store(y + i, a);
        store(y + i + L, b);
    }
    total = lanes_sum(sum_a + sum_b);
    for (; i < n; i += L) {
        int64_t rest = n - i < L ? n - i : L;
        store(some, small_exponential(load_some(x + i, rest) - most));
        memcpy(y + i, some, (size_t)rest * sizeof *y);
        for (int64_t k = 0; k < rest; k++)
            total += some[k];
    }
    scale(y, 1 / total, n);
}

/* The sum of x - a, or of its squares. */
INLINE float row_sum(const float *x, float a, bool squares, int64_t n)
{
    vec s = all(0), t = all(0);
    float total;
    int64_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        vec u = load(x + i) - a, v = load(x + i + L) - a;
        s += squares ? u * u : u;
        t += squares ? v * v : v;
    }
    total = lanes_sum(s + t);
    for (; i < n; i++)
        total += squares ? (x[i] - a) * (x[i] - a) : x[i] - a;
    return total;
}

static void layer_norm(const float *x, const float *by, const float *shift, float epsilon, float *y,
                       int64_t n)
{
    float mean = row_sum(x, 0, false, n) / (float)n;
    float factor = 1 / sqrtf(row_sum(x, mean, true, n) / (float)n + epsilon);
    for (int64_t i = 0; i < n; i += L) {
        int64_t rest = n - i;
        if (rest >= L) {
            vec v = (load(x + i) - mean) * factor * load(by + i);
            store(y + i, shift ? v + load(shift + i) : v);
        } else {
            vec v = (load_some(x + i, rest) - mean) * factor * load_some(by + i, rest);
            store_some(y + i, shift ? v + load_some(shift + i, rest) : v, rest);
        }
    }
}

/* ---- Winograd's F(4x4, 3x3) at the points 0, A, -A, B, -B, infinity (kernels_winograd.c) ---- */

#define WINO_A  0.75f
#define WINO_B  1.5f
#define WINO_A2 (WINO_A * WINO_A)
#define WINO_B2 (WINO_B * WINO_B)

/* Six numbers times B transposed. */
INLINE void input_line(const vec d[6], vec t[6])
{
    vec even_a = d[4] - WINO_B2 * d[2], odd_a = WINO_A * (d[3] - WINO_B2 * d[1]);
    vec even_b = d[4] - WINO_A2 * d[2], odd_b = WINO_B * (d[3] - WINO_A2 * d[1]);
    t[0] = (WINO_A2 * WINO_B2) * d[0] - (WINO_A2 + WINO_B2) * d[2] + d[4];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = (WINO_A2 * WINO_B2) * d[1] - (WINO_A2 + WINO_B2) * d[3] + d[5];
}

INLINE void output_line(const vec m[6], vec t[4])
{
    vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    t[0] = m[0] + a + c;
    t[1] = WINO_A * b + WINO_B * d;
    t[2] = WINO_A2 * a + WINO_B2 * c;
    t[3] = (WINO_A * WINO_A2) * b + (WINO_B * WINO_B2) * d + m[5];
}

INLINE void input_lanes(const float *const *row, float *v, int64_t stride, int64_t at)
{
    vec t[6][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) { /* columns of the patch */
        vec d[6], y[6];
        for (int i = 0; i < 6; i++)
            d[i] = load(row[i * 6 + j] + at);
        input_line(d, y);
        for (int i = 0; i < 6; i++)
            t[i][j] = y[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        vec y[6];
        input_line(t[i], y);
        for (int j = 0; j < 6; j++)
            store(v + (i * 6 + j) * stride + at, y[j]);
    }
}

static void wino_input(const float *const *row, float *v, int64_t stride, int64_t c)
{
    /* c is a multiple of the lanes: the kernel accepts no other. */
    for (int64_t at = 0; at < c; at += L)
        input_lanes(row, v, stride, at);
}

INLINE void output_lanes(const float *m, int64_t stride, float *const *out, const float *const *residual,
                         const float *bias, const struct finisher *f, int64_t at)
{
    vec t[4][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; j++) {
        vec d[6], y[4];
        for (int i = 0; i < 6; i++)
            d[i] = load(m + (i * 6 + j) * stride + at);
        output_line(d, y);
        for (int i = 0; i < 4; i++)
            t[i][j] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vec y[4];
        output_line(t[i], y);
        for (int j = 0; j < 4; j++) {
            vec x = bias ? y[j] + load(bias + at) : y[j];
            if (!out[i * 4 + j])
                continue;
            if (residual)
                x += load(residual[i * 4 + j] + at);
            store(out[i * 4 + j] + at, finished(f, x));
        }
    }
}

static void wino_output(const float *m, int64_t stride, float *const *out, const float *const *residual,
                        const float *bias, const struct post *p, int64_t c)
{
    struct finisher f = finisher_of(p);
    for (int64_t at = 0; at < c; at += L)
        output_lanes(m, stride, out, residual, bias, &f, at);
}

static void range(const float *x, int64_t n, float *low, float *high)
{
    float least[64], most[64];
    for (int k = 0; k < 64; k++)
        least[k] = *low, most[k] = *high;
    for (; n >= 64; n -= 64, x += 64)
        for (int k = 0; k < 64; k++) {
            least[k] = x[k] < least[k] ? x[k] : least[k];
            most[k] = x[k] > most[k] ? x[k] : most[k];
        }
    for (int64_t k = 0; k < n; k++) {
        least[k] = x[k] < least[k] ? x[k] : least[k];
        most[k] = x[k] > most[k] ? x[k] : most[k];
    }
    for (int k = 0; k < 64; k++) {
        *low = least[k] < *low ? least[k] : *low;
        *high = most[k] > *high ? most[k] : *high;
    }
}

/* ---- lower types; the compiler turns these loops into vectors ---- */

static void to_bf16(const float *x, uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        y[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40
                                                           : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

static void from_bf16(const uint16_t *x, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)x[i] << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

/* Adding 1.5 x 2^23 leaves a number's rounded value in the lowest bits. */
INLINE int32_t rounded(float x, float low, float high)
{
    float y = (x > low ? x : low) < high ? (x > low ? x : low) : high;
    int32_t bits;
    y = (x == x ? y : 0) + 12582912.0f;
    memcpy(&bits, &y, sizeof bits);
    return bits - 0x4b400000;
}

static void to_u8(const float *x, float step, int zero, uint8_t *y, int64_t n)
{
    float by = 1 / step, low = (float)-zero, high = (float)(255 - zero);
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint8_t)(rounded(x[i] * by, low, high) + zero);
}

static void to_i8(const float *x, float step, int zero, int8_t *y, int64_t n)
{
    float by = 1 / step, low = (float)(-128 - zero), high = (float)(127 - zero);
    for (int64_t i = 0; i < n; i++)
        y[i] = (int8_t)(rounded(x[i] * by, low, high) + zero);
}

static void from_u8(const uint8_t *x, float step, int zero, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(x[i] - zero) * step;
}

static void from_i8(const int8_t *x, float step, int zero, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(x[i] - zero) * step;
}

const struct simd SIMD_SET = {
    .name = SIMD_NAME,
    .lanes = L,
    .rows = SIMD_ROWS,
    .vectors = SIMD_VECTORS,
    .panel = panel,
    .post = post,
    .scale_shift = scale_shift,
    .sum = sum,
    .scale = scale,
    .pool_max = pool_max,
    .pool_mean = pool_mean,
    .depthwise = depthwise,
    .binary = binary,
    .binary_scalar = binary_scalar,
    .softmax = softmax,
    .layer_norm = layer_norm,
    .wino_input = wino_input,
    .wino_output = wino_output,
    .range = range,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .to_u8 = to_u8,
    .from_u8 = from_u8,
    .to_i8 = to_i8,
    .from_i8 = from_i8,
};
