/* onnx_attribute.c - attributes of nodes: copied, their kinds checked, references to a function's resolved */
#include <stdlib.h>
#include <string.h>

#include "onnx_import.h"

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

static const Onnx__AttributeProto *named(Onnx__AttributeProto *const *p, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(onnx_text(p[i]->name), name))
            return p[i];
    return NULL;
}

const Onnx__AttributeProto *import_referred(const struct scope *s, const Onnx__AttributeProto *p)
{
    for (const struct call *c = s->call; p && p->ref_attr_name && *p->ref_attr_name; c = c->outer) {
        const char *name = p->ref_attr_name;
        if (!c)
            return NULL; /* left out at the outermost call too */
        p = named(c->node->attribute, c->node->n_attribute, name);
        if (!p)
            return named(c->function->attribute_proto, c->function->n_attribute_proto, name);
    }
    return p;
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

static int copy_tensor(struct import *m, const struct scope *s, struct attr *a, const Onnx__AttributeProto *p)
{
    int code;
    if (!p->t)
        return error_set(m->e, FL_MODEL, "attribute '%s' has no tensor", a->name);
    a->tensor = calloc(1, sizeof *a->tensor);
    if (!a->tensor)
        return FL_NOMEM;
    if ((code = import_tensor(m, a->tensor, p->t)))
        return code;
    if (!s->call) /* a function's body is used again */
        onnx_tensor_drop(p->t);
    return import_spend(m, s, tensor_bytes(a->tensor));
}

/* What copying the attribute takes, its tensor apart. */
static int64_t weight(const Onnx__AttributeProto *p)
{
    size_t bytes = sizeof(struct attr) + strlen(onnx_text(p->name)) + p->s.len +
                   p->n_floats * sizeof *p->floats + p->n_ints * sizeof *p->ints;
    for (size_t i = 0; i < p->n_strings; i++)
        bytes += sizeof(char *) + p->strings[i].len;
    return (int64_t)bytes;
}

static int copy_value(struct import *m, const struct scope *s, struct attr *a, const Onnx__AttributeProto *p)
{
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
        return copy_tensor(m, s, a, p);
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

static int import_attribute(struct import *m, const struct scope *s, struct node *n,
                            const Onnx__AttributeProto *p)
{
    const Onnx__AttributeProto *value = import_referred(s, p);
    struct attr *a = &n->attr[n->n_attr];
    if (!value && !s->call)
        return error_set(m->e, FL_MODEL, "attribute '%s' refers to a function's attribute, but is in none",
                         onnx_text(p->name));
    if (!value)
        return FL_OK;
    if (import_spend(m, s, weight(value)))
        return FL_UNSUPPORTED;
    a->name = strdup(onnx_text(p->name));
    n->n_attr++;
    return a->name ? copy_value(m, s, a, value) : FL_NOMEM;
}

int import_attributes(struct import *m, const struct scope *s, struct node *n, const Onnx__NodeProto *p)
{
    if (import_spend(m, s, (int64_t)(p->n_attribute * sizeof *n->attr)))
        return FL_UNSUPPORTED;
    n->attr = calloc(p->n_attribute + 1, sizeof *n->attr);
    if (!n->attr)
        return error_set(m->e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n_attribute; i++) {
        int code;
        m->e->code = FL_OK;
        code = import_attribute(m, s, n, p->attribute[i]);
        if (code && !m->e->code)
            return error_set(m->e, (enum fl_code)code, "out of memory");
        if (code)
            return error_wrap(m->e, (enum fl_code)code, "node '%s' (%s)", n->name, onnx_text(p->op_type));
    }
    return FL_OK;
}
