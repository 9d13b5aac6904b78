/* parts.c - early layers of a batch a few images at a time
 *
 * The first layers of a network make large images with few weights: a batch of them is written to memory and
 * read back by the next layer. So these layers run on as many images as stay in cache, one part of the batch
 * after the other, down to where weights outweigh the images. What is made and used up within such a chain of
 * steps has room for a part; but values at cuts where a run may stop have room for the whole batch.
 */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES ((int64_t)4 << 20)

/* Operators whose result for an image depends on that image alone. */
static bool is_by_image(const struct node *n)
{
    static const char *const names[] = {
        "Conv", "MaxPool",   "AveragePool", "GlobalAveragePool", "BatchNormalization", "Relu",
        "Clip", "LeakyRelu", "HardSigmoid", "Sigmoid",           "HardSwish",          "Add",
        "Mul",  "Concat"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (node_is(n, names[i]))
            return !node_is(n, "Concat") || attr_int(n, "axis", 1) % 4 != 0;
    return false;
}

/* Input k, or output k - n_in. */
static int touched(const struct node *n, int k)
{
    return k < n->n_in ? n->in[k] : n->out[k - n->n_in];
}

/* Bytes of the images of one request that the step reads and writes; -1: it must see the whole batch. */
static int64_t image_bytes(const struct exec *x, const struct step *s)
{
    int64_t bytes = 0;
    if (!is_by_image(&s->node))
        return -1;
    for (int k = 0; k < s->node.n_in + s->node.n_out; k++) {
        const struct slot *slot;
        if (touched(&s->node, k) == GRAPH_NONE)
            continue;
        slot = &x->slot[touched(&s->node, k)];
        if (slot->is_constant)
            continue;
        if (!slot->channels_last || slot->dim[0].fixed != 0 || slot->dim[0].per_batch != 1)
            return -1;
        bytes += slot_bytes(slot, 1);
    }
    return bytes;
}

/* Images at a time for the step: as many as stay in cache, or outweigh its weights. 0: the whole batch. */
static int part_of(const struct exec *x, const struct step *s)
{
    int64_t bytes = image_bytes(x, s), room = CACHE_BYTES;
    int part = 1;
    if (bytes <= 0)
        return 0;
    room = (int64_t)s->weight_bytes > room ? (int64_t)s->weight_bytes : room;
    while (2 * part * bytes <= room && 2 * part <= x->max_batch)
        part *= 2;
    return part;
}

/* No step takes more than those behind it, so that few chains of steps share a loop. */
static void join_steps(struct exec *x)
{
    for (int i = x->n_steps - 1; i >= 0; i--) {
        int after = i + 1 < x->n_steps ? x->step[i + 1].part : 0;
        x->step[i].part = part_of(x, &x->step[i]);
        if (after && after < x->step[i].part)
            x->step[i].part = after;
    }
    for (int i = 0; i < x->n_steps; i++)
        if (2 * x->step[i].part > x->max_batch)
            x->step[i].part = 0;
}

/* A slot that is seen in another one has as much room as that, and both the whole batch when one of them
 * needs it. */
static void follow_bases(struct exec *x)
{
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].base >= 0 && !x->slot[i].part)
            x->slot[x->slot[i].base].part = 0;
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].base >= 0)
            x->slot[i].part = x->slot[x->slot[i].base].part;
}

static void free_edges(struct exec *x)
{
    for (int i = 0; i < x->n_in; i++)
        x->slot[x->in[i].slot].part = 0;
    for (int i = 0; i < x->n_out; i++)
        x->slot[x->out[i].slot].part = 0;
    for (int i = 0; i < x->n_steps; i++)
        if (x->step[i].cut >= 0)
            x->slot[x->step[i].cut].part = 0;
}

void parts_find(struct exec *x)
{
    if (x->max_batch < 2)
        return;
    join_steps(x);
    /* What is made and used up within a chain needs room for a part. */
    for (int from = 0, to; from < x->n_steps; from = to + 1) {
        to = parts_end(x, from);
        for (int i = 0; i < x->n_slots; i++)
            if (!x->slot[i].is_constant && x->slot[i].first > from && x->slot[i].last <= to + 1)
                x->slot[i].part = x->step[from].part;
    }
    free_edges(x);
    follow_bases(x);
}

int parts_end(const struct exec *x, int i)
{
    while (x->step[i].part && i + 1 < x->n_steps && x->step[i + 1].part == x->step[i].part &&
           !x->step[i + 1].rounded)
        i++;
    return i;
}

void parts_life(const struct exec *x, const struct slot *s, int *first, int *last)
{
    *first = s->first;
    *last = s->last;
    for (int from = 0, to; from < x->n_steps && !s->part; from = to + 1) {
        to = parts_end(x, from);
        if (to == from || s->first > to + 1 || s->last < from + 1)
            continue;
        *first = *first < from + 1 ? *first : from + 1;
        *last = *last > to + 1 ? *last : to + 1;
    }
}
