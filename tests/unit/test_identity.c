/* test_identity.c - what decides an answer changes the identity, and nothing else does */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "config/identity.h"
#include "config/precision.h"

static const uint8_t network[DIGEST_BYTES] = {1, 2, 3};

static struct identity of(const char *yaml)
{
    struct pipeline *p = NULL;
    struct identity id;
    struct error e = {0};
    char text[1024];
    snprintf(text, sizeof text, "model: m.onnx\n%s", yaml);
    if (pipeline_parse(&p, text, strlen(text), "p.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    identity_of(&id, network, p);
    pipeline_free(p);
    return id;
}

static void assert_differs(const char *a, const char *b, const char *says)
{
    char text[IDENTITY_DIFFERENCE_BYTES];
    struct identity x = of(a), y = of(b);
    assert_memory_not_equal(x.digest, y.digest, DIGEST_BYTES);
    assert_non_null(strstr(identity_difference(&x, &y, text), says));
}

static void what_decides_an_answer_is_in_it(void **state)
{
    assert_differs("", "input: {mean: [1], std: [2]}\n", "none then, mean 1; std 2 now");
    assert_differs("input: {mean: [1], std: [2]}\n", "input: {mean: [1], std: [2.5]}\n",
                   "std 2 then, mean 1; std 2.5");
    assert_differs("input: {mean: [1, 2], std: [1, 1]}\n", "input: {mean: [2, 1], std: [1, 1]}\n", "`input`");
    assert_differs("labels: [cat, dog]\n", "labels: [dog, cat]\n", "`labels`");
    assert_differs("labels: [cat, dog]\n", "labels: [catd, og]\n", "`labels`");
    assert_differs("", "labels: [cat, dog]\n", "`labels`");
    assert_differs("", "precision: bfloat16\n", "float32 then, bfloat16 now");
    assert_differs("precision: bfloat16\n", "precision: int8\n", "bfloat16 then, int8 now");
}

/* What is handed on in bfloat16 is rounded where stages end: other ends give other numbers. */
static void what_the_wire_rounds_is_in_it(void **state)
{
    static const char two[] = "wire_dtype: bfloat16\nstages: [{last: a}, {}]\n";
    static const char other[] = "wire_dtype: bfloat16\nstages: [{last: b}, {}]\n";
    static const char integers[] = "precision: int8\nwire_dtype: bfloat16\nstages: [{last: a}, {}]\n";
    struct identity one = of("wire_dtype: bfloat16\nstages: 1\n"), plain = of("");
    struct identity exact = of("stages: [{last: a}, {}]\n");
    assert_differs("", two, "float32 then, float32+wire-bfloat16-");
    assert_differs(two, other, "float32+wire-bfloat16-");
    assert_differs(two, "wire_dtype: bfloat16\nstages: 2\n", "float32+wire-bfloat16-");
    assert_differs(two, integers, "int8+wire-bfloat16-");
    assert_memory_equal(one.digest, plain.digest, DIGEST_BYTES); /* nothing is handed on */
    assert_memory_equal(exact.digest, plain.digest, DIGEST_BYTES);
    assert_int_equal(precision_word("int8-1a2b3c4d+wire-bfloat16-1a2b3c4d"), 4);
    assert_int_equal(precision_word("float32+wire-bfloat16-1a2b3c4d"), 7);
}

static void another_network_or_precision_is_another(void **state)
{
    char text[IDENTITY_DIFFERENCE_BYTES];
    struct identity a = of(""), b = a;
    b.model[15] ^= 1;
    identity_seal(&b);
    assert_memory_not_equal(a.digest, b.digest, DIGEST_BYTES);
    assert_non_null(strstr(identity_difference(&a, &b, text), "another network"));
    b = a;
    strcpy(b.precision, "int8");
    identity_seal(&b);
    assert_memory_not_equal(a.digest, b.digest, DIGEST_BYTES);
    assert_non_null(strstr(identity_difference(&a, &b, text), "float32 then, int8 now"));
}

static void nothing_else_is_in_it(void **state)
{
    char text[IDENTITY_DIFFERENCE_BYTES];
    struct identity a = of("input: {std: [2], mean: [128]}\n"),
                    b = of("name: other\nstate: elsewhere\nstages: 3\nexits: none\ncache: {kind: knn, k: 3}\n"
                           "broker: {retries: 5}\ninput: {mean: [128.0], std: [2.00]}\n");
    assert_memory_equal(a.digest, b.digest, DIGEST_BYTES);
    assert_string_equal(identity_difference(&a, &b, text), "");
}

/* Renamed classes are other answers, but the network's activations stay what they are. */
static void activations_do_not_depend_on_labels(void **state)
{
    struct identity a = of("labels: [cat, dog]\n"), b = of("labels: [dog, cat]\n"),
                    c = of("input: {mean: [1], std: [2]}\n");
    assert_true(identity_of_activations(&a) == identity_of_activations(&b));
    assert_true(identity_of_activations(&a) != identity_of_activations(&c));
}

static void a_section_that_does_not_fit_ends_in_its_digest(void **state)
{
    static const char yaml[] = "model: m\ninput: {mean: [1, 2.5], std: [3, 4]}\n";
    struct pipeline *p = NULL;
    char narrow[32], again[32], wide[64];
    assert_int_equal(pipeline_parse(&p, yaml, sizeof yaml - 1, "p.yaml", NULL, 0, NULL), FL_OK);
    assert_string_equal(pipeline_section_text(p, "input", wide, sizeof wide), "mean 1 2.5; std 3 4");
    assert_string_equal(pipeline_section_text(p, "input", narrow, sizeof narrow), "mean 1 2.5; std 3 4");
    p->mean[0] = p->mean[1] = 1.0009765625f;
    pipeline_section_text(p, "input", narrow, sizeof narrow);
    assert_int_equal(strlen(narrow), 31);
    p->std[1] = 5;
    pipeline_section_text(p, "input", again, sizeof again);
    assert_string_not_equal(narrow, again);
    assert_memory_equal(narrow, "mean 1.0009...#", 11);
    assert_string_equal(pipeline_section_text(p, "labels", wide, sizeof wide), "");
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_decides_an_answer_is_in_it),
        cmocka_unit_test(what_the_wire_rounds_is_in_it),
        cmocka_unit_test(another_network_or_precision_is_another),
        cmocka_unit_test(nothing_else_is_in_it),
        cmocka_unit_test(activations_do_not_depend_on_labels),
        cmocka_unit_test(a_section_that_does_not_fit_ends_in_its_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
