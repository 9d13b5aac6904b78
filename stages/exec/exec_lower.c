/* exec_lower.c - which values of the range lie in a lower type
 *
 * A step with a kernel of lower precision takes and makes such values as they are. Beside it, steps that are
 * cheap (pools, activations, sums) are run on them too, so that what goes from product to product stays in
 * the lower type. All else is float32, and so is what crosses the range's ends: it is converted there.
 */
#include "exec_internal.h"

#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

enum part {
    PART_OTHER, /* float32 on all sides */
    PART_CHEAP, /* may stand between lower values */
    PART_LOW    /* computes in the lower type */
};

static enum part part_of(const struct exec *x, const struct step *s)
{
    static const char *const cheap[] = {"Conv",          "MaxPool",   "AveragePool", "GlobalAveragePool",
                                        "GlobalMaxPool", "Relu",      "LeakyRelu",   "Clip",
                                        "HardSwish",     "Sigmoid",   "Add",         "Mul",
                                        "Concat",        "Flatten",   "Reshape",     "BatchNormalization",
                                        "ReduceMean",    "Transpose", "Identity",    "Dropout"};
    const struct kernel *const *table = kernel_table();
    struct kernel_task t;
    exec_task(x, s, &t);
    for (int i = 0; table[i]; i++)
        if (table[i]->family == KERNEL_LOW && table[i]->accepts(&t))
            return PART_LOW;
    for (size_t i = 0; i < sizeof cheap / sizeof *cheap; i++)
        if (!strcmp(s->node.op->name, cheap[i]))
            return PART_CHEAP;
    return PART_OTHER;
}

/* What each value is in lower precision: as the model says, or by its name. The model's own outputs are
 * float32. */
static void name_types(struct exec *x, const struct graph *g, const struct exec_options *o)
{
    for (int i = 0; i < x->n_slots; i++) {
        struct slot *s = &x->slot[i];
        const struct value *v = &g->values[s->value];
        const struct quantized_value *q = NULL;
        if (s->dtype != TENSOR_F32 || graph_is_output(g, s->value))
            continue;
        if (o->precision == PRECISION_BFLOAT16)
            s->low = TENSOR_BF16, s->scale = 1;
        else if (o->precision == PRECISION_FLOAT32)
            s->low = v->low, s->scale = v->scale, s->zero = v->zero;
        else if (s->is_constant)
            s->low = TENSOR_I8;
        else if ((q = quantization_find(o->quantization, v->name)))
            s->low = q->is_signed ? TENSOR_I8 : TENSOR_U8, s->scale = q->step;
    }
}

/* What stands around a value of the model. */
struct around {
    bool low, other;
};

/* Over all of the model's nodes: what an executor of a part decides is what that of the whole does. */
static void look_around(const struct exec *whole, const enum part *part, struct around *a)
{
    for (int i = 0; i < whole->n_steps; i++) {
        const struct node *n = &whole->step[i].node;
        for (int k = 0; k < n->n_in + n->n_out; k++) {
            int at = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            if (at == GRAPH_NONE)
                continue;
            a[whole->slot[at].value].low |= part[i] == PART_LOW;
            a[whole->slot[at].value].other |= part[i] == PART_OTHER;
        }
    }
}

static void set_edge(struct exec *x, struct edge *edge, bool input)
{
    struct slot *s = &x->slot[edge->slot];
    if (s->dtype != s->low)
        return;
    edge->own_place = true;
    if (input)
        s->first = 1;
    else
        s->last = x->n_steps;
}

static void set_types(struct exec *x, const struct graph *g, const struct exec_options *o,
                      const struct around *a)
{
    name_types(x, g, o);
    for (int i = 0; i < x->n_slots; i++) {
        struct slot *s = &x->slot[i];
        if (s->low != TENSOR_NONE && !s->is_constant && a[s->value].low && !a[s->value].other)
            s->dtype = s->low;
    }
    for (int i = 0; i < x->n_in; i++)
        set_edge(x, &x->in[i], true);
    for (int i = 0; i < x->n_out; i++)
        set_edge(x, &x->out[i], false);
}

int exec_lower(struct exec *x, struct exec *whole, const struct graph *g, const struct exec_options *o)
{
    enum part *part = calloc((size_t)whole->n_steps + 1, sizeof *part);
    struct around *a = calloc((size_t)g->n_values + 1, sizeof *a);
    int rc = part && a ? FL_OK : FL_NOMEM;
    if (!rc) {
        name_types(whole, g, o);
        exec_set_batch(whole, x->max_batch);
        exec_show_constants(whole);
        for (int i = 0; i < whole->n_steps; i++)
            part[i] = part_of(whole, &whole->step[i]);
        look_around(whole, part, a);
        /* The model's own inputs and outputs are float32 in the file's order. */
        for (int i = 0; i < g->n_inputs; i++)
            a[g->inputs[i]].other = true;
        for (int i = 0; i < g->n_outputs; i++)
            a[g->outputs[i]].other = true;
        set_types(x, g, o, a);
    }
    free(part);
    free(a);
    return rc;
}
