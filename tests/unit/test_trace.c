/* test_trace.c - spans become traces: joined whatever their order, bounded, as OTLP has them, in a file */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "broker/trace/otlp_text.h"
#include "broker/trace/trace_sink.h"

#define WAIT NS_PER_S

static struct trace_join *join;

static int set_up(void **state)
{
    return trace_join_new(&join, WAIT);
}

static int tear_down(void **state)
{
    trace_join_free(join);
    return 0;
}

static void add(uint64_t request, enum span_kind kind, uint32_t role, uint64_t start, uint64_t now)
{
    struct span s = {.request = request,
                     .attempt = 1,
                     .kind = (uint32_t)kind,
                     .role = role,
                     .exit = -1,
                     .start_ns = start,
                     .end_ns = start + 5};
    trace_join_add(join, &s, now);
}

static void test_a_request_is_whole_before_it_goes(void **state)
{
    const struct traced *t;
    add(1, SPAN_COMPUTE, ROLE_STAGE, 10, 0);
    assert_null(trace_join_take(join, false, WAIT)); /* its own span is not there */
    add(2, SPAN_REQUEST, ROLE_BROKER, 10, WAIT);
    add(1, SPAN_REQUEST, ROLE_BROKER, 10, WAIT);
    assert_null(trace_join_take(join, false, 2 * WAIT - 1));
    add(1, SPAN_HIT, ROLE_CACHE, 12, 2 * WAIT - 1); /* what others tell later */
    for (int i = 0; i < 2; i++) {
        assert_non_null(t = trace_join_take(join, false, 2 * WAIT));
        assert_int_equal(t->n, t->request == 1 ? 3 : 1);
    }
    assert_null(trace_join_take(join, true, 2 * WAIT));
    assert_int_equal(trace_join_lost(join), 0);
    add(3, SPAN_COMPUTE, ROLE_STAGE, 10, 2 * WAIT); /* its broker has gone */
    assert_null(trace_join_take(join, true, 61 * WAIT));
    assert_int_equal(trace_join_lost(join), 0);
    assert_null(trace_join_take(join, false, 62 * WAIT));
    assert_int_equal(trace_join_lost(join), 1);
}

static void test_it_is_bounded(void **state)
{
    const struct traced *t;
    int n = 0, spans = 0;
    for (uint64_t id = 1; id <= TRACES_MOST + 10; id++)
        add(id * TRACES_MOST, SPAN_REQUEST, ROLE_BROKER, id, 0); /* all in one bucket */
    for (int i = 0; i < TRACE_SPANS + 10; i++)
        add(TRACES_MOST, SPAN_WIRE, ROLE_STAGE, (uint64_t)i, 0);
    assert_int_equal(trace_join_lost(join), 10 + 11);
    while ((t = trace_join_take(join, false, WAIT))) {
        n++;
        spans += t->n;
    }
    assert_int_equal(n, TRACES_MOST);
    assert_int_equal(spans, TRACES_MOST - 1 + TRACE_SPANS);
    for (int i = 0; i < TRACE_SPANS; i++)
        add(7, SPAN_WIRE, ROLE_STAGE, (uint64_t)i, 0);
    add(7, SPAN_REQUEST, ROLE_BROKER, 0, 0); /* its own span finds room */
    assert_non_null(t = trace_join_take(join, true, 0));
    assert_int_equal(t->span[t->n - 1].kind, SPAN_REQUEST);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static json_t *spans_of(const json_t *root)
{
    json_t *r = json_array_get(json_object_get(root, "resourceSpans"), 0);
    return json_object_get(json_array_get(json_object_get(r, "scopeSpans"), 0), "spans");
}

static void test_otlp(void **state)
{
    struct span own = {.request = 9,
                       .kind = SPAN_REQUEST,
                       .role = ROLE_BROKER,
                       .exit = -1,
                       .start_ns = 100,
                       .end_ns = 200,
                       .trace_high = 0x0af7651916cd43dd,
                       .trace_low = 0x8448eb211c80319c,
                       .parent = 0xb7ad6b7169203331,
                       .span = 0x12};
    struct json_text out = {.at = NULL};
    json_t *root, *spans, *first;
    add(9, SPAN_COMPUTE, ROLE_STAGE, 120, 0);
    trace_join_add(join, &own, 0);
    add(8, SPAN_REQUEST, ROLE_BROKER, 100, 0); /* without a trace of its own */
    otlp_begin(&out, "a \"name\"");
    otlp_trace(&out, trace_join_take(join, true, 0), true, 1000);
    otlp_trace(&out, trace_join_take(join, true, 0), false, 1000);
    otlp_end(&out);
    assert_non_null(root = json_loadb(out.at, out.n, 0, NULL));
    spans = spans_of(root);
    assert_int_equal(json_array_size(spans), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *s = json_array_get(spans, i);
        if (!strcmp(text_of(s, "name"), "compute")) {
            assert_string_equal(text_of(s, "parentSpanId"), "0000000000000012");
            assert_string_equal(text_of(s, "traceId"), "0af7651916cd43dd8448eb211c80319c");
            assert_string_equal(text_of(s, "startTimeUnixNano"), "1120");
        } else if (*text_of(s, "parentSpanId")) {
            assert_string_equal(text_of(s, "parentSpanId"), "b7ad6b7169203331");
            assert_string_equal(text_of(s, "spanId"), "0000000000000012");
        } else {
            char id[33];
            struct trace_id made = trace_id_of(8);
            snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)made.high,
                     (unsigned long long)made.low);
            assert_string_equal(text_of(s, "traceId"), id);
        }
        assert_int_equal(strlen(text_of(s, "spanId")), 16);
    }
    first = json_object_get(json_array_get(json_object_get(root, "resourceSpans"), 0), "resource");
    first = json_array_get(json_object_get(first, "attributes"), 1);
    assert_string_equal(text_of(json_object_get(first, "value"), "stringValue"), "a \"name\"");
    json_decref(root);
    json_text_free(&out);
}

static void test_where_they_go(void **state)
{
    static const struct {
        const char *to, *host, *port, *target;
    } good[] = {{"http://collector", "collector", "4318", "/v1/traces"},
                {"http://[::1]:99/", "::1", "99", "/v1/traces"},
                {"http://10.0.0.1:4318/otlp/x", "10.0.0.1", "4318", "/otlp/x"}};
    static const char *const bad[] = {"http://",     "http://:1/", "http://a:0",   "http://a:70000/",
                                      "http://a b/", "https://a/", "grpc://a:4317"};
    struct pipeline p = {.state = "/s"};
    struct trace_sink s;
    struct error e;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        p.traces.to = (char *)(uintptr_t)good[i].to;
        assert_int_equal(trace_sink_open(&s, &p, &e), FL_OK);
        assert_string_equal(s.host, good[i].host);
        assert_string_equal(s.port, good[i].port);
        assert_string_equal(s.target, good[i].target);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p.traces.to = (char *)(uintptr_t)bad[i];
        assert_int_equal(trace_sink_open(&s, &p, &e), FL_CONFIG);
    }
    p.traces.to = "http://127.0.0.1:1"; /* nobody listens there */
    assert_int_equal(trace_sink_open(&s, &p, &e), FL_OK);
    assert_int_equal(trace_sink_send(&s, "{}", 2, &e), FL_UNAVAILABLE);
}

static void test_a_file_is_bounded(void **state)
{
    char dir[] = "/tmp/freezeline-traces.XXXXXX", path[64], old[80], text[3000];
    struct pipeline p = {.logs = {.max_mb = 0.01, .keep = 1}, .traces = {.to = "t.jsonl"}};
    struct trace_sink s;
    struct stat st;
    struct error e;
    assert_non_null(mkdtemp(dir));
    p.state = dir;
    snprintf(path, sizeof path, "%s/t.jsonl", dir);
    snprintf(old, sizeof old, "%s.1", path);
    memset(text, 'x', sizeof text);
    assert_int_equal(trace_sink_open(&s, &p, &e), FL_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(trace_sink_send(&s, text, sizeof text, &e), FL_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 3001, 14000);
    assert_int_equal(stat(old, &st), 0);
    unlink(path);
    unlink(old);
    rmdir(dir);
    assert_int_equal(trace_sink_send(&s, text, 1, &e), FL_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_is_whole_before_it_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_otlp, set_up, tear_down),
        cmocka_unit_test(test_where_they_go),
        cmocka_unit_test(test_a_file_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
