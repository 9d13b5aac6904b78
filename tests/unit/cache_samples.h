/* cache_samples.h - small caches and data that several tests use */
#ifndef FREEZELINE_CACHE_SAMPLES_H
#define FREEZELINE_CACHE_SAMPLES_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "cache_service/train/builder.h"
#include "index/cache_body.h"
#include "index/half.h"
#include "cache_service/service/lookups.h"
#include "numbers/shuffle.h"

/* A projection that changes nothing: `dim` features, none negative, come out as they go in. */
static inline struct projection *sample_identity(int dim)
{
    struct projection *p;
    assert_int_equal(projection_new(&p, dim, dim), FL_OK);
    for (int i = 0; i < dim; i++) {
        p->scale[i] = 1;
        p->weights[i * dim + i] = half_from_float(1);
    }
    return p;
}

static inline struct cache *sample_knn(int dim, int classes, int k, const float *points,
                                       const int32_t *labels, int n)
{
    struct projection *p = sample_identity(dim);
    struct cache *c;
    assert_int_equal(cache_new(&c, CACHE_KNN, p, classes), FL_OK);
    projection_release(p);
    strcpy(c->exit, "exit1");
    c->threshold = 0.5f;
    c->knn.k = k;
    c->knn.label = malloc(((size_t)n + 1) * sizeof *c->knn.label);
    assert_int_equal(points_reserve(&c->knn.points, dim, n), FL_OK);
    for (int i = 0; i < n; i++) {
        points_set(&c->knn.points, i, points + (size_t)i * (size_t)dim);
        c->knn.label[i] = labels[i];
    }
    return c;
}

static inline struct cache *sample_kmeans(int dim, int classes, const float *centroids,
                                          const uint32_t *counts, int n)
{
    struct projection *p = sample_identity(dim);
    struct cache *c;
    assert_int_equal(cache_new(&c, CACHE_KMEANS, p, classes), FL_OK);
    projection_release(p);
    strcpy(c->exit, "exit1");
    c->threshold = 0.5f;
    c->kmeans.count = malloc(((size_t)n * (size_t)classes + 1) * sizeof *c->kmeans.count);
    memcpy(c->kmeans.count, counts, (size_t)n * (size_t)classes * sizeof *counts);
    assert_int_equal(points_reserve(&c->kmeans.points, dim, n), FL_OK);
    for (int i = 0; i < n; i++)
        points_set(&c->kmeans.points, i, centroids + (size_t)i * (size_t)dim);
    return c;
}

static inline struct cache_verdict sample_lookup(const struct cache *c, const float *x)
{
    struct cache_scratch *s;
    struct cache_verdict v;
    assert_int_equal(cache_scratch_new(&s, 1), FL_OK);
    assert_int_equal(cache_lookup(c, s, x, 1, &v), FL_OK);
    cache_scratch_free(s);
    return v;
}

/* n rows of `dim` features around one centre per class (label = row % classes), in a file at `path`.
 * `missing` (or -1): this class has no examples, its rows have the next one's. Feature 0 is the same in every
 * row. */
static inline void sample_rows(const char *path, int32_t *labels, int n, int dim, int classes, int missing,
                               uint64_t seed)
{
    struct matrix_writer *w;
    struct shuffle s;
    int64_t have;
    float *row = malloc((size_t)dim * sizeof *row);
    unlink(path);
    assert_int_equal(matrix_writer_open(&w, path, dim, seed, &have, NULL), FL_OK);
    shuffle_seed(&s, seed, 7);
    for (int i = 0; i < n; i++) {
        int label = i % classes == missing ? (missing + 1) % classes : i % classes;
        for (int d = 0; d < dim; d++)
            row[d] = d == 0 ? 3.25f : (float)((d % classes == label ? 2.0 : 0.0) + 0.5 * shuffle_normal(&s));
        labels[i] = label;
        assert_int_equal(matrix_writer_append(w, row, 1, NULL), FL_OK);
    }
    assert_int_equal(matrix_writer_close(w, NULL), FL_OK);
    free(row);
}

/* A lookups_look over a scratch of its own. */
static inline int sample_look(void *arg, const struct snapshot *s, const struct lookup *in,
                              const float *descriptors, struct cache_verdict *found)
{
    struct cache_scratch *scratch;
    (void)arg;
    assert_int_equal(cache_scratch_new(&scratch, in->n), FL_OK);
    assert_int_equal(cache_lookup(s->cache[in->exit], scratch, descriptors, in->n, found), FL_OK);
    cache_scratch_free(scratch);
    return FL_OK;
}

#endif
