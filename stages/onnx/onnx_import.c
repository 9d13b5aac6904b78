/* onnx_import.c - an ONNX file's bytes become a graph, or one clear line why not
 *
 * Everything is checked here that does not need shapes: versions, names (each value made once, none read that
 * is not made), operators and how many inputs they take, attributes' kinds. Cycles are found by graph_sort.
 * Memory asked for is in proportion to the file's size.
 */
#include <stdlib.h>
#include <string.h>

#include "onnx_import.h"

#define MAX_FED 256 /* inputs, weights that stand among them apart; and outputs */

static int import_versions(struct import *m, const Onnx__ModelProto *p)
{
    m->g->opset = import_opset(p->opset_import, p->n_opset_import, -1);
    m->g->ir_version = p->ir_version;
    if (m->g->opset < 0)
        return error_set(m->e, FL_MODEL, "not an ONNX model: it names no operator set (opset)");
    /* Models older than opset 7 are let in: op_list.h says since when each operator means what it means
     * here. */
    if (m->g->opset < 1 || m->g->opset > OPSET_LAST)
        return error_set(m->e, FL_UNSUPPORTED,
                         "opset %lld is not supported (7 to %d are): export the model again",
                         (long long)m->g->opset, OPSET_LAST);
    if (!p->graph)
        return error_set(m->e, FL_MODEL, "not an ONNX model: it has no graph");
    if (p->graph->n_sparse_initializer)
        return error_set(m->e, FL_UNSUPPORTED, "sparse initializers are not supported");
    if (p->producer_name && !(m->g->producer = strdup(p->producer_name)))
        return error_set(m->e, FL_NOMEM, "out of memory");
    return FL_OK;
}

static int import_shape(struct import *m, struct value *v, const Onnx__ValueInfoProto *p)
{
    const Onnx__TensorTypeProto *t = p->type ? p->type->tensor_type : NULL;
    if (!t)
        return error_set(m->e, FL_UNSUPPORTED, "input '%s' is not a tensor", v->name);
    v->dtype = (enum tensor_dtype)t->elem_type;
    if (!tensor_dtype_travels(v->dtype))
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
static int import_inputs(struct import *m, struct scope *s, const Onnx__GraphProto *p)
{
    m->g->inputs = calloc(MAX_FED, sizeof *m->g->inputs);
    if (!m->g->inputs)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = onnx_text(p->input[i]->name);
        int v, code;
        if (!*name)
            return error_set(m->e, FL_MODEL, "input %zu has no name", i);
        v = scope_declare(m, s, name);
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

static int import_outputs(struct import *m, struct scope *s, const Onnx__GraphProto *p)
{
    struct graph *g = m->g;
    g->outputs = calloc(p->n_output + 1, sizeof *g->outputs);
    if (!g->outputs)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = onnx_text(p->output[i]->name);
        const struct name *made = scope_own(s, name);
        int v = made ? made->value : -1;
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
        n += p->node[i]->n_output;
    return n;
}

static int import_graph(struct import *m, struct scope *s, Onnx__GraphProto *p)
{
    int code;
    if (p->n_output > MAX_FED)
        return error_set(m->e, FL_UNSUPPORTED, "the model has %zu outputs: at most %d", p->n_output, MAX_FED);
    if ((code = import_initializers(m, s, p)) || (code = import_inputs(m, s, p)) ||
        (code = import_nodes(m, s, p->node, p->n_node)))
        return code;
    return import_outputs(m, s, p);
}

int onnx_import(struct graph *g, const void *bytes, size_t size, struct external_files *files,
                struct error *e)
{
    struct error own = {FL_OK, ""};
    struct import m = {
        .g = g, .files = files, .budget = ((int64_t)32 << 20) + 16 * (int64_t)size, .e = e ? e : &own};
    Onnx__ModelProto *p = onnx__model_proto__unpack(NULL, size, bytes);
    struct scope whole = {.slot = NULL};
    int code;
    if (!p)
        return error_set(e, FL_MODEL, "not an ONNX model, or cut short");
    if (!(code = import_versions(&m, p)) && !(code = import_sort_functions(&m, p)) &&
        !(code = scope_new(&m, &whole, NULL, "", count_names(p->graph)))) {
        whole.opset = g->opset;
        code = import_graph(&m, &whole, p->graph);
    }
    scope_release(&whole);
    free(m.functions);
    onnx__model_proto__free_unpacked(p, NULL);
    return code;
}
