/* if_choice.c - the operators that stand for an If, and for what a branch has and nobody knows */
#include "if_choice.h"

#include <stdlib.h>
#include <string.h>

#include "stages/ops/ops.h"

static int choice_infer(struct op_infer *i)
{
    return infer_fail(i, "it was not decided");
}

static int unsupported_infer(struct op_infer *i)
{
    const char *domain = attr_string(i->node, "domain", "");
    return infer_unsupported(i, "operator '%.80s'%s%.80s is not supported", attr_string(i->node, "type", ""),
                             *domain ? " of domain " : "", domain);
}

static int no_reference(const struct op_call *c)
{
    (void)c;
    return FL_UNSUPPORTED;
}

const struct op op_choice = {"If", 1, OPSET_LAST, 1, OP_MAX_IO, 1, OP_MAX_IO, 0, choice_infer, no_reference};
const struct op op_unsupported = {"?",       1, OPSET_LAST,        0,           OP_MAX_IO, 0,
                                  OP_MAX_IO, 0, unsupported_infer, no_reference};

int unsupported_note(struct node *n, const char *type, const char *domain)
{
    const char *const text[2] = {type, domain}, *const name[2] = {"type", "domain"};
    n->attr = calloc(2, sizeof *n->attr);
    for (int k = 0; n->attr && k < 2; k++, n->n_attr++) {
        n->attr[k].kind = ATTR_STRING;
        n->attr[k].name = strdup(name[k]);
        n->attr[k].s = strndup(text[k], 128);
        if (!n->attr[k].name || !n->attr[k].s) {
            n->n_attr++;
            return FL_NOMEM;
        }
    }
    return n->attr ? FL_OK : FL_NOMEM;
}

bool choice_any(const struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == &op_choice)
            return true;
    return false;
}

int choice_taken(const struct tensor *condition)
{
    if (condition->dtype != TENSOR_BOOL || !condition->data || tensor_count(condition) != 1)
        return -1;
    return *(const uint8_t *)condition->data ? 0 : 1;
}
