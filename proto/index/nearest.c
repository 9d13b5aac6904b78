/* nearest.c - search by blocks of points, with a pool of candidates for each row of the batch
 *
 * A pool holds keys: the bits of a squared distance, which order as it does because it is not negative, above
 * the index. So whole numbers are compared, and among equal distances the lower index is the nearer. What is
 * not farther than the bound is added; a pool that has k to spare is cut to its k nearest, the farthest of
 * which is the next bound.
 */
#include "nearest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

#define BLOCK 128 /* points whose products with a batch of 32 stay in the L1 cache */
#define FIRST 16  /* the first blocks are small: each gives the next a bound */
#define FEW   12  /* candidates that are sorted by insertion */

struct nearest_row {
    float norm2, bound; /* of the row; squared distance beyond which nothing is one of the nearest */
    int have;           /* in its pool */
};

static uint64_t key_of(float distance, int64_t index)
{
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    return (uint64_t)bits << 32 | (uint32_t)index;
}

static float distance_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

static void sort_few(uint64_t *v, int n)
{
    for (int i = 1; i < n; i++) {
        uint64_t key = v[i];
        int j = i;
        for (; j > 0 && v[j - 1] > key; j--)
            v[j] = v[j - 1];
        v[j] = key;
    }
}

/* Puts what is nearer than the middle one of three before it and the rest behind it; returns its place.
 * Without branches that depend on the keys. n: at least 3. */
static int partition(uint64_t *v, int n)
{
    int place = 0, last = n - 1;
    uint64_t pivot;
    if (v[n / 2] < v[0])
        swap(&v[n / 2], &v[0]);
    if (v[last] < v[0])
        swap(&v[last], &v[0]);
    if (v[n / 2] < v[last])
        swap(&v[n / 2], &v[last]);
    pivot = v[last];
    for (int i = 0; i < last; i++) {
        uint64_t key = v[i];
        v[i] = v[place];
        v[place] = key;
        place += key < pivot;
    }
    swap(&v[place], &v[last]);
    return place;
}

/* The k nearest come first, the farthest of them as v[k - 1]. */
static void cut(uint64_t *v, int n, int k)
{
    while (n > FEW) {
        int place = partition(v, n);
        if (place == k - 1)
            return;
        if (place >= k) {
            n = place;
        } else {
            v += place + 1;
            n -= place + 1;
            k -= place + 1;
        }
    }
    sort_few(v, n);
}

static void sort(uint64_t *v, int n)
{
    while (n > FEW) {
        int place = partition(v, n), behind = n - place - 1;
        if (place < behind) {
            sort(v, place);
            v += place + 1;
            n = behind;
        } else {
            sort(v + place + 1, behind);
            n = place;
        }
    }
    sort_few(v, n);
}

/* Contents are not kept. */
static void *renew(void *old, size_t bytes)
{
    free(old);
    return malloc(bytes);
}

int nearest_fit(struct nearest_room *r, int m, int k)
{
    size_t rows = (size_t)m > r->rows ? (size_t)m : r->rows, pool = 2 * (size_t)k + BLOCK;
    pool = pool > r->pool ? pool : r->pool;
    if (rows == r->rows && pool == r->pool)
        return FL_OK;
    r->dot = renew(r->dot, rows * BLOCK * sizeof *r->dot);
    r->row = renew(r->row, rows * sizeof *r->row);
    r->key = renew(r->key, rows * pool * sizeof *r->key);
    r->rows = r->pool = 0;
    if (!r->dot || !r->row || !r->key)
        return FL_NOMEM;
    r->rows = rows;
    r->pool = pool;
    return FL_OK;
}

void nearest_release(struct nearest_room *r)
{
    free(r->dot);
    free(r->row);
    free(r->key);
    memset(r, 0, sizeof *r);
}

/* One row's products with the points from..from+n: what may be one of its k nearest goes to its pool. */
static void take_block(const struct points *p, int64_t from, int n, float *dot, int k,
                       struct nearest_row *row, uint64_t *pool)
{
    int32_t which[BLOCK];
    int found = half_nearer(dot, p->norm2 + from, row->norm2, n, row->bound, which);
    for (int i = 0; i < found; i++)
        pool[row->have++] = key_of(dot[which[i]], from + which[i]);
    if (row->have < 2 * k)
        return;
    cut(pool, row->have, k);
    row->have = k;
    row->bound = distance_of(pool[k - 1]);
}

static void measure(const struct points *p, const float *x, int n, uint64_t *pool, struct neighbour *out)
{
    for (int i = 0; i < n; i++) {
        int64_t index = (uint32_t)pool[i];
        pool[i] = key_of(points_distance(p, index, x), index);
    }
    sort(pool, n);
    for (int i = 0; i < n; i++)
        out[i] = (struct neighbour){distance_of(pool[i]), (uint32_t)pool[i]};
}

int nearest_search(const struct points *p, const float *x, int m, int k, struct nearest_room *r,
                   struct neighbour *out)
{
    int64_t nodes = p->nodes;
    int kept = p->n < k ? (int)p->n : k;
    for (int i = 0; i < m; i++)
        r->row[i] = (struct nearest_row){floats_norm2(x + i * nodes, p->nodes), INFINITY, 0};
    for (int64_t from = 0; from < p->n;) {
        int64_t block = from < FIRST ? FIRST : from < BLOCK ? from : BLOCK;
        int n = (int)(p->n - from < block ? p->n - from : block);
        half_product(p->data + from * nodes, n, p->nodes, x, m, r->dot);
        for (int i = 0; i < m; i++)
            take_block(p, from, n, r->dot + i * n, kept, &r->row[i], r->key + (size_t)i * r->pool);
        from += n;
    }
    for (int i = 0; i < m; i++) {
        uint64_t *pool = r->key + (size_t)i * r->pool;
        cut(pool, r->row[i].have, kept);
        measure(p, x + i * nodes, kept, pool, out + (int64_t)i * k);
    }
    return kept;
}
