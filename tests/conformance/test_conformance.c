/* test_conformance.c - the operators against cases in the ONNX project's backend format
 *
 * Each folder CASE has model.onnx and test_data_set_N/{input,output}_K.pb. It is run as written by the
 * reference kernels one node after the other, and, fused, by the executor with reference and with automatic
 * kernels. Tolerance as in ONNX's own runner: rtol 1e-3, atol 1e-7 on what is otherwise exact, widened to
 * 1e-5 for sums in float32.
 *
 * Usage: test_conformance [FOLDER-OF-CASES], default tests/conformance/cases.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/testing.h"
#include "stages/exec/exec.h"
#include "stages/graph/graph_build.h"
#include "stages/onnx/onnx_tensor.h"
#include "stages/ops/ops.h"

#define RTOL   1e-3
#define ATOL   1e-5
#define MAX_IO 16

static const char *cases_dir = "tests/conformance/cases";

static int read_set(const char *dir, int set, const char *kind, struct tensor *t, int *n)
{
    char path[1024];
    struct stat st;
    struct error e = {FL_OK, ""};
    for (*n = 0; *n < MAX_IO; (*n)++) {
        snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%d.pb", dir, set, kind, *n);
        if (stat(path, &st))
            break;
        if (onnx_tensor_read(&t[*n], path, &e)) {
            print_error("%s: %s\n", path, e.text);
            return -1;
        }
    }
    return *n;
}

static bool close_enough(const struct tensor *got, const struct tensor *want, const char *how)
{
    char a[128], b[128];
    if (got->dtype != want->dtype || !tensor_same_shape(got, want)) {
        print_error("%s: gives %s, expected %s\n", how, tensor_describe(got, a, sizeof a),
                    tensor_describe(want, b, sizeof b));
        return false;
    }
    for (int64_t i = 0; i < tensor_count(want); i++) {
        double x = element_real(got->dtype, got->data, i), y = element_real(want->dtype, want->data, i);
        if (isnan(x) && isnan(y))
            continue;
        if (x == y || fabs(x - y) <= ATOL + RTOL * fabs(y))
            continue;
        print_error("%s: element %lld is %.9g, expected %.9g\n", how, (long long)i, x, y);
        return false;
    }
    return true;
}

/* Runs the nodes one after the other with their reference kernels on row-major tensors. */
static int interpret(const struct graph *g, const struct tensor *inputs, const struct tensor *outputs,
                     int n_out)
{
    struct tensor *value = calloc((size_t)g->n_values + 1, sizeof *value), in[OP_MAX_IO], out[OP_MAX_IO];
    int64_t batch = g->free_batch && g->n_inputs ? inputs[0].dim[0] : 1;
    struct error e = {FL_OK, ""};
    int bad = 0;
    for (int i = 0; i < g->n_values; i++)
        value[i] = value_shape(&g->values[i], batch);
    for (int i = 0; i < g->n_inputs; i++)
        value[g->inputs[i]].data = inputs[i].data;
    for (int i = 0; i < g->n_nodes && !bad; i++) {
        const struct node *n = &g->nodes[i];
        memset(in, 0, sizeof in);
        memset(out, 0, sizeof out);
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] != GRAPH_NONE)
                in[k] = value[n->in[k]];
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k] != GRAPH_NONE)
                out[k] = value[n->out[k]];
        bad = node_evaluate(n, in, out, &e);
        for (int k = 0; k < n->n_out && !bad; k++)
            if (n->out[k] != GRAPH_NONE)
                value[n->out[k]] = out[k];
    }
    if (bad)
        print_error("reference: %s\n", e.text);
    for (int i = 0; i < n_out && !bad; i++)
        bad = !close_enough(&value[g->outputs[i]], &outputs[i], "reference, as written");
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != GRAPH_NONE)
                tensor_release(&value[g->nodes[i].out[k]]);
    free(value);
    return bad;
}

static const char *label(char *buf, size_t size, const char *kernels, bool as_written)
{
    snprintf(buf, size, "executor, kernels %s%s", kernels, as_written ? ", as written" : "");
    return buf;
}

static int run_executor(const struct graph *g, enum exec_kernels kernels, bool as_written,
                        const struct tensor *inputs, const struct tensor *outputs, int n_out)
{
    int batch = g->free_batch && g->n_inputs ? (int)inputs[0].dim[0] : 1, bad;
    struct exec_options o = {.kernels = kernels, .max_batch = batch, .last = -1};
    struct error e = {FL_OK, ""};
    struct exec *x = NULL;
    char how[128];
    label(how, sizeof how, engine_kernels_name(kernels), as_written);
    bad = exec_new(&x, g, &o, &e);
    for (int i = 0; !bad && i < exec_n_inputs(x); i++) {
        struct tensor t = exec_input_shape(x, i, batch);
        if (tensor_bytes(&t) != tensor_bytes(&inputs[i]))
            bad = error_set(&e, FL_SHAPE, "input %d has another size than the case's", i);
        else if (tensor_bytes(&t))
            memcpy(exec_input_buffer(x, i), inputs[i].data, (size_t)tensor_bytes(&t));
    }
    if (!bad)
        bad = exec_run(x, 0, g->n_nodes - 1, batch, NULL, NULL, &e);
    if (bad)
        print_error("%s: %s\n", how, e.text);
    for (int i = 0; i < n_out && !bad; i++) {
        struct tensor t = exec_output(x, i, batch);
        bad = !close_enough(&t, &outputs[i], how);
    }
    exec_free(x);
    return bad;
}

static int run_graph(const struct graph *g, bool as_written, const struct tensor *in,
                     const struct tensor *out, int n_out)
{
    int bad =
        as_written ? interpret(g, in, out, n_out) : run_executor(g, KERNELS_REFERENCE, false, in, out, n_out);
    return bad ? bad : run_executor(g, KERNELS_AUTO, as_written, in, out, n_out);
}

static void release(struct tensor *t, int n)
{
    for (int i = 0; i < n; i++)
        tensor_release(&t[i]);
}

static int run_model(const char *dir, bool as_written, const struct tensor *in, int n_in,
                     const struct tensor *out, int n_out)
{
    struct graph_options o = {.keep_as_written = as_written, .shapes = in, .n_shapes = n_in};
    struct error e = {FL_OK, ""};
    struct graph *g;
    char path[1024];
    int bad;
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    bad = graph_load(&g, path, &o, &e);
    if (bad) {
        print_error("%s\n", e.text);
        return bad;
    }
    if (g->n_inputs != n_in || g->n_outputs != n_out) {
        print_error("%s: %d inputs and %d outputs, the case has %d and %d\n", path, g->n_inputs, g->n_outputs,
                    n_in, n_out);
        bad = 1;
    } else {
        bad = run_graph(g, as_written, in, out, n_out);
    }
    graph_free(g);
    return bad;
}

static int run_set(const char *dir, int set, int *ran)
{
    struct tensor in[MAX_IO], out[MAX_IO];
    int n_in = 0, n_out = 0, bad;
    bad = read_set(dir, set, "output", out, &n_out) < 0 || read_set(dir, set, "input", in, &n_in) < 0;
    if (!bad && n_out) {
        bad = run_model(dir, true, in, n_in, out, n_out) || run_model(dir, false, in, n_in, out, n_out);
        ++*ran;
    }
    release(in, n_in);
    release(out, n_out);
    return bad;
}

static void test_case(void **state)
{
    const char *name = *state;
    char dir[768];
    int ran = 0, bad = 0;
    snprintf(dir, sizeof dir, "%s/%s", cases_dir, name);
    for (int set = 0, before = -1; before != ran && !bad; set++) {
        before = ran;
        bad = run_set(dir, set, &ran);
    }
    assert_int_equal(bad, 0);
    assert_true(ran > 0);
}

static int is_case(const struct dirent *d)
{
    char path[1024];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s/model.onnx", cases_dir, d->d_name);
    return !stat(path, &st);
}

int main(int argc, char **argv)
{
    struct dirent **found;
    struct CMUnitTest *tests;
    int n, failed;
    if (argc > 1)
        cases_dir = argv[1];
    n = scandir(cases_dir, &found, is_case, alphasort);
    if (n <= 0) {
        fprintf(stderr, "test_conformance: no cases in %s\n", cases_dir);
        return 1;
    }
    tests = calloc((size_t)n, sizeof *tests);
    for (int i = 0; tests && i < n; i++)
        tests[i] = (struct CMUnitTest){found[i]->d_name, test_case, NULL, NULL, found[i]->d_name};
    failed = tests ? _cmocka_run_group_tests("conformance", tests, (size_t)n, NULL, NULL) : 1;
    for (int i = 0; i < n; i++)
        free(found[i]);
    free(found);
    free(tests);
    return failed != 0;
}
