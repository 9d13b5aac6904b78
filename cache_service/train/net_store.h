/* net_store.h - what was learned, as caches keep it */
#ifndef FREEZELINE_NET_STORE_H
#define FREEZELINE_NET_STORE_H

#include "net.h"
#include "index/projection.h"

/* The features of m become p's weights and biases, p being of the same shape with mean and scale in place:
 * weights as halves, transposed; inputs that never varied get weight 0 (dense); a map's normalisation by the
 * running means goes into its weights and biases: gain (w x - mean) / sqrt(variance + epsilon) + shift. */
void net_store(const struct net *m, struct projection *p);

#endif
