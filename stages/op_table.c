/* op_table.c - every operator that is supported
 *
 * An operator is listed when its conformance cases pass (tests/conformance). Differences between opsets that
 * do not change the list of inputs are handled by the functions themselves.
 */
#include <string.h>

#include "ops.h"

#define LAST 21

static const struct op ops[] = {
    {"Conv", 1, LAST, 2, 3, 1, 1, OP_SPATIAL | OP_WEIGHTED, conv_infer, conv_reference},
    {"Gemm", 7, LAST, 2, 3, 1, 1, OP_WEIGHTED, gemm_infer, gemm_reference},
    {"Relu", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_infer, relu_reference},
    {"Add", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, add_infer, add_reference},
    {"ReduceMean", 1, LAST, 1, 2, 1, 1, OP_AXIS, reduce_mean_infer, reduce_mean_reference},
    {NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL},
};

const struct op *op_table(void)
{
    return ops;
}

const struct op *op_find(const char *name, int64_t opset)
{
    for (const struct op *op = ops; op->name; op++)
        if (!strcmp(op->name, name) && opset >= op->first_opset && opset <= op->last_opset)
            return op;
    return NULL;
}
