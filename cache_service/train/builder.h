/* builder.h - make the cache of one exit from descriptors and labels
 *
 * Input are rows on disk (matrix_file.h), memory-mapped and read in blocks, so memory is bounded however
 * large the data. Labels are the model's own (the full answer), as in the paper. Deterministic by
 * seed for a given number of threads.
 */
#ifndef FREEZELINE_BUILDER_H
#define FREEZELINE_BUILDER_H

#include "index/cache.h"
#include "matrix_file.h"

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
    const int32_t *train_labels;         /* the model's own */
    const struct matrix_file *calibrate; /* NULL: the threshold is infinity, for others to choose */
    const int32_t *calibrate_labels;     /* the model's own */
    const struct cache_config *config;
    size_t budget_bytes;    /* of this exit's points / centroids, or of the whole of a learned cache; 0 = no
                               limit */
    const char *work_dir;   /* projections and partial work: an interrupted build goes on from here */
    rows_progress progress; /* tells how far the whole cache has come, whatever the phase; may be NULL */
    void *progress_arg;
    /* the model's, [rows][classes], for `learned` to imitate; NULL: labels alone */
    const struct matrix_file *train_scores;
    int64_t pictures;              /* row i of `train` shows picture i % pictures; 0: each has its own */
    int map_side;                  /* descriptors are maps [side][side][channels] (map.h); 0: they are not */
    int64_t most_work;             /* multiply-adds that a learned cache's look-up may take; 0: no limit */
    struct builder_recipe *recipe; /* filled for `learned`; may be NULL */
    /* A cache of this exit and kind, of before: teaching starts there where it is of the same shape. NULL:
     * from nothing. */
    const struct cache *warm;
    int most_steps; /* batches that teach; 0: as many as the method says */
    bool once;      /* nothing is kept in work_dir for another call: no checkpoints, no search for a recipe */
};

/* Trains the projection (or loads it from work_dir when it was made from the same input), builds the index,
 * sets the threshold by the rule on the calibration set. A learned cache that work_dir has from the same
 * training input is calibrated alone. */
int builder_build(struct cache **out, const struct builder_input *in, struct error *e);

/* `max-wrong` (arXiv 2002.02645, section 3): the largest confidence of a look-up on the calibration set whose
 * label is not the model's own. As a hit needs more than the threshold, no wrong one on that set would have
 * been a hit. 0 when none was wrong; infinity (never a hit) when there is nothing to judge by. Look-ups
 * without a verdict (label -1) and points whose truth is unknown (negative) do not count. */
float threshold_max_wrong(const struct cache_verdict *v, const int32_t *truth, int64_t n);

#endif
