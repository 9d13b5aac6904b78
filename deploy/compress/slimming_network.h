/* slimming_network.h - a network as it was and as it becomes, walked through from front to back on the same
 * records
 *
 * Both have the same nodes, values and layers; what is left out of the one that becomes is 0 until surgery.h
 * takes it out.
 */
#ifndef FREEZELINE_SLIMMING_NETWORK_H
#define FREEZELINE_SLIMMING_NETWORK_H

#include "layers.h"
#include "stretch.h"

struct network {
    struct graph *as_is, *now; /* owned */
    struct layers layers;
    struct cut *cuts;
    int n_cuts, threads;
    const struct samples *samples;
    int64_t count; /* of the first records, which everything is fitted to */
    int at;        /* what goes into this node, and on, is kept: the cut before it; 0: the samples do */
    float *was, *is;
};

/* Takes both graphs. FL_NOMEM; release in any case. */
int network_new(struct network *n, struct graph *as_is, struct graph *now, const struct samples *samples,
                int64_t most_records, int threads, struct error *e);
void network_release(struct network *n);

/* Nodes from the last cut before the layer to the first one behind its sum. */
void network_around(const struct network *n, int layer, int *first, int *last);
/* Walks on to node `first`, in both or in the original alone; a step back begins anew. Errors as stretch_run.
 */
int network_go(struct network *n, int first, bool both, struct error *e);
/* Nodes first .. last of the network as it becomes, or was, on all records, with what goes in there
 * (network_go). */
struct stretch network_stretch(const struct network *n, bool now, int first, int last);
/* Numbers of the value that a stretch ending at `last` makes, for one record. */
int64_t network_numbers(const struct network *n, int last);

#endif
