/* net_parts.h - between net.c and net_map.c: a map's convolutions */
#ifndef FREEZELINE_NET_PARTS_H
#define FREEZELINE_NET_PARTS_H

#include "net.h"

#define NET_EPSILON    1e-5f /* of batch normalisation */
#define NET_MAP_PIECES 6     /* weights, gain, shift of either convolution */

size_t net_map_floats(const struct map *m);
size_t net_map_largest_piece(const struct map *m);
/* Lays both convolutions over `floats`. */
void net_map_over(struct net *m, float *floats);
void net_map_initialise(const struct net *m, double scale, struct shuffle *s);
int net_map_batch_new(struct net_batch *b, int n, const struct map *m);
void net_map_batch_free(struct net_batch *b);
/* Convolutions without normalisation (net_recall) get that of the n rows z, and gain and shift that undo it:
 * what they make of these rows is what it was. */
void net_map_settle(const struct net *m, const struct net_batch *b, int n);
/* z -> h. */
void net_map_forward(const struct net *m, const struct net_batch *b, int n, bool training);
/* dh -> gradients of both convolutions. */
void net_map_backward(const struct net *m, const struct net_batch *b, int n);
size_t net_map_gradient(const struct net *m, const struct net_batch *b, int n, int i, float **at, float *g);

#endif
