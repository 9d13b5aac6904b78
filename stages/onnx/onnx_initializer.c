/* onnx_initializer.c - weights, taken out of the parsed message one by one: each is held twice while it is
 * copied */
#include <string.h>

#include "base/digest.h"
#include "system/limits.h"
#include "onnx_import.h"

int import_tensor(struct import *m, struct tensor *out, Onnx__TensorProto *p)
{
    int code = onnx_tensor_convert(out, p, m->files, m->e);
    if (!code && p->data_location == 1)
        digest_add(m->g->digest, out->data, (size_t)tensor_bytes(out));
    return code;
}

/* The bytes are taken from the message at once. */
static int import_initializer(struct import *m, struct scope *s, Onnx__TensorProto *p)
{
    struct tensor t;
    int v = scope_declare(m, s, p->name), code;
    if (v < 0)
        return error_set(m->e, FL_NOMEM, "out of memory");
    if (m->g->values[v].constant)
        return error_set(m->e, FL_MODEL, "initializer '%s' is given twice", p->name);
    code = import_tensor(m, &t, p);
    onnx_tensor_drop(p);
    if (!code)
        code = import_spend(m, s, s->call ? tensor_bytes(&t) : 0);
    if (code) {
        tensor_release(&t);
        return code;
    }
    return value_set_constant(&m->g->values[v], &t) ? error_set(m->e, FL_NOMEM, "out of memory") : FL_OK;
}

/* FL_CONFIG when weights outside the file are more than the memory: told before the first of them is read,
 * since a container's process that takes more is killed without a word. */
static int check_outside(const struct import *m, const Onnx__GraphProto *p)
{
    int64_t sum = 0, bytes;
    for (size_t i = 0; i < p->n_initializer; i++) {
        bytes = onnx_tensor_outside_bytes(p->initializer[i]);
        sum = bytes < INT64_MAX - sum ? sum + bytes : INT64_MAX;
    }
    return sum && m->files ? limits_check_memory(sum, "external data", m->e) : FL_OK;
}

int import_initializers(struct import *m, struct scope *s, Onnx__GraphProto *p)
{
    int code = check_outside(m, p);
    for (size_t i = 0; i < p->n_initializer && !code; i++)
        code = *onnx_text(p->initializer[i]->name)
                   ? import_initializer(m, s, p->initializer[i])
                   : error_set(m->e, FL_MODEL, "initializer %zu has no name", i);
    return code;
}
