/* test_plan.c - `plan` on the demo's network: what it writes and what it says */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"

static char output[1 << 16];

/* Writes p.yaml with `exits`, plans two stages; the report. */
static json_t *plan(const char *exits)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char line[2048], path[256];
    json_t *report;
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "%s/p.yaml", folder);
    assert_non_null(f = fopen(path, "w"));
    assert_non_null(getcwd(line, sizeof line));
    fprintf(f, "model: %s/configs/demo/demo.onnx\nexits: %s\nstages: 1\n", line, exits);
    fclose(f);
    snprintf(line, sizeof line, "%s/freezeline plan -c %s --stages 2 --runs 3 --json 2>&1",
             build ? build : "build/release", path);
    assert_non_null(f = popen(line, "r"));
    n = fread(output, 1, sizeof output - 1, f);
    output[n] = 0;
    assert_int_equal(pclose(f), 0);
    assert_non_null(report = json_loads(output, 0, NULL));
    assert_non_null(f = fopen(path, "r"));
    n = fread(output, 1, sizeof output - 1, f);
    output[n] = 0;
    fclose(f);
    return report;
}

static void test_exits_stay_auto(void **state)
{
    json_t *report = plan("auto");

    assert_non_null(strstr(output, "exits: auto\n"));
    assert_non_null(strstr(output, "last: \""));
    assert_true(json_is_true(json_object_get(report, "exits_auto")));
    json_decref(report);
}

static void test_it_says_whether_stages_pay(void **state)
{
    json_t *report = plan("none"), *pays = json_object_get(report, "pays");

    assert_non_null(strstr(output, "exits: none\n"));
    assert_true(json_number_value(json_object_get(pays, "messages_ms")) > 0);
    assert_true(json_is_false(json_object_get(pays, "faster"))); /* without caches one request only loses */
    json_decref(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exits_stay_auto),
        cmocka_unit_test(test_it_says_whether_stages_pay),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
