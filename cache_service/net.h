/* net.h - the small network behind projections and predictors: one relu layer, then scores
 *
 * h = relu(z w1 + b1), out = h w2 + b2, for rows z of standardised descriptors. Parameters lie in one run of
 * floats: w1 [dim][nodes], b1 [nodes], w2 [nodes][classes], b2 [classes]. All products are sgemm.
 */
#ifndef FREEZELINE_NET_H
#define FREEZELINE_NET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "shuffle.h"

struct net {
    int dim, nodes, classes;
    float *w1, *b1, *w2, *b2;
};

size_t net_parameters(int dim, int nodes, int classes);
struct net net_over(float *parameters, int dim, int nodes, int classes);
/* He et al. 2015 times `scale` for w1, variance 1 / nodes for w2, biases 0. */
void net_initialise(const struct net *m, double scale, struct shuffle *s);

/* Buffers for up to n rows. */
struct net_batch {
    float *z, *h, *out, *dh; /* [n][dim], [n][nodes], [n][classes], [n][nodes] */
    float *hard, *soft;      /* [n][classes]: what the scores should be: labels; a teacher's probabilities at
                                `temperature` */
};
int net_batch_new(struct net_batch *b, int n, int dim, int nodes, int classes);
void net_batch_free(struct net_batch *b);

struct net_loss {
    float distil;      /* share of the teacher in the loss, 0..1 */
    float temperature; /* at which the teacher and the student are compared (Hinton et al. 2015) */
};

/* Fills h and out. With s, each h is dropped with probability `drop` and the others grow by 1 / (1 - drop).
 */
void net_forward(const struct net *m, const struct net_batch *b, int n, float drop, struct shuffle *s);
/* (1 - distil) CE(hard, softmax(out)) + distil T^2 CE(soft, softmax(out / T)), the sum over n rows; out
 * becomes the gradient of their mean. */
double net_loss(const struct net_batch *b, int n, int classes, const struct net_loss *l);
/* dh = (out w2^T) where h > 0, times 1 / (1 - drop); out being a gradient. */
void net_backward(const struct net *m, const struct net_batch *b, int n, float drop);
/* Gradients of rows from .. from+rows of w1, of b1, w2, b2. */
void net_gradient_w1(const struct net *m, const struct net_batch *b, int n, int from, int rows, float *g);
void net_gradient_b1(const struct net *m, const struct net_batch *b, int n, float *g);
void net_gradient_w2(const struct net *m, const struct net_batch *b, int n, float *g);
void net_gradient_b2(const struct net *m, const struct net_batch *b, int n, float *g);

/* One step of Adam with decoupled decay (Loshchilov and Hutter 2019) for n parameters; `step` counts from 1.
 */
void net_descend(float *w, float *moment1, float *moment2, const float *gradient, size_t n, float rate,
                 float decay, int64_t step);

#endif
