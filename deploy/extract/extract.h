/* extract.h - run a data set through the model once and keep the descriptors of every exit and the model's
 * scores
 *
 * One file per exit and one of scores, written append-only: an interrupted extraction goes on where it was.
 * Files of other data, model or descriptor are made anew.
 */
#ifndef FREEZELINE_EXTRACT_H
#define FREEZELINE_EXTRACT_H

#include "cache_service/train/builder.h"
#include "deploy/data/dataset.h"
#include "stages/place/placement.h"

struct extraction {
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct placement *placement;
    const struct dataset *data;
    const char *directory; /* exists */
    const char *phase;     /* what progress calls it: "run train" */
    int threads, batch;
    rows_progress progress;
    void *progress_arg;
    int copies; /* of each record, besides (augment.h): all records first, then the first copy of all, .. */
};

/* The files, mapped; release with extracted_release. */
struct extracted {
    int64_t rows, records; /* records: of the data set itself, the first rows */
    int classes, n_exits;
    struct matrix_file descriptor[PIPELINE_MAX_EXITS]; /* of exits whose kind is not "none" */
    int side[PIPELINE_MAX_EXITS];                      /* of descriptors that are maps; 0: they are not */
    struct matrix_file scores;                         /* rows x classes */
    int32_t *label;                                    /* the model's own: the largest score */
    int32_t *float32; /* [records]: its own in float32, by extract_float32; NULL: it computes in float32 */
};

/* FL_CANCELLED when progress says stop (what is done is on disk), FL_SHAPE when the model is no classifier of
 * these images, FL_VALUE when its scores are not numbers. */
int extract(struct extracted *out, const struct extraction *x, struct error *e);
/* Where the pipeline computes in a lower precision: what the network says in float32, which a promise is
 * about. Errors as judge. */
int extract_float32(struct extracted *d, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int threads, struct progress *progress, struct error *e);
void extracted_release(struct extracted *d);

#endif
