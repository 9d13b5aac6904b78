/* test_against.c - scenarios, sweeps and comparisons: their arithmetic, and against servers that are known */
#include <math.h>

#include "tests/testing.h"
#include "numbers/shuffle.h"
#include "deploy/bench/against.h"
#include "deploy/data/npy.h"
#include "deploy/bench/scenario.h"
#include "deploy/bench/sweep.h"
#include "fake_server.h"

#define RECORDS 32

static struct fake_server server[2];
static struct pipeline *pipeline[2];
static struct configuration configuration[2];
static struct model_shape model;
static struct dataset *data;

static void open_data(void)
{
    static const struct pipeline plain;
    struct tensor x = {.dtype = TENSOR_F32, .rank = 4, .dim = {RECORDS, 3, 4, 4}};
    char path[64], spec[80];
    struct error e;

    snprintf(path, sizeof path, "/tmp/freezeline-against-%d.npy", (int)getpid());
    snprintf(spec, sizeof spec, "npy:%s", path);
    assert_int_equal(tensor_alloc(&x), FL_OK);
    memset(x.data, 0, (size_t)tensor_bytes(&x));
    assert_int_equal(npy_write(&x, path, &e), FL_OK);
    assert_int_equal(dataset_open(&data, spec, &(struct dataset_options){.pipeline = &plain}, &e), FL_OK);
    unlink(path);
    tensor_release(&x);
}

static int up_with(struct fake_behaviour second)
{
    struct error e;

    open_data();
    model = (struct model_shape){.input = dataset_shape(data), .n_stages = 1};
    for (int i = 0; i < 2; i++) {
        struct fake_behaviour first = {.service_ns = NS_PER_MS};
        char text[256];
        if (fake_start(&server[i], i ? &second : &first))
            return 1;
        snprintf(text, sizeof text,
                 "model: m.onnx\nname: fake%d\nbroker: {requests: '%s', deadline_ms: 1000}\n", i,
                 server[i].endpoint);
        configuration[i] = (struct configuration){.model = &model};
        snprintf(configuration[i].label, sizeof configuration[i].label, "fake%d", i);
        if (pipeline_parse(&pipeline[i], text, strlen(text), "test.yaml", NULL, 0, &e) ||
            target_pipeline(&configuration[i].target, pipeline[i], 0, 1, &e))
            return 1;
        configuration[i].pipeline = pipeline[i];
    }
    return 0;
}

/* The second is 20 times as slow. */
static int up(void **state)
{
    return up_with((struct fake_behaviour){.service_ns = 20 * NS_PER_MS});
}

static int up_for_50_requests(void **state)
{
    return up_with((struct fake_behaviour){.silent_from = 51});
}

static int up_with_errors_alone(void **state)
{
    return up_with((struct fake_behaviour){.error_every = 1});
}

static int down(void **state)
{
    for (int i = 0; i < 2; i++) {
        target_free(configuration[i].target);
        fake_stop(&server[i]);
        pipeline_free(pipeline[i]);
    }
    dataset_close(data);
    return 0;
}

static struct measurement_options options(void)
{
    return (struct measurement_options){
        .data = data, .data_spec = "npy", .traffic = "shuffled", .seed = 1, .closed = 1};
}

/* 20 ms a request against 1 ms: a machine would have to add 170 ms to each for a ratio of 0.9. */
static void test_interleaved_rounds(void **state)
{
    struct measurement_options o = options();
    struct against a;
    struct error e;
    json_t *root, *ratios;

    o.requests = 100;
    assert_int_equal(against_run(&a, configuration, 2, &o, 5, &e), FL_OK);
    assert_int_equal(a.rounds, 5);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(a.sum[i].tally->answered, 100);
        assert_int_equal(server[i].seen, 100);
        for (int k = 0; k < 5; k++)
            assert_int_equal(a.round[i][k].latency.count, 20);
        assert_true(a.sum[i].tally->repeats >= 100 - RECORDS);
        assert_int_equal(a.sum[i].tally->repeats, a.sum[0].tally->repeats); /* both show the same */
    }
    assert_true(a.ratio[1][AGAINST_MEAN].ratio < 0.9);
    assert_true(a.ratio[1][AGAINST_MEAN].low <= a.ratio[1][AGAINST_MEAN].ratio);
    assert_true(a.ratio[1][AGAINST_MEAN].high >= a.ratio[1][AGAINST_MEAN].ratio);
    assert_true(a.ratio[1][AGAINST_THROUGHPUT].ratio > 1.1);
    root = against_json(&a);
    ratios = json_object_get(root, "ratios");
    assert_int_equal(json_array_size(ratios), AGAINST_METRICS);
    assert_string_equal(json_string_value(json_object_get(json_array_get(ratios, 0), "to")), "fake1");
    assert_int_equal(json_array_size(json_object_get(root, "configurations")), 2);
    json_decref(root);
    against_close(&a);
}

static int at_once(void *arg, const struct measurement *m, double seconds)
{
    (void)arg;
    (void)seconds;
    return m->tally->answered >= 10;
}

static void test_an_interrupt_ends_all_rounds(void **state)
{
    struct measurement_options o = options();
    struct against a;
    struct error e;

    o.duration_s = 1000;
    o.tick = at_once;
    assert_int_equal(against_run(&a, configuration, 2, &o, 5, &e), FL_OK);
    assert_int_equal(a.rounds, 0);
    assert_true(a.stopped);
    assert_true(a.sum[0].n_doubts > 0);
    assert_true(isnan(a.ratio[1][AGAINST_MEAN].ratio));
    against_close(&a);
}

/* The second one dies in the third round: that round is in no ratio, and there is no fourth. */
static void test_a_server_that_dies_between_rounds(void **state)
{
    struct measurement_options o = options();
    struct against a;
    struct error e;

    o.requests = 100;
    assert_int_equal(against_run(&a, configuration, 2, &o, 5, &e), FL_OK);
    assert_int_equal(a.rounds, 2);
    assert_int_equal(a.sum[1].tally->answered, 50);
    assert_int_equal(a.sum[0].n_doubts, 0);
    assert_non_null(strstr(against_cut_short(&a), "did not answer any more"));
    assert_true(a.ratio[1][AGAINST_MEAN].ratio > 0);
    assert_int_equal(server[1].seen, 51);
    against_close(&a);
}

static void test_a_round_of_errors_is_the_last(void **state)
{
    struct measurement_options o = options();
    struct against a;
    struct error e;

    o.requests = 100;
    assert_int_equal(against_run(&a, configuration, 2, &o, 5, &e), FL_OK);
    assert_int_equal(a.rounds, 0);
    assert_string_equal(against_cut_short(&a), "no request of round 1 was answered");
    assert_int_equal(server[1].seen, 20);
    against_close(&a);
}

static void test_a_sweep_ends_where_the_server_does(void **state)
{
    struct measurement_options o = options();
    struct sweep s;
    struct measurement m;
    struct error e;
    json_t *point;
    double last = 0;
    size_t i;

    o.duration_s = 1;
    assert_int_equal(sweep_open(&s, &configuration[1], &o, &e), FL_OK);
    assert_true(s.capacity_rps <= 50); /* 20 ms each */
    assert_int_equal(sweep_to_saturation(&s, &m, 0, &e), FL_OK);
    assert_true(fabs(m.rate - s.capacity_rps / 2) < 1e-6);
    assert_true(json_array_size(s.points) >= 2);
    json_array_foreach(s.points, i, point)
    {
        double due = json_number_value(json_object_get(point, "offered_rps"));
        assert_true(due >= last);
        assert_true(json_number_value(json_object_get(point, "rate")) <= 1.26 * s.capacity_rps);
        last = due;
    }
    measurement_close(&m);
    sweep_close(&s);
}

static void test_a_server_that_dies_during_a_sweep(void **state)
{
    struct measurement_options o = options();
    struct sweep s;
    struct measurement m;
    struct error e;

    o.duration_s = 1;
    assert_int_equal(sweep_open(&s, &configuration[1], &o, &e), FL_OK);
    /* Behind the 50 of the first rate, however few this machine answered until here. */
    server[1].silent_from = server[1].seen + 75;
    assert_int_equal(sweep_to_saturation(&s, &m, 50, &e), FL_OK);
    assert_true(s.stopped);
    assert_non_null(strstr(s.cut_short, "did not answer any more"));
    assert_string_equal(m.outcome.cut_short, ""); /* it came before */
    measurement_close(&m);
    sweep_close(&s);
    assert_int_equal(sweep_open(&s, &configuration[1], &o, &e), FL_UNAVAILABLE);
    sweep_close(&s);
}

/* Twice the same rate: other times, so that luck does not meet all rates alike, and each is told. */
static void test_each_rate_draws_its_own_arrivals(void **state)
{
    struct measurement_options o = options();
    struct measurement m[2];
    struct sweep s;
    struct error e;

    o.duration_s = 1;
    assert_int_equal(sweep_open(&s, &configuration[0], &o, &e), FL_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sweep_point(&s, &m[i], 100, 1, &e), FL_OK);
    assert_true(m[0].tally->sending_seconds != m[1].tally->sending_seconds);
    for (int i = 0; i < 2; i++) {
        double due = json_number_value(json_object_get(json_array_get(s.points, (size_t)i), "offered_rps"));
        assert_true(due == (double)m[0].tally->sent || due == (double)m[1].tally->sent);
    }
    for (int i = 0; i < 2; i++)
        measurement_close(&m[i]);
    sweep_close(&s);
}

static void check_search(double target_ms, bool any)
{
    struct measurement_options o = options();
    struct sweep s;
    struct measurement m;
    struct error e;
    double rate;

    o.duration_s = 0.4;
    assert_int_equal(sweep_open(&s, &configuration[0], &o, &e), FL_OK);
    assert_int_equal(sweep_highest(&s, &m, target_ms, &rate, &e), FL_OK);
    assert_true(any ? rate > 0.5 * s.capacity_rps && rate < 1.2 * s.capacity_rps : rate == 0);
    assert_true(sweep_holds(m.tally, target_ms) == any);
    measurement_close(&m);
    sweep_close(&s);
}

static void test_the_highest_rate(void **state)
{
    check_search(60000, true);
    check_search(0.9, false); /* the server takes 1 ms */
}

static void test_errors_are_requests_that_took_for_ever(void **state)
{
    struct answer a = {.exit = -1};
    struct tally *t;

    assert_int_equal(tally_new(&t), FL_OK);
    assert_false(sweep_holds(t, 1e9));
    for (int i = 0; i < 1000; i++) {
        tally_sent(t, 0, 0, false);
        if (i < 990)
            tally_answer(t, 0, &a, NS_PER_MS, -1);
        else
            tally_error(t, 0, FL_OVERLOADED);
    }
    assert_true(sweep_holds(t, 1.01));
    assert_false(sweep_holds(t, 0.99));
    tally_sent(t, 0, 0, false);
    tally_error(t, 0, FL_DEADLINE); /* 11 of 1001 */
    assert_false(sweep_holds(t, 1e9));
    tally_free(t);
}

static void test_scenarios(void **state)
{
    static const struct {
        const char *name;
        int closed, group;
        bool open;
    } cases[] = {{"single-stream", 1, 0, false},
                 {"multi-stream", 1, 8, false},
                 {"server", 1, 0, true},
                 {"offline", 256, 0, false}};
    struct pipeline p = *pipeline[0];
    struct measurement m = {0};
    struct error e;
    enum scenario s;
    json_t *root;

    p.broker.max_requests = 256;
    assert_int_equal(tally_new(&m.tally), FL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct measurement_options o = {.arrivals = "uniform"};
        assert_int_equal(scenario_parse(&s, cases[i].name, &e), FL_OK);
        assert_string_equal(scenario_name(s), cases[i].name);
        scenario_shape(s, &p, &o);
        assert_int_equal(o.closed, cases[i].closed);
        assert_int_equal(o.group, cases[i].group);
        assert_int_equal(o.arrivals != NULL, cases[i].open);
        root = scenario_json(s, &m, 10, 0);
        assert_true(json_is_null(json_object_get(root, "value"))); /* nothing was measured */
        assert_true(json_is_false(json_object_get(root, "official")));
        json_decref(root);
    }
    histogram_record(&m.tally->query, 8 * NS_PER_MS);
    root = scenario_json(SCENARIO_MULTI_STREAM, &m, 0, 0);
    assert_true(json_number_value(json_object_get(root, "value")) == 8);
    assert_int_equal(json_integer_value(json_object_get(root, "queries")), 1);
    assert_true(json_is_false(json_object_get(root, "long_enough")));
    json_decref(root);
    m.tally->answered = 1024;
    m.tally->seconds = 600;
    root = scenario_json(SCENARIO_SINGLE_STREAM, &m, 0, 0);
    assert_true(json_is_true(json_object_get(root, "long_enough")));
    json_decref(root);
    assert_int_equal(scenario_parse(&s, "ofline", &e), FL_USAGE);
    assert_non_null(strstr(e.text, "did you mean offline?"));
    tally_free(m.tally);
}

/* Rounds of two configurations, the first `ratio` times as slow. What a round meets differs from round to
 * round, 30% alike for both and 20% for each alone, by lognormal factors. */
static void draw_rounds(struct against_round *of, struct against_round *to, int rounds, double ratio,
                        struct shuffle *random)
{
    for (int r = 0; r < rounds; r++) {
        double drift = exp(0.3 * shuffle_normal(random)),
               slow[2] = {ratio * drift * exp(0.2 * shuffle_normal(random)),
                          drift * exp(0.2 * shuffle_normal(random))};
        struct against_round *both[2] = {&of[r], &to[r]};
        for (int k = 0; k < 2; k++) {
            memset(both[k], 0, sizeof *both[k]);
            for (int i = 0; i < 100; i++)
                histogram_record(&both[k]->latency,
                                 (uint64_t)(1e6 * slow[k] * exp(0.5 * shuffle_normal(random))));
            both[k]->seconds = both[k]->latency.sum_ns / NS_PER_S;
        }
    }
}

/* Of 600 intervals of 95% between 92% (three standard deviations) and 98% hold what is true, whatever is
 * compared and however many rounds there are. */
static void check_coverage(int rounds, double ratio)
{
    enum { TRIALS = 600 };
    static const enum against_metric metrics[] = {AGAINST_MEAN, AGAINST_P50, AGAINST_THROUGHPUT};
    static struct against_round of[20], to[20];
    struct shuffle random;
    int covered[3] = {0};

    shuffle_seed(&random, (uint64_t)rounds, 1);
    for (int trial = 0; trial < TRIALS; trial++) {
        draw_rounds(of, to, rounds, ratio, &random);
        for (int k = 0; k < 3; k++) {
            double is = metrics[k] == AGAINST_THROUGHPUT ? 1 / ratio : ratio;
            struct against_ratio r = against_ratio(of, to, rounds, metrics[k]);
            assert_true(r.low <= r.ratio && r.ratio <= r.high);
            covered[k] += r.low <= is && is <= r.high;
        }
    }
    for (int k = 0; k < 3; k++)
        if (covered[k] < 0.92 * TRIALS || covered[k] > 0.98 * TRIALS)
            fail_msg("%d rounds, metric %d: %d of %d", rounds, metrics[k], covered[k], TRIALS);
}

static void test_ratios_cover_what_is_true(void **state)
{
    check_coverage(5, 1.5);
    check_coverage(10, 1.5);
    check_coverage(20, 1.5);
    check_coverage(10, 1); /* a pair that is equal */
}

/* What both meet alike does not widen an interval: two that differ by a factor alone are told apart, by no
 * more than a histogram's buckets leave unknown. */
static void test_ratios_of_pairs(void **state)
{
    static struct against_round of[5], to[5];
    struct against_ratio r;

    for (int i = 0; i < 5; i++)
        for (int k = 1; k <= 300; k++) {
            histogram_record(&of[i].latency, (uint64_t)(2 * NS_PER_MS * (1 + i) + k * NS_PER_US));
            histogram_record(&to[i].latency, (uint64_t)(NS_PER_MS * (1 + i) + k * NS_PER_US / 2));
            of[i].seconds = 1 + i;
            to[i].seconds = 2 * (1 + i);
        }
    r = against_ratio(of, to, 5, AGAINST_MEAN);
    assert_true(fabs(r.ratio - 2) < 1e-3 && r.low > 1.999 && r.high < 2.001);
    r = against_ratio(of, to, 5, AGAINST_P50);
    assert_true(r.low > 1.96 && r.low < 1.99 && r.high > 2.01 && r.high < 2.04);
    r = against_ratio(of, to, 5, AGAINST_THROUGHPUT);
    assert_true(fabs(r.low - 2) < 1e-9 && fabs(r.high - 2) < 1e-9);
    r = against_ratio(of, of, 5, AGAINST_P99); /* 15 of 1,500 lie beyond it */
    assert_true(r.ratio == 1 && r.low > 0.97 && r.high < 1.03);
    r = against_ratio(of, to, 3, AGAINST_P99); /* 9 of 900: not known */
    assert_true(r.ratio > 1.9 && isnan(r.low) && isnan(r.high));
    r = against_ratio(of, to, 1, AGAINST_MEAN);
    assert_true(fabs(r.ratio - 2) < 1e-3 && isnan(r.low));
    assert_true(isnan(against_ratio(of, to, 0, AGAINST_P50).ratio));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_interleaved_rounds, up, down),
        cmocka_unit_test_setup_teardown(test_an_interrupt_ends_all_rounds, up, down),
        cmocka_unit_test_setup_teardown(test_a_server_that_dies_between_rounds, up_for_50_requests, down),
        cmocka_unit_test_setup_teardown(test_a_round_of_errors_is_the_last, up_with_errors_alone, down),
        cmocka_unit_test_setup_teardown(test_a_sweep_ends_where_the_server_does, up, down),
        cmocka_unit_test_setup_teardown(test_a_server_that_dies_during_a_sweep, up, down),
        cmocka_unit_test_setup_teardown(test_each_rate_draws_its_own_arrivals, up, down),
        cmocka_unit_test_setup_teardown(test_the_highest_rate, up, down),
        cmocka_unit_test(test_errors_are_requests_that_took_for_ever),
        cmocka_unit_test_setup_teardown(test_scenarios, up, down),
        cmocka_unit_test(test_ratios_cover_what_is_true),
        cmocka_unit_test(test_ratios_of_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
