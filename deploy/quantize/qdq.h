/* qdq.h - a network with QuantizeLinear and DequantizeLinear where int8 rounds */
#ifndef FREEZELINE_QDQ_H
#define FREEZELINE_QDQ_H

#include "stages/exec/quantization.h"
#include "stages/graph/graph.h"

/* Puts a pair of them behind each value of `q`, and weights of products that take such values as integers
 * with a scale for each channel, biases as integers of 32 bits. The graph was loaded `for_writing`. FL_NOMEM.
 */
int qdq_insert(struct graph *g, const struct quantization *q, struct error *e);
/* Adds to `q` what convolutions make for a sum, out of `measured` on the same graph: int8 here adds before it
 * rounds, others round first. FL_NOMEM. */
int qdq_add_summands(struct quantization *q, const struct quantization *measured, const struct graph *g);

#endif
