/* op_table.c - the operators of op_list.h by name and opset */
#include <string.h>

#include "ops.h"

static const struct op ops[] = {
#define OP(name, first, last, min_in, max_in, min_out, max_out, flags, infer, reference) \
    {#name, first, last, min_in, max_in, min_out, max_out, flags, infer##_infer, reference##_reference},
#include "op_list.h"
#undef OP
};

const struct op *op_find(const char *name, int64_t opset)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(ops[i].name, name) && opset >= ops[i].first_opset && opset <= ops[i].last_opset)
            return &ops[i];
    return NULL;
}
