/* elimination.h - which input channels of a layer can go, the others making up for them
 *
 * A layer makes y = W x. Of its inputs x with the moments G = sum of x x^T, a channel is `group` neighbours
 * (the window of a convolution). Without some channels the best W' of the others is that of least squares,
 * and the sum of |W x - W' x|^2 follows from W and G alone. Channels go one step after another, each time
 * those whose absence costs least once all others are fitted anew (Hassibi and Stork's Optimal Brain Surgeon,
 * by groups): for channel g that is tr(W_g (G^-1_gg)^-1 W_g^T). Pure.
 */
#ifndef FREEZELINE_ELIMINATION_H
#define FREEZELINE_ELIMINATION_H

#include <stdbool.h>
#include <stdint.h>

struct elimination {
    int outputs, channels, group; /* W is [outputs][channels * group] */
    double *w;                    /* becomes that of the channels that are left, 0 for the others */
    double *inverse;              /* of G, made definite; becomes nonsense */
    int step;                     /* channels that go at a time */
    /* Called when `left` channels are left, with the error so far. FL_OK to go on. */
    int (*reached)(void *arg, int left, double error);
    void *arg;
    bool *gone; /* [channels], false at first */
};

/* Until one step is left. What `reached` returns; FL_NOMEM, FL_VALUE where G's inverse is none. */
int eliminate(struct elimination *x);

#endif
