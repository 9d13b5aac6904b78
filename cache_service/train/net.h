/* net.h - the small networks behind projections and predictors: features, then scores
 *
 * Dense: h = relu(z w1 + b1) for rows z of standardised descriptors. Maps (map.h): two convolutions, each
 * with batch normalisation (Ioffe and Szegedy 2015) and relu; h is what the second one makes, place by place.
 * Either way scores = h w2 + b2. All products are sgemm.
 *
 * Parameters lie in one run of floats that training walks piece by piece: so w1 of a flattened activation
 * never needs its gradient in memory as a whole. Behind the parameters lie the running means and variances of
 * batch normalisation, which no gradient moves.
 */
#ifndef FREEZELINE_NET_H
#define FREEZELINE_NET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/map.h"
#include "numbers/shuffle.h"

struct net_shape {
    int dim, nodes, classes; /* of a map: side x side x channels, map_nodes() */
    struct map map;          /* side 0: dense */
};

/* One convolution: patches w [9 x channels in][width], normalised, times gain plus shift. */
struct net_convolution {
    float *w, *gain, *shift; /* [width] */
    float *mean, *variance;  /* [width], running */
};

struct net {
    struct net_shape shape;
    float *w1, *b1; /* dense: [dim][nodes], [nodes] */
    float *w2, *b2; /* [nodes][classes], [classes] */
    struct net_convolution convolution[2];
};

size_t net_floats(const struct net_shape *s); /* parameters and running means */
struct net net_over(float *floats, const struct net_shape *s);
/* He et al. 2015 times `scale` for features, variance 1 / nodes for w2, biases 0, gains 1. */
void net_initialise(const struct net *m, double scale, struct shuffle *s);

/* Buffers for up to n rows. */
struct net_batch {
    float *z, *h, *out, *dh; /* [n][dim], [n][nodes], [n][classes], [n][nodes] */
    float *hard, *soft;      /* [n][classes]: what the scores should be: labels; a teacher's probabilities at
                                `temperature` */
    struct net_step {        /* of one convolution of a map */
        float *patches;      /* [n x places][9 x channels in] */
        float *dpatches;     /* their gradient; of the second convolution alone */
        float *x, *y, *dx; /* [n x places][width]: normalised; after relu; gradient (first of y, then of x) */
        float *spread;     /* [width]: 1 / standard deviation in this batch */
        float *dgain, *dshift;
    } step[2];
};
int net_batch_new(struct net_batch *b, int n, const struct net_shape *s);
void net_batch_free(struct net_batch *b);

struct net_loss {
    float distil;      /* share of the teacher in the loss, 0..1 */
    float temperature; /* at which the teacher and the student are compared (Hinton et al. 2015) */
};

/* Fills h and out. With s it is a step of training: each h is dropped with probability `drop` and the others
 * grow by 1 / (1 - drop), and a map's convolutions are normalised by this batch; without, by the running
 * means. */
void net_forward(const struct net *m, const struct net_batch *b, int n, float drop, struct shuffle *s);
/* (1 - distil) CE(hard, softmax(out)) + distil T^2 CE(soft, softmax(out / T)), the sum over n rows; out
 * becomes the gradient of their mean. */
double net_loss(const struct net_batch *b, int n, int classes, const struct net_loss *l);
/* From out, being a gradient, to all that net_gradient needs. After net_forward with s. */
void net_backward(const struct net *m, const struct net_batch *b, int n, float drop);

/* Parameters in pieces: piece i of `net_pieces` is *at[0..count); its gradient goes to g, which has room for
 * net_largest_piece floats. */
int net_pieces(const struct net *m);
size_t net_largest_piece(const struct net_shape *s);
size_t net_gradient(const struct net *m, const struct net_batch *b, int n, int i, float **at, float *g);

/* One step of Adam with decoupled decay (Loshchilov and Hutter 2019) for n parameters; `step` counts from 1.
 */
void net_descend(float *w, float *moment1, float *moment2, const float *gradient, size_t n, float rate,
                 float decay, int64_t step);

#endif
