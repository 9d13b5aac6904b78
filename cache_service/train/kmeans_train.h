/* kmeans_train.h - find centroids of embedded points */
#ifndef FREEZELINE_KMEANS_TRAIN_H
#define FREEZELINE_KMEANS_TRAIN_H

#include "matrix_file.h"
#include "index/knn.h"

#define KMEANS_ITERATIONS 12

struct kmeans_training {
    const struct matrix_file *rows; /* embedded points; rows that are not finite are passed over */
    const int32_t *labels;          /* outside 0..classes-1: the row is passed over */
    int classes;
    int64_t centroids; /* at most; fewer where there are fewer points */
    uint64_t seed;
    const char *phase; /* for progress; the number is the mean squared distance to the nearest centroid */
    rows_progress progress;
    void *progress_arg;
};

/* k-means++ (Arthur and Vassilvitskii 2007) on a sample, then Lloyd's iterations over all rows until no point
 * changes its centroid or KMEANS_ITERATIONS are done; a centroid that lost all its points moves to the point
 * that is farthest from its own. Then each centroid counts the classes of the rows nearest to it as it is
 * stored. Same input, seed and BLAS threads: same result. *out is the caller's: points_release(&out->points),
 * free(out->count). FL_VALUE, FL_NOMEM, FL_CANCELLED. */
int kmeans_train(struct kmeans *out, const struct kmeans_training *t, struct error *e);

#endif
