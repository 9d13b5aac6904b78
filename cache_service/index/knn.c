/* knn.c - exact k nearest neighbours */
#include "knn.h"

#include <stdbool.h>
#include <string.h>

/* Order of the heap: farthest on top, among equals the higher index, so that what stays does not depend on
 * the order of the points visited. */
static bool farther(struct neighbour a, struct neighbour b)
{
    return a.distance > b.distance || (a.distance == b.distance && a.index > b.index);
}

static void sift_down(struct neighbour *heap, int n, int i)
{
    for (;;) {
        int child = 2 * i + 1;
        struct neighbour t;
        if (child >= n)
            return;
        if (child + 1 < n && farther(heap[child + 1], heap[child]))
            child++;
        if (!farther(heap[child], heap[i]))
            return;
        t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;
        i = child;
    }
}

static void heapify(struct neighbour *heap, int n)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sift_down(heap, n, i);
}

static void sort_ascending(struct neighbour *heap, int n)
{
    heapify(heap, n);
    for (int last = n - 1; last > 0; last--) {
        struct neighbour t = heap[0];
        heap[0] = heap[last];
        heap[last] = t;
        sift_down(heap, last, 0);
    }
}

int knn_nearest(const struct points *p, const float *x, const float *d2, int k, struct neighbour *out)
{
    int n = p->n < k ? (int)p->n : k;
    if (n == 0)
        return 0;
    for (int i = 0; i < n; i++)
        out[i] = (struct neighbour){d2[i], i};
    heapify(out, n);
    for (int64_t i = n; i < p->n; i++) {
        if (d2[i] < out[0].distance) {
            out[0] = (struct neighbour){d2[i], i};
            sift_down(out, n, 0);
        }
    }
    for (int i = 0; i < n; i++)
        out[i].distance = points_distance(p, out[i].index, x);
    sort_ascending(out, n);
    return n;
}

int32_t knn_confidence(const struct neighbour *near, int n, int k, const int32_t *label, int classes,
                       float *scores, float *confidence)
{
    int32_t best = 0;
    memset(scores, 0, (size_t)classes * sizeof *scores);
    for (int j = 0; j < n; j++)
        scores[label[near[j].index]] += 1 / near[j].distance;
    for (int j = 0; j < n; j++) { /* multiply each class once, at its first neighbour */
        int32_t c = label[near[j].index];
        int support = 0;
        bool first = true;
        for (int i = 0; i < n; i++) {
            support += label[near[i].index] == c;
            first = first && !(i < j && label[near[i].index] == c);
        }
        if (first)
            scores[c] *= (float)support / (float)k;
    }
    for (int32_t c = 1; c < classes; c++) {
        if (scores[c] > scores[best])
            best = c;
    }
    *confidence = scores[best];
    return best;
}
