/* test_quantize.c - `quantize` on the demo's network: scales, what each precision loses; caches know theirs
 */
#include "tool_lines.h"

static int prepare(void **state)
{
    FILE *f;
    char path[128];
    if (make_folder(state))
        return -1;
    snprintf(path, sizeof path, "%s/p.yaml", folder);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "model: demo.onnx\nstate: state\ninput: {mean: [128, 128, 128], std: [64, 64, 64]}\nstages: 2\n"
            "exits: [{name: middle, after: /blocks.3/Relu_1}]\n"
            "cache: {nodes: 32, train_epochs: 1, memory_mb: 1, grids: [1]}\n");
    fclose(f);
    ok("cp $HERE/configs/demo/demo.onnx demo.onnx && $FL generate --count 400 --seed 3 --output d.bin");
    return 0;
}

static bool runs(const json_t *root, size_t i)
{
    return json_is_true(json_object_get(json_array_get(json_object_get(root, "precisions"), i), "runs"));
}

static double number(const json_t *root, size_t i, const char *key)
{
    return json_number_value(json_object_get(json_array_get(json_object_get(root, "precisions"), i), key));
}

static bool int8_runs;

static void each_precision_is_measured(void **state)
{
    json_t *root;
    refused("$FL quantize -c $P", "--data is needed");
    refused("$FL quantize -c $P --data cifar10:d.bin#0-9", "16 are the least");
    ok("$FL quantize -c $P --data cifar10:d.bin --threads 1 --json 2>/dev/null");
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "requests")), 200);
    assert_int_equal(json_array_size(json_object_get(root, "precisions")), 3);
    assert_float_equal(number(root, 0, "agreement"), 1, 0);
    for (size_t i = 0; i < 3; i++) {
        if (!runs(root, i))
            continue;
        assert_true(number(root, i, "agreement") >= 0.97 && number(root, i, "median_ms") > 0);
        assert_true(number(root, i, "accuracy") >= number(root, 0, "accuracy") - 0.03);
    }
    int8_runs = runs(root, 2);
    assert_true(int8_runs == (json_integer_value(json_object_get(root, "values")) > 0));
    json_decref(root);
    ok("$FL quantize -c $P --set state=brief --set cache.max_accuracy_loss=5 --data cifar10:d.bin#0-63 "
       "--threads "
       "1; rc=$?; rm -rf brief; exit $rc");
    assert_non_null(strstr(output, "bfloat16"));
    if (int8_runs)
        assert_non_null(strstr(output, "too few records to tell"));
}

static void scales_are_used_where_they_lie(void **state)
{
    if (!int8_runs)
        skip();
    ok("$FL profile demo.onnx --precision int8 --scales state/scales.txt --runs 3");
    assert_non_null(strstr(output, "onednn low"));
    refused("$FL profile demo.onnx --precision int8 --runs 3", "--scales");
    refused("$FL profile demo.onnx --precision int4 --runs 3", "float32, bfloat16, int8");
    refused("$FL build -c $P --set precision=int8 --set state=fresh --train cifar10:d.bin#0-199 "
            "--calibrate cifar10:d.bin#200-399 --threads 1; rc=$?; rm -rf fresh; exit $rc",
            "run `freezeline quantize`");
}

static double full_accuracy(const char *line)
{
    json_t *root;
    double found;
    ok(line);
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    found = json_number_value(json_object_get(root, "full_accuracy"));
    json_decref(root);
    return found;
}

/* What is written runs as it is, in int8, and answers as `precision: int8` does. */
static void a_file_for_others(void **state)
{
    double file, scales;
    if (!int8_runs) {
        refused("$FL quantize -c $P --data cifar10:d.bin --threads 1 --output q.onnx",
                "int8 does not run here");
        return;
    }
    ok("$FL quantize -c $P --data cifar10:d.bin --threads 1 --output q.onnx");
    assert_non_null(strstr(output, "as a QDQ file"));
    ok("$FL profile q.onnx --runs 3");
    if (!strstr(output, "onednn low") || !strstr(output, "computed in int8"))
        fail_msg("%s", output);
    ok("$FL inspect q.onnx && $FL profile q.onnx --runs 3 --kernels openblas");
    assert_non_null(strstr(output, "computed in int8"));
    assert_non_null(strstr(output, "computed in float32"));
    refused("$FL quantize -c $P --set model=q.onnx --data cifar10:d.bin", "integers already");
    file = full_accuracy(
        "$FL eval -c $P --set model=q.onnx --set exits=none --data cifar10:d.bin --json 2>/dev/null");
    scales = full_accuracy("$FL eval -c $P --set precision=int8 --set exits=none --data cifar10:d.bin --json "
                           "2>/dev/null");
    assert_float_equal(file, scales, 0.01);
    ok("S=\"-c $P --set model=q.onnx --set state=served --set exits=none\"; "
       "$FL up $S && $FL status $S --json && $FL bench $S --data cifar10:d.bin#200-259 --requests 60 --json; "
       "rc=$?; "
       "$FL down $S; rm -rf served; exit $rc");
    if (!strstr(output, "int8 as the model says"))
        fail_msg("no stage says that it computes in int8:\n%s", output);
}

static void caches_belong_to_a_precision(void **state)
{
    if (!int8_runs)
        skip();
    ok("$FL build -c $P --set precision=int8 --train cifar10:d.bin#0-199 --calibrate cifar10:d.bin#200-399 "
       "--threads 1");
    ok("$FL eval -c $P --set precision=int8 --data cifar10:d.bin#200-259");
    refused("$FL eval -c $P --data cifar10:d.bin#200-259", "another precision (int8-");
    refused("$FL up -c $P", "another precision (int8-");
    ok("$FL up -c $P --set precision=int8 && $FL status -c $P --set precision=int8 && "
       "$FL bench -c $P --set precision=int8 --data cifar10:d.bin#200-259 --requests 60; rc=$?; "
       "$FL down -c $P; exit $rc");
    if (!strstr(output, ", int8-"))
        fail_msg("no stage says that it computes in int8:\n%s", output);
    /* Other scales are another precision. */
    ok("sed -i 's/^choice .*/choice float32/; $s/ 0/ 1/' state/scales.txt");
    refused("$FL eval -c $P --set precision=int8 --data cifar10:d.bin#200-259", "another precision (int8-");
}

static void automatic_precision_is_what_was_chosen(void **state)
{
    static const char eval[] =
        "$FL eval -c $P --set precision=auto --set exits=none --data cifar10:d.bin#200-219 "
        "--json 2>/dev/null";
    if (!int8_runs)
        skip();
    ok("sed -i 's/^choice .*/choice bfloat16/' state/scales.txt");
    ok(eval);
    assert_non_null(strstr(output, "\"precision\": \"bfloat16\""));
    ok("sed -i 's/^choice .*/choice int8/' state/scales.txt");
    ok(eval);
    assert_non_null(strstr(output, "\"precision\": \"int8-"));
    refused(
        "$FL eval -c $P --set precision=auto --set state=fresh --set exits=none --data cifar10:d.bin#0-1; "
        "rm -rf fresh; exit 1",
        "until `freezeline quantize` has measured");
    ok("sed -i '/^choice/d' state/scales.txt");
    ok(eval);
    assert_non_null(strstr(output, "\"precision\": \"float32\""));
}

/* What stages hand on in bfloat16 is a precision of its own, with its own caches, and said to cost something.
 */
static void what_the_wire_rounds_is_a_precision(void **state)
{
    json_t *root;
    ok("$FL build -c $P --set wire_dtype=bfloat16 --set state=wired --set cache.threshold=risk "
       "--set cache.max_accuracy_loss=20 --train cifar10:d.bin#0-199 --calibrate cifar10:d.bin#200-399 "
       "--threads 1");
    if (!strstr(output, "float32+wire-bfloat16-"))
        fail_msg("%s", output);
    refused("$FL eval -c $P --set state=wired --data cifar10:d.bin#200-259",
            "another precision (float32+wire-bfloat16-");
    ok("$FL eval -c $P --set wire_dtype=bfloat16 --set state=wired --set cache.threshold=risk "
       "--set cache.max_accuracy_loss=20 --data cifar10:d.bin#200-299 --json 2>/dev/null");
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "wire_dtype")), "bfloat16");
    assert_true(json_number_value(json_object_get(root, "network_agreement")) >= 0.97);
    json_decref(root);
    ok("$FL eval -c $P --set wire_dtype=bfloat16 --set exits=none --data cifar10:d.bin#200-299 | "
       "grep 'float32+wire-bfloat16-.*: the network alone gives the float32 network.s answer for'");
    refused(
        "(cat $P; echo wire_dtype: bfloat16) >w.yaml; $FL plan -c w.yaml --apply; rc=$?; rm w.yaml; exit $rc",
        "plan without --apply, build, and reload");
    ok("$FL quantize -c $P --set wire_dtype=bfloat16 --set state=wired --data cifar10:d.bin#200-299 --json "
       "2>/dev/null; rm -rf wired");
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "wire_dtype")), "bfloat16");
    assert_true(number(root, 0, "agreement") >= 0.97);
    json_decref(root);
}

/* Early answers and precision have one budget, and it is the float32 network that both are compared with. */
static void the_promise_is_about_float32(void **state)
{
    json_t *root;
    if (!int8_runs)
        skip();
    ok("$FL build -c $P --set precision=bfloat16 --set state=promised --set cache.threshold=risk "
       "--set cache.max_accuracy_loss=20 --train cifar10:d.bin#0-199 --calibrate cifar10:d.bin#200-399 "
       "--threads 1");
    if (!strstr(output, "early answers and the lower precision together") ||
        !strstr(output, "bfloat16 alone"))
        fail_msg("%s", output);
    ok("cat promised/caches/manifest.json"); /* what is left for caches that learn */
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    assert_true(json_number_value(json_object_get(json_object_get(root, "promise"), "live_max_loss")) > 0.01);
    assert_true(json_number_value(json_object_get(json_object_get(root, "promise"), "live_max_loss")) < 0.2);
    json_decref(root);
    ok("$FL eval -c $P --set precision=bfloat16 --set state=promised --set cache.threshold=risk "
       "--set cache.max_accuracy_loss=20 --data cifar10:d.bin#200-299 --json 2>/dev/null; rm -rf promised");
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "precision")), "bfloat16");
    assert_true(json_number_value(json_object_get(root, "network_agreement")) >= 0.97);
    assert_true(json_number_value(json_object_get(root, "full_accuracy")) > 0);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_precision_is_measured),
        cmocka_unit_test(scales_are_used_where_they_lie),
        cmocka_unit_test(a_file_for_others),
        cmocka_unit_test(caches_belong_to_a_precision),
        cmocka_unit_test(automatic_precision_is_what_was_chosen),
        cmocka_unit_test(the_promise_is_about_float32),
        cmocka_unit_test(what_the_wire_rounds_is_a_precision),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
