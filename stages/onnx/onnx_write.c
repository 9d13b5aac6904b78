/* onnx_write.c - a graph as an ONNX file: the messages are put together in memory, which borrow the graph's
 * data
 */
#include "onnx_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"
#include "if_choice.h"
#include "onnx.pb-c.h"

#define SCALES_OPSET 13 /* since then quantizers may have a scale for each channel */
#define OLDEST_OPSET 11 /* from which on most operators mean the same */
#define OLDEST_IR    7

/* All memory of the messages hangs in one chain, freed at the end. */
struct piece {
    struct piece *before;
    max_align_t data[];
};

struct writer {
    const struct graph *g;
    struct piece *last;
    bool failed;
    char **name; /* of each value, no two alike */
};

/* Zeroed; where memory is out, a small piece that is not enough, and `failed`. */
static void *take(struct writer *w, size_t n, size_t size)
{
    struct piece *p =
        w->failed || (size && n > SIZE_MAX / 2 / size) ? NULL : calloc(1, sizeof *p + n * size + 16);
    if (!p) {
        w->failed = true;
        return NULL;
    }
    p->before = w->last;
    w->last = p;
    return p->data;
}

static void let_go(struct writer *w)
{
    while (w->last) {
        struct piece *p = w->last;
        w->last = p->before;
        free(p);
    }
}

static int by_name(const void *a, const void *b, void *names)
{
    char **name = names;
    int x = *(const int *)a, y = *(const int *)b, d = strcmp(name[x], name[y]);
    return d ? d : (x > y) - (x < y);
}

/* Copies of a value's weights, say, are called alike in the graph. */
static void name_values(struct writer *w)
{
    int n = w->g->n_values, *order = take(w, (size_t)n, sizeof *order);
    w->name = take(w, (size_t)n, sizeof *w->name);
    for (int i = 0; !w->failed && i < n; i++) {
        w->name[i] = w->g->values[i].name;
        order[i] = i;
    }
    if (w->failed)
        return;
    qsort_r(order, (size_t)n, sizeof *order, by_name, w->name);
    for (int i = n - 1; i > 0 && !w->failed; i--) {
        const char *plain = w->name[order[i]];
        size_t room = strlen(plain) + 16;
        if (strcmp(plain, w->name[order[i - 1]]))
            continue;
        if ((w->name[order[i]] = take(w, room, 1)))
            snprintf(w->name[order[i]], room, "%s~%d", plain, order[i]);
    }
}

static Onnx__TensorProto *tensor_message(struct writer *w, const struct tensor *t, char *name)
{
    Onnx__TensorProto *p = take(w, 1, sizeof *p);
    if (!p)
        return NULL;
    onnx__tensor_proto__init(p);
    p->name = name;
    p->has_data_type = p->has_raw_data = 1;
    p->data_type = (int32_t)t->dtype;
    p->n_dims = (size_t)t->rank;
    p->dims = (int64_t *)(uintptr_t)t->dim;
    p->raw_data = (ProtobufCBinaryData){(size_t)tensor_bytes(t), t->data};
    return p;
}

static void string_bytes(ProtobufCBinaryData *to, char *s)
{
    *to = (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
}

static Onnx__AttributeProto *attribute_message(struct writer *w, const struct attr *a)
{
    static const int32_t types[] = {[ATTR_INT] = 2,    [ATTR_FLOAT] = 1,   [ATTR_STRING] = 3, [ATTR_INTS] = 7,
                                    [ATTR_FLOATS] = 6, [ATTR_STRINGS] = 8, [ATTR_TENSOR] = 4};
    Onnx__AttributeProto *p = take(w, 1, sizeof *p);
    if (!p)
        return NULL;
    onnx__attribute_proto__init(p);
    p->name = a->name;
    p->has_type = 1;
    p->type = types[a->kind];
    p->has_i = a->kind == ATTR_INT;
    p->i = a->i;
    p->has_f = a->kind == ATTR_FLOAT;
    p->f = a->f;
    if ((p->has_s = a->kind == ATTR_STRING))
        string_bytes(&p->s, a->s);
    if (a->kind == ATTR_TENSOR)
        p->t = tensor_message(w, a->tensor, NULL);
    p->n_ints = a->kind == ATTR_INTS ? (size_t)a->count : 0;
    p->ints = a->ints;
    p->n_floats = a->kind == ATTR_FLOATS ? (size_t)a->count : 0;
    p->floats = a->floats;
    p->n_strings = a->kind == ATTR_STRINGS ? (size_t)a->count : 0;
    p->strings = take(w, p->n_strings, sizeof *p->strings);
    for (size_t i = 0; p->strings && i < p->n_strings; i++)
        string_bytes(&p->strings[i], a->strings[i]);
    return p;
}

static char **names_of(struct writer *w, const int *value, int n)
{
    char **name = take(w, (size_t)n, sizeof *name), *absent = take(w, 1, 1);
    for (int i = 0; name && absent && i < n; i++)
        name[i] = value[i] == GRAPH_NONE ? absent : w->name[value[i]];
    return name;
}

static Onnx__NodeProto *node_message(struct writer *w, const struct node *n)
{
    Onnx__NodeProto *p = take(w, 1, sizeof *p);
    if (!p)
        return NULL;
    onnx__node_proto__init(p);
    p->name = n->name;
    p->op_type = (char *)(uintptr_t)n->op->name;
    p->n_input = (size_t)n->n_in;
    p->input = names_of(w, n->in, n->n_in);
    p->n_output = (size_t)n->n_out;
    p->output = names_of(w, n->out, n->n_out);
    p->n_attribute = (size_t)n->n_attr;
    p->attribute = take(w, (size_t)n->n_attr, sizeof *p->attribute);
    for (int i = 0; p->attribute && i < n->n_attr; i++)
        p->attribute[i] = attribute_message(w, &n->attr[i]);
    return p;
}

/* A dim that grows with the batch is left open. */
static Onnx__DimensionProto *dim_message(struct writer *w, struct extent dim)
{
    Onnx__DimensionProto *p = take(w, 1, sizeof *p);
    if (!p)
        return NULL;
    onnx__dimension_proto__init(p);
    p->has_dim_value = !dim.per_batch;
    p->dim_value = dim.fixed;
    if (dim.per_batch && !dim.fixed && dim.per_batch == 1)
        p->dim_param = (char *)(uintptr_t) "N";
    return p;
}

static Onnx__ValueInfoProto *value_message(struct writer *w, int value)
{
    const struct value *v = &w->g->values[value];
    Onnx__ValueInfoProto *p = take(w, 1, sizeof *p);
    Onnx__TypeProto *type = take(w, 1, sizeof *type);
    Onnx__TensorTypeProto *t = take(w, 1, sizeof *t);
    Onnx__TensorShapeProto *shape = take(w, 1, sizeof *shape);
    if (w->failed)
        return NULL;
    onnx__value_info_proto__init(p);
    onnx__type_proto__init(type);
    onnx__tensor_type_proto__init(t);
    onnx__tensor_shape_proto__init(shape);
    p->name = w->name[value];
    p->type = type;
    type->tensor_type = t;
    t->has_elem_type = 1;
    t->elem_type = (int32_t)v->dtype;
    t->shape = shape;
    shape->n_dim = (size_t)v->rank;
    shape->dim = take(w, (size_t)v->rank, sizeof *shape->dim);
    for (int i = 0; shape->dim && i < v->rank; i++)
        shape->dim[i] = dim_message(w, v->dim[i]);
    return p;
}

static Onnx__ValueInfoProto **value_messages(struct writer *w, const int *value, int n)
{
    Onnx__ValueInfoProto **p = take(w, (size_t)n, sizeof *p);
    for (int i = 0; p && i < n; i++)
        p[i] = value_message(w, value[i]);
    return p;
}

static void fill_graph(struct writer *w, Onnx__GraphProto *p)
{
    const struct graph *g = w->g;
    onnx__graph_proto__init(p);
    p->name = (char *)(uintptr_t) "freezeline";
    p->n_input = (size_t)g->n_inputs;
    p->input = value_messages(w, g->inputs, g->n_inputs);
    p->n_output = (size_t)g->n_outputs;
    p->output = value_messages(w, g->outputs, g->n_outputs);
    p->n_node = (size_t)g->n_nodes;
    p->node = take(w, (size_t)g->n_nodes, sizeof *p->node);
    for (int i = 0; p->node && i < g->n_nodes; i++)
        p->node[i] = node_message(w, &g->nodes[i]);
    p->initializer = take(w, (size_t)g->n_values, sizeof *p->initializer);
    for (int i = 0; p->initializer && i < g->n_values; i++)
        if (g->values[i].constant)
            p->initializer[p->n_initializer++] = tensor_message(w, g->values[i].constant, w->name[i]);
}

/* Does the operator mean the same in the operator set of scales as in the older ones that are let in? */
static bool means_the_same(const struct node *n)
{
    static const char *const changed[] = {"Squeeze", "Unsqueeze",  "Split",  "ReduceSum",
                                          "Softmax", "LogSoftmax", "Hardmax"};
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
        if (node_is(n, changed[i]))
            return false;
    return true;
}

/* The operator set of the file: the model's own, unless scales need a newer one. */
static int64_t opset_of(const struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (node_is(&g->nodes[i], "DequantizeLinear") && g->opset < SCALES_OPSET)
            return SCALES_OPSET;
    return g->opset;
}

static int check_age(const struct graph *g, struct error *e)
{
    if (opset_of(g) == g->opset)
        return FL_OK;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->opset < OLDEST_OPSET || !means_the_same(&g->nodes[i]))
            return error_set(
                e, FL_UNSUPPORTED,
                "%s has opset %lld, and a quantized file needs %d or newer: export the model again", g->path,
                (long long)g->opset, SCALES_OPSET);
    return FL_OK;
}

static int check(const struct graph *g, struct error *e)
{
    int rc = check_age(g, e);
    if (rc)
        return rc;
    if (choice_any(g))
        return error_set(e, FL_UNSUPPORTED, "%s chooses between branches while it runs, which is not written",
                         g->path);
    for (int i = 0; i < g->n_nodes; i++)
        if (!op_find(g->nodes[i].op->name, g->opset) || (g->nodes[i].opset != g->opset && g->nodes[i].n_attr))
            return error_set(e, FL_UNSUPPORTED, "node '%s' (%s) is of another operator set than the model",
                             g->nodes[i].name, g->nodes[i].op->name);
    return FL_OK;
}

int onnx_write(const struct graph *g, const char *path, struct error *e)
{
    struct writer w = {.g = g};
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets = &opset;
    Onnx__GraphProto graph;
    struct file_part part = {NULL, 0};
    uint8_t *bytes = NULL;
    int rc = check(g, e);
    if (rc)
        return rc;
    name_values(&w);
    if (!w.failed)
        fill_graph(&w, &graph);
    opset.has_version = model.has_ir_version = 1;
    opset.version = opset_of(g);
    model.ir_version = g->ir_version < OLDEST_IR ? OLDEST_IR : g->ir_version;
    model.producer_name = (char *)(uintptr_t) "freezeline";
    model.graph = &graph;
    model.n_opset_import = 1;
    model.opset_import = &opsets;
    if (!w.failed && (bytes = malloc(part.size = onnx__model_proto__get_packed_size(&model)))) {
        onnx__model_proto__pack(&model, bytes);
        part.data = bytes;
        rc = file_replace(path, &part, 1, e);
    } else {
        rc = error_set(e, FL_NOMEM, "no memory for the model");
    }
    free(bytes);
    let_go(&w);
    return rc;
}
