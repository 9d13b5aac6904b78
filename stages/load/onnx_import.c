/* onnx_import.c - an ONNX file's bytes become a graph, or one clear line why not
 *
 * Everything is checked here that does not need shapes: versions, names (each value made once, none read that
 * is not made), operators and how many inputs they take, attributes' kinds. Cycles are found by graph_sort.
 * Memory asked for is in proportion to the file's size. Initializers are taken out of the parsed message one
 * by one, so that a weight is held twice only while it is copied.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/digest.h"
#include "stages/graph/graph_build.h"
#include "onnx_proto.h"

#define MAX_NODES 1000000
#define MAX_FED   256 /* inputs, weights that stand among them apart; and outputs */

/* Names of values to their indices: open addressing, never more than half full. */
struct names {
    int *slot; /* index + 1, 0 when free */
    size_t size;
};

struct import {
    struct graph *g;
    struct external_files *files;
    struct names names;
    struct error *e;
};

static int names_new(struct names *n, size_t capacity)
{
    n->size = 64;
    while (n->size < capacity * 2)
        n->size *= 2;
    n->slot = calloc(n->size, sizeof *n->slot);
    return n->slot ? FL_OK : FL_NOMEM;
}

/* The slot where `name` stands or would stand. */
static int *names_at(const struct names *n, const struct graph *g, const char *name)
{
    size_t i = XXH3_64bits(name, strlen(name)) & (n->size - 1);
    while (n->slot[i] && strcmp(g->values[n->slot[i] - 1].name, name))
        i = (i + 1) & (n->size - 1);
    return &n->slot[i];
}

/* Index of the value of that name, made when it is new; -1 when memory is out. */
static int value_named(struct import *m, const char *name)
{
    int *slot = names_at(&m->names, m->g, name);
    if (!*slot)
        *slot = graph_add_value(m->g, name) + 1;
    return *slot - 1;
}

static bool is_default_domain(const char *domain)
{
    return !domain || !*domain || !strcmp(domain, "ai.onnx");
}

static const char *text(const char *s)
{
    return s ? s : "";
}

static int import_versions(struct import *m, const Onnx__ModelProto *p)
{
    m->g->opset = -1;
    for (size_t i = 0; i < p->n_opset_import; i++)
        if (is_default_domain(p->opset_import[i]->domain))
            m->g->opset = p->opset_import[i]->version;
    m->g->ir_version = p->ir_version;
    if (m->g->opset < 0)
        return error_set(m->e, FL_MODEL, "not an ONNX model: it names no operator set (opset)");
    /* Models older than opset 7 are let in: op_table.c knows since when each operator means what it means
     * here. */
    if (m->g->opset < 1 || m->g->opset > OPSET_LAST)
        return error_set(m->e, FL_UNSUPPORTED,
                         "opset %lld is not supported (7 to %d are): export the model again",
                         (long long)m->g->opset, OPSET_LAST);
    if (p->n_functions)
        return error_set(m->e, FL_UNSUPPORTED, "model-local functions are not supported (the model has %zu)",
                         p->n_functions);
    if (!p->graph)
        return error_set(m->e, FL_MODEL, "not an ONNX model: it has no graph");
    if (p->graph->n_sparse_initializer)
        return error_set(m->e, FL_UNSUPPORTED, "sparse initializers are not supported");
    if (p->producer_name && !(m->g->producer = strdup(p->producer_name)))
        return error_set(m->e, FL_NOMEM, "out of memory");
    return FL_OK;
}

/* Weights outside the file are the model's as much as those in it: its digest covers the bytes that were
 * read, wherever they lie. */
static int import_tensor(struct import *m, struct tensor *out, Onnx__TensorProto *p)
{
    int code = onnx_tensor_convert(out, p, m->files, m->e);
    if (!code && p->data_location == 1)
        digest_add(m->g->digest, out->data, (size_t)tensor_bytes(out));
    return code;
}

static int import_initializers(struct import *m, Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_initializer; i++) {
        struct tensor t;
        const char *name = text(p->initializer[i]->name);
        int v, code;
        if (!*name)
            return error_set(m->e, FL_MODEL, "initializer %zu has no name", i);
        v = value_named(m, name);
        if (v < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
        if (m->g->values[v].constant)
            return error_set(m->e, FL_MODEL, "initializer '%s' is given twice", name);
        code = import_tensor(m, &t, p->initializer[i]);
        if (!code && value_set_constant(&m->g->values[v], &t))
            code = error_set(m->e, FL_NOMEM, "out of memory");
        else if (code)
            tensor_release(&t);
        if (code)
            return code;
    }
    return FL_OK;
}

static int import_shape(struct import *m, struct value *v, const Onnx__ValueInfoProto *p)
{
    const Onnx__TensorTypeProto *t = p->type ? p->type->tensor_type : NULL;
    if (!t)
        return error_set(m->e, FL_UNSUPPORTED, "input '%s' is not a tensor", v->name);
    v->dtype = (enum tensor_dtype)t->elem_type;
    if (!tensor_dtype_bytes(v->dtype))
        return error_set(m->e, FL_UNSUPPORTED, "input '%s' has element type %s (%d), which is not supported",
                         v->name, tensor_dtype_name(v->dtype), (int)t->elem_type);
    v->rank = RANK_UNKNOWN;
    if (!t->shape)
        return FL_OK;
    if (t->shape->n_dim > TENSOR_MAX_RANK)
        return error_set(m->e, FL_UNSUPPORTED, "input '%s' has %zu dims, at most %d are supported", v->name,
                         t->shape->n_dim, TENSOR_MAX_RANK);
    v->rank = (int)t->shape->n_dim;
    for (int i = 0; i < v->rank; i++) {
        const Onnx__DimensionProto *d = t->shape->dim[i];
        if (d->has_dim_value && d->dim_value < -1)
            return error_set(m->e, FL_MODEL, "input '%s' has dim %lld", v->name, (long long)d->dim_value);
        v->dim[i].fixed = d->has_dim_value && d->dim_value >= 0 ? d->dim_value : DIM_FREE;
    }
    return FL_OK;
}

/* Inputs that are initializers too are constants: up to ir_version 3 all weights stand among the inputs. */
static int import_inputs(struct import *m, const Onnx__GraphProto *p)
{
    m->g->inputs = calloc(MAX_FED, sizeof *m->g->inputs);
    if (!m->g->inputs)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = text(p->input[i]->name);
        int v, code;
        if (!*name)
            return error_set(m->e, FL_MODEL, "input %zu has no name", i);
        v = value_named(m, name);
        if (v < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
        if (m->g->values[v].constant)
            continue;
        if (graph_is_input(m->g, v))
            return error_set(m->e, FL_MODEL, "input '%s' is given twice", name);
        if (m->g->n_inputs == MAX_FED)
            return error_set(m->e, FL_UNSUPPORTED, "the model has more than %d inputs besides its weights",
                             MAX_FED);
        if ((code = import_shape(m, &m->g->values[v], p->input[i])))
            return code;
        m->g->inputs[m->g->n_inputs++] = v;
    }
    return FL_OK;
}

/* ONNX's AttributeType numbers; 0: guess from the field that is set, as old files leave the type out. */
static int attribute_type(const Onnx__AttributeProto *p)
{
    if (p->has_type && p->type)
        return p->type;
    return p->has_f               ? 1
           : p->has_i             ? 2
           : p->has_s             ? 3
           : p->t                 ? 4
           : p->has_g             ? 5
           : p->n_floats          ? 6
           : p->n_ints            ? 7
           : p->n_strings         ? 8
           : p->n_tensors         ? 9
           : p->n_graphs          ? 10
           : p->has_sparse_tensor ? 11
                                  : 0;
}

static char *copy_bytes(const ProtobufCBinaryData *b)
{
    char *s = malloc(b->len + 1);
    if (s) {
        if (b->len)
            memcpy(s, b->data, b->len);
        s[b->len] = '\0';
    }
    return s;
}

static int copy_array(void **to, const void *from, size_t n, size_t size, int *count)
{
    *to = calloc(n + 1, size);
    if (!*to)
        return FL_NOMEM;
    if (n)
        memcpy(*to, from, n * size);
    *count = (int)n;
    return FL_OK;
}

static int copy_strings(struct attr *a, const Onnx__AttributeProto *p)
{
    a->strings = calloc(p->n_strings + 1, sizeof *a->strings);
    for (size_t i = 0; a->strings && i < p->n_strings; i++, a->count++)
        if (!(a->strings[i] = copy_bytes(&p->strings[i])))
            return FL_NOMEM;
    return a->strings ? FL_OK : FL_NOMEM;
}

static int copy_tensor(struct import *m, struct attr *a, const Onnx__AttributeProto *p)
{
    if (!p->t)
        return error_set(m->e, FL_MODEL, "attribute '%s' has no tensor", a->name);
    a->tensor = calloc(1, sizeof *a->tensor);
    if (!a->tensor)
        return FL_NOMEM;
    return import_tensor(m, a->tensor, p->t);
}

static int import_attribute(struct import *m, struct attr *a, const Onnx__AttributeProto *p)
{
    a->name = strdup(text(p->name));
    if (!a->name)
        return FL_NOMEM;
    if (p->ref_attr_name && *p->ref_attr_name)
        return error_set(m->e, FL_UNSUPPORTED, "attribute '%s' refers to a function's attribute", a->name);
    switch (attribute_type(p)) {
    case 1:
        a->kind = ATTR_FLOAT;
        a->f = p->f;
        return FL_OK;
    case 2:
        a->kind = ATTR_INT;
        a->i = p->i;
        return FL_OK;
    case 3:
        a->kind = ATTR_STRING;
        return (a->s = copy_bytes(&p->s)) ? FL_OK : FL_NOMEM;
    case 4:
        a->kind = ATTR_TENSOR;
        return copy_tensor(m, a, p);
    case 5:
    case 10:
        return error_set(m->e, FL_UNSUPPORTED, "attribute '%s' is a subgraph, which is not supported",
                         a->name);
    case 6:
        a->kind = ATTR_FLOATS;
        return copy_array((void **)&a->floats, p->floats, p->n_floats, sizeof *p->floats, &a->count);
    case 0: /* an empty list whose type is left out */
    case 7:
        a->kind = ATTR_INTS;
        return copy_array((void **)&a->ints, p->ints, p->n_ints, sizeof *p->ints, &a->count);
    case 8:
        a->kind = ATTR_STRINGS;
        return copy_strings(a, p);
    default:
        return error_set(m->e, FL_UNSUPPORTED, "attribute '%s' is of a kind that is not supported", a->name);
    }
}

static int import_attributes(struct import *m, struct node *n, const Onnx__NodeProto *p)
{
    n->attr = calloc(p->n_attribute + 1, sizeof *n->attr);
    if (!n->attr)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_attribute; i++) {
        int code;
        n->n_attr++;
        m->e->code = FL_OK;
        code = import_attribute(m, &n->attr[i], p->attribute[i]);
        if (code && !m->e->code)
            return error_set(m->e, (enum fl_code)code, "out of memory");
        if (code)
            return error_wrap(m->e, (enum fl_code)code, "node '%s' (%s)", n->name, text(p->op_type));
    }
    return FL_OK;
}

/* Names of values to indices; an empty name is an absent one, and absent ones at the end are dropped. */
static int import_names(struct import *m, char **name, size_t n, int **out, int *count)
{
    while (n && !*name[n - 1])
        n--;
    *out = calloc(n + 1, sizeof **out);
    if (!*out)
        return error_set(m->e, FL_NOMEM, "out of memory");
    *count = (int)n;
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = *name[i] ? value_named(m, name[i]) : GRAPH_NONE;
        if (*name[i] && (*out)[i] < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
    }
    return FL_OK;
}

static int check_operator(struct import *m, struct node *n, const Onnx__NodeProto *p)
{
    const char *type = text(p->op_type);
    if (!is_default_domain(p->domain))
        return error_set(m->e, FL_UNSUPPORTED, "operator '%s' (node '%s') of domain '%s' is not supported",
                         type, n->name, p->domain);
    n->op = op_find(type, m->g->opset);
    if (!n->op)
        return error_set(m->e, FL_UNSUPPORTED, "operator '%s' (node '%s', opset %lld) is not supported", type,
                         n->name, (long long)m->g->opset);
    return FL_OK;
}

static int check_counts(struct import *m, const struct node *n)
{
    const struct op *op = n->op;
    if (n->n_in < op->min_in || n->n_in > op->max_in)
        return error_set(m->e, FL_MODEL,
                         "operator '%s' (node '%s', opset %lld) takes %d to %d inputs, it has %d", op->name,
                         n->name, (long long)m->g->opset, op->min_in, op->max_in, n->n_in);
    if (n->n_out < op->min_out || n->n_out > op->max_out)
        return error_set(m->e, FL_MODEL,
                         "operator '%s' (node '%s', opset %lld) gives %d to %d outputs, it has %d", op->name,
                         n->name, (long long)m->g->opset, op->min_out, op->max_out, n->n_out);
    for (int i = 0; i < op->min_in; i++)
        if (n->in[i] == GRAPH_NONE)
            return error_set(m->e, FL_MODEL, "operator '%s' (node '%s') lacks its input %d", op->name,
                             n->name, i);
    return FL_OK;
}

/* An output that the operator always makes gets a value even where the file gives it no name. */
static int name_outputs(struct import *m, struct node *n)
{
    for (int i = 0; i < n->op->min_out; i++)
        if (n->out[i] == GRAPH_NONE && (n->out[i] = graph_add_value(m->g, NULL)) < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
    return FL_OK;
}

static int claim_outputs(struct import *m, const struct node *n, int index)
{
    for (int i = 0; i < n->n_out; i++) {
        struct value *v = n->out[i] == GRAPH_NONE ? NULL : &m->g->values[n->out[i]];
        if (!v)
            continue;
        if (v->constant || v->producer != GRAPH_NONE || graph_is_input(m->g, n->out[i]))
            return error_set(m->e, FL_MODEL, "value '%s' is made twice (second time by node '%s')", v->name,
                             n->name);
        v->producer = index;
    }
    return FL_OK;
}

static int import_node(struct import *m, const Onnx__NodeProto *p, int index)
{
    struct node *n = &m->g->nodes[index];
    char made_up[96];
    int code;
    snprintf(made_up, sizeof made_up, "%s_%d", text(p->op_type), index);
    n->name = strdup(p->name && *p->name ? p->name : made_up);
    n->post.residual = GRAPH_NONE;
    if (!n->name)
        return error_set(m->e, FL_NOMEM, "out of memory");
    if ((code = import_attributes(m, n, p)) || (code = check_operator(m, n, p)) ||
        (code = import_names(m, p->input, p->n_input, &n->in, &n->n_in)) ||
        (code = import_names(m, p->output, p->n_output, &n->out, &n->n_out)) || (code = check_counts(m, n)) ||
        (code = name_outputs(m, n)))
        return code;
    return claim_outputs(m, n, index);
}

static int import_nodes(struct import *m, const Onnx__GraphProto *p)
{
    m->g->nodes = calloc(p->n_node + 1, sizeof *m->g->nodes);
    if (!m->g->nodes)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_node; i++) {
        int code;
        m->g->n_nodes++;
        if ((code = import_node(m, p->node[i], (int)i)))
            return code;
    }
    return FL_OK;
}

/* Inputs are few, so they are marked by RANK_UNKNOWN or a rank; here only: whatever is read must come from
 * somewhere. */
static int check_reads(struct import *m)
{
    for (int i = 0; i < m->g->n_nodes; i++) {
        const struct node *n = &m->g->nodes[i];
        for (int k = 0; k < n->n_in; k++) {
            const struct value *v = n->in[k] == GRAPH_NONE ? NULL : &m->g->values[n->in[k]];
            if (v && !v->constant && v->producer == GRAPH_NONE && !graph_is_input(m->g, n->in[k]))
                return error_set(m->e, FL_MODEL, "node '%s' (%s) reads '%s', which nothing makes", n->name,
                                 n->op->name, v->name);
        }
    }
    return FL_OK;
}

/* Every output is made by a node from then on: an input or constant that is an output passes through an
 * Identity. */
static int output_through_identity(struct import *m, int v)
{
    int copy = graph_add_value(m->g, m->g->values[v].name), node;
    if (copy < 0 ||
        (node = graph_add_node(m->g, m->g->values[v].name, op_find("Identity", m->g->opset), 1, 1)) < 0)
        return -1;
    m->g->nodes[node].in[0] = v;
    m->g->nodes[node].out[0] = copy;
    m->g->values[copy].producer = node;
    return copy;
}

static int import_outputs(struct import *m, const Onnx__GraphProto *p)
{
    struct graph *g = m->g;
    g->outputs = calloc(p->n_output + 1, sizeof *g->outputs);
    if (!g->outputs)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = text(p->output[i]->name);
        int v = *names_at(&m->names, g, name) - 1;
        if (v < 0 || (!g->values[v].constant && g->values[v].producer == GRAPH_NONE && !graph_is_input(g, v)))
            return error_set(m->e, FL_MODEL, "output '%s' is made by nothing", name);
        if (graph_is_output(g, v))
            return error_set(m->e, FL_MODEL, "output '%s' is given twice", name);
        if (g->values[v].producer == GRAPH_NONE && (v = output_through_identity(m, v)) < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
        g->outputs[g->n_outputs++] = v;
    }
    return g->n_outputs ? FL_OK : error_set(m->e, FL_MODEL, "the model has no output");
}

static size_t count_names(const Onnx__GraphProto *p)
{
    size_t n = p->n_initializer + p->n_input;
    for (size_t i = 0; i < p->n_node; i++)
        n += p->node[i]->n_output + p->node[i]->n_input;
    return n;
}

static int import_graph(struct import *m, Onnx__GraphProto *p)
{
    int code;
    if (p->n_node > MAX_NODES || p->n_output > MAX_FED)
        return error_set(m->e, FL_UNSUPPORTED, "the model has %zu nodes and %zu outputs: at most %d and %d",
                         p->n_node, p->n_output, MAX_NODES, MAX_FED);
    if (names_new(&m->names, count_names(p)))
        return error_set(m->e, FL_NOMEM, "out of memory");
    if ((code = import_initializers(m, p)) || (code = import_inputs(m, p)) || (code = import_nodes(m, p)) ||
        (code = check_reads(m)))
        return code;
    return import_outputs(m, p);
}

int onnx_import(struct graph *g, const void *bytes, size_t size, struct external_files *files,
                struct error *e)
{
    struct error own;
    struct import m = {g, files, {NULL, 0}, e ? e : &own};
    Onnx__ModelProto *p = onnx__model_proto__unpack(NULL, size, bytes);
    int code;
    if (!p)
        return error_set(e, FL_MODEL, "not an ONNX model, or cut short");
    code = import_versions(&m, p);
    if (!code)
        code = import_graph(&m, p->graph);
    onnx__model_proto__free_unpacked(p, NULL);
    free(m.names.slot);
    return code;
}
