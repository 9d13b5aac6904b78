/* test_plot.c - ticks, escaping, and plots of good, odd and hostile data */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/plot/markup.h"
#include "deploy/plot/plot.h"
#include "deploy/plot/ticks.h"
#include "xml_check.h"

#define N(a) ((int)(sizeof(a) / sizeof *(a)))

static char *text; /* of the last plot */
static size_t size;

static int draw(const struct plot *p, struct error *e)
{
    free(text);
    FILE *to = open_memstream(&text, &size);
    int rc = plot_write(p, to, e);
    fclose(to);
    return rc;
}

static int count(const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

/* No coordinate was printed that is none. */
static void assert_only_numbers(const char *svg)
{
    static const char *const bad[] = {"\"nan", "-nan", " nan",  "Mnan", "Lnan",
                                      "Vnan",  "Hnan", "inf\"", "inf "};
    for (int i = 0; i < N(bad); i++)
        if (strstr(svg, bad[i]))
            fail_msg("%.60s", strstr(svg, bad[i]) - 30);
}

static void assert_labels(const struct ticks *t, const char *expected)
{
    char all[1024] = "";
    for (int i = 0; i < t->n; i++) {
        strcat(all, i ? "|" : "");
        strcat(all, t->label[i]);
    }
    assert_string_equal(all, expected);
}

static void test_linear_ticks(void **state)
{
    struct ticks t;

    ticks_make(&t, false, 0, 1, 6, NULL);
    assert_labels(&t, "0|0.2|0.4|0.6|0.8|1.0");
    ticks_make(&t, false, -3, 3, 7, NULL);
    assert_labels(&t, "-3|-2|-1|0|1|2|3");
    ticks_make(&t, false, 0, 0.0021, 6, "s");
    assert_labels(&t, "0|0.5\xc2\xa0ms|1.0\xc2\xa0ms|1.5\xc2\xa0ms|2.0\xc2\xa0ms");
    ticks_make(&t, false, 0, 100, 6, "%");
    assert_labels(&t, "0%|20%|40%|60%|80%|100%");
    ticks_make(&t, false, 0, 2500000, 6, "B");
    assert_labels(&t, "0|0.5\xc2\xa0MB|1.0\xc2\xa0MB|1.5\xc2\xa0MB|2.0\xc2\xa0MB|2.5\xc2\xa0MB");
    ticks_make(&t, false, 0, 7200, 5, "s");
    assert_labels(&t, "0|2000\xc2\xa0s|4000\xc2\xa0s|6000\xc2\xa0s");
}

static void test_log_ticks(void **state)
{
    struct ticks t;

    ticks_make(&t, true, 1e-6, 1, 8, "s");
    assert_labels(&t, "1\xc2\xa0\xc2\xb5s|10\xc2\xa0\xc2\xb5s|100\xc2\xa0\xc2\xb5s|1\xc2\xa0ms|10\xc2\xa0ms|"
                      "100\xc2\xa0ms|1\xc2\xa0s");
    ticks_make(&t, true, 0.9, 60, 8, NULL);
    assert_labels(&t, "1|2|5|10|20|50");
    ticks_make(&t, true, 20, 60, 8, NULL);
    assert_labels(&t, "20|30|40|50|60"); /* less than a decade: as on a linear axis */
}

/* Whatever the range: between 1 and `most`, ascending, inside, round. */
static void test_ticks_of_any_range(void **state)
{
    static const double ends[] = {1e-300, 1e-9, 0.001, 0.7, 1, 1.0001, 3, 99, 1e6, 1700000000, 1e15, 1e299};
    struct ticks t;

    for (int i = 0; i < N(ends); i++)
        for (int j = i + 1; j < N(ends); j++)
            for (int log = 0; log < 2; log++)
                for (int most = 2; most < 10; most++) {
                    ticks_make(&t, log, ends[i], ends[j], most, "s");
                    assert_in_range(t.n, 1, most);
                    for (int k = 0; k < t.n; k++) {
                        double slack = 1e-6 * (ends[j] - ends[i]);
                        assert_true(t.at[k] >= ends[i] - slack && t.at[k] <= ends[j] + slack);
                        assert_true(!k || t.at[k] > t.at[k - 1]);
                        assert_true(strlen(t.label[k]) > 0);
                    }
                }
}

static void test_format(void **state)
{
    char b[40];

    assert_string_equal(ticks_format(b, sizeof b, 0.00123456, "s"), "1.23\xc2\xa0ms");
    assert_string_equal(ticks_format(b, sizeof b, 0.001, "s"), "1\xc2\xa0ms");
    assert_string_equal(ticks_format(b, sizeof b, 0, "s"), "0\xc2\xa0s");
    assert_string_equal(ticks_format(b, sizeof b, 12345, "/s"), "12.3k/s");
    assert_string_equal(ticks_format(b, sizeof b, 43.21, "%"), "43.2%");
    assert_string_equal(ticks_format(b, sizeof b, 1234, NULL), "1234");
    assert_string_equal(ticks_format(b, sizeof b, 1500000, NULL), "1.5M");
}

static void test_escaping(void **state)
{
    char *s;
    size_t n;
    FILE *to = open_memstream(&s, &n);

    markup_text(
        to,
        "<a href=\"x\" id='y'>&\x01\xff\xc0\xafz\xed\xa0\x80\xef\xbf\xbf\xc3\xa9\xf0\x9f\x98\x80\xe2\x82");
    fclose(to);
    assert_string_equal(
        s, "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
           "\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd");
    free(s);
    to = open_memstream(&s, &n);
    markup_fit(to, "a long name that has no room & is cut", 60, 12);
    fclose(to);
    assert_true(strlen(s) < 20 && strstr(s, "\xe2\x80\xa6") && *s == 'a' &&
                !strcmp(s + strlen(s) - 3, "cut"));
    free(s);
}

static void test_plain_plot(void **state)
{
    static const double x[] = {10, 20, 30, 40}, y[] = {0.001, 0.002, 0.004, 0.1},
                        low[] = {0.0009, 0.0018, 0.003, 0.05}, high[] = {0.0011, 0.0022, 0.005, 0.2};
    static const char *const label[] = {"one", NULL, "three", "four"};
    const struct plot_series s[] = {
        {.name = "p50", .n = 4, .x = x, .y = y, .low = low, .high = high},
        {.name = "p99", .mark = PLOT_POINTS, .n = 4, .x = x, .y = high, .label = label},
        {.name = "bars", .mark = PLOT_BARS, .n = 4, .x = x, .y = low},
        {.name = "steps", .mark = PLOT_STEP, .n = 4, .x = x, .y = y, .dashed = true},
        {.name = "events", .mark = PLOT_RULES, .n = 1, .x = x + 1, .label = label}};
    struct plot p = {"latency <against> load",
                     false,
                     {.title = "requests per second", .unit = "/s"},
                     {.title = "latency", .log = true, .unit = "s"},
                     N(s),
                     s};
    struct error e = {0};

    assert_int_equal(draw(&p, &e), FL_OK);
    assert_true(xml_well_formed(text));
    assert_non_null(strstr(text, "<title>latency &lt;against&gt; load</title>"));
    assert_non_null(strstr(text, "role=\"img\""));
    assert_non_null(strstr(text, "prefers-color-scheme:dark"));
    assert_null(strstr(text, " id=")); /* two on one page must not clash */
    assert_non_null(strstr(text, ">10/s<"));
    assert_non_null(strstr(text, ">1\xc2\xa0ms<"));
    assert_non_null(strstr(text, ">100\xc2\xa0ms<"));
    assert_non_null(strstr(text, "<title>p50: 40/s, 100\xc2\xa0ms</title>"));
    for (int i = 0; i < N(s); i++) {
        char name[32];
        snprintf(name, sizeof name, ">%s</text>", s[i].name);
        assert_int_equal(count(name), 1);
    }
    assert_int_equal(count(">three</text>"), 1);
    p.bare = true;
    assert_int_equal(draw(&p, &e), FL_OK);
    assert_int_equal(count("against"), 1); /* only what is read aloud */
}

/* A point that cannot be drawn is left out, and splits its line; with nothing left there is an error and no
 * output. */
static void test_left_out(void **state)
{
    static const double x[] = {1, 2, 3, 4, 5}, y[] = {1, NAN, 0, 10, INFINITY},
                        none[] = {NAN, NAN, -INFINITY, NAN, 1e301};
    struct plot_series s = {.name = "a", .n = 5, .x = x, .y = y};
    struct plot p = {.title = "t", .y = {.log = true}, .n_series = 1, .series = &s};
    struct error e = {0};

    assert_int_equal(draw(&p, &e), FL_OK);
    assert_true(xml_well_formed(text));
    assert_int_equal(count("<circle"), 3); /* two points, and the legend's */
    assert_only_numbers(text);
    s.y = none;
    assert_int_equal(draw(&p, &e), FL_VALUE);
    assert_int_equal(size, 0);
    assert_non_null(strstr(e.text, "'t'"));
    s.n = 0;
    assert_int_equal(draw(&p, &e), FL_VALUE);
    p.n_series = PLOT_MAX_SERIES + 1;
    assert_int_equal(draw(&p, &e), FL_VALUE);
}

/* One value, equal values, extremes of double, axes given backwards, too narrow or outside: always a
 * well-formed picture with numbers in it. */
static void test_hostile_values(void **state)
{
    static const double odd[] = {0,    -0.0,  1,     -1,    1e300,    -1e300,     DBL_MIN,      5e-324,
                                 1e15, 1e-15, 1e301, 1e308, -DBL_MAX, 1700000000, 1700000000.1, NAN};
    static const struct plot_axis axes[] = {{.title = "a"},
                                            {.log = true},
                                            {.from = 5, .to = -5},
                                            {.from = NAN, .to = 1},
                                            {.from = 1, .to = 1 + 1e-15},
                                            {.log = true, .from = -1, .to = 10},
                                            {.from = 2, .to = 3e-5},
                                            {.log = true, .from = 5e-324, .to = 1e300}};
    char *long_name = malloc(100001);
    struct error e;
    int drawn = 0;

    memset(long_name, 'W', 100000);
    long_name[100000] = 0;
    for (int i = 0; i < N(odd); i++)
        for (int j = 0; j < N(odd); j++)
            for (int a = 0; a < N(axes); a++)
                for (int mark = PLOT_LINE; mark <= PLOT_RULES; mark++) {
                    double x[2] = {odd[i], odd[j]}, y[2] = {odd[j], odd[i]};
                    const char *name =
                        i == j ? long_name : "W"; /* copied wherever it stands: not each time */
                    const char *label[2] = {"<&>", a ? NULL : name};
                    struct plot_series s = {.name = a ? "]]>\x02" : name,
                                            .mark = mark,
                                            .n = 2,
                                            .x = x,
                                            .y = y,
                                            .low = y,
                                            .high = x,
                                            .label = label};
                    struct plot p = {name, false, axes[a], axes[(a + mark) % N(axes)], 1, &s};
                    int rc = draw(&p, &e);
                    assert_true(rc == FL_OK || rc == FL_VALUE);
                    if (rc)
                        continue;
                    drawn++;
                    assert_true(xml_well_formed(text));
                    assert_only_numbers(text);
                }
    assert_true(drawn > 5000);
    free(long_name);
}

static double largest_y(void)
{
    double least = INFINITY; /* up is small */
    const char *p = strstr(text, "<path class=\"solid\" d=\"");
    assert_non_null(p);
    for (p += 23; *p && *p != '"'; p++)
        if (*p == 'M' || *p == 'L') {
            double px, py;
            assert_int_equal(sscanf(p + 1, "%lf %lf", &px, &py), 2);
            least = fmin(least, py);
        }
    return least;
}

/* Many points make a small picture that still shows the one that stands out, whatever their order. */
static void test_many_points(void **state)
{
    const int n = 200000;
    double *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    const char **label = calloc((size_t)n, sizeof *label);
    struct plot_series s = {.name = "a", .n = n, .x = x, .y = y};
    struct plot p = {.title = "many", .n_series = 1, .series = &s};
    struct error e;

    for (int i = 0; i < n; i++) {
        x[i] = i;
        y[i] = 1 + 0.5 * sin(i);
        label[i] = "label";
    }
    y[123456] = 100;
    assert_int_equal(draw(&p, &e), FL_OK);
    assert_true(size < 60000);
    assert_true(xml_well_formed(text));
    double peak = largest_y();
    y[123456] = 1;
    assert_int_equal(draw(&p, &e), FL_OK);
    assert_true(fabs(peak - largest_y()) < 25 && peak < 25); /* both reach up to their highest point */
    s.label = label;
    s.low = s.high = y;
    for (int mark = PLOT_LINE; mark <= PLOT_RULES; mark++)
        for (int order = 0; order < 2; order++) {
            for (int i = 0; order && i < n; i++)
                x[i] = (i * 7919LL) % n;
            s.mark = mark;
            assert_int_equal(draw(&p, &e), FL_OK);
            assert_true(size < 1200000);
            assert_true(xml_well_formed(text));
        }
    free(x);
    free(y);
    free(label);
}

/* Tick labels are placed by estimated widths: none may touch another. */
static void test_ticks_do_not_overlap(void **state)
{
    static const double y[] = {1, 2};
    const double spans[][2] = {{0, 1},      {0, 123456},     {1.7e9, 1.7e9 + 3600},
                               {1e-6, 1e3}, {0.001, 0.0011}, {0, 1e18}};
    struct error e;

    for (int i = 0; i < N(spans); i++)
        for (int log = 0; log < 2; log++) {
            struct plot_series s = {.n = 2, .x = spans[i], .y = y};
            struct plot p = {
                .title = "t", .x = {.log = log, .unit = i % 2 ? "s" : NULL}, .n_series = 1, .series = &s};
            double end = -INFINITY, at;
            char label[64];
            if (log && spans[i][0] <= 0)
                continue;
            assert_int_equal(draw(&p, &e), FL_OK);
            int labels = 0;
            for (const char *q = text; (q = strstr(q, "<text text-anchor=\"middle\" x=\"")); q++, labels++) {
                assert_int_equal(
                    sscanf(q, "<text text-anchor=\"middle\" x=\"%lf\" y=\"%*f\">%63[^<]", &at, label), 2);
                assert_true(at - markup_width(label, 12) / 2 > end);
                assert_true(at - markup_width(label, 12) / 2 >= 0 && at + markup_width(label, 12) / 2 <= 440);
                end = at + markup_width(label, 12) / 2;
            }
            assert_true(labels >= 1);
        }
}

/* Names of places: given ones are used, those outside or without room are not. */
static void test_named_ticks(void **state)
{
    static const double x[] = {1, 2, 3}, y[] = {5, 6, 7};
    struct plot_tick ticks[PLOT_MAX_TICKS] = {
        {1, "exit 1"}, {2, "exit 2"}, {3, "network"}, {99, "outside"}, {NAN, "nowhere"}};
    struct plot_series s = {.mark = PLOT_BARS, .n = 3, .x = x, .y = y};
    struct plot p = {.title = "t",
                     .x = {.n_ticks = 5, .ticks = ticks},
                     .y = {.n_ticks = 5, .ticks = ticks},
                     .n_series = 1,
                     .series = &s};
    struct error e;

    assert_int_equal(draw(&p, &e), FL_OK);
    assert_int_equal(count(">exit 1</text>"), 2);
    assert_int_equal(count(">network</text>"), 2);
    assert_int_equal(count("outside"), 0);
    assert_int_equal(count("nowhere"), 0);
    for (int i = 0; i < PLOT_MAX_TICKS; i++)
        ticks[i] = (struct plot_tick){1 + i * 0.03, "a name of some length"};
    p.x.n_ticks = PLOT_MAX_TICKS;
    assert_int_equal(draw(&p, &e), FL_OK);
    assert_in_range(count("a name"), 2, 12);
    p.x.n_ticks = PLOT_MAX_TICKS + 1;
    assert_int_equal(draw(&p, &e), FL_VALUE);
}

static void test_full_disk(void **state)
{
    static const double x[] = {1, 2};
    struct plot_series s = {.n = 2, .x = x, .y = x};
    struct plot p = {.title = "t", .n_series = 1, .series = &s};
    FILE *full = fopen("/dev/full", "w");
    struct error e;

    if (!full)
        skip();
    setvbuf(full, NULL, _IONBF, 0);
    assert_int_equal(plot_write(&p, full, &e), FL_IO);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_ticks),       cmocka_unit_test(test_log_ticks),
        cmocka_unit_test(test_ticks_of_any_range), cmocka_unit_test(test_format),
        cmocka_unit_test(test_escaping),           cmocka_unit_test(test_plain_plot),
        cmocka_unit_test(test_left_out),           cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_many_points),        cmocka_unit_test(test_ticks_do_not_overlap),
        cmocka_unit_test(test_named_ticks),        cmocka_unit_test(test_full_disk),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(text);
    return rc;
}
