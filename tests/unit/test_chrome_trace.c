/* test_chrome_trace.c - spans kept in fixed room, and written as a Chrome trace that holds together */
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/bench/chrome_trace.h"
#include "wire/span_log.h"

#define US NS_PER_US

static struct spans out;

static void test_a_full_log_keeps_the_first_and_counts_the_rest(void **state)
{
    struct span_log l;
    span_log_init(&l, 300, ROLE_STAGE, 2, 1);
    assert_false(span_log_take(&l, &out));
    for (uint64_t i = 0; i < 310; i++)
        span_log_note(&l, SPAN_COMPUTE, i, 1, -1, 10 * i, 10 * i + 5);
    assert_true(span_log_take(&l, &out));
    assert_int_equal(out.n, MESSAGE_MAX_SPANS);
    assert_int_equal(out.left, 300 - MESSAGE_MAX_SPANS);
    assert_int_equal(out.lost, 10);
    assert_int_equal(out.span[0].request, 0);
    assert_int_equal(out.span[0].role, ROLE_STAGE);
    assert_int_equal(out.span[0].stage, 2);
    assert_int_equal(out.span[0].replica, 1);
    for (uint64_t i = 0; i < 100; i++) /* around the end of the ring */
        span_log_note(&l, SPAN_QUEUE, 1000 + i, 1, -1, 1, 2);
    assert_true(span_log_take(&l, &out));
    assert_int_equal(out.n, 144);
    assert_int_equal(out.left, 0);
    assert_int_equal(out.lost, 0);
    assert_int_equal(out.span[0].request, MESSAGE_MAX_SPANS);
    assert_int_equal(out.span[143].request, 1099);
    span_log_note(&l, SPAN_WIRE, 1, 1, -1, 5, 4); /* ends before it starts */
    assert_false(span_log_take(&l, &out));
    span_log_free(&l);
}

static void put(enum span_kind kind, enum message_role role, uint32_t stage, uint64_t request, int exit,
                uint64_t start_us, uint64_t end_us)
{
    out.span[out.n++] = (struct span){.request = request,
                                      .attempt = 1,
                                      .kind = (uint32_t)kind,
                                      .role = (uint32_t)role,
                                      .stage = stage,
                                      .exit = exit,
                                      .start_ns = 1000000000 + start_us * US,
                                      .end_ns = 1000000000 + end_us * US};
}

/* Requests 7 and 8 in one batch of stage 0. 7 is answered at exit 0 while stage 0 guesses on; 8 goes on to
 * stage 1, where it is cancelled. */
static void two_requests(void)
{
    memset(&out, 0, sizeof out);
    for (uint64_t r = 7; r <= 8; r++) {
        put(SPAN_REQUEST, ROLE_BROKER, 0, r, -1, 0, r == 7 ? 90 : 200);
        put(SPAN_WIRE, ROLE_STAGE, 0, r, -1, 5, 10);
        put(SPAN_COMPUTE, ROLE_STAGE, 0, r, 0, 10, 40);
        put(SPAN_ASK, ROLE_STAGE, 0, r, 0, 40, 45);
        put(SPAN_LOOKUP, ROLE_STAGE, 0, r, 0, 45, 85);
    }
    put(SPAN_HIT, ROLE_CACHE, 0, 7, 0, 60, 70);
    put(SPAN_MISS, ROLE_CACHE, 0, 8, 0, 60, 70);
    put(SPAN_COMPUTE, ROLE_STAGE, 0, 8, -1, 45, 95);
    put(SPAN_SPECULATION, ROLE_STAGE, 0, 7, 0, 45, 95);
    put(SPAN_WIRE, ROLE_STAGE, 1, 8, -1, 95, 120);
    put(SPAN_SERIALISE, ROLE_STAGE, 1, 8, -1, 120, 130);
    put(SPAN_DROPPED, ROLE_STAGE, 1, 8, -1, 120, 150);
}

static json_t *written(struct chrome_trace *t)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    json_error_t problem;
    json_t *root;
    assert_int_equal(chrome_trace_write(t, NULL, f), 0);
    fclose(f);
    root = json_loads(text, 0, &problem);
    if (!root)
        fail_msg("%s", problem.text);
    free(text);
    return root;
}

static const char *text_of(const json_t *event, const char *key)
{
    const char *s = json_string_value(json_object_get(event, key));
    return s ? s : "";
}

/* How many events of this phase whose name begins so; *found is the last one. */
static int count(const json_t *root, const char *phase, const char *name, const json_t **found)
{
    const json_t *event;
    size_t i;
    int n = 0;
    json_array_foreach(json_object_get(root, "traceEvents"), i, event)
    {
        if (!strcmp(text_of(event, "ph"), phase) && !strncmp(text_of(event, "name"), name, strlen(name))) {
            n++;
            if (found)
                *found = event;
        }
    }
    return n;
}

static double number(const json_t *event, const char *key)
{
    return json_number_value(json_object_get(event, key));
}

static void test_a_trace_shows_batches_speculation_and_cancelling(void **state)
{
    struct chrome_trace t = {0};
    const json_t *event;
    json_t *root;
    two_requests();
    assert_int_equal(chrome_trace_add(&t, &out), 0);
    root = written(&t);
    assert_int_equal(count(root, "M", "process_name", NULL), 4);
    assert_int_equal(count(root, "X", "compute to exit 0", &event), 1); /* a batch is shown once */
    assert_int_equal(json_array_size(json_object_get(json_object_get(event, "args"), "requests")), 2);
    assert_true(number(event, "ts") == 10 && number(event, "dur") > 29.9 && number(event, "dur") < 30);
    assert_int_equal(count(root, "X", "hit exit 0", NULL), 1);
    assert_int_equal(count(root, "X", "miss exit 0", NULL), 1);
    assert_int_equal(count(root, "b", "speculation past exit 0", &event), 1);
    assert_true(number(event, "ts") == 45);
    assert_string_equal(text_of(json_object_get(event, "args"), "request"), "7");
    assert_int_equal(count(root, "e", "speculation past exit 0", &event), 1);
    assert_true(number(event, "ts") == 95);
    assert_int_equal(count(root, "b", "cancelled", NULL), 1);
    assert_int_equal(count(root, "i", "cancelled", NULL), 1);
    assert_int_equal(count(root, "b", "wire", NULL), 3);
    assert_int_equal(count(root, "b", "", NULL), count(root, "e", "", NULL));
    assert_int_equal(count(root, "s", "", NULL), 3); /* both to the cache, 8 to stage 1 */
    assert_int_equal(count(root, "f", "", NULL), 3);
    json_decref(root);
    chrome_trace_release(&t);
}

/* Every opening has its end on the same track, and no two requests share a track. */
static void test_tracks_beside_the_work_are_told_apart(void **state)
{
    struct chrome_trace t = {0};
    const json_t *a, *b;
    size_t i, k;
    json_t *root, *events;
    two_requests();
    assert_int_equal(chrome_trace_add(&t, &out), 0);
    root = written(&t);
    events = json_object_get(root, "traceEvents");
    json_array_foreach(events, i, a)
    {
        int ends = 0;
        if (strcmp(text_of(a, "ph"), "b"))
            continue;
        json_array_foreach(events, k, b)
        {
            bool same = json_equal(json_object_get(a, "id2"), json_object_get(b, "id2")) &&
                        number(a, "pid") == number(b, "pid") && !strcmp(text_of(a, "cat"), text_of(b, "cat"));
            ends += same && !strcmp(text_of(b, "ph"), "e") && number(b, "ts") >= number(a, "ts");
            assert_false(same && a != b && !strcmp(text_of(b, "ph"), "b"));
        }
        assert_int_equal(ends, 1);
    }
    json_decref(root);
    chrome_trace_release(&t);
}

static void test_nothing_and_nonsense_are_traces_too(void **state)
{
    struct chrome_trace t = {0};
    json_t *root = written(&t);
    assert_int_equal(json_array_size(json_object_get(root, "traceEvents")), 0);
    json_decref(root);
    memset(&out, 0, sizeof out);
    put(SPAN_COMPUTE, ROLE_STAGE, 0, 1, -1, 50, 40);
    put((enum span_kind)999, ROLE_STAGE, 15, UINT64_MAX, 31, 1, 2);
    put(SPAN_MISS, ROLE_CACHE, 0, 2, 31, 3, 4); /* nobody asked */
    out.span[2].replica = UINT32_MAX;
    out.lost = 5;
    assert_int_equal(chrome_trace_add(&t, &out), 0);
    root = written(&t);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "otherData"), "lost")), 5);
    assert_int_equal(count(root, "b", "other", NULL), 1);
    assert_int_equal(count(root, "X", "miss", NULL), 1);
    assert_int_equal(count(root, "X", "compute", NULL), 0);
    json_decref(root);
    chrome_trace_release(&t);
}

static void test_a_full_disk_is_told(void **state)
{
    struct chrome_trace t = {0};
    struct error e = {FL_OK, ""};
    two_requests();
    assert_int_equal(chrome_trace_add(&t, &out), 0);
    assert_int_equal(chrome_trace_save(&t, NULL, "/dev/full", &e), FL_IO);
    assert_non_null(strstr(e.text, "/dev/full"));
    chrome_trace_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_log_keeps_the_first_and_counts_the_rest),
        cmocka_unit_test(test_a_trace_shows_batches_speculation_and_cancelling),
        cmocka_unit_test(test_tracks_beside_the_work_are_told_apart),
        cmocka_unit_test(test_nothing_and_nonsense_are_traces_too),
        cmocka_unit_test(test_a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
