/* net_train.h - teach a small network (net.h): descriptor -> features -> scores
 *
 * For the caches as published its features become the projection and the rest is dropped; for learned caches
 * the whole is kept.
 */
#ifndef FREEZELINE_NET_TRAIN_H
#define FREEZELINE_NET_TRAIN_H

#include "matrix_file.h"
#include "net.h"
#include "index/predictor.h"
#include "index/projection.h"

#define TRAIN_BATCH 256

/* How to teach. */
struct recipe {
    int epochs;
    float rate, decay; /* of Adam at its peak; the rate rises over the first tenth of all steps, then falls as
                          a cosine to 0 */
    double start;      /* times He's initialisation */
    float smoothing;   /* of labels (Szegedy et al. 2016) */
    float drop_input;  /* share of the descriptor's numbers that is dropped (Srivastava et al. 2014) */
    float drop;        /* of the nodes before the scores */
    float shift;       /* share of the maps whose cells are moved by a place (net_train.c, shift_map) */
    float mixup;       /* alpha of the Beta distribution that mixes two points (Zhang et al. 2018); 0: none */
    struct net_loss loss;
    float held_out; /* share of the pictures that is not learned from but says which epoch was best; 0: the
                       last one is taken */
};

struct net_training {
    const struct matrix_file *rows;
    const int32_t *labels; /* rows with a label outside 0..classes-1, or a descriptor that is not finite, are
                              passed over */
    /* the teacher's, [rows][classes], for recipe.loss.distil > 0; or NULL */
    const struct matrix_file *scores;
    int64_t pictures; /* row i shows picture i % pictures, if need be altered: a picture is held out with all
                         of its copies; 0: each row has its own */
    int64_t limit;    /* rows to learn from and to hold out, evenly spread over all; 0: all of them */
    int classes, nodes;
    /* of the descriptor, when it is to be looked at by convolutions; nodes is map_nodes() then */
    struct map map;
    struct recipe recipe;
    const struct projection *warm; /* start there, of this shape; NULL: at random */
    const struct predictor *warm_head;
    uint64_t seed;
    uint64_t tag;           /* of all of the above: a checkpoint with another tag is not continued */
    const char *checkpoint; /* file for the state after each epoch; NULL: none */
    const char *phase;      /* for progress; the number is the mean loss of the epoch so far */
    rows_progress progress;
    void *progress_arg;
};

/* What was learned: the features as they are stored, and the layer that makes scores of them. */
struct trained {
    struct projection *projection;
    struct predictor head;
    /* Of the epoch that was taken; NaN when nothing was held out. Risk: the area under the risk-coverage
     * curve (Geifman and El-Yaniv 2017), the mean share of wrong answers among the surest 1, 2, .. n points.
     */
    double held_out_agreement, held_out_risk;
};
/* Of n points with these confidences, which it puts into order, wrong answers among them: the area above. */
struct sureness {
    float confidence;
    bool wrong;
};
double risk_coverage(struct sureness *v, int64_t n);

void trained_release(struct trained *t);

/* The same input, seed and number of BLAS threads give the same result, also when it was interrupted
 * (FL_CANCELLED) and called again. Memory: 3 floats per parameter (4 with held-out points) plus a batch.
 * FL_VALUE when no row can be used. */
int net_train(struct trained *out, const struct net_training *t, struct error *e);

#endif
