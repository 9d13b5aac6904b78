/* test_odd_models.c - models that are served although they are not as a pipeline wants them at first sight */
#include "harness.h"

#include <limits.h>
#include <stdlib.h>

#include "wire/tensor.h"

/* Height and width are left open, and the scores have shape 1xCx1x1. */
static void test_open_sizes_and_scores_of_rank_four(void **state)
{
    char model[PATH_MAX];
    struct harness *h = harness_new(realpath("tests/conformance/cases/load_scores_4d/model.onnx", model),
                                    "stages: 2\nexits: none\ncache: {kind: none}\nkernels: openblas\n"
                                    "input: {shape: [1, 3, 6, 5]}\nbroker: {deadline_ms: 20000}\n");
    float pixels[3 * 6 * 5], scores[8];
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 6, 5}, .data = pixels};
    struct answer answer;
    struct error e = {FL_OK, ""};
    struct client *c;
    int n = 0;
    harness_pipeline_up(h);
    c = harness_client(h);
    harness_random(pixels, tensor_count(&input), 1);
    if (client_infer(c, &input, 0, 0, &answer, scores, 8, &n, &e))
        fail_msg("%s", e.text);
    assert_int_equal(answer.error, FL_OK);
    assert_int_equal(n, 5);
    assert_int_equal(answer.scores.rank, 2);
    assert_int_equal(answer.scores.dim[1], 5);
    client_free(c);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_sizes_and_scores_of_rank_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
