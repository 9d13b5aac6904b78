/* half_template.h - the loops of half.c for one kind of vector; half.c includes it once for each
 *
 * Takes NAME(x), TARGET, V (a vector of LANES floats), V_ZERO, V_SET, V_LOAD, V_STORE, V_HALF (LANES halves),
 * V_ADD, V_SUB, V_MAX, V_FMA, V_SUM, V_NOT_ABOVE (bit i: lane i is not above) and V_PUT_SUMS: the sums of
 * ROWS vectors.
 */

/* n <= LANES columns of a row, zeros behind them. */
TARGET static INLINE V NAME(halves)(const uint16_t *w, int n)
{
    uint16_t padded[LANES] = {0};
    if (n == LANES)
        return V_HALF(w);
    memcpy(padded, w, (size_t)n * sizeof *w);
    return V_HALF(padded);
}

TARGET static INLINE V NAME(floats)(const float *x, int n)
{
    float padded[LANES] = {0};
    if (n == LANES)
        return V_LOAD(x);
    memcpy(padded, x, (size_t)n * sizeof *x);
    return V_LOAD(padded);
}

/* n <= LANES columns from c of ROWS rows times those of q <= 3 x. */
TARGET static INLINE void NAME(step)(const struct tile *t, bool decoded, int q, int c, int n, V sum[3][ROWS])
{
    V a[3], b;
#pragma GCC unroll 3
    for (int i = 0; i < q; i++)
        a[i] = NAME(floats)(t->x + i * t->x_stride + c, n);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        const uint16_t *row = t->rows + r * t->row_stride + c;
        b = decoded ? NAME(floats)(t->decoded + r * PIECE_STRIDE + c, n) : NAME(halves)(row, n);
        LOADED(b);
        if (!decoded) /* so many streams are more than the hardware foresees */
            __builtin_prefetch((const char *)row + (size_t)(ROWS * t->row_stride) * sizeof *row, 0, 2);
#pragma GCC unroll 3
        for (int i = 0; i < q; i++)
            sum[i][r] = V_FMA(b, a[i], sum[i][r]);
    }
}

TARGET static INLINE void NAME(some)(const struct tile *t, bool decoded, int q)
{
    V sum[3][ROWS];
    int c = 0;
#pragma GCC unroll 3
    for (int i = 0; i < q; i++) {
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[i][r] = V_ZERO;
    }
    for (; c + LANES <= t->cols; c += LANES)
        NAME(step)(t, decoded, q, c, LANES, sum);
    if (c < t->cols)
        NAME(step)(t, decoded, q, c, t->cols - c, sum);
#pragma GCC unroll 3
    for (int i = 0; i < q; i++)
        V_PUT_SUMS(sum[i], t->add, t->y + i * t->y_stride);
}

/* ROWS rows times n x. */
TARGET static INLINE void NAME(rows)(struct tile t, bool decoded, int n)
{
    for (int q; n > 0; n -= q, t.x += q * t.x_stride, t.y += q * t.y_stride) {
        q = n == 4 ? 2 : n < 3 ? n : 3;
        if (q == 3)
            NAME(some)(&t, decoded, 3);
        else if (q == 2)
            NAME(some)(&t, decoded, 2);
        else
            NAME(some)(&t, decoded, 1);
    }
}

TARGET static void NAME(decode)(const uint16_t *from, float *to, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        V_STORE(to + i, V_HALF(from + i));
    decode_plain(from + i, to + i, n - i);
}

/* The rows of t as floats. Asks for the rows after these. */
TARGET static INLINE void NAME(decode_piece)(const struct tile *t, float *piece)
{
    for (int r = 0; r < ROWS; r++) {
        const uint16_t *row = t->rows + r * t->row_stride;
        NAME(decode)(row, piece + r * PIECE_STRIDE, (size_t)t->cols);
        for (int c = 0; c < t->cols; c += 32)
            __builtin_prefetch((const char *)row + (size_t)(ROWS * t->row_stride + c) * sizeof *row, 0, 2);
    }
}

/* Few x: rows are decoded as they are used. Many: once, a piece that stays in the L1 cache at a time. */
TARGET static void NAME(product)(const uint16_t *w, int64_t rows, int cols, const float *x, int n, float *y)
{
    _Alignas(64) float piece[ROWS * PIECE_STRIDE];
    if (rows < ROWS) {
        half_product_plain(w, rows, cols, x, n, y);
        return;
    }
    for (int64_t r = 0; r < rows; r += ROWS) {
        struct tile t = {
            .decoded = piece, .row_stride = cols, .cols = cols, .x_stride = cols, .y_stride = rows};
        r = r + ROWS > rows ? rows - ROWS : r; /* the last ones may be taken twice */
        t.rows = w + r * cols;
        t.x = x;
        t.y = y + r;
        if (n <= FEW) {
            NAME(rows)(t, false, n);
            continue;
        }
        for (int from = 0; from < cols; from += PIECE) {
            t.cols = cols - from < PIECE ? cols - from : PIECE;
            NAME(decode_piece)(&t, piece);
            NAME(rows)(t, true, n);
            t.rows += PIECE;
            t.x += PIECE;
            t.add = true;
        }
    }
}

TARGET static float NAME(distance2)(const uint16_t *w, const float *x, int cols)
{
    V sum[4] = {V_ZERO, V_ZERO, V_ZERO, V_ZERO}, d;
    int c = 0;
    for (; c + 4 * LANES <= cols; c += 4 * LANES) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            d = V_SUB(V_HALF(w + c + k * LANES), V_LOAD(x + c + k * LANES));
            sum[k] = V_FMA(d, d, sum[k]);
        }
    }
    for (; c < cols; c += LANES) {
        int n = cols - c < LANES ? cols - c : LANES;
        d = V_SUB(NAME(halves)(w + c, n), NAME(floats)(x + c, n));
        sum[0] = V_FMA(d, d, sum[0]);
    }
    return V_SUM(V_ADD(V_ADD(sum[0], sum[1]), V_ADD(sum[2], sum[3])));
}

TARGET static float NAME(dot)(const float *w, const float *x, int n)
{
    V sum[4] = {V_ZERO, V_ZERO, V_ZERO, V_ZERO};
    int c = 0;
    for (; c + 4 * LANES <= n; c += 4 * LANES) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            sum[k] = V_FMA(V_LOAD(w + c + k * LANES), V_LOAD(x + c + k * LANES), sum[k]);
    }
    for (; c < n; c += LANES) {
        int some = n - c < LANES ? n - c : LANES;
        sum[0] = V_FMA(NAME(floats)(w + c, some), NAME(floats)(x + c, some), sum[0]);
    }
    return V_SUM(V_ADD(V_ADD(sum[0], sum[1]), V_ADD(sum[2], sum[3])));
}

TARGET static int NAME(nearer)(float *dot, const float *w2, float x2, int n, float bound, int32_t *which)
{
    int found = 0, j = 0;
    for (; j + LANES <= n; j += LANES) {
        V d = V_MAX(V_ADD(V_FMA(V_SET(-2), V_LOAD(dot + j), V_SET(x2)), V_LOAD(w2 + j)), V_ZERO);
        V_STORE(dot + j, d);
        for (unsigned mask = V_NOT_ABOVE(d, V_SET(bound)); mask; mask &= mask - 1)
            which[found++] = j + __builtin_ctz(mask);
    }
    return nearer_from(dot, w2, x2, j, n, bound, which, found);
}

static const struct loops NAME(loops) = {NAME(decode), NAME(product), NAME(distance2), NAME(dot),
                                         NAME(nearer)};

#undef NAME
#undef TARGET
#undef V
#undef LANES
#undef ROWS
#undef V_ZERO
#undef V_SET
#undef V_LOAD
#undef V_STORE
#undef V_HALF
#undef V_ADD
#undef V_SUB
#undef V_MAX
#undef V_FMA
#undef V_SUM
#undef V_NOT_ABOVE
#undef V_PUT_SUMS
