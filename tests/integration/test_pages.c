/* test_pages.c - `bench --report`, `report` and `compare` on a real run, and the page in a real browser
 *
 * The browser is chromium, without a window. `make test` installs it; where that is impossible its test is
 * skipped, and says so.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "deploy/data/npy.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

static struct harness *world;
static char before[HARNESS_PATH + 64], after[HARNESS_PATH + 64], page[HARNESS_PATH + 64];

/* Runs freezeline with these arguments, ended by NULL; returns its number. */
static int start(const char *const *arguments)
{
    const char *argv[24] = {"freezeline"}, *build = getenv("FREEZELINE_BUILD");
    char path[HARNESS_PATH];
    int n = 1;

    while (*arguments && n < 23)
        argv[n++] = *arguments++;
    snprintf(path, sizeof path, "%s/freezeline", build ? build : "build/release");
    return harness_spawn_path(world, path, argv);
}

static int run(const char *const *arguments)
{
    return harness_wait(world, start(arguments));
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 4 << 20);

    assert_non_null(f);
    assert_true(fread(text, 1, (4 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* A short run of a real pipeline, kept as a document and as a page. */
static int measure(void **state)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {8, 3, 16, 16}};
    char path[HARNESS_PATH + 32], data[HARNESS_PATH + 64];

    world = harness_new(NULL, yaml);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    harness_random(t.data, tensor_count(&t), 1);
    snprintf(path, sizeof path, "%s/x.npy", harness_dir(world));
    snprintf(data, sizeof data, "npy:%s", path);
    snprintf(before, sizeof before, "%s/before.json", harness_dir(world));
    snprintf(after, sizeof after, "%s/after.json", harness_dir(world));
    snprintf(page, sizeof page, "%s/page.html", harness_dir(world));
    assert_int_equal(npy_write(&t, path, NULL), FL_OK);
    tensor_release(&t);
    harness_pipeline_up(world);
    assert_int_equal(
        run((const char *const[]){"bench", "-c", harness_config(world), "--data", data, "--rate", "100",
                                  "--duration", "3", "--output", before, "--report", page, NULL}),
        0);
    return 0;
}

static int finish(void **state)
{
    harness_free(world);
    return 0;
}

static void test_page(void **state)
{
    char again[HARNESS_PATH + 64], *text = read_file(page), *other;

    assert_non_null(strstr(text, "Half of the requests are answered within"));
    assert_non_null(strstr(text, "<section id=\"stages\">"));
    assert_null(strstr(text, "<script"));
    snprintf(again, sizeof again, "%s/again.html", harness_dir(world));
    assert_int_equal(run((const char *const[]){"report", before, "--output", again, NULL}), 0);
    other = read_file(again);
    assert_string_equal(text, other); /* from the saved document: the very same page */
    free(text);
    free(other);
    assert_int_equal(run((const char *const[]){"report", before, NULL}), 2);
    assert_int_equal(run((const char *const[]){"report", page, "--output", again, NULL}), 1);
}

/* The document, with all latencies `times` as long. */
static void save_slower(double times)
{
    static const char *const key[] = {"mean", "p50", "p90", "p99"};
    json_t *doc = json_load_file(before, 0, NULL), *latency, *upper, *value;
    size_t i;

    assert_non_null(doc);
    latency = json_object_get(doc, "latency_ms");
    for (int k = 0; k < 4; k++)
        json_object_set_new(latency, key[k],
                            json_real(times * json_number_value(json_object_get(latency, key[k]))));
    upper = json_object_get(json_object_get(doc, "histogram"), "upper_us");
    json_array_foreach(upper, i, value) json_real_set(value, times * json_number_value(value));
    assert_int_equal(json_dump_file(doc, after, 0), 0);
    json_decref(doc);
}

static void test_compare(void **state)
{
    int p;

    assert_int_equal(run((const char *const[]){"compare", before, before, NULL}), 0);
    save_slower(3);
    p = start((const char *const[]){"compare", before, after, NULL});
    assert_int_equal(harness_wait(world, p), 1);
    harness_expect(world, p, "worse: latency mean +200%, latency p50 +200%", 1);
    assert_int_equal(run((const char *const[]){"compare", before, after, "--fail-over", "250", NULL}), 0);
    assert_int_equal(run((const char *const[]){"compare", after, before, NULL}), 0);
    p = start((const char *const[]){"compare", before, after, "--json", NULL});
    assert_int_equal(harness_wait(world, p), 1);
    harness_expect(world, p, "\"worse\": true", 1);
    p = start((const char *const[]){"compare", before, page, NULL});
    assert_int_equal(harness_wait(world, p), 2);
    harness_expect(world, p, "page.html:1:1: not JSON", 1);
    assert_int_equal(run((const char *const[]){"compare", before, NULL}), 2);
    assert_int_equal(run((const char *const[]){"compare", before, "/nowhere/x.json", NULL}), 2);
}

static const char *find_browser(void)
{
    static const char *const paths[] = {"/usr/bin/chromium", "/usr/bin/chromium-browser",
                                        "/usr/bin/google-chrome"};

    for (int i = 0; i < 3; i++)
        if (!access(paths[i], X_OK))
            return paths[i];
    return NULL;
}

/* In the page: opens every table, then counts what is wrong and tells the frame around it. A plot has data
 * when something but its grid has an extent; words are outside when they leave the picture. */
static const char probe[] =
    "<script>addEventListener('error',e=>parent.postMessage('error "
    "'+e.message,'*'));addEventListener('load',()=>{let empty=0,outside=0,plots=0;"
    "for(const d of document.querySelectorAll('details'))d.open=true;"
    "for(const s of document.querySelectorAll('svg.plot')){plots++;let marks=0;const v=s.viewBox.baseVal;"
    "for(const m of s.querySelectorAll('.mark,.solid,.dashed,.dots')){const "
    "b=m.getBBox();marks+=b.width+b.height>0}"
    "for(const t of s.querySelectorAll('text')){const "
    "r=t.getBoundingClientRect(),q=s.getBoundingClientRect();"
    "outside+=r.left<q.left-1||r.right>q.right+1||r.top<q.top-1||r.bottom>q.bottom+1}"
    "empty+=marks==0}"
    "const w=document.documentElement;"
    "parent.postMessage('plots '+plots+', empty '+empty+', outside '+outside+', too wide "
    "'+(w.scrollWidth>innerWidth),'*')});"
    "</script></body>";

/* Each finding stands in a line of its own. */
static const char frame[] =
    "<!doctype html><body><script>const tell=x=>{const p=document.createElement('p');p.textContent='found: "
    "'+x;"
    "document.body.append('\\n',p,'\\n')};addEventListener('error',e=>tell('error '+e.message));"
    "addEventListener('message',e=>tell(e.data))</script>"
    "<iframe src=\"probe.html\" width=\"390\" height=\"800\"></iframe>"
    "<iframe src=\"probe.html\" width=\"1000\" height=\"800\"></iframe></body>";

/* The page with the probe in it, in frames as wide as a phone and as a desktop's window. */
static void test_browser(void **state)
{
    char path[HARNESS_PATH + 64], url[HARNESS_PATH + 80], profile[HARNESS_PATH + 80], *text = read_file(page),
                                                                                      *end;
    const char *browser = find_browser();
    int p;

    if (!browser) {
        print_message("skipped: no chromium here to look at the page with (apt-get install chromium)\n");
        free(text);
        skip();
    }
    end = strstr(text, "</body>");
    assert_non_null(end);
    assert_true(strlen(text) + sizeof probe < (4 << 20));
    strcpy(end, probe);
    strcat(end, "</html>");
    snprintf(path, sizeof path, "%s/probe.html", harness_dir(world));
    write_file(path, text);
    snprintf(path, sizeof path, "%s/frame.html", harness_dir(world));
    write_file(path, frame);
    free(text);
    snprintf(url, sizeof url, "file://%s", path);
    snprintf(profile, sizeof profile, "--user-data-dir=%s/chromium", harness_dir(world));
    p = harness_spawn_path(world, browser,
                           (const char *const[]){"chromium", "--headless", "--no-sandbox", "--disable-gpu",
                                                 "--no-first-run", "--window-size=1200,900", profile,
                                                 "--virtual-time-budget=10000", "--dump-dom", url, NULL});
    assert_int_equal(harness_wait(world, p), 0);
    assert_int_equal(harness_count(world, p, "found: plots "), 2);
    assert_int_equal(harness_count(world, p, ", empty 0, outside 0, too wide false"), 2);
    assert_int_equal(harness_count(world, p, "found: plots 0"), 0);
    assert_int_equal(harness_count(world, p, "found: error"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page), cmocka_unit_test(test_compare),
                                       cmocka_unit_test(test_browser)};
    return cmocka_run_group_tests(tests, measure, finish);
}
