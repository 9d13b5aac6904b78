/* onnx_import.h - what the files that turn an ONNX model into a graph share (onnx_import.c and its kin alone)
 *
 * A model may hold graphs inside graphs: the branches of an If, and functions whose nodes stand for one. Both
 * are put in the place where they are used, so that the graph is flat. A scope is such a place: the names
 * that are made there, and what is seen from around it. Whatever is put in place spends a budget in
 * proportion to the file, and lies at most SCOPE_MAX_DEPTH deep, so that a small file cannot ask for much.
 * onnx_node.c and onnx_inline.c call each other, as nodes hold graphs and graphs hold nodes.
 */
#ifndef FREEZELINE_ONNX_IMPORT_H
#define FREEZELINE_ONNX_IMPORT_H

#include "onnx_proto.h"
#include "stages/graph/graph_build.h"

#define SCOPE_MAX_DEPTH  24
#define SCOPE_PATH_BYTES 256

/* One use of a function: nodes of its body may refer to attributes of the node that uses it. */
struct call {
    const Onnx__NodeProto *node;
    const Onnx__FunctionProto *function;
    const struct call *outer; /* the call whose body that node belongs to, or NULL */
};

struct name {
    const char *text; /* borrowed from the parsed file; NULL: free */
    int value;        /* GRAPH_NONE: an input of a function that its caller leaves out */
    bool given;       /* a function's input: its body must not make it */
};

/* Names to values: open addressing, never more than half full. */
struct scope {
    /* seen too, from a branch; NULL for the model's own graph and a function's body */
    const struct scope *outer;
    const struct call *call; /* the innermost function that this lies in; NULL: none */
    int64_t opset;
    int depth;
    char path[SCOPE_PATH_BYTES]; /* "caller/": stands before the names of its nodes and values */
    struct name *slot;
    size_t size;
};

struct import {
    struct graph *g;
    int node_room;
    struct external_files *files;
    const Onnx__FunctionProto **functions; /* sorted by domain, name, overload */
    size_t n_functions;
    int64_t budget; /* bytes that putting functions and branches in place may still take, about */
    struct error *e;
};

static inline const char *onnx_text(const char *s)
{
    return s ? s : "";
}

static inline bool onnx_default_domain(const char *domain)
{
    return !domain || !*domain || !strcmp(domain, "ai.onnx");
}

/* A scope for up to `names` names, inside `around` (NULL: the model's own), for the node called `user`.
 * FL_UNSUPPORTED when that is too deep, FL_NOMEM. Released with scope_release in either case. */
int scope_new(struct import *m, struct scope *s, const struct scope *around, const char *user, size_t names);
void scope_release(struct scope *s);
/* The entry of that name in this scope alone, or NULL. */
struct name *scope_own(const struct scope *s, const char *text);
/* The entry of that name here or in the scopes that are seen from here, or NULL. */
const struct name *scope_find(const struct scope *s, const char *text);
/* Enters a name that is not there yet. Borrows text. */
void scope_bind(struct scope *s, const char *text, int value, bool given);
/* The value of that name in this scope, made when it is new. -1 when memory is out. */
int scope_declare(struct import *m, struct scope *s, const char *text);
/* "path/name", where the name is new in the graph: malloc'ed, NULL when memory is out. */
char *scope_name(const struct scope *s, const char *text);

/* Takes from the budget what something costs that is put in place (nothing in the model's own graph).
 * FL_UNSUPPORTED. */
int import_spend(struct import *m, const struct scope *s, int64_t bytes);

/* Index of a new node without inputs, outputs and attributes, which takes `name`; -1 when memory is out. */
int import_add_node(struct import *m, char *name, int64_t opset);
/* to = from, as a node. */
int import_add_identity(struct import *m, int from, int to, int64_t opset);
/* Marks the value as made by the node. FL_MODEL when something else makes it too. */
int import_claim(struct import *m, int value, int node);

/* A tensor of the file. Weights outside the file are the model's as much as those in it: its digest covers
 * the bytes that were read, wherever they lie. */
int import_tensor(struct import *m, struct tensor *out, Onnx__TensorProto *p);
int import_initializers(struct import *m, struct scope *s, Onnx__GraphProto *p);
/* Declares what the nodes make, then imports them; branches and functions are put in place. */
int import_nodes(struct import *m, struct scope *s, Onnx__NodeProto *const *p, size_t n);
int import_attributes(struct import *m, const struct scope *s, struct node *n, const Onnx__NodeProto *p);
/* What an attribute is once references to a function's attributes are followed; NULL: it is left out. */
const Onnx__AttributeProto *import_referred(const struct scope *s, const Onnx__AttributeProto *p);

/* The function that this node uses, or NULL. */
const Onnx__FunctionProto *import_function(const struct import *m, const Onnx__NodeProto *p);
int import_sort_functions(struct import *m, const Onnx__ModelProto *p);
/* The nodes of a function in the place of the node that uses it and would be called `name`. */
int import_call(struct import *m, struct scope *s, const Onnx__NodeProto *p, const Onnx__FunctionProto *f,
                const char *name);
/* Both branches of an If, and a node (if_choice.h) that chooses. */
int import_if(struct import *m, struct scope *s, const Onnx__NodeProto *p, const char *name);
/* The version of ONNX's own operators among these; `otherwise` when it is not there. */
int64_t import_opset(Onnx__OperatorSetIdProto *const *p, size_t n, int64_t otherwise);

#endif
