/* test_graph.c - what a loaded model looks like: fusion, free batch, cuts, depth
 *
 * The models are conformance cases, so that their numbers are held elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "stages/graph/graph_build.h"
#include "stages/onnx/onnx_tensor.h"

#define CASES "tests/conformance/cases/"

static struct graph *load(const char *name, bool as_written)
{
    struct graph_options o = {.keep_as_written = as_written};
    struct error e = {FL_OK, ""};
    struct graph *g = NULL;
    char path[256];
    snprintf(path, sizeof path, CASES "%s/model.onnx", name);
    if (graph_load(&g, path, &o, &e))
        fail_msg("%s", e.text);
    return g;
}

static void test_residual_and_activation_are_fused(void **state)
{
    struct graph *g = load("graph_conv_residual_relu", false);
    assert_int_equal(g->n_nodes, 1);
    assert_string_equal(g->nodes[0].op->name, "Conv");
    assert_int_equal(g->nodes[0].post.activation, ACT_RELU);
    assert_int_equal(g->nodes[0].post.residual, 3);
    assert_int_equal(g->nodes[0].in[3], g->inputs[0]);
    assert_true(g->free_batch);
    graph_free(g);
    g = load("graph_conv_residual_relu", true);
    assert_int_equal(g->n_nodes, 3);
    graph_free(g);
}

static void test_activations_are_recognised(void **state)
{
    static const struct {
        const char *name;
        enum activation activation;
    } cases[] = {{"graph_conv_silu", ACT_SILU},
                 {"graph_conv_hardswish", ACT_HARD_SWISH},
                 {"graph_conv_hardswish_op", ACT_HARD_SWISH},
                 {"graph_conv_relu6", ACT_CLIP},
                 {"graph_conv_leaky", ACT_LEAKY_RELU},
                 {"graph_conv_sigmoid", ACT_SIGMOID},
                 {"graph_conv_batchnorm_relu", ACT_RELU},
                 {"graph_conv_then_bias", ACT_RELU},
                 {"graph_matmul_add_relu", ACT_RELU}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct graph *g = load(cases[i].name, false);
        assert_int_equal(g->n_nodes, 1);
        assert_int_equal(g->nodes[0].post.activation, cases[i].activation);
        graph_free(g);
    }
}

static bool has_node(const struct graph *g, const char *op)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (node_is(&g->nodes[i], op))
            return true;
    return false;
}

/* What exporters write in parts is one operator again; what only looks like it stays as it is. */
static void test_activations_have_names(void **state)
{
    assert_string_equal(activation_name(ACT_NONE), "");
    for (int a = ACT_NONE + 1; a <= ACT_LAST; a++)
        assert_true(activation_name(a) && *activation_name(a));
}

static void test_patterns_are_recognised(void **state)
{
    static const struct {
        const char *name, *op;
        int nodes;
    } cases[] = {{"graph_layer_norm", "LayerNormalization", 1},
                 {"graph_layer_norm_product", "LayerNormalization", 1},
                 {"graph_gelu", "Gelu", 1},
                 {"graph_gelu_half_first", "Gelu", 1},
                 {"graph_gelu_tanh", "Gelu", 1},
                 {"graph_nearly_gelu", "Erf", 5},
                 {"graph_centred_columns", "ReduceMean", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct graph *g = load(cases[i].name, false);
        assert_int_equal(g->n_nodes, cases[i].nodes);
        assert_true(has_node(g, cases[i].op));
        graph_free(g);
    }
}

/* Products of tokens carry their bias, and the factor of the scores goes into the product. */
static void test_products_of_tokens_are_fused(void **state)
{
    struct graph *g = load("graph_attention_one_product", false);
    assert_true(has_node(g, "Gemm"));
    assert_false(has_node(g, "Add"));
    assert_false(has_node(g, "Mul"));
    for (int i = 0; i < g->n_nodes; i++)
        if (attr_find(&g->nodes[i], "alpha"))
            assert_string_equal(g->nodes[i].op->name, "MatMul");
    graph_free(g);
}

static void test_what_is_read_elsewhere_is_not_fused(void **state)
{
    struct graph *g = load("graph_intermediate_output", false);
    assert_int_equal(g->n_nodes, 2);
    assert_string_equal(g->values[g->outputs[0]].name, "c");
    graph_free(g);
    g = load("graph_value_read_twice", false);
    assert_int_equal(g->n_nodes, 3);
    graph_free(g);
}

static void test_shape_arithmetic_dies(void **state)
{
    struct graph *g = load("graph_view_free_batch", false);
    const struct value *v;
    assert_int_equal(g->n_nodes, 1);
    assert_true(g->free_batch);
    v = &g->values[g->outputs[0]];
    assert_int_equal(extent_at(v->dim[0], 7), 7);
    assert_int_equal(extent_at(v->dim[1], 7), 144);
    graph_free(g);
    g = load("graph_channel_shuffle", false);
    assert_int_equal(g->n_nodes, 3);
    graph_free(g);
    g = load("graph_resize_to_shape", false);
    assert_int_equal(g->n_nodes, 1);
    graph_free(g);
}

static void test_batch_is_free_only_where_it_means_the_same(void **state)
{
    struct graph *g = load("graph_fixed_batch_view", false);
    assert_false(g->free_batch); /* Reshape to [1, -1] */
    graph_free(g);
    g = load("squeeze_all", false);
    assert_false(g->free_batch);
    graph_free(g);
    g = load("load_batchnorm_trains_after_conv", false); /* statistics of the batch would mix requests */
    assert_false(g->free_batch);
    graph_free(g);
    g = load("conv_depthwise", false); /* written with batch 1 */
    assert_true(g->free_batch);
    graph_free(g);
}

static void test_cuts_in_a_chain(void **state)
{
    struct graph *g = load("graph_batchnorm_relu_conv", true);
    struct cut *cut;
    int n;
    assert_int_equal(graph_cuts(g, &cut, &n, NULL), FL_OK);
    assert_int_equal(n, 2);
    assert_int_equal(cut[1].node, 1);
    assert_true(cut[1].after_block);
    assert_false(cut[0].after_block);
    assert_true(cut[1].flops_share > 0 && cut[1].flops_share < 0.1);
    assert_int_equal(graph_depth(g), 1);
    free(cut);
    graph_free(g);
}

static void test_nothing_is_cut_inside_a_block(void **state)
{
    struct graph *g = load("graph_conv_residual_relu", true);
    struct cut *cut;
    int n;
    assert_int_equal(graph_cuts(g, &cut, &n, NULL), FL_OK);
    assert_int_equal(n, 1); /* after Add, before Relu: the block ends after the Relu, where the model does */
    assert_false(cut[0].after_block);
    free(cut);
    graph_free(g);
}

static void test_costs(void **state)
{
    struct graph *g = load("conv_free_batch", false);
    assert_int_equal((int)graph_node_flops(g, 0, 1), 2 * 8 * 36 * 4 * 9);
    assert_int_equal((int)graph_node_flops(g, 0, 3), 3 * 2 * 8 * 36 * 4 * 9);
    assert_int_equal(graph_node_parameters(g, 0), 8 * 4 * 9 + 8);
    graph_free(g);
}

/* The branch that is not taken leaves nothing behind, and a choice that shapes decide leaves the batch free.
 */
static void test_branches_and_functions_are_put_in_place(void **state)
{
    struct graph *g = load("load_if_shape", false);
    assert_int_equal(g->n_nodes, 3); /* Conv with Relu, GlobalAveragePool, Squeeze */
    assert_string_equal(g->nodes[2].op->name, "Squeeze");
    assert_true(g->free_batch);
    graph_free(g);
    g = load("load_if_batch", false); /* the batch decides */
    assert_false(g->free_batch);
    assert_string_equal(g->nodes[0].op->name, "Neg");
    graph_free(g);
    g = load("load_function", false);
    assert_int_equal(g->n_nodes, 2);
    assert_string_equal(g->nodes[1].name, "Bent_1/LeakyRelu_0");
    assert_true(g->free_batch);
    graph_free(g);
    g = load("load_dequantize_int8", false);
    assert_int_equal(g->n_nodes, 2);
    assert_string_equal(g->nodes[0].op->name, "Conv");
    graph_free(g);
}

static int load_shaped(struct graph **g, const char *model, const char *name, struct tensor shape,
                       struct error *e)
{
    struct graph_options o = {.shapes = &shape, .shape_names = &name, .n_shapes = 1};
    char path[256];
    snprintf(path, sizeof path, CASES "%s/model.onnx", model);
    return graph_load(g, path, &o, e);
}

static void test_free_sizes_are_given_by_name_or_place(void **state)
{
    static const char *const models[] = {"load_free_height_and_width", "load_free_all"};
    struct tensor shape = {.rank = 4, .dim = {1, 3, 9, 7}}, flat = {.rank = 3, .dim = {1, 3, 9}};
    struct error e = {FL_OK, ""};
    struct graph *g;
    for (int k = 0; k < 4; k++) {
        assert_int_equal(load_shaped(&g, models[k % 2], k < 2 ? "x" : NULL, shape, &e), FL_OK);
        assert_true(g->free_batch); /* dim 0 of the shape says no more than that there is a batch */
        assert_int_equal(g->values[g->inputs[0]].dim[0].per_batch, 1);
        assert_int_equal(g->values[g->inputs[0]].dim[2].fixed, 9);
        graph_free(g);
    }
    assert_int_equal(load_shaped(&g, models[0], "q", shape, &e), FL_USAGE);
    assert_non_null(strstr(e.text, "the model has no input 'q'; its first is x"));
    assert_int_equal(load_shaped(&g, models[0], "x", flat, &e), FL_SHAPE);
    assert_non_null(strstr(e.text, "input 'x' has 4 dims, the shape that is given for it 3"));
    shape.dim[1] = 4;
    assert_int_equal(load_shaped(&g, models[0], "x", shape, &e), FL_SHAPE);
    assert_non_null(strstr(e.text, "input 'x': dim 1 is 4, the model wants 3"));
}

static void test_tensor_files(void **state)
{
    float numbers[6] = {1, -2, 3.5f, 0, 1e-20f, 7};
    struct tensor t = {.dtype = TENSOR_F32, .rank = 2, .dim = {2, 3}, .data = numbers}, back;
    char path[] = "/tmp/freezeline-tensor-XXXXXX";
    struct error e = {FL_OK, ""};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(onnx_tensor_write(&t, "t", path, &e), FL_OK);
    assert_int_equal(onnx_tensor_read(&back, path, &e), FL_OK);
    assert_true(tensor_same_shape(&t, &back));
    assert_memory_equal(back.data, numbers, sizeof numbers);
    tensor_release(&back);
    assert_int_equal(remove(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_residual_and_activation_are_fused),
        cmocka_unit_test(test_activations_are_recognised),
        cmocka_unit_test(test_activations_have_names),
        cmocka_unit_test(test_patterns_are_recognised),
        cmocka_unit_test(test_products_of_tokens_are_fused),
        cmocka_unit_test(test_what_is_read_elsewhere_is_not_fused),
        cmocka_unit_test(test_shape_arithmetic_dies),
        cmocka_unit_test(test_batch_is_free_only_where_it_means_the_same),
        cmocka_unit_test(test_cuts_in_a_chain),
        cmocka_unit_test(test_nothing_is_cut_inside_a_block),
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_branches_and_functions_are_put_in_place),
        cmocka_unit_test(test_free_sizes_are_given_by_name_or_place),
        cmocka_unit_test(test_tensor_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
