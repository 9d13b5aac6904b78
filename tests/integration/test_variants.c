/* test_variants.c - `variants` on the demo's network: figures of each, files for the broker, what is refused
 */
#include "tool_world.h"

#include "broker/choice/figures.h"

#define YAML                                                                       \
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\nexits: none\n"             \
    "variants:\n  - {name: float32}\n  - {name: low, set: [precision=bfloat16]}\n" \
    "  - {name: other, file: other.yaml}\n"

static struct harness *h;

/* The file of the third variant. */
static void put_other(const char *text)
{
    char path[HARNESS_PATH];
    FILE *f;
    snprintf(path, sizeof path, "%.400s/other.yaml", harness_dir(h));
    assert_non_null(f = fopen(path, "w"));
    fputs(text, f);
    fclose(f);
}

static void variants(const char *more, int status, const char *says)
{
    char arguments[1024];
    snprintf(arguments, sizeof arguments, "--data cifar10:%.300s/d.bin %s", harness_dir(h), more);
    if (tool(h, "variants", arguments) != status || !strstr(output, says))
        fail_msg("variants %s does not say \"%s\":\n%s", more, says, output);
}

static const char *same(void)
{
    static char text[1024];
    char here[400];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(text, sizeof text,
             "model: %s/configs/demo/demo.onnx\nstate: other\nexits: none\nkernels: openblas\n"
             "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n",
             here);
    return text;
}

static void test_each_is_measured_for_people_and_for_the_broker(void **state)
{
    char path[FIGURES_PATH_BYTES];
    struct choice *c;
    struct choice_status st;
    struct figures f;
    struct error e = {0};
    json_t *root, *one;
    bool unmeasured;
    put_other(same());
    assert_int_equal(figures_choice(&c, harness_pipeline(h), 1, &unmeasured, &e), FL_OK);
    assert_true(unmeasured);
    choice_free(c);

    variants("--json --plot /dev/null 2>/dev/null", 0, "\"variants\"");
    assert_non_null(root = json_loads(output, 0, NULL));
    assert_int_equal(json_array_size(json_object_get(root, "variants")), 3);
    one = json_array_get(json_object_get(root, "variants"), 0);
    assert_string_equal(json_string_value(json_object_get(one, "name")), "float32");
    assert_float_equal(json_real_value(json_object_get(one, "agreement")), 1, 0);
    assert_true(json_real_value(json_object_get(one, "accuracy")) > 0.8);
    assert_true(json_real_value(json_object_get(one, "cpu_s")) > 0);
    assert_true(json_integer_value(json_object_get(one, "memory_bytes")) > 1000000);
    json_decref(root);

    assert_int_equal(figures_load(&f, figures_path(harness_pipeline(h), path), &e), FL_OK);
    assert_int_equal(f.n, 3);
    assert_string_equal(f.variant[2].name, "other");
    assert_true(f.variant[1].loss_upper >= 0 && f.variant[1].loss_upper < 100);
    assert_int_equal(figures_choice(&c, harness_pipeline(h), 1, &unmeasured, &e), FL_OK);
    assert_false(unmeasured);
    choice_status(c, 0, &st);
    assert_int_equal(st.n, 3);
    choice_free(c);

    variants("--limit 50", 0, "front");
    assert_non_null(strstr(output, "cascade"));
}

static void test_figures_that_are_damaged_are_refused(void **state)
{
    char line[2 * FIGURES_PATH_BYTES], path[FIGURES_PATH_BYTES];
    struct choice *c;
    struct error e = {0};
    figures_path(harness_pipeline(h), path);
    snprintf(line, sizeof line, "echo 'low loss x' >>%s", path);
    assert_int_equal(shell(line), 0);
    assert_int_equal(figures_choice(&c, harness_pipeline(h), 1, NULL, &e), FL_CORRUPT);
    assert_non_null(strstr(e.text, "measured:6 is not understood"));
    snprintf(line, sizeof line, "echo nonsense >%s", path);
    assert_int_equal(shell(line), 0);
    assert_int_equal(figures_choice(&c, harness_pipeline(h), 1, NULL, &e), FL_CORRUPT);
}

static void test_variants_answer_the_same_question(void **state)
{
    char text[2048], here[400];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(text, sizeof text, "model: %s/tests/data/tiny.onnx\nstate: other\nexits: none\n", here);
    put_other(text);
    variants("", 1, "variants ");
    snprintf(text, sizeof text, "model: %s/configs/demo/demo.onnx\nexits: none\ninput: {mean: [1, 2, 3]}\n",
             here);
    put_other(text);
    variants("", 1, "has another `input`");
    put_other("model: nowhere.onnx\n");
    variants("", 1, "variant other: ");
    variants("--set 'variants=[]'", 2, "names no `variants`");
    put_other(same());
    variants("--limit 20 --set budget.latency_ms=0.0001", 0, "warning: the broker will not start");
    assert_non_null(strstr(output, "no variant answers within 0.0001 ms"));
    assert_int_equal(tool(h, "eval", "--variant none --data x"), 1);
    assert_non_null(strstr(output, "it has float32, low, other"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_measured_for_people_and_for_the_broker),
        cmocka_unit_test(test_figures_that_are_damaged_are_refused),
        cmocka_unit_test(test_variants_answer_the_same_question),
    };
    char here[400], model[HARNESS_PATH], line[1024];
    int failed;

    if (!getcwd(here, sizeof here))
        return 1;
    snprintf(model, sizeof model, "%s/configs/demo/demo.onnx", here);
    h = harness_new(model, YAML);
    snprintf(line, sizeof line, "%.400s/freezeline generate --count 200 --seed 3 --output %.400s/d.bin",
             tool_folder(), harness_dir(h));
    failed = shell(line) ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(line, sizeof line, "cd %.400s && rm -rf d.bin other other.yaml", harness_dir(h));
    failed += shell(line) != 0;
    harness_free(h);
    return failed;
}
