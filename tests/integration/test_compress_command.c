/* test_compress_command.c - `compress` on the demo's network: what it says is so, and the file runs like any
 * other */
#include "tool_lines.h"

static int prepare(void **state)
{
    if (make_folder(state))
        return -1;
    ok("cp $HERE/configs/demo/demo.onnx . && $FL generate --count 120 --seed 3 --output d.bin && printf "
       "'%s\\n' "
       "'model: demo.onnx' 'state: state' 'input: {mean: [128, 128, 128], std: [64, 64, 64]}' 'exits: none' "
       ">p.yaml");
    return 0;
}

static double number(const json_t *root, const char *key, const char *which)
{
    const json_t *v = json_object_get(root, key);
    return json_number_value(which ? json_object_get(v, which) : v);
}

static json_t *json_of(const char *line)
{
    json_t *root;
    ok(line);
    root = json_loads(output, 0, NULL);
    if (!root)
        fail_msg("%s:\n%s", line, output);
    return root;
}

static void the_file_is_what_the_report_says(void **state)
{
    json_t *said = json_of(
               "$FL compress -c p.yaml --data cifar10:d.bin#0-63 --out small.onnx --json 2>/dev/null"),
           *is = json_of("$FL inspect small.onnx --json"), *answered;
    double accuracy = number(said, "accuracy", "compressed");
    assert_int_equal(number(said, "requests", NULL), 32);
    assert_true(json_is_true(json_object_get(said, "within_budget")));
    assert_true(number(said, "agreement", NULL) >= 0.9);
    assert_true(number(said, "agreement_least", NULL) < number(said, "agreement", NULL));
    assert_true(number(said, "flops", "compressed") <= 0.6 * number(said, "flops", "original"));
    assert_true(json_array_size(json_object_get(said, "cuts")) > 0);
    assert_float_equal(number(json_object_get(is, "total"), "flops", NULL),
                       number(said, "flops", "compressed"), 1);
    assert_true(json_array_size(json_object_get(is, "outputs")) == 1);
    /* The other half answers in a pipeline as it did here. */
    answered =
        json_of("$FL eval -c p.yaml --set model=small.onnx --data cifar10:d.bin#32-63 --json 2>/dev/null");
    assert_float_equal(number(answered, "full_accuracy", NULL), accuracy, 1e-6);
    json_decref(answered);
    json_decref(said);
    json_decref(is);
}

static void what_cannot_be_done_is_said(void **state)
{
    refused("$FL compress", "which model");
    refused("$FL compress demo.onnx --data cifar10:d.bin", "--out are needed");
    refused("$FL compress none.onnx --data cifar10:d.bin --out s.onnx", "cannot open none.onnx");
    refused("$FL compress demo.onnx --data cifar10:d.bin#0-9 --out s.onnx", "16 are the least");
    refused("$FL compress demo.onnx --data cifar10:d.bin --out s.onnx --flops 2", "--flops");
    refused("$FL compress demo.onnx --data cifar10:none.bin --out s.onnx", "none.bin");
    refused("$FL compress -c p.yaml --data cifar10:d.bin --out none/s.onnx", "cannot write none/s.onnx");
    refused("ls s.onnx", "No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_what_the_report_says),
        cmocka_unit_test(what_cannot_be_done_is_said),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
