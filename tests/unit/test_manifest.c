/* test_manifest.c - manifests survive a round trip; wrong ones are refused with a line that names them */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "cache_service/store/manifest.h"

static struct manifest sample(void)
{
    struct manifest m = {
        .built_ms = 1700000000123, .generation = 7, .applied = "1700-4", .n_exits = 2, .compared = true};
    for (int i = 0; i < 16; i++) {
        m.identity.model[i] = (uint8_t)(i * 17);
        m.build[i] = (uint8_t)(i * 3);
    }
    strcpy(m.identity.input, "mean 1 2 3; std 4 5 6");
    strcpy(m.identity.precision, "float32");
    m.identity.labels = 0x8000000000000007;
    identity_seal(&m.identity);
    m.exit[0] = (struct manifest_exit){.name = "exit1",
                                       .kind = "knn",
                                       .file = "exit1.cache",
                                       .digest = 0xfedcba9876543210,
                                       .after = "/blocks.0/Relu",
                                       .layout = "grids 1,2 of 8x8x64",
                                       .origin = 0x9000000000000001,
                                       .budget_bytes = 1 << 20};
    m.exit[1] = (struct manifest_exit){.name = "exit2", .kind = "none"};
    return m;
}

static void round_trip(void **state)
{
    struct manifest in = sample(), out;
    struct error e = {0};
    char path[] = "/tmp/freezeline-manifest-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(manifest_save(&in, path, &e), FL_OK);
    assert_int_equal(manifest_load(&out, path, &e), FL_OK);
    assert_memory_equal(&in.identity, &out.identity, sizeof in.identity);
    assert_int_equal(out.built_ms, in.built_ms);
    assert_int_equal(out.generation, 7);
    assert_string_equal(out.applied, "1700-4");
    assert_int_equal(out.n_exits, 2);
    assert_true(out.compared && !out.promised);
    assert_string_equal(out.exit[0].file, "exit1.cache");
    assert_int_equal(out.exit[0].budget_bytes, 1 << 20);
    assert_string_equal(out.exit[0].after, "/blocks.0/Relu");
    assert_string_equal(out.exit[0].layout, "grids 1,2 of 8x8x64");
    assert_true(out.exit[0].origin == 0x9000000000000001 && !out.exit[1].origin);
    assert_true(out.exit[0].digest == 0xfedcba9876543210 && !out.exit[1].digest);
    assert_string_equal(out.exit[1].file, "");
    unlink(path);
}

static void a_promise_is_kept_with_its_terms(void **state)
{
    struct manifest in = sample(), out;
    char *text;
    in.promised = true;
    in.promise = (struct manifest_promise){.terms = {true, 0.005, 0.95},
                                           .planning_points = 1500,
                                           .certifying_points = 3500,
                                           .loss = 0.00123456789,
                                           .upper = NAN,
                                           .differ = 0.0625,
                                           .evidence = 0x8000000000000001};
    text = manifest_format(&in);
    assert_int_equal(manifest_parse(&out, text, strlen(text), "manifest.json", NULL), FL_OK);
    free(text);
    assert_true(out.promised && out.promise.terms.agreement);
    assert_true(out.promise.differ == 0.0625);
    assert_true(out.promise.terms.budget == 0.005 && out.promise.terms.certainty == 0.95);
    assert_true(out.promise.planning_points == 1500 && out.promise.certifying_points == 3500);
    assert_true(out.promise.loss == 0.00123456789 && isnan(out.promise.upper));
    assert_true(out.promise.evidence == 0x8000000000000001);
}

static void what_it_takes_to_teach_is_kept(void **state)
{
    struct manifest in = sample(), out;
    char *text;
    assert_false(manifest_teaches(&in)); /* as an older build wrote it */
    in.promised = true;
    in.promise.terms = (struct promise_terms){true, 0.05, 0.8};
    assert_false(manifest_teaches(&in));
    in.classes = 10;
    in.exit[1].origin = 3;
    in.exit[1].dim = 1344;
    in.exit[1].map_side = 4;
    in.exit[1].most_work = 3000000000;
    in.exit[1].before = 0.25;
    in.exit[1].lookup = 0.01;
    in.exit[1].by_half = true;
    in.learned = (struct manifest_learned){
        .candidate = 4, .serial = 2, .points = 900, .lost = 3, .won = 1, .upper = 0.0125, .why = "bolder"};
    text = manifest_format(&in);
    assert_int_equal(manifest_parse(&out, text, strlen(text), "manifest.json", NULL), FL_OK);
    free(text);
    assert_true(manifest_teaches(&out) && manifest_teaches_exit(&out, 1) && !manifest_teaches_exit(&out, 0));
    assert_memory_equal(&out.exit[1], &in.exit[1], sizeof in.exit[1]);
    assert_int_equal(out.classes, 10);
    assert_true(out.learned.candidate == 4 && out.learned.serial == 2 && out.learned.points == 900 &&
                out.learned.lost == 3 && out.learned.won == 1 && out.learned.upper == 0.0125);
    assert_string_equal(out.learned.why, "bolder");
}

static void absent_and_wrong_files_are_refused(void **state)
{
#define ID    "000102030405060708090a0b0c0d0e0f"
#define MODEL "{\"version\":3,\"identity\":{\"model\":\"" ID "\""
#define OF    MODEL ",\"input\":\"\",\"precision\":\"float32\"}"
#define ROOT  OF ",\"build\":\"" ID "\""
#define PROMISED                                                                                             \
    "{\"of\":\"accuracy\",\"max_loss\":0.1,\"certainty\":0.9,\"planning_points\":1,\"certifying_points\":1," \
    "\"loss\":0,\"loss_upper\":0,\"evidence\":\"0000000000000001\""
    static const char *const wrong[] = {
        "",
        "{",
        "[]",
        "{\"version\":1}",
        "{\"version\":2}",
        "{\"version\":3,\"identity\":{\"model\":\"xyz\"},\"build\":\"" ID "\",\"exits\":[]}",
        "{\"version\":3,\"identity\":\"" ID "\",\"build\":\"" ID "\",\"exits\":[]}",
        MODEL ",\"labels\":7},\"build\":\"" ID "\",\"exits\":[]}",
        OF ",\"exits\":[]}",
        ROOT ",\"replaces\":\"" ID "\",\"exits\":[]}",
        ROOT ",\"replaces\":[\"" ID "\",7],\"exits\":[]}",
        ROOT ",\"replaces\":[\"" ID "\",\"" ID "\",\"" ID "\",\"" ID "\",\"" ID "\",\"" ID "\",\"" ID
             "\",\"" ID "\",\"" ID "\"],\"exits\":[]}",
        ROOT "}",
        ROOT ",\"exits\":[3]}",
        ROOT ",\"built_ms\":-1,\"exits\":[]}",
        ROOT ",\"promised\":true,\"exits\":[]}",
        ROOT ",\"promised\":true,\"promise\":{\"of\":\"luck\",\"max_loss\":0.1,\"certainty\":0.9,"
             "\"loss\":0,\"loss_upper\":0},\"exits\":[]}",
        ROOT ",\"promised\":true,\"promise\":" PROMISED ",\"differ\":1.5},\"exits\":[]}",
        ROOT ",\"promised\":true,\"promise\":" PROMISED ",\"differ\":-0.1},\"exits\":[]}",
        ROOT ",\"promised\":true,\"promise\":" PROMISED ",\"differ\":\"much\"},\"exits\":[]}",
        ROOT ",\"applied\":\"rm -rf\",\"exits\":[]}",
        ROOT ",\"exits\":[{\"name\":\"../../etc/passwd\"}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"file\":\"../b\"}]}",
        ROOT ",\"exits\":[{\"name\":\"a\"},{\"name\":\"a\"}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"digest\":5}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"origin\":\"elsewhere\"}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"digest\":\"00112233445566\"}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"budget_bytes\":\"many\"}]}",
        ROOT ",\"classes\":-1,\"exits\":[]}",
        ROOT ",\"classes\":99999999999,\"exits\":[]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"dim\":16777217}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"before\":null}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"lookup\":-0.5}]}",
        ROOT ",\"exits\":[{\"name\":\"a\",\"by_half\":1}]}",
        ROOT ",\"promised\":true,\"promise\":{\"of\":\"agreement\",\"max_loss\":0.1,\"certainty\":0.9,"
             "\"loss\":0,\"loss_upper\":0},\"learned\":{\"candidate\":1},\"exits\":[]}",
    };
    struct manifest m;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error e = {0};
        int rc = manifest_parse(&m, wrong[i], strlen(wrong[i]), "manifest.json", &e);
        if (rc != FL_CORRUPT && rc != FL_STALE)
            fail_msg("accepted: %s", wrong[i]);
        assert_non_null(strstr(e.text, "manifest.json"));
    }
    assert_int_equal(manifest_load(&m, "/nonexistent/manifest.json", NULL), FL_NOT_FOUND);
    assert_int_equal(manifest_parse(&m, ROOT ",\"exits\":[]}", strlen(ROOT ",\"exits\":[]}"), "m", NULL),
                     FL_OK);
    static const char kept[] =
        ROOT ",\"promised\":true,\"promise\":" PROMISED ",\"differ\":0.5},\"exits\":[]}";
    assert_int_equal(manifest_parse(&m, kept, strlen(kept), "m", NULL), FL_OK);
}

static void a_build_knows_whose_place_it_took(void **state)
{
    struct manifest first = {0}, next = {0}, last, out;
    char name[MANIFEST_BUILD_BYTES], *text;
    assert_int_equal(manifest_begin_build(&first, NULL, NULL), FL_OK);
    assert_int_equal(manifest_begin_build(&next, &first, NULL), FL_OK);
    assert_memory_not_equal(first.build, next.build, DIGEST_BYTES);
    assert_true(manifest_replaces(&next, first.build));
    assert_false(manifest_replaces(&first, next.build) || manifest_replaces(&next, next.build));
    for (int i = 0; i < 2 * MANIFEST_REPLACES; i++) { /* as many as it has room for, the last ones */
        last = next;
        assert_int_equal(manifest_begin_build(&next, &last, NULL), FL_OK);
        assert_true(manifest_replaces(&next, last.build));
        assert_int_equal(manifest_replaces(&next, first.build), i < MANIFEST_REPLACES - 1);
    }
    assert_non_null(text = manifest_format(&next));
    assert_int_equal(manifest_parse(&out, text, strlen(text), "m", NULL), FL_OK);
    free(text);
    assert_memory_equal(out.build, next.build, DIGEST_BYTES);
    assert_int_equal(out.n_replaces, MANIFEST_REPLACES);
    assert_memory_equal(out.replaces, next.replaces, sizeof next.replaces);
    memset(next.build, 0xab, sizeof next.build);
    assert_string_equal(manifest_build_text(next.build, name), "abababababab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(a_promise_is_kept_with_its_terms),
        cmocka_unit_test(what_it_takes_to_teach_is_kept),
        cmocka_unit_test(absent_and_wrong_files_are_refused),
        cmocka_unit_test(a_build_knows_whose_place_it_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
