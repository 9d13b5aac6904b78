/* slimming_network.c - two networks of the same wiring, side by side */
#include "slimming_network.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_OF_MEMORY 0.15 /* for each of what is kept of both networks */

int64_t network_numbers(const struct network *n, int last)
{
    const struct graph *g = n->as_is;
    struct tensor t =
        value_shape(&g->values[last == g->n_nodes - 1 ? g->outputs[0] : g->nodes[last].out[0]], 1);
    return tensor_count(&t);
}

/* As many records as fit where most crosses a cut. */
static int64_t records_that_fit(const struct network *n)
{
    double room = MOST_OF_MEMORY * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    int64_t most = 1;
    for (int i = 0; i < n->n_cuts; i++)
        most = network_numbers(n, n->cuts[i].node) > most ? network_numbers(n, n->cuts[i].node) : most;
    room /= (double)most * sizeof(float);
    return room < 1 ? 1 : room > 1e9 ? (int64_t)1e9 : (int64_t)room;
}

int network_new(struct network *n, struct graph *as_is, struct graph *now, const struct samples *samples,
                int64_t most_records, int threads, struct error *e)
{
    int64_t fit;
    int rc;
    *n = (struct network){.as_is = as_is, .now = now, .samples = samples, .threads = threads};
    if ((rc = layers_find(&n->layers, as_is, e)) || (rc = layers_own(as_is, &n->layers, e)) ||
        (rc = layers_own(now, &n->layers, e)) || (rc = graph_cuts(as_is, &n->cuts, &n->n_cuts, e)))
        return rc;
    fit = records_that_fit(n);
    n->count = most_records < fit ? most_records : fit;
    return FL_OK;
}

static void forget(struct network *n)
{
    free(n->was);
    free(n->is);
    n->was = n->is = NULL;
    n->at = 0;
}

void network_release(struct network *n)
{
    forget(n);
    graph_free(n->as_is);
    graph_free(n->now);
    layers_release(&n->layers);
    free(n->cuts);
    *n = (struct network){.as_is = NULL};
}

void network_around(const struct network *n, int layer, int *first, int *last)
{
    const struct layer *l = &n->layers.layer[layer];
    int sum = n->as_is->values[l->sum].producer;
    *first = 0;
    *last = n->as_is->n_nodes - 1;
    for (int i = 0; i < n->n_cuts; i++) {
        if (n->cuts[i].node < l->node)
            *first = n->cuts[i].node + 1;
        if (n->cuts[i].node >= sum) {
            *last = n->cuts[i].node;
            return;
        }
    }
}

struct stretch network_stretch(const struct network *n, bool now, int first, int last)
{
    return (struct stretch){.graph = now ? n->now : n->as_is,
                            .first = first,
                            .last = last,
                            .threads = n->threads,
                            .count = n->count,
                            .samples = n->samples,
                            .in = now && n->is ? n->is : n->was};
}

/* What crosses before node `first` of one of them, in place of what is kept. */
static int walk_on(struct network *n, bool now, int first, struct error *e)
{
    struct stretch s = network_stretch(n, now, n->at, first - 1);
    float **kept = now ? &n->is : &n->was;
    int rc;
    s.out = malloc((size_t)(n->count * network_numbers(n, s.last) + 1) * sizeof *s.out);
    rc = s.out ? stretch_run(&s, e) : error_set(e, FL_NOMEM, "no memory for what crosses a cut");
    if (rc) {
        free(s.out);
        return rc;
    }
    free(*kept);
    *kept = s.out;
    return FL_OK;
}

int network_go(struct network *n, int first, bool both, struct error *e)
{
    int rc;
    if (first < n->at || (both && n->at && !n->is))
        forget(n);
    if (first == n->at)
        return FL_OK;
    if ((rc = walk_on(n, false, first, e)) || (both && (rc = walk_on(n, true, first, e))))
        return rc;
    n->at = first;
    return FL_OK;
}
