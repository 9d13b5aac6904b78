/* builder.h - make the cache of one exit from descriptors and labels
 *
 * Input are matrices on disk (descriptor_file), memory-mapped and read in blocks, so memory is bounded
 * however large the data. Labels are the model's own (the full answer), as in the paper. Deterministic by
 * seed for a given number of threads.
 */
#ifndef FREEZELINE_BUILDER_H
#define FREEZELINE_BUILDER_H

#include "cache_service/index/cache.h"

/* rows x dim floats in a file, mapped read-only. Written append-only by descriptor_writer, so an interrupted
 * extraction resumes at the row it had reached. */
struct matrix_file {
    int64_t rows;
    int dim;
    uint64_t tag; /* of what they were made from */
    const float *data;
    size_t mapped_bytes;
};
int matrix_open(struct matrix_file *m, const char *path, struct error *e);
void matrix_close(struct matrix_file *m);

struct matrix_writer;
/* Opens for append; *rows is how many complete rows are there already (0 for a new file). FL_STALE when it
 * was written for another dim or tag. */
int matrix_writer_open(struct matrix_writer **out, const char *path, int dim, uint64_t tag, int64_t *rows,
                       struct error *e);
int matrix_writer_append(struct matrix_writer *w, const float *rows, int n, struct error *e);
int matrix_writer_close(struct matrix_writer *w, struct error *e); /* fsync */

/* Called from long loops: phase ("exit4: project"), done of total, a number to show (loss). Non-zero return =
 * stop (FL_CANCELLED; work done so far is on disk). builder_build tells how far the whole cache has come,
 * whatever the phase. */
typedef int (*builder_progress)(void *arg, const char *phase, int64_t done, int64_t total, double number);

/* How a learned cache was taught. */
struct builder_recipe {
    int tried; /* recipes, of which this one was taken; 0: it is the one that others do well with */
    double rate, drop;
};

struct builder_input {
    const char *exit_name;
    const char *kind; /* "knn" | "kmeans" | "learned" */
    uint8_t identity[16];
    int classes;
    const struct matrix_file *train;
    const int32_t *train_labels; /* the model's own */
    const struct matrix_file *calibrate;
    const int32_t *calibrate_labels; /* the model's own */
    const struct cache_config *config;
    size_t budget_bytes;  /* of this exit's points / centroids, or of the whole of a learned cache; 0 = no
                             limit */
    const char *work_dir; /* projections and partial work: an interrupted build goes on from here */
    builder_progress progress;
    void *progress_arg;
    const struct matrix_file
        *train_scores; /* the model's, [rows][classes], for `learned` to imitate; NULL: labels alone */
    int64_t pictures;  /* row i of `train` shows picture i % pictures; 0: each has its own */
    int map_side;      /* descriptors are maps [side][side][channels] (map.h); 0: they are not */
    int64_t most_work; /* multiply-adds that a learned cache's look-up may take; 0: no limit */
    struct builder_recipe *recipe; /* filled for `learned`; may be NULL */
};

/* Trains the projection (or loads it from work_dir when it was made from the same input), builds the index,
 * sets the threshold by the rule on the calibration set. */
int builder_build(struct cache **out, const struct builder_input *in, struct error *e);

#endif
