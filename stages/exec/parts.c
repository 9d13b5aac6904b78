/* parts.c - early layers of a batch a few images at a time
 *
 * The first layers of a network make large images with few weights: a batch of them is written to memory and
 * read back by the next layer. So these layers run on as many images as stay in cache, one part of the batch
 * after the other, down to where weights outweigh the images. Values at cuts have room for the whole batch,
 * since a run may stop there; what is made and used up between two cuts has room for a part.
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

/* Images at a time for steps [from, to], a power of two; 0: the whole batch. */
static int part_of(const struct exec *x, int from, int to)
{
    int64_t part = x->max_batch;
    int power = 1;
    for (int i = from; i <= to; i++) {
        int64_t bytes = image_bytes(x, &x->step[i]), most;
        if (bytes <= 0)
            return 0;
        most = ((int64_t)x->step[i].weight_bytes > CACHE_BYTES ? (int64_t)x->step[i].weight_bytes
                                                               : CACHE_BYTES) /
               bytes;
        part = most < part ? most : part;
    }
    while (2 * power <= part)
        power *= 2;
    return power < x->max_batch ? power : 0;
}

/* Made and used up by steps [from, to]. */
static bool stays_within(const struct exec *x, const struct slot *s, int from, int to)
{
    int at = (int)(s - x->slot);
    for (int i = 0; i < x->n_in; i++)
        if (x->in[i].slot == at)
            return false;
    for (int i = 0; i < x->n_out; i++)
        if (x->out[i].slot == at)
            return false;
    for (int i = 0; i < x->n_steps; i++)
        if (x->step[i].cut == at)
            return false;
    return !s->is_constant && s->first > from && s->last <= to + 1;
}

static void set_part(struct exec *x, int from, int to, int part)
{
    for (int i = from; i <= to; i++)
        x->step[i].part = part;
    for (int i = 0; part && i < x->n_slots; i++)
        if (x->slot[i].base < 0 && stays_within(x, &x->slot[i], from, to))
            x->slot[i].part = part;
}

/* A slot that is seen in another one has as much room as that, and no parts where a slot seen in it has not.
 */
static void follow_bases(struct exec *x)
{
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].base >= 0)
            for (int k = 0; k < x->n_steps; k++)
                if (x->step[k].cut == i)
                    x->slot[x->slot[i].base].part = 0;
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].base >= 0)
            x->slot[i].part = x->slot[x->slot[i].base].part;
}

void parts_find(struct exec *x)
{
    for (int i = 0, from = 0; i < x->n_steps && x->max_batch > 1; i++)
        if (x->step[i].cut >= 0 || i == x->n_steps - 1) {
            set_part(x, from, i, part_of(x, from, i));
            from = i + 1;
        }
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
