/* ways.h - how much of each layer stays: what each way of making it smaller costs in answers, and the choice
 *
 * There are three ways. PRUNE leaves channels of a site out and fits its reader anew (elimination.h). SPLIT
 * puts two layers in a layer's place: one that makes fewer outputs, along the directions in which its outputs
 * vary most on the data, and one of a single tap that makes the outputs of these (Zhang et al. 2015; without
 * data this is the truncated singular value decomposition of the weights). NARROW puts a layer of a single
 * tap before a convolution, which makes fewer numbers of its inputs; with SPLIT it is a Tucker-2
 * decomposition. Each is tried at several sizes with the rest of the network as it is; what the network's
 * answers lose by it is measured on records. The choice then takes, again and again, what loses least for
 * what it saves, until the budget is met.
 */
#ifndef FREEZELINE_COMPRESSION_WAYS_H
#define FREEZELINE_COMPRESSION_WAYS_H

#include "slimming_network.h"

#define WAY_LEVELS 8

enum way_kind { WAY_PRUNE, WAY_SPLIT, WAY_NARROW };

struct way {
    enum way_kind kind;
    int layer;  /* PRUNE: the site's reader; SPLIT: the layer itself */
    int all;    /* channels, or outputs */
    int levels; /* sizes that were tried, from the largest on; the first is `all`, which loses nothing */
    int keep[WAY_LEVELS];     /* channels that stay, or numbers that the thin layer makes */
    double error[WAY_LEVELS]; /* what the layer's own outputs are off by, squared */
    double loss[WAY_LEVELS];  /* what the network's answers lose; NAN until ways_fill: not tried */
    int level;                /* the chosen one */
    int *order;               /* PRUNE: [all], the channels in the order in which they go */
};

struct ways {
    int n;
    struct way *way;
    double *node_flops; /* of the network as it was, for one record */
    int n_nodes;
};

/* Lists what can be tried. FL_NOMEM; release in any case. */
int ways_new(struct ways *p, const struct network *n, struct error *e);
void ways_release(struct ways *p);

/* Measures what each way loses at each of its sizes, on the first `judges` records. `fused` is the original
 * as it is run. Changes nothing of the network. FL_CANCELLED, errors as stretch_run. */
int ways_measure(struct ways *p, struct network *n, const struct graph *fused, int64_t judges,
                 struct progress *progress, struct error *e);

/* Losses of sizes that were not tried, from those that were: between them the logarithm of the loss follows
 * that of the layer's error, elsewhere the loss grows as the error does. Pure. */
void ways_fill(struct way *w);
/* FLOPs of one record at the chosen levels. */
double ways_flops(const struct ways *p, const struct network *n);
/* Chooses levels so that at most `flops` are left, or as few as the ways allow. Pure. */
void ways_choose(struct ways *p, const struct network *n, double flops);

/* The way of that kind at a layer that has been chosen (level > 0), or NULL. */
const struct way *ways_at(const struct ways *p, enum way_kind kind, int layer);
/* keep[c]: does channel c of a site's reader stay? All do where nothing is pruned. */
void ways_kept(const struct ways *p, const struct network *n, int site, bool *keep);

#endif
