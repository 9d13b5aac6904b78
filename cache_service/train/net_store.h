/* net_store.h - what was learned, as caches keep it */
#ifndef FREEZELINE_NET_STORE_H
#define FREEZELINE_NET_STORE_H

#include "net.h"
#include "index/predictor.h"
#include "index/projection.h"

/* The features of m become p's weights and biases, p being of the same shape with mean and scale in place:
 * weights as halves, transposed; inputs that never varied get weight 0 (dense); a map's normalisation by the
 * running means goes into its weights and biases: gain (w x - mean) / sqrt(variance + epsilon) + shift. */
void net_store(const struct net *m, struct projection *p);
/* The way back, into m of the same shape. A map's convolutions come without normalisation (gain 1, mean 0,
 * variance 1, shift the bias): net_map_settle. FL_NOMEM. */
int net_recall(const struct net *m, const struct projection *p, const struct predictor *head);

#endif
