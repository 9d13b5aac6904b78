/* ways.c - the ways, what they save, and the choice among them */
#include "ways.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BIAS_FREE 11 /* the operator set since which Gemm needs no bias */
#define FEWEST    16 /* outputs or channels that are worth a look */
#define EASE                                                                                      \
    0.45 /* of a FLOP of a 3x3 convolution that Winograd computes, against one of a plain product \
          */
#define WORTH_LEFT 0.95 /* of a layer's FLOPs: two layers in its place must take less */

/* ---- what there is to choose from ---- */

/* Sizes in steps of an eighth, multiples of 16 where there are enough: vectors of numbers are used in full.
 */
static void list_sizes(struct way *w, int most)
{
    int step = w->all / 8 / 16 * 16;
    step = step ? step : w->all >= 64 ? 16 : w->all / 8;
    w->keep[0] = w->all;
    w->levels = 1;
    for (int keep = (w->all - 1) / step * step; keep > 0 && w->levels < WAY_LEVELS; keep -= step)
        if (keep <= most)
            w->keep[w->levels++] = keep;
}

static void list_ways(struct ways *p, const struct network *n)
{
    const struct layers *l = &n->layers;
    for (int i = 0; i < l->n; i++) {
        const struct layer *at = &l->layer[i];
        struct way *w = &p->way[p->n];
        if (at->reads >= 0 && l->site[at->reads].channels >= FEWEST) {
            *w = (struct way){.kind = WAY_PRUNE, .layer = i, .all = (int)l->site[at->reads].channels};
            list_sizes(w, w->all);
            w++;
        }
        if (!(node_is(&n->as_is->nodes[at->node], "Gemm") && n->as_is->opset < BIAS_FREE) &&
            at->out >= FEWEST && at->features >= FEWEST && at->out <= LAYERS_MOST_FEATURES) {
            double both = (double)(at->features + at->out), one = (double)at->features * (double)at->out;
            *w = (struct way){.kind = WAY_SPLIT, .layer = i, .all = (int)at->out};
            list_sizes(w, (int)(WORTH_LEFT * one / both));
            w += w->levels > 1;
        }
        if (at->taps > 1 && at->features / at->taps >= FEWEST && at->features <= LAYERS_MOST_FEATURES) {
            double core = (double)(at->out * at->places * at->taps), thin = (double)at->pixels;
            *w = (struct way){.kind = WAY_NARROW, .layer = i, .all = (int)(at->features / at->taps)};
            list_sizes(w, (int)(WORTH_LEFT * w->all * core / (core + thin * w->all)));
            w += w->levels > 1;
        }
        p->n = (int)(w - p->way);
    }
}

int ways_new(struct ways *p, const struct network *n, struct error *e)
{
    *p = (struct ways){.way = calloc(3 * (size_t)n->layers.n + 1, sizeof *p->way),
                       .node_flops = calloc((size_t)n->as_is->n_nodes + 1, sizeof *p->node_flops),
                       .n_nodes = n->as_is->n_nodes};
    if (!p->way || !p->node_flops)
        return error_set(e, FL_NOMEM, "no memory for the ways");
    for (int i = 0; i < p->n_nodes; i++)
        p->node_flops[i] = graph_node_flops(n->as_is, i, 1);
    list_ways(p, n);
    for (int i = 0; i < p->n; i++)
        if (p->way[i].kind == WAY_PRUNE && !(p->way[i].order = calloc((size_t)p->way[i].all, sizeof(int))))
            return error_set(e, FL_NOMEM, "no memory for the ways");
    return FL_OK;
}

void ways_release(struct ways *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->way[i].order);
    free(p->way);
    free(p->node_flops);
    *p = (struct ways){0};
}

/* ---- losses ---- */

/* The nearest size that was tried, in that direction; 0: none. */
static int tried(const struct way *w, int from, int step)
{
    int i = from;
    while (i > 0 && i < w->levels && isnan(w->loss[i]))
        i += step;
    return i > 0 && i < w->levels ? i : 0;
}

void ways_fill(struct way *w)
{
    double filled[WAY_LEVELS] = {0};
    for (int i = 1; i < w->levels; i++) {
        int a = tried(w, i, -1), b = tried(w, i, 1);
        double ea = fmax(w->error[a], 1e-300), eb = fmax(w->error[b], 1e-300), e = fmax(w->error[i], 1e-300);
        if (a == i)
            filled[i] = w->loss[i];
        else if (a && b && eb > ea && w->loss[a] > 0 && w->loss[b] > 0)
            filled[i] = exp(log(w->loss[a]) + log(w->loss[b] / w->loss[a]) * log(e / ea) / log(eb / ea));
        else
            filled[i] = a && !b ? w->loss[a] * e / ea : w->loss[b] * e / eb;
        filled[i] = fmax(filled[i], filled[i - 1]);
    }
    memcpy(w->loss, filled, sizeof filled);
}

/* ---- what it costs to run ---- */

const struct way *ways_at(const struct ways *p, enum way_kind kind, int layer)
{
    for (int i = 0; i < p->n; i++)
        if (p->way[i].kind == kind && p->way[i].layer == layer && p->way[i].level > 0)
            return &p->way[i];
    return NULL;
}

void ways_kept(const struct ways *p, const struct network *n, int site, bool *keep)
{
    const struct way *w = ways_at(p, WAY_PRUNE, n->layers.site[site].reader);
    for (int64_t c = 0; c < n->layers.site[site].channels; c++)
        keep[c] = true;
    for (int i = 0; w && i < w->all - w->keep[w->level]; i++)
        keep[w->order[i]] = false;
}

/* Share of a site's channels that stay; 1 where there is no site. */
static double share(const struct ways *p, const struct network *n, int site)
{
    const struct way *w = site < 0 ? NULL : ways_at(p, WAY_PRUNE, n->layers.site[site].reader);
    return w ? (double)w->keep[w->level] / w->all : 1;
}

static bool is_easy(const struct layer *l)
{
    for (int i = 0; i < l->win.n; i++)
        if (l->win.kernel[i] != 3 || l->win.stride[i] != 1 || l->win.dilation[i] != 1)
            return false;
    return l->conv && l->win.n == 2 && l->places >= 36;
}

/* Of a layer, or of those in its place; `ease`: of a FLOP where Winograd helps. */
static double layer_cost(const struct ways *p, const struct network *n, int i, double ease)
{
    const struct layer *l = &n->layers.layer[i];
    const struct way *split = ways_at(p, WAY_SPLIT, i), *narrow = ways_at(p, WAY_NARROW, i);
    double in = share(p, n, l->reads) * (double)l->features, out = share(p, n, l->makes) * (double)l->out,
           by = is_easy(l) ? ease : 1, per_place = l->flops / ((double)l->features * (double)l->out),
           before = 0, behind = 0;
    if (narrow) {
        double made = narrow->keep[narrow->level];
        before = 2 * (double)l->pixels * made * in / (double)l->taps;
        in = made * (double)l->taps;
    }
    if (split) {
        behind = per_place * split->keep[split->level] * out;
        out = split->keep[split->level];
    }
    return before + by * per_place * in * out + behind;
}

static double cost(const struct ways *p, const struct network *n, double ease)
{
    const struct layers *l = &n->layers;
    double sum = 0;
    for (int i = 0; i < p->n_nodes; i++)
        sum += p->node_flops[i];
    for (int i = 0; i < l->n; i++)
        sum += layer_cost(p, n, i, ease) - l->layer[i].flops;
    for (int s = 0; s < l->n_sites; s++)
        for (int i = 0; i < l->site[s].n_between; i++)
            sum -= (1 - share(p, n, s)) * p->node_flops[l->site[s].between[i]];
    return sum;
}

double ways_flops(const struct ways *p, const struct network *n)
{
    return cost(p, n, 1);
}

/* ---- the choice ---- */

/* The step, to any smaller size of any way, that loses least for what it saves. Returns whether there is one.
 */
static bool take_step(struct ways *p, const struct network *n)
{
    double now = cost(p, n, EASE), best = INFINITY;
    int at = -1, to = 0;
    for (int i = 0; i < p->n; i++) {
        struct way *w = &p->way[i];
        int was = w->level;
        for (int level = was + 1; level < w->levels; level++) {
            double saves, loses = fmax(w->loss[level] - w->loss[was], 0) + 1e-9;
            w->level = level;
            saves = now - cost(p, n, EASE);
            if (saves > 0 && loses / saves < best) {
                best = loses / saves;
                at = i;
                to = level;
            }
        }
        w->level = was;
    }
    if (at >= 0)
        p->way[at].level = to;
    return at >= 0;
}

/* Steps that turned out not to be needed are taken back, those that lose most first. */
static void take_back(struct ways *p, const struct network *n, double flops)
{
    for (int at = 0, to = 0; at >= 0;) {
        double most = 0;
        at = -1;
        for (int i = 0; i < p->n; i++) {
            struct way *w = &p->way[i];
            int was = w->level;
            for (int level = 0; level < was; level++) {
                double wins = w->loss[was] - w->loss[level];
                w->level = level;
                if (wins > most && ways_flops(p, n) <= flops) {
                    most = wins;
                    at = i;
                    to = level;
                }
            }
            w->level = was;
        }
        if (at >= 0)
            p->way[at].level = to;
    }
}

void ways_choose(struct ways *p, const struct network *n, double flops)
{
    for (int i = 0; i < p->n; i++)
        p->way[i].level = 0;
    while (ways_flops(p, n) > flops && take_step(p, n))
        continue;
    take_back(p, n, flops);
}
