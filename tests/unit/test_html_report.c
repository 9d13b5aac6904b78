/* test_html_report.c - documents of bench read with care, and their page: complete, partial and hostile ones
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "bench_sample.h"
#include "deploy/report/bench_document.h"
#include "deploy/report/html_report.h"
#include "xml_check.h"

#define N(a) ((int)(sizeof(a) / sizeof *(a)))

static char path[] = "/tmp/freezeline-report-XXXXXX";
static char *page;

static void read_page(void)
{
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    free(page);
    page = calloc(1, 8 << 20);
    n = fread(page, 1, (8 << 20) - 1, f);
    assert_true(n > 0 && n < (8 << 20) - 1);
    fclose(f);
}

static int make(const json_t *doc, struct error *e)
{
    int rc = html_report_write(doc, path, e);
    if (!rc)
        read_page();
    return rc;
}

static int count(const char *what)
{
    int n = 0;
    for (const char *p = page; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void save(const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static void test_everything(void **state)
{
    static const char *const ids[] = {"against", "parts", "stages",   "percentiles", "load",
                                      "flow",    "exits", "timeline", "processes"};
    json_t *doc = sample_document(3, 1000, 0.25, 0.95);
    struct error e = {0};

    assert_int_equal(make(doc, &e), FL_OK);
    assert_true(xml_well_formed(page));
    for (int i = 0; i < N(ids); i++) {
        char id[40];
        snprintf(id, sizeof id, "<section id=\"%s\">", ids[i]);
        assert_int_equal(count(id), 1);
    }
    assert_int_equal(count("<svg xmlns"), 9); /* the time line has two */
    assert_int_equal(count("class=\"absent\""), 0);
    assert_true(count("<details>") >= 9);
    assert_int_equal(count("<script"), 0);
    assert_int_equal(count("://"), 9); /* the name of SVG, which is not fetched */
    assert_non_null(strstr(page, "demo &lt;\xc3\xa9&gt;"));
    assert_non_null(strstr(
        page, "Half of the requests are answered within 3\xc2\xa0ms, 99% within 27\xc2\xa0ms, at 99.9/s."));
    assert_non_null(strstr(page, "50% leave early at an exit; 95% are right."));
    assert_non_null(strstr(page, "Valid.</span>"));
    json_decref(doc);
}

static void test_not_valid(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95);
    struct error e = {0};

    json_object_set_new(doc, "valid", json_false());
    json_object_set_new(doc, "doubts", json_pack("[s, s]", "the <sender> was late", "requests were lost"));
    assert_int_equal(make(doc, &e), FL_OK);
    assert_non_null(strstr(page, "Not valid.</span>"));
    assert_non_null(strstr(page, "the &lt;sender&gt; was late; requests were lost."));
    json_decref(doc);
}

static void test_many_failures_are_in_the_headline(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95);
    struct error e = {0};

    json_object_set_new(doc, "errors", json_integer(505)); /* of 1,010 */
    assert_int_equal(make(doc, &e), FL_OK);
    assert_non_null(strstr(page, "50% of the requests failed. Half of the others are answered within"));
    json_object_set_new(doc, "refused", json_integer(404));
    json_object_set_new(doc, "goodput_rps", json_real(77));
    json_object_set_new(doc, "refusal_ms", json_pack("{s:f, s:f}", "p50", 0.2, "p99", 1.5));
    assert_int_equal(make(doc, &e), FL_OK);
    assert_non_null(strstr(page, "50% of the requests failed; 404 were refused, 99% of them within 1.5"));
    assert_non_null(strstr(page, "within the deadline</dt><dd>77"));
    json_decref(doc);
}

static void test_the_headline_says_what_is_saved(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95);
    struct error e = {0};

    assert_int_equal(make(doc, &e), FL_OK);
    assert_non_null(strstr(page, "caches takes 40% less time than whole, on average"));
    json_decref(doc);
}

/* Of 500 requests none lies beyond p99.9. */
static void test_tiles_show_percentiles_that_were_seen(void **state)
{
    json_t *doc = sample_document(3, 500, 0.25, 0.95);
    struct error e = {0};

    assert_int_equal(make(doc, &e), FL_OK);
    assert_non_null(strstr(page, "<dt>p99</dt>"));
    assert_null(strstr(page, "<dt>p99.9</dt>"));
    json_object_set_new(doc, "answered", json_integer(99));
    assert_int_equal(make(doc, &e), FL_OK);
    assert_null(strstr(page, "<dt>p99</dt>"));
    assert_null(strstr(page, "99% within"));
    json_decref(doc);
}

static void test_a_ratio_whose_interval_is_not_known(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95), *ratio;
    struct error e = {0};

    ratio = json_array_get(json_object_get(json_object_get(doc, "against"), "ratios"), 0);
    json_object_set_new(ratio, "low", json_null());
    json_object_set_new(ratio, "high", json_null());
    assert_int_equal(make(doc, &e), FL_OK);
    assert_true(xml_well_formed(page));
    assert_int_equal(count("not known</td>"), 1);
    assert_null(strstr(page, "nan to nan"));
    json_decref(doc);
}

/* Names that begin alike are told apart by what is left of them. */
static void test_names_of_ratios_stay_apart(void **state)
{
    static const struct {
        const char *of, *to, *shown;
    } cases[] = {
        {"a-pipeline-with-a-long-name-for-resnet18 without caches",
         "a-pipeline-with-a-long-name-for-resnet18 in one process",
         "\xe2\x80\xa6without caches / \xe2\x80\xa6in one process"},
        {"a-pipeline-with-a-long-name-for-resnet18-v1-and-so-on",
         "a-pipeline-with-a-long-name-for-resnet18-v2-and-so-on",
         "\xe2\x80\xa6v1-and-so-on / \xe2\x80\xa6v2-and-so-on"},
        {"a-pipeline-with-a-long-name-for-resnet18",
         "a-pipeline-with-a-long-name-for-resnet18 in one process", "process</text>"},
        {"demo", "demo in one process", "p50: demo / demo in one process"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *doc = sample_document(3, 1000, 0.25, 0.95), *ratio;
        struct error e = {0};
        ratio = json_array_get(json_object_get(json_object_get(doc, "against"), "ratios"), 0);
        json_object_set_new(ratio, "metric", json_string("p50"));
        json_object_set_new(ratio, "of", json_string(cases[i].of));
        json_object_set_new(ratio, "to", json_string(cases[i].to));
        assert_int_equal(make(doc, &e), FL_OK);
        if (!strstr(page, cases[i].shown))
            fail_msg("case %zu", i);
        json_decref(doc);
    }
}

/* What the drawn arrivals came to, not the rate that was asked for. */
static void test_a_sweep_shows_what_was_offered(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95), *sweep = json_object_get(doc, "sweep");
    struct error e = {0};

    json_object_set_new(json_array_get(sweep, 0), "offered_rps", json_real(51.25));
    json_object_set_new(json_array_get(sweep, 1), "offered_rps", json_real(97.75));
    assert_int_equal(make(doc, &e), FL_OK);
    assert_int_equal(count(">51.2/s</td>") + count(">51.3/s</td>"), 1);
    json_decref(doc);
}

/* Nothing but the format: each part says why it is not there. */
static void test_nothing(void **state)
{
    json_t *doc = json_pack("{s:s, s:i}", "format", "freezeline-bench", "version", 1);
    struct error e = {0};

    assert_int_equal(make(doc, &e), FL_OK);
    assert_true(xml_well_formed(page));
    assert_int_equal(count("<svg"), 0);
    assert_int_equal(count("class=\"absent\""), 8);
    assert_non_null(strstr(page, "No request was answered."));
    assert_non_null(strstr(page, "Not valid."));
    json_decref(doc);
}

static json_t *odd_value(int kind)
{
    static char name[5000];

    switch (kind) {
    case 0:
        return json_null();
    case 1:
        return json_real(-1e300);
    case 2:
        return json_integer(INT64_MAX);
    case 3:
        memset(name, '<', sizeof name - 1);
        return json_string(name);
    case 4:
        return json_pack("[[], {}, n, s, f]", "\x1b[31m", 1e300);
    case 5:
        return json_pack("{s:{s:[]}}", "a", "b");
    default:
        return json_real(0);
    }
}
#define ODD_VALUES 7

/* Puts each odd value in the place of each value of the document, however deep, one at a time. */
static void try_all(json_t *doc, json_t *at, int *pages)
{
    const char *key;
    json_t *value, *item;
    void *next;
    size_t i;
    struct error e;

    json_object_foreach_safe(at, next, key, value)
    {
        json_incref(value);
        for (int kind = 0; kind < ODD_VALUES; kind++) {
            json_object_set_new(at, key, odd_value(kind));
            int rc = make(doc, &e);
            assert_true(rc == FL_OK || rc == FL_CORRUPT);
            if (!rc)
                assert_true(xml_well_formed(page));
            ++*pages;
        }
        json_object_set_new(at, key, value);
        try_all(doc, value, pages);
    }
    json_array_foreach(at, i, item) if (i < 1) try_all(doc, item, pages);
}

static void test_hostile(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95);
    int pages = 0;

    try_all(doc, doc, &pages);
    assert_true(pages > 700);
    json_decref(doc);
}

/* Long lists give a page of bounded size. */
static void test_long_lists(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95), *list = json_array(), *exits = json_array();
    struct error e = {0};

    for (int i = 0; i < 50000; i++) {
        json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:s}", "t", i, "sent", i % 100, "answered", 50,
                                              "text", "event"));
        if (i < 3000)
            json_array_append_new(
                exits, json_pack("{s:s, s:i, s:f}", "name", "exit", "answered", 3, "share", 0.001));
    }
    json_object_set_new(doc, "timeline", list);
    json_object_set(doc, "events", list);
    json_object_set(doc, "stages", list);
    json_object_set_new(doc, "exits", exits);
    assert_int_equal(make(doc, &e), FL_OK);
    assert_true(xml_well_formed(page));
    assert_true(strlen(page) < 2000000);
    assert_non_null(strstr(page, "and 49000 rows more"));
    json_decref(doc);
}

static int load(const char *text, size_t n, struct error *e)
{
    json_t *doc;
    int rc;

    *e = (struct error){0};
    save(text, n);
    rc = document_load(&doc, path, e);
    assert_true(rc ? !doc : !!doc);
    json_decref(doc);
    return rc;
}

static void test_load(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "is empty"},
        {"{", ":1:1: cut off"},
        {"{\n \"format\": x}", ":2:12: not JSON"},
        {"[1, 2]", "is no document of freezeline bench"},
        {"{\"a\": 1}", "is no document of freezeline bench"},
        {"{\"format\": \"freezeline-bench\", \"format\": 1}", "duplicate"},
        {"{\"format\": \"freezeline-bench\", \"version\": 2}", "version 2"},
        {"{\"format\": \"freezeline-bench\"}", "version"},
        {"\x1b[31m", "not JSON"},
        {"{\"format\": 1e999}", "not JSON"},
    };
    json_t *doc = sample_document(3, 1000, 0.25, 0.95), *none;
    char *text = json_dumps(doc, JSON_INDENT(1)), *deep = malloc(100000);
    struct error e;

    assert_int_equal(load(text, strlen(text), &e), FL_OK);
    for (size_t n = 0; n < strlen(text); n += 97)
        assert_int_equal(load(text, n, &e), FL_CORRUPT);
    for (int i = 0; i < N(bad); i++) {
        assert_int_equal(load(bad[i].text, strlen(bad[i].text), &e), FL_CORRUPT);
        if (!strstr(e.text, bad[i].says))
            fail_msg("%s", e.text);
        assert_null(strchr(e.text, '\x1b'));
    }
    memset(deep, '[', 100000);
    assert_int_equal(load(deep, 100000, &e), FL_CORRUPT);
    assert_int_equal(load("\0\0\0", 3, &e), FL_CORRUPT);
    assert_int_equal(document_load(&none, "/nowhere/x.json", &e), FL_NOT_FOUND);
    assert_int_equal(document_load(&none, "/", &e), FL_IO);
    assert_int_equal(document_load(&none, "/dev/zero", &e), FL_TOO_LARGE);
    free(text);
    free(deep);
    json_decref(doc);
}

static void test_histograms(void **state)
{
    static const char *const bad[] = {
        "{\"upper_us\": [1, 2], \"count\": [1]}",     "{\"upper_us\": [2, 1], \"count\": [1, 1]}",
        "{\"upper_us\": [1, 2], \"count\": [1, -1]}", "{\"upper_us\": [1, \"x\"], \"count\": [1, 1]}",
        "{\"upper_us\": [1], \"count\": [1e16]}",     "{\"count\": [1]}"};
    json_t *h = sample_histogram(1000, 10000);
    struct spread s;
    struct error e;

    assert_int_equal(spread_read(&s, h, &e), FL_OK);
    assert_true(fabs(spread_quantile_us(&s, 0.5) - 1000) < 12);
    assert_true(spread_quantile_us(&s, 1) == 10000);
    assert_true(fabs(s.total - 10000) < 100);
    spread_release(&s);
    json_decref(h);
    for (int i = 0; i < N(bad); i++) {
        h = json_loads(bad[i], 0, NULL);
        assert_non_null(h);
        assert_int_equal(spread_read(&s, h, &e), FL_CORRUPT);
        json_decref(h);
    }
    assert_int_equal(spread_read(&s, NULL, &e), FL_OK);
    assert_true(isnan(spread_quantile_us(&s, 0.5)));
}

/* Where nothing can be written: an error, and what was there stays (a device is no partial file). */
static void test_no_room(void **state)
{
    json_t *doc = sample_document(3, 1000, 0.25, 0.95);
    struct error e;
    struct stat st;

    assert_int_equal(html_report_write(doc, "/nowhere/x.html", &e), FL_IO);
    if (!stat("/dev/full", &st)) {
        assert_int_equal(html_report_write(doc, "/dev/full", &e), FL_IO);
        assert_int_equal(stat("/dev/full", &st), 0);
    }
    assert_int_equal(html_report_write(doc, path, &e), FL_OK);
    json_object_set_new(doc, "histogram", json_pack("{s:[i], s:[]}", "upper_us", 1, "count"));
    assert_int_equal(html_report_write(doc, path, &e), FL_CORRUPT);
    assert_int_equal(access(path, R_OK), 0); /* the page from before */
    unlink(path);
    assert_int_equal(html_report_write(doc, path, &e), FL_CORRUPT);
    assert_int_equal(access(path, F_OK), -1);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_not_valid),
        cmocka_unit_test(test_a_sweep_shows_what_was_offered),
        cmocka_unit_test(test_the_headline_says_what_is_saved),
        cmocka_unit_test(test_tiles_show_percentiles_that_were_seen),
        cmocka_unit_test(test_a_ratio_whose_interval_is_not_known),
        cmocka_unit_test(test_names_of_ratios_stay_apart),
        cmocka_unit_test(test_many_failures_are_in_the_headline),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_no_room),
    };
    int fd = mkstemp(path), rc;

    close(fd);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    free(page);
    return rc;
}
