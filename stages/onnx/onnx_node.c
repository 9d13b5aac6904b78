/* onnx_node.c - the nodes of one scope: operators found, inputs and outputs connected */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "if_choice.h"
#include "onnx_import.h"

#define MAX_NODES 1000000

int import_add_node(struct import *m, char *name, int64_t opset)
{
    struct graph *g = m->g;
    struct node *n;
    if (g->n_nodes == m->node_room) {
        int room = m->node_room ? 2 * m->node_room : 64;
        n = name && room <= 2 * MAX_NODES ? realloc(g->nodes, (size_t)room * sizeof *n) : NULL;
        if (!n) {
            free(name);
            return -1;
        }
        g->nodes = n;
        m->node_room = room;
    }
    n = &g->nodes[g->n_nodes];
    memset(n, 0, sizeof *n);
    n->name = name;
    n->opset = opset;
    n->post.residual = GRAPH_NONE;
    return name ? g->n_nodes++ : -1;
}

int import_claim(struct import *m, int value, int node)
{
    struct value *v = &m->g->values[value];
    if (v->constant || v->producer != GRAPH_NONE || graph_is_input(m->g, value))
        return error_set(m->e, FL_MODEL, "value '%s' is made twice (second time by node '%s')", v->name,
                         m->g->nodes[node].name);
    v->producer = node;
    return FL_OK;
}

int import_add_identity(struct import *m, int from, int to, int64_t opset)
{
    int at = import_add_node(m, strdup(m->g->values[to].name), opset);
    struct node *n = at < 0 ? NULL : &m->g->nodes[at];
    if (!n || !(n->in = calloc(1, sizeof *n->in)) || !(n->out = calloc(1, sizeof *n->out)))
        return error_set(m->e, FL_NOMEM, "out of memory");
    n->op = op_find("Identity", opset);
    n->n_in = n->n_out = 1;
    n->in[0] = from;
    n->out[0] = to;
    return import_claim(m, to, at);
}

/* Inputs: an empty name is an absent one, and absent ones at the end are dropped. */
static int connect_inputs(struct import *m, const struct scope *s, struct node *n, const Onnx__NodeProto *p)
{
    size_t count = p->n_input;
    while (count && !*p->input[count - 1])
        count--;
    n->in = calloc(count + 1, sizeof *n->in);
    if (!n->in)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const struct name *found = *p->input[i] ? scope_find(s, p->input[i]) : NULL;
        if (*p->input[i] && !found)
            return error_set(m->e, FL_MODEL, "node '%s' (%s) reads '%s', which nothing makes", n->name,
                             onnx_text(p->op_type), p->input[i]);
        n->in[n->n_in++] = found ? found->value : GRAPH_NONE;
    }
    while (n->n_in && n->in[n->n_in - 1] == GRAPH_NONE)
        n->n_in--;
    return FL_OK;
}

/* Outputs were declared; the same holds for absent ones. One that the operator always makes gets a value even
 * where the file gives it no name. */
static int connect_outputs(struct import *m, const struct scope *s, int at, const Onnx__NodeProto *p)
{
    struct node *n = &m->g->nodes[at];
    size_t count = p->n_output;
    while (count && !*p->output[count - 1])
        count--;
    n->out = calloc(count + 1, sizeof *n->out);
    if (!n->out)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        int code = FL_OK, v = *p->output[i] ? scope_own(s, p->output[i])->value : GRAPH_NONE;
        if (v == GRAPH_NONE && (int)i < n->op->min_out && (v = graph_add_value(m->g, NULL)) < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
        n->out[n->n_out++] = v;
        if (v != GRAPH_NONE && (code = import_claim(m, v, at)))
            return code;
    }
    return FL_OK;
}

static int check_counts(struct import *m, const struct node *n)
{
    const struct op *op = n->op;
    if (n->n_in < op->min_in || n->n_in > op->max_in)
        return error_set(m->e, FL_MODEL,
                         "operator '%s' (node '%s', opset %lld) takes %d to %d inputs, it has %d", op->name,
                         n->name, (long long)n->opset, op->min_in, op->max_in, n->n_in);
    for (int i = 0; i < op->min_in; i++)
        if (n->in[i] == GRAPH_NONE)
            return error_set(m->e, FL_MODEL, "operator '%s' (node '%s') lacks its input %d", op->name,
                             n->name, i);
    return FL_OK;
}

static int check_outputs(struct import *m, const struct node *n, const Onnx__NodeProto *p)
{
    const struct op *op = n->op;
    size_t count = p->n_output;
    while (count && !*p->output[count - 1])
        count--;
    if (count < (size_t)op->min_out || count > (size_t)op->max_out)
        return error_set(m->e, FL_MODEL,
                         "operator '%s' (node '%s', opset %lld) gives %d to %d outputs, it has %zu", op->name,
                         n->name, (long long)n->opset, op->min_out, op->max_out, count);
    return FL_OK;
}

/* ONNX Runtime's own domain: what its quantizer writes is known. */
static const struct op *microsoft_operator(const char *type)
{
    const struct op *op = op_find(type, OPSET_LAST);
    bool same = !strcmp(type, "QuantizeLinear") || !strcmp(type, "DequantizeLinear");
    return op && (same || (op->flags & OP_EXPANDED)) ? op : NULL;
}

/* In a branch an unknown operator is an error only when the branch is taken. */
static int find_operator(struct import *m, const struct scope *s, struct node *n, const Onnx__NodeProto *p)
{
    const char *type = onnx_text(p->op_type);
    bool known = onnx_default_domain(p->domain);
    n->op = known                                            ? op_find(type, s->opset)
            : !strcmp(onnx_text(p->domain), "com.microsoft") ? microsoft_operator(type)
                                                             : NULL;
    if (n->op)
        return FL_OK;
    if (s->outer) {
        n->op = &op_unsupported;
        return unsupported_note(n, type, known ? "" : p->domain) ? error_set(m->e, FL_NOMEM, "out of memory")
                                                                 : FL_OK;
    }
    if (!known)
        return error_set(m->e, FL_UNSUPPORTED, "operator '%s' (node '%s') of domain '%s' is not supported",
                         type, n->name, p->domain);
    return error_set(m->e, FL_UNSUPPORTED, "operator '%s' (node '%s', opset %lld) is not supported", type,
                     n->name, (long long)s->opset);
}

static int import_operator(struct import *m, struct scope *s, const Onnx__NodeProto *p, char *name)
{
    int at = import_add_node(m, name, s->opset), code;
    struct node *n;
    if (at < 0)
        return error_set(m->e, FL_NOMEM, "out of memory");
    n = &m->g->nodes[at];
    if ((code = find_operator(m, s, n, p)) ||
        (n->op != &op_unsupported && (code = import_attributes(m, s, n, p))) ||
        (code = connect_inputs(m, s, n, p)) || (code = check_counts(m, n)) || (code = check_outputs(m, n, p)))
        return code;
    return connect_outputs(m, s, at, p);
}

/* What a node takes besides its attributes, the time to look its names up included. */
static int64_t weight(const Onnx__NodeProto *p)
{
    size_t bytes = 512 + strlen(onnx_text(p->op_type)) + strlen(onnx_text(p->domain));
    for (size_t i = 0; i < p->n_input; i++)
        bytes += sizeof(int) + strlen(p->input[i]);
    for (size_t i = 0; i < p->n_output; i++)
        bytes += sizeof(struct value) + strlen(p->output[i]);
    return (int64_t)bytes;
}

static int import_node(struct import *m, struct scope *s, const Onnx__NodeProto *p, size_t index)
{
    const Onnx__FunctionProto *function = import_function(m, p);
    bool choice = !function && onnx_default_domain(p->domain) && !strcmp(onnx_text(p->op_type), "If");
    char made_up[96], *name;
    int code;
    if (m->g->n_nodes >= MAX_NODES)
        return error_set(m->e, FL_UNSUPPORTED, "the model has more than %d nodes", MAX_NODES);
    snprintf(made_up, sizeof made_up, "%.64s_%zu", onnx_text(p->op_type), index);
    name = scope_name(s, p->name && *p->name ? p->name : made_up);
    if (!name)
        return error_set(m->e, FL_NOMEM, "out of memory");
    if (!function && !choice)
        return import_operator(m, s, p, name);
    code = function ? import_call(m, s, p, function, name) : import_if(m, s, p, name);
    free(name);
    return code;
}

static int declare_outputs(struct import *m, struct scope *s, const Onnx__NodeProto *p)
{
    for (size_t k = 0; k < p->n_output; k++) {
        struct name *own = *p->output[k] ? scope_own(s, p->output[k]) : NULL;
        if (own && own->given)
            return error_set(m->e, FL_MODEL, "value '%s' is made twice (second time by node '%s')", own->text,
                             onnx_text(p->name));
        if (*p->output[k] && !own && scope_declare(m, s, p->output[k]) < 0)
            return error_set(m->e, FL_NOMEM, "out of memory");
    }
    return FL_OK;
}

int import_nodes(struct import *m, struct scope *s, Onnx__NodeProto *const *p, size_t n)
{
    int code = FL_OK;
    for (size_t i = 0; i < n && !code; i++)
        if (!(code = import_spend(m, s, weight(p[i]))))
            code = declare_outputs(m, s, p[i]);
    for (size_t i = 0; i < n && !code; i++)
        code = import_node(m, s, p[i], i);
    return code;
}
