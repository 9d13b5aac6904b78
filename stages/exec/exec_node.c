/* exec_node.c - copies of a graph's nodes, so that an executor outlives the graph */
#include "exec_internal.h"

#include <stdlib.h>
#include <string.h>

/* A copy of the attribute that owns all it points to. */
static int attr_copy(struct attr *to, const struct attr *from)
{
    *to = (struct attr){.kind = from->kind, .i = from->i, .f = from->f};
    to->name = strdup(from->name);
    if (!to->name || (from->s && !(to->s = strdup(from->s))))
        return FL_NOMEM;
    if (from->ints) {
        to->ints = malloc(((size_t)from->count + 1) * sizeof *to->ints);
        if (!to->ints)
            return FL_NOMEM;
        memcpy(to->ints, from->ints, (size_t)from->count * sizeof *to->ints);
    }
    if (from->floats) {
        to->floats = malloc(((size_t)from->count + 1) * sizeof *to->floats);
        if (!to->floats)
            return FL_NOMEM;
        memcpy(to->floats, from->floats, (size_t)from->count * sizeof *to->floats);
    }
    if (from->strings) {
        to->strings = calloc((size_t)from->count + 1, sizeof *to->strings);
        for (int i = 0; to->strings && i < from->count; i++)
            if (!(to->strings[i] = strdup(from->strings[i])))
                return FL_NOMEM;
        if (!to->strings)
            return FL_NOMEM;
    }
    if (from->tensor) {
        to->tensor = malloc(sizeof *to->tensor);
        if (!to->tensor)
            return FL_NOMEM;
        *to->tensor = *from->tensor;
        if (tensor_alloc(to->tensor)) {
            to->tensor->data = NULL;
            return FL_NOMEM;
        }
        memcpy(to->tensor->data, from->tensor->data, (size_t)tensor_bytes(from->tensor));
    }
    to->count = from->count;
    return FL_OK;
}

int exec_node_copy(struct node *to, const struct node *from, const int *slot_of)
{
    *to = (struct node){
        .op = from->op, .opset = from->opset, .n_in = from->n_in, .n_out = from->n_out, .post = from->post};
    to->name = strdup(from->name ? from->name : "");
    to->in = malloc(((size_t)from->n_in + 1) * sizeof *to->in);
    to->out = malloc(((size_t)from->n_out + 1) * sizeof *to->out);
    to->attr = calloc((size_t)from->n_attr + 1, sizeof *to->attr);
    if (!to->name || !to->in || !to->out || !to->attr)
        return FL_NOMEM;
    for (int i = 0; i < from->n_in; i++)
        to->in[i] = from->in[i] == GRAPH_NONE ? GRAPH_NONE : slot_of[from->in[i]];
    for (int i = 0; i < from->n_out; i++)
        to->out[i] = from->out[i] == GRAPH_NONE ? GRAPH_NONE : slot_of[from->out[i]];
    for (int i = 0; i < from->n_attr; i++) {
        to->n_attr++;
        if (attr_copy(&to->attr[i], &from->attr[i]))
            return FL_NOMEM;
    }
    return FL_OK;
}
