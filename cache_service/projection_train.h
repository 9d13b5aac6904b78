/* projection_train.h - learn a projection: descriptor -> relu layer -> softmax over the model's own labels */
#ifndef FREEZELINE_PROJECTION_TRAIN_H
#define FREEZELINE_PROJECTION_TRAIN_H

#include "builder.h"
#include "projection.h"

#define TRAIN_BATCH 256

struct projection_training {
    const struct matrix_file *rows;
    const int32_t *labels; /* rows with a label outside 0..classes-1, or a descriptor that is not finite, are
                              passed over */
    int classes, nodes, epochs;
    uint64_t seed;
    uint64_t tag;           /* of the input: a checkpoint with another tag is not continued */
    const char *checkpoint; /* file for the state after each epoch; NULL: none */
    const char *phase;      /* for progress; the number is the mean loss of the epoch so far */
    builder_progress progress;
    void *progress_arg;
};

/* Cross-entropy by mini-batch Adam (decoupled weight decay, cosine learning rate), He initialisation. The
 * same input, seed and number of BLAS threads give the same result, also when it was interrupted
 * (FL_CANCELLED) and called again. Memory: 3 floats per weight plus a batch. FL_VALUE when no row can be
 * used. */
int projection_train(struct projection **out, const struct projection_training *t, struct error *e);

/* Mean cross-entropy of n standardised rows z and its gradients: exposed so that a test can compare them with
 * finite differences. w1 is [dim][nodes], w2 [nodes][classes]; the gradients have the same shapes. */
struct projection_gradients {
    float *w1, *b1, *w2, *b2;
};
double projection_loss(int dim, int nodes, int classes, const float *w1, const float *b1, const float *w2,
                       const float *b2, const float *z, const int32_t *labels, int n,
                       struct projection_gradients *g);

#endif
