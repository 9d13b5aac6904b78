/* op_table.c - every operator that is supported
 *
 * An operator is listed when its conformance cases pass (tests/conformance). Differences between opsets that
 * do not change the list of inputs are handled by the functions themselves.
 */
#include <string.h>

#include "ops.h"

#define LAST OPSET_LAST

static const struct op ops[] = {
    {"Conv", 1, LAST, 2, 3, 1, 1, OP_SPATIAL | OP_WEIGHTED, conv_infer, conv_reference},
    {"Gemm", 7, LAST, 2, 3, 1, 1, OP_WEIGHTED, gemm_infer, gemm_reference},
    {"MatMul", 1, LAST, 2, 2, 1, 1, OP_WEIGHTED, mat_mul_infer, mat_mul_reference},
    {"BatchNormalization", 7, LAST, 5, 5, 1, 5, OP_SPATIAL, batch_norm_infer, batch_norm_reference},
    {"InstanceNormalization", 6, LAST, 3, 3, 1, 1, OP_SPATIAL, instance_norm_infer, instance_norm_reference},
    {"LayerNormalization", 17, LAST, 2, 3, 1, 3, OP_AXIS, layer_norm_infer, layer_norm_reference},
    {"LRN", 1, LAST, 1, 1, 1, 1, OP_SPATIAL, lrn_infer, lrn_reference},
    {"MaxPool", 1, LAST, 1, 1, 1, 2, OP_SPATIAL, max_pool_infer, max_pool_reference},
    {"AveragePool", 7, LAST, 1, 1, 1, 1, OP_SPATIAL, average_pool_infer, average_pool_reference},
    {"GlobalAveragePool", 1, LAST, 1, 1, 1, 1, OP_SPATIAL, global_pool_infer, global_average_pool_reference},
    {"GlobalMaxPool", 1, LAST, 1, 1, 1, 1, OP_SPATIAL, global_pool_infer, global_max_pool_reference},
    {"Relu", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_infer, relu_reference},
    {"LeakyRelu", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, leaky_relu_reference},
    {"PRelu", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, prelu_infer, prelu_reference},
    {"Clip", 6, LAST, 1, 3, 1, 1, OP_ELEMENTWISE, clip_infer, clip_reference},
    {"Sigmoid", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, sigmoid_reference},
    {"HardSigmoid", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, hard_sigmoid_reference},
    {"HardSwish", 14, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, hard_swish_reference},
    {"Tanh", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, tanh_reference},
    {"Erf", 9, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, erf_reference},
    {"Elu", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, elu_reference},
    {"Selu", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, selu_reference},
    {"Softplus", 1, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, softplus_reference},
    {"Softsign", 1, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, softsign_reference},
    {"Mish", 18, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, mish_reference},
    {"Gelu", 20, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, gelu_reference},
    {"Sqrt", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, sqrt_reference},
    {"Exp", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, exp_reference},
    {"Log", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, log_reference},
    {"Reciprocal", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, reciprocal_reference},
    {"Floor", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, floor_reference},
    {"Ceil", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, ceil_reference},
    {"Round", 11, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, round_reference},
    {"Sin", 7, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, sin_reference},
    {"Cos", 7, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_float_infer, cos_reference},
    {"Abs", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_infer, abs_reference},
    {"Neg", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_infer, neg_reference},
    {"Sign", 9, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, unary_infer, sign_reference},
    {"Softmax", 1, LAST, 1, 1, 1, 1, OP_AXIS, softmax_infer, softmax_reference},
    {"LogSoftmax", 1, LAST, 1, 1, 1, 1, OP_AXIS, softmax_infer, log_softmax_reference},
    {"Add", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, add_infer, add_reference},
    {"Sub", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, add_infer, sub_reference},
    {"Mul", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, add_infer, mul_reference},
    {"Div", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, add_infer, div_reference},
    {"Pow", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, pow_infer, pow_reference},
    {"Mod", 10, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, mod_infer, mod_reference},
    {"Min", 6, LAST, 1, OP_MAX_IO, 1, 1, OP_ELEMENTWISE, add_infer, min_reference},
    {"Max", 6, LAST, 1, OP_MAX_IO, 1, 1, OP_ELEMENTWISE, add_infer, max_reference},
    {"Sum", 8, LAST, 1, OP_MAX_IO, 1, 1, OP_ELEMENTWISE, add_infer, add_reference},
    {"Mean", 8, LAST, 1, OP_MAX_IO, 1, 1, OP_ELEMENTWISE, add_infer, mean_reference},
    {"Equal", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, compare_infer, equal_reference},
    {"Less", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, compare_infer, less_reference},
    {"Greater", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, compare_infer, greater_reference},
    {"LessOrEqual", 12, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, compare_infer, less_or_equal_reference},
    {"GreaterOrEqual", 12, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, compare_infer, greater_or_equal_reference},
    {"And", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, logic_infer, and_reference},
    {"Or", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, logic_infer, or_reference},
    {"Xor", 7, LAST, 2, 2, 1, 1, OP_ELEMENTWISE, logic_infer, xor_reference},
    {"Not", 1, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, not_infer, not_reference},
    {"Where", 9, LAST, 3, 3, 1, 1, OP_ELEMENTWISE, where_infer, where_reference},
    {"ReduceMean", 1, LAST, 1, 2, 1, 1, OP_AXIS, reduce_mean_infer, reduce_mean_reference},
    {"ReduceSum", 1, LAST, 1, 2, 1, 1, OP_AXIS, reduce_mean_infer, reduce_sum_reference},
    {"ReduceMax", 1, LAST, 1, 2, 1, 1, OP_AXIS, reduce_mean_infer, reduce_max_reference},
    {"ReduceMin", 1, LAST, 1, 2, 1, 1, OP_AXIS, reduce_mean_infer, reduce_min_reference},
    {"ReduceProd", 1, LAST, 1, 2, 1, 1, OP_AXIS, reduce_mean_infer, reduce_prod_reference},
    {"ArgMax", 1, LAST, 1, 1, 1, 1, OP_AXIS, arg_max_infer, arg_max_reference},
    {"ArgMin", 1, LAST, 1, 1, 1, 1, OP_AXIS, arg_max_infer, arg_min_reference},
    {"Reshape", 5, LAST, 2, 2, 1, 1, OP_SHAPE_ONLY, reshape_infer, reshape_reference},
    {"Flatten", 1, LAST, 1, 1, 1, 1, OP_SHAPE_ONLY, flatten_infer, reshape_reference},
    {"Squeeze", 1, LAST, 1, 2, 1, 1, OP_SHAPE_ONLY, squeeze_infer, reshape_reference},
    {"Unsqueeze", 1, LAST, 1, 2, 1, 1, OP_SHAPE_ONLY, unsqueeze_infer, reshape_reference},
    {"Identity", 1, LAST, 1, 1, 1, 1, OP_SHAPE_ONLY, identity_infer, identity_reference},
    {"Dropout", 7, LAST, 1, 3, 1, 2, OP_SHAPE_ONLY, dropout_infer, dropout_reference},
    {"Transpose", 1, LAST, 1, 1, 1, 1, OP_AXIS, transpose_infer, transpose_reference},
    {"Concat", 4, LAST, 1, OP_MAX_IO, 1, 1, OP_AXIS, concat_infer, concat_reference},
    {"Split", 2, LAST, 1, 2, 1, OP_MAX_IO, OP_AXIS, split_infer, split_reference},
    {"Slice", 1, LAST, 1, 5, 1, 1, OP_AXIS, slice_infer, slice_reference},
    {"Gather", 1, LAST, 2, 2, 1, 1, OP_AXIS, gather_infer, gather_reference},
    {"Expand", 8, LAST, 2, 2, 1, 1, OP_AXIS, expand_infer, expand_reference},
    {"Tile", 6, LAST, 2, 2, 1, 1, OP_AXIS, tile_infer, tile_reference},
    {"Pad", 2, LAST, 1, 4, 1, 1, OP_AXIS, pad_infer, pad_reference},
    {"Resize", 10, LAST, 1, 4, 1, 1, OP_SPATIAL, resize_infer, resize_reference},
    {"Upsample", 7, 9, 1, 2, 1, 1, OP_SPATIAL, resize_infer, resize_reference},
    {"Shape", 1, LAST, 1, 1, 1, 1, OP_READS_DIMS, shape_infer, shape_reference},
    {"Size", 1, LAST, 1, 1, 1, 1, OP_READS_DIMS, size_infer, size_reference},
    {"Constant", 1, LAST, 0, 0, 1, 1, 0, constant_infer, constant_reference},
    {"ConstantOfShape", 9, LAST, 1, 1, 1, 1, 0, constant_of_shape_infer, constant_of_shape_reference},
    {"Range", 11, LAST, 3, 3, 1, 1, 0, range_infer, range_reference},
    {"Cast", 6, LAST, 1, 1, 1, 1, OP_ELEMENTWISE, cast_infer, cast_reference},
    {"DequantizeLinear", 10, LAST, 2, 3, 1, 1, OP_AXIS, dequantize_linear_infer, dequantize_linear_reference},
    {"QuantizeLinear", 10, LAST, 2, 3, 1, 1, OP_AXIS, quantize_linear_infer, quantize_linear_reference},
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
