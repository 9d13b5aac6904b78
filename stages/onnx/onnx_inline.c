/* onnx_inline.c - functions and branches, put in the place where they are used */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "if_choice.h"
#include "onnx_import.h"

/* What a parsed branch may take for each of its bytes: they are parsed once more than the file is. */
#define PARSED_TIMES 2

static int compare_ids(const Onnx__FunctionProto *a, const char *domain, const char *name,
                       const char *overload)
{
    bool plain_a = onnx_default_domain(a->domain), plain_b = onnx_default_domain(domain);
    int d = plain_a || plain_b ? plain_b - plain_a : strcmp(a->domain, domain);
    d = d ? d : strcmp(onnx_text(a->name), name);
    return d ? d : strcmp(onnx_text(a->overload), overload);
}

static int compare_functions(const void *a, const void *b)
{
    const Onnx__FunctionProto *y = *(Onnx__FunctionProto *const *)b;
    return compare_ids(*(Onnx__FunctionProto *const *)a, onnx_text(y->domain), onnx_text(y->name),
                       onnx_text(y->overload));
}

int import_sort_functions(struct import *m, const Onnx__ModelProto *p)
{
    m->functions = calloc(p->n_functions + 1, sizeof *m->functions);
    if (!m->functions)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_functions; i++)
        m->functions[i] = p->functions[i];
    m->n_functions = p->n_functions;
    qsort(m->functions, m->n_functions, sizeof *m->functions, compare_functions);
    for (size_t i = 1; i < m->n_functions; i++)
        if (!compare_functions(&m->functions[i - 1], &m->functions[i]))
            return error_set(m->e, FL_MODEL, "function '%s' is given twice",
                             onnx_text(m->functions[i]->name));
    return FL_OK;
}

const Onnx__FunctionProto *import_function(const struct import *m, const Onnx__NodeProto *p)
{
    size_t low = 0, high = m->n_functions;
    while (low < high) {
        size_t at = low + (high - low) / 2;
        int d = compare_ids(m->functions[at], onnx_text(p->domain), onnx_text(p->op_type),
                            onnx_text(p->overload));
        if (!d)
            return m->functions[at];
        if (d < 0)
            low = at + 1;
        else
            high = at;
    }
    return NULL;
}

int64_t import_opset(Onnx__OperatorSetIdProto *const *p, size_t n, int64_t otherwise)
{
    for (size_t i = 0; i < n; i++)
        if (onnx_default_domain(p[i]->domain))
            otherwise = p[i]->version;
    return otherwise;
}

static size_t count_outputs(Onnx__NodeProto *const *p, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i]->n_output;
    return sum;
}

/* The function's names for its inputs stand for the values that the node reads. */
static int bind_inputs(struct import *m, const struct scope *s, struct scope *body, const struct call *call,
                       const char *name)
{
    const Onnx__FunctionProto *f = call->function;
    for (size_t k = 0; k < f->n_input; k++) {
        const char *given = k < call->node->n_input ? call->node->input[k] : "";
        const struct name *found = *given ? scope_find(s, given) : NULL;
        if (*given && !found)
            return error_set(m->e, FL_MODEL, "node '%s' (%s) reads '%s', which nothing makes", name,
                             onnx_text(f->name), given);
        if (!*f->input[k] || scope_own(body, f->input[k]))
            return error_set(m->e, FL_MODEL, "function '%s': its input %zu has no name of its own",
                             onnx_text(f->name), k);
        scope_bind(body, f->input[k], found ? found->value : GRAPH_NONE, true);
    }
    return FL_OK;
}

/* What the node is said to make with output k of the function; GRAPH_NONE: nothing. */
static int output_value(const struct scope *s, const struct call *call, size_t k)
{
    const char *wanted = k < call->node->n_output ? call->node->output[k] : "";
    return *wanted ? scope_own(s, wanted)->value : GRAPH_NONE;
}

/* The function's names for its outputs stand for the values that the node makes. */
static void bind_outputs(const struct scope *s, struct scope *body, const struct call *call)
{
    const Onnx__FunctionProto *f = call->function;
    for (size_t k = 0; k < f->n_output; k++) {
        int value = output_value(s, call, k);
        if (value != GRAPH_NONE && !scope_own(body, f->output[k]))
            scope_bind(body, f->output[k], value, false);
    }
}

/* A function may give back an input, or one value under two names: an Identity makes that output. */
static int finish_outputs(struct import *m, const struct scope *s, const struct scope *body,
                          const struct call *call)
{
    const Onnx__FunctionProto *f = call->function;
    for (size_t k = 0; k < f->n_output; k++) {
        int value = output_value(s, call, k), code = FL_OK;
        const struct name *made = scope_own(body, f->output[k]);
        if (value == GRAPH_NONE)
            continue;
        if (made && made->value != GRAPH_NONE && made->value != value)
            code = import_add_identity(m, made->value, value, body->opset);
        else if (!made || made->value == GRAPH_NONE || m->g->values[value].producer == GRAPH_NONE)
            code = error_set(m->e, FL_MODEL, "function '%s' does not make its output '%s'",
                             onnx_text(f->name), f->output[k]);
        if (code)
            return code;
    }
    return FL_OK;
}

static int fill_body(struct import *m, struct scope *s, struct scope *body, const struct call *call,
                     const char *name)
{
    const Onnx__FunctionProto *f = call->function;
    int code;
    body->outer = NULL;
    body->call = call;
    body->opset = import_opset(f->opset_import, f->n_opset_import, s->opset);
    if (body->opset < 1 || body->opset > OPSET_LAST)
        return error_set(m->e, FL_UNSUPPORTED, "function '%s' has opset %lld, which is not supported",
                         onnx_text(f->name), (long long)body->opset);
    if (call->node->n_input > f->n_input || call->node->n_output > f->n_output)
        return error_set(
            m->e, FL_MODEL, "function '%s' (node '%s') has %zu inputs and %zu outputs, not %zu and %zu",
            onnx_text(f->name), name, f->n_input, f->n_output, call->node->n_input, call->node->n_output);
    if ((code = bind_inputs(m, s, body, call, name)))
        return code;
    bind_outputs(s, body, call);
    if ((code = import_nodes(m, body, f->node, f->n_node)))
        return code;
    return finish_outputs(m, s, body, call);
}

int import_call(struct import *m, struct scope *s, const Onnx__NodeProto *p, const Onnx__FunctionProto *f,
                const char *name)
{
    struct call call = {p, f, s->call};
    struct scope body;
    int code = scope_new(m, &body, s, name, f->n_input + f->n_output + count_outputs(f->node, f->n_node));
    if (!code)
        code = fill_body(m, s, &body, &call, name);
    scope_release(&body);
    return code;
}

static const Onnx__AttributeProto *branch_of(const struct scope *s, const Onnx__NodeProto *p,
                                             const char *which)
{
    for (size_t i = 0; i < p->n_attribute; i++)
        if (!strcmp(onnx_text(p->attribute[i]->name), which)) {
            const Onnx__AttributeProto *a = import_referred(s, p->attribute[i]);
            return a && a->has_g ? a : NULL;
        }
    return NULL;
}

/* The nodes of a branch; the values that it gives become inputs `at` and following of the choice. */
static int fill_branch(struct import *m, struct scope *branch, Onnx__GraphProto *p, int *in, int n,
                       const char *name)
{
    int code;
    if (p->n_sparse_initializer || p->n_input)
        return error_set(m->e, FL_MODEL, "node '%s' (If): a branch has inputs of its own", name);
    if (p->n_output < (size_t)n)
        return error_set(m->e, FL_MODEL, "node '%s' (If): a branch gives %zu values, %d are wanted", name,
                         p->n_output, n);
    if ((code = import_initializers(m, branch, p)) || (code = import_nodes(m, branch, p->node, p->n_node)))
        return code;
    for (int k = 0; k < n; k++) {
        const char *text = onnx_text(p->output[k]->name);
        const struct name *made = scope_find(branch, text);
        if (!made || made->value == GRAPH_NONE)
            return error_set(m->e, FL_MODEL, "node '%s' (If): nothing makes '%s', which a branch gives", name,
                             text);
        in[k] = made->value;
    }
    return FL_OK;
}

static int import_branch(struct import *m, struct scope *s, const Onnx__NodeProto *p, const char *which,
                         int *in, int n, const char *name)
{
    const Onnx__AttributeProto *a = branch_of(s, p, which);
    struct scope branch = {.slot = NULL};
    Onnx__GraphProto *g;
    int code;
    if (!a)
        return error_set(m->e, FL_MODEL, "node '%s' (If) has no %s", name, which);
    m->budget -= PARSED_TIMES * (int64_t)a->g.len;
    if (m->budget < 0)
        return error_set(m->e, FL_UNSUPPORTED, "node '%s' (If): its branches are too large", name);
    g = onnx__graph_proto__unpack(NULL, a->g.len, a->g.data);
    if (!g)
        return error_set(m->e, FL_MODEL, "node '%s' (If): its %s is no graph, or cut short", name, which);
    code = scope_new(m, &branch, s, name, g->n_initializer + count_outputs(g->node, g->n_node));
    branch.outer = s;
    if (!code)
        code = fill_branch(m, &branch, g, in, n, name);
    scope_release(&branch);
    onnx__graph_proto__free_unpacked(g, NULL);
    return code;
}

/* A choice reads the condition, what the one branch gives, what the other gives. */
static int add_choice(struct import *m, const struct scope *s, const Onnx__NodeProto *p, const char *name,
                      const int *in, int n_in, int n_out)
{
    int at = import_add_node(m, strdup(name), s->opset), code = FL_OK;
    struct node *n = at < 0 ? NULL : &m->g->nodes[at];
    if (!n || !(n->in = calloc((size_t)n_in, sizeof *in)) || !(n->out = calloc((size_t)n_out, sizeof *in)))
        return error_set(m->e, FL_NOMEM, "out of memory");
    n->op = &op_choice;
    n->n_in = n_in;
    memcpy(n->in, in, (size_t)n_in * sizeof *in);
    for (int k = 0; k < n_out && !code; k++) {
        n->out[n->n_out++] = *p->output[k] ? scope_own(s, p->output[k])->value : GRAPH_NONE;
        if (n->out[k] != GRAPH_NONE)
            code = import_claim(m, n->out[k], at);
    }
    return code;
}

int import_if(struct import *m, struct scope *s, const Onnx__NodeProto *p, const char *name)
{
    const struct name *condition = p->n_input == 1 ? scope_find(s, p->input[0]) : NULL;
    int in[OP_MAX_IO], n = (int)p->n_output, code;
    if (p->n_output < 1 || p->n_output > (OP_MAX_IO - 1) / 2)
        return error_set(m->e, FL_UNSUPPORTED, "node '%s' (If) has %zu outputs: at least 1 and at most %d",
                         name, p->n_output, (OP_MAX_IO - 1) / 2);
    if (!condition || condition->value == GRAPH_NONE)
        return error_set(m->e, FL_MODEL, "node '%s' (If) has no condition", name);
    in[0] = condition->value;
    if ((code = import_branch(m, s, p, "then_branch", in + 1, n, name)) ||
        (code = import_branch(m, s, p, "else_branch", in + 1 + n, n, name)))
        return code;
    return add_choice(m, s, p, name, in, 1 + 2 * n, n);
}
