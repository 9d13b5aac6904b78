/* test_placement.c - stages and exits of a pipeline file, found in a model by name */
#include <stdio.h>
#include <string.h>

#include "tests/testing.h"
#include "stages/place/origin.h"
#include "picture/picture.h"

#define MODEL "tests/data/tiny.onnx"

static struct graph *g;

static int load_model(void **state)
{
    struct error e;
    return graph_load(&g, MODEL, NULL, &e);
}

static int free_model(void **state)
{
    graph_free(g);
    return 0;
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static struct pipeline start(int n_stages)
{
    struct pipeline p = {.n_stages = n_stages, .exits_auto = true};
    p.cache.kind = text("kmeans");
    return p;
}

static void automatic_exits_stand_after_blocks(void **state)
{
    struct pipeline p = start(1);
    struct placement out;
    struct error e = {FL_OK, ""};
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_OK);
    assert_int_equal(out.n_stages, 1);
    assert_int_equal(out.stage[0].first, 0);
    assert_int_equal(out.stage[0].last, g->n_nodes - 1);
    assert_true(out.n_exits >= 2);
    assert_string_equal(out.exit[0].name, "exit1");
    assert_string_equal(out.exit[0].kind, "kmeans");
    assert_string_equal(out.exit[0].cut.name, "block1.out");
    assert_int_equal(out.depth, graph_depth(g));
    p.cache.kind = text("none");
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_OK);
    assert_int_equal(out.n_exits, 0);
}

static void named_stages_and_exits_are_found(void **state)
{
    struct pipeline p = start(3);
    struct placement out;
    struct error e = {FL_OK, ""};
    p.exits_auto = false;
    p.n_exits = 2;
    p.exit[0] = (struct exit_config){text("late"), text("block2.out"), text("knn")};
    p.exit[1] = (struct exit_config){text("early"), text("block1.out"), NULL};
    p.stage[0].last = text("block1.out");
    p.stage[1].last = text("late");
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_OK);
    assert_string_equal(out.exit[0].name, "early");
    assert_string_equal(out.exit[1].kind, "knn");
    assert_int_equal(out.exit[0].stage, 0);
    assert_int_equal(out.exit[1].stage, 1);
    assert_int_equal(out.stage[0].last, out.exit[0].cut.node);
    assert_int_equal(out.stage[1].first, out.stage[0].last + 1);
    assert_int_equal(out.stage[1].last, out.exit[1].cut.node);
    assert_int_equal(out.stage[2].last, g->n_nodes - 1);
}

static void unnamed_stages_share_the_work(void **state)
{
    struct pipeline p = start(3);
    struct placement out;
    struct error e = {FL_OK, ""};
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_OK);
    for (int i = 0; i < 3; i++)
        assert_true(out.stage[i].first <= out.stage[i].last);
    assert_int_equal(out.stage[2].last, g->n_nodes - 1);
    p.n_stages = PIPELINE_MAX_STAGES;
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_CONFIG);
}

static void wrong_names_are_explained(void **state)
{
    struct pipeline p = start(2);
    struct placement out;
    struct error e = {FL_OK, ""};
    p.stage[0].last = text("blok2.out");
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "stages.0.last"));
    assert_non_null(strstr(e.text, "`block2.out`"));
    p.stage[0].last = text("block2.short"); /* two values cross there */
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_CONFIG);
    p = start(3);
    p.stage[0].last = text("block2.out");
    p.stage[1].last = text("block1.out");
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_CONFIG);
    p.stage[1].last = NULL;
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_CONFIG);
    p = start(1);
    p.n_exits = 1;
    p.exit[0] = (struct exit_config){text("x"), text("nowhere"), NULL};
    assert_int_equal(placement_resolve(&out, g, &p, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "exits.0"));
}

/* Every exit, layout and identity has an origin of its own. */
static void origins_tell_exits_layouts_and_identities_apart(void **state)
{
    struct pipeline up = start(1), down = start(1), shifted = start(1);
    struct origin a, b, c, d;
    struct placement out;
    up.cache.descriptor = shifted.cache.descriptor = (struct descriptor_config){.n_grids = 2, .grid = {1, 2}};
    down.cache.descriptor = (struct descriptor_config){.n_grids = 2, .grid = {2, 1}};
    shifted.n_mean = shifted.n_std = 1;
    shifted.mean[0] = shifted.std[0] = 128;
    assert_int_equal(placement_resolve(&out, g, &up, NULL), FL_OK);
    origin_of(&a, g, &out.exit[0], &up);
    origin_of(&b, g, &out.exit[1], &up);
    origin_of(&c, g, &out.exit[0], &down);
    origin_of(&d, g, &out.exit[0], &shifted);
    assert_string_equal(a.after, "block1.out");
    assert_true(a.digest && a.digest != b.digest && a.digest != c.digest && a.digest != d.digest);
    origin_of(&c, g, &out.exit[0], &up);
    assert_true(c.digest == a.digest);
}

/* tiny.onnx takes 1x3x16x16 and has 10 classes. */
static void disagrees(const char *lines, const char *says)
{
    char yaml[300];
    struct pipeline *p = NULL;
    struct placement out;
    struct error e = {FL_OK, ""};
    snprintf(yaml, sizeof yaml, "model: m\n%s\n", lines);
    assert_int_equal(pipeline_parse(&p, yaml, strlen(yaml), "/p.yaml", NULL, 0, &e), FL_OK);
    assert_int_equal(placement_resolve(&out, g, p, &e), *says ? FL_CONFIG : FL_OK);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    pipeline_free(p);
}

static void lists_agree_with_the_model(void **state)
{
    disagrees("input: {mean: [1], std: [2, 3, 4]}", "");
    disagrees("input: {mean: [1, 2]}", "/p.yaml:2:15: input.mean has 2 entries, the model takes 1x3x16x16");
    disagrees("input:\n  mean: [1, 2, 3]\n  std: [1, 2, 3, 4]", "/p.yaml:4:8: input.std has 4 entries");
    disagrees("labels: [a, b]", "/p.yaml:2:9: labels has 2 names, the model has 10 classes");
    disagrees("labels: [a, b, c, d, e, f, g, h, i, j]", "");
    disagrees("exits:\n  - after: nowhere", "/p.yaml:3:12: exits.0.after: the model cannot be divided");
    disagrees("stages: 16", "/p.yaml:2:9: the model can be cut into");
    disagrees("stages:\n  - last: nowhere\n  - threads: 1", "/p.yaml:3:11: stages.0.last: ");
}

/* Channels come second unless only the last dimension can be channels. */
static void pictures_are_told_by_their_shape(void **state)
{
    static const struct {
        struct tensor t;
        bool is;
        struct picture expected;
    } cases[] = {
        {{.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 8, 9}}, true, {3, 8, 9, false}},
        {{.dtype = TENSOR_F32, .rank = 4, .dim = {1, 8, 9, 3}}, true, {3, 8, 9, true}},
        {{.dtype = TENSOR_U8, .rank = 4, .dim = {1, 8, 9, 1}}, true, {1, 8, 9, true}},
        {{.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 3, 3}}, true, {3, 3, 3, false}},
        {{.dtype = TENSOR_F32, .rank = 4, .dim = {1, 16, 8, 9}}, true, {16, 8, 9, false}},
        {{.dtype = TENSOR_F32, .rank = 2, .dim = {1, 3}}, false, {0}},
        {{.dtype = TENSOR_I64, .rank = 4, .dim = {1, 3, 8, 8}}, false, {0}},
        {{.dtype = TENSOR_F32, .rank = 4, .dim = {2, 3, 8, 8}}, false, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct picture p = {0};
        assert_int_equal(picture_of(&p, &cases[i].t), cases[i].is);
        assert_true(p.channels == cases[i].expected.channels && p.height == cases[i].expected.height &&
                    p.width == cases[i].expected.width && p.interleaved == cases[i].expected.interleaved);
    }
}

/* All that stages must have in common is in their plan's digest, and nothing that each may have for itself.
 */
static void plans_tell_what_stages_must_agree_on(void **state)
{
    struct pipeline p = start(2), q;
    struct placement out;
    uint8_t a[16], b[16];
    p.stage[0].n_replicas = p.stage[1].n_replicas = 1;
    assert_int_equal(placement_resolve(&out, g, &p, NULL), FL_OK);
    plan_digest(a, g, &out, &p);
    q = p;
    q.stage[0].threads = 7;
    q.cache.kind = (char[]){"knn"};
    q.stage[1].n_replicas = 2;
    plan_digest(b, g, &out, &q);
    assert_memory_equal(a, b, 16);
    q = p;
    q.n_mean = q.n_std = 1;
    q.mean[0] = q.std[0] = 3;
    plan_digest(b, g, &out, &q);
    assert_memory_not_equal(a, b, 16);
    out.stage[0].last--;
    plan_digest(b, g, &out, &p);
    assert_memory_not_equal(a, b, 16);
    out.stage[0].last++;
    out.n_exits--;
    plan_digest(b, g, &out, &p);
    assert_memory_not_equal(a, b, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_tell_exits_layouts_and_identities_apart),
        cmocka_unit_test(plans_tell_what_stages_must_agree_on),
        cmocka_unit_test(automatic_exits_stand_after_blocks),
        cmocka_unit_test(named_stages_and_exits_are_found),
        cmocka_unit_test(unnamed_stages_share_the_work),
        cmocka_unit_test(wrong_names_are_explained),
        cmocka_unit_test(lists_agree_with_the_model),
        cmocka_unit_test(pictures_are_told_by_their_shape),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
