/* test_simulation.c - the simulation against queues whose answers are known */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/log.h"
#include "deploy/simulate/simulation.h"

#define POINTS   20000
#define MS       1e6
#define S        1e9
#define MANY     64
#define REPLICAS PIPELINE_MAX_REPLICAS

/* A pipeline in which nothing but computing takes time, on hosts that have a core for each process. */
struct scene {
    struct simulation s;
    struct measured measured;
    int n_results;
    struct simulation_result *result[MANY];
};

static struct scene *made; /* by the test that runs: it goes with what came of it when the test ends */

static int clear(void **state)
{
    for (int i = 0; made && i < made->n_results; i++)
        free(made->result[i]);
    free(made);
    made = NULL;
    return 0;
}

enum { PIECES = 4 }; /* of the model: two of each stage */

/* What each piece takes, us: quantiles of the exponential distribution, and always the same; mean 1 ms. */
static double exponential[POINTS][PIECES], fixed[PIECES];

static int set_up(void **unused)
{
    double sum = 0;
    log_threshold = LOG_LEVEL_ERROR + 1;
    for (int i = 0; i < POINTS; i++)
        sum += -log((i + 0.5) / POINTS);
    for (int k = 0; k < PIECES; k++) {
        fixed[k] = 1000;
        for (int i = 0; i < POINTS; i++)
            exponential[i][k] = -log((i + 0.5) / POINTS) * 1000 * POINTS / sum;
    }
    return 0;
}

static const struct measured_batch at_random = {1, POINTS, exponential[0]}, always = {1, 1, fixed};

static void set_stage(struct scene *w, int k, int replicas)
{
    struct simulation_stage *stage = &w->s.stage[k];
    w->s.pipeline.stage[k] = (struct stage_config){.n_replicas = replicas, .max_batch = 1, .threads = 1};
    stage->n_segments = 1;
    for (int g = 0; g < 2; g++) {
        stage->segment[g].exit = -1;
        stage->segment[g].first = stage->segment[g].last = 2 * k + g;
    }
}

static struct scene *new_scene(int stages, int replicas, const struct measured_batch *t)
{
    struct scene *w = calloc(1, sizeof *w);
    assert_non_null(w);
    clear(NULL);
    made = w;
    for (int i = 0; i < MANY; i++)
        w->s.host[i] = (struct world_host){.cores = 1024, .speed = 1, .all_busy = 1};
    for (int k = 0; k < stages; k++)
        set_stage(w, k, replicas);
    w->measured.n_cuts = PIECES - 1;
    w->measured.n_batches = 2; /* whose time does not depend on their size */
    w->measured.batch[0] = w->measured.batch[1] = *t;
    w->measured.batch[1].batch = MESSAGE_MAX_BATCH;
    w->s.measured = &w->measured;
    w->s.pipeline.n_stages = stages;
    w->s.pipeline.broker = (struct broker_config){.max_requests = 20000,
                                                  .max_memory_mb = 1024,
                                                  .deadline_ms = 1000000,
                                                  .retries = 2,
                                                  .heartbeat_ms = 200,
                                                  .dead_after_ms = 2000};
    w->s.pipeline.cache.wait_us = 2000;
    w->s.world.n_hosts = w->s.world.n_clients = 1;
    w->s.world.seed = 7;
    w->s.requests = 100000;
    w->s.warm_up = 5000;
    return w;
}

static struct simulation_result *simulate(struct scene *w)
{
    struct simulation_result *r = NULL;
    struct error e = {0};
    int rc = simulation_run(&r, &w->s, &e);
    if (rc)
        fail_msg("%s", e.text);
    w->result[w->n_results++] = r;
    assert_int_equal(r->arrived, r->answered + r->refused + r->expired + r->failed + r->lost);
    return r;
}

static void assert_near(double got, double want, double share)
{
    if (!(fabs(got - want) <= share * want))
        fail_msg("got %g, expected %g within %g%%", got, want, 100 * share);
}

static double mean_ms(const struct simulation_result *r)
{
    return histogram_mean(&r->latency) / MS;
}

/* Mean time in system 1/(mu - lambda); the latency is exponential, so p99 = ln(100) times its mean. Little's
 * law. */
static void test_mm1(void **unused)
{
    struct scene *w = new_scene(1, 1, &at_random);
    struct simulation_result *r;
    w->s.rate = 700;
    r = simulate(w);
    assert_near(mean_ms(r), 1 / 0.3, 0.05);
    assert_near((double)histogram_quantile(&r->latency, 0.99) / MS, log(100) / 0.3, 0.08);
    assert_near(r->throughput, 700, 0.01);
    assert_near(r->in_system, r->throughput * mean_ms(r) / 1e3, 0.01);
    assert_near(r->process[2].busy, 0.7, 0.01);
    assert_near(r->link[0].cores, 0.7, 0.01);
    assert_int_equal(r->answered, w->s.requests);
}

/* Pollaczek and Khinchine: waiting rho/(2 (1 - rho)) services. */
static void test_md1(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    w->s.rate = 800;
    r = simulate(w);
    assert_near(mean_ms(r), 1 + 0.8 / (2 * 0.2), 0.04);
    assert_true(r->stage[0].queue_ns / MS < 0.8 / (2 * 0.2)); /* some of it is spent in the broker */
    assert_near(r->stage[0].service_ns / MS, 1, 0.001);
}

/* Four cores and more workers than ever have work: the number of requests is that of M/M/4 (Erlang's C
 * formula). */
static void test_mmc(void **unused)
{
    enum { C = 4 };
    struct scene *w = new_scene(1, REPLICAS, &at_random);
    double a = 3.2, term = 1, sum = 0, wait;
    struct simulation_result *r;
    for (int k = 0; k < C; term *= a / ++k)
        sum += term;
    wait = term * C / (C - a) / (sum + term * C / (C - a)) / (C - a);
    w->s.host[0].cores = C;
    w->s.rate = 1000 * a;
    r = simulate(w);
    assert_near(mean_ms(r), 1 + wait, 0.04);
    assert_near(r->link[0].cores, a, 0.01);
}

/* Burke: two queues in a row behave like two queues apart, as long as the broker lets enough on their way. */
static void test_tandem(void **unused)
{
    struct scene *w = new_scene(2, 1, &at_random);
    struct simulation_result *r;
    w->s.rate = 400;
    r = simulate(w);
    assert_near(mean_ms(r), 2 / 0.6, 0.05);
}

/* Workers that share one core: processor sharing, whose mean does not depend on the distribution. */
static void test_shared_core(void **unused)
{
    struct scene *w = new_scene(1, REPLICAS, &always);
    struct simulation_result *r;
    w->s.host[0].cores = 1;
    w->s.rate = 700;
    r = simulate(w);
    assert_near(mean_ms(r), 1 / 0.3, 0.05);
}

/* Workers that take one core in turn. Who comes last goes first where turns are long: the mean is that of
 * sharing, but most are answered sooner and a few much later. With short turns it is sharing. */
static void test_turns(void **unused)
{
    static const double turn_us[] = {0, 100, 1e9};
    double median[3], p99[3];
    for (int i = 0; i < 3; i++) {
        struct scene *w = new_scene(1, REPLICAS, &always);
        struct simulation_result *r;
        w->s.host[0].cores = 1;
        w->s.rate = 700;
        w->measured.cost.turn = turn_us[i];
        r = simulate(w);
        assert_near(mean_ms(r), 1 / 0.3, 0.05);
        assert_near(r->link[0].cores, 0.7, 0.01);
        median[i] = (double)histogram_quantile(&r->latency, 0.5);
        p99[i] = (double)histogram_quantile(&r->latency, 0.99);
    }
    assert_near(median[1], median[0], 0.05);
    assert_near(p99[1], p99[0], 0.05);
    assert_true(median[2] < 0.9 * median[0] && p99[2] > 1.2 * p99[0]);
}

/* Cores that slow each other: two always busy at 0.8 of their speed answer 1.6 requests per ms. */
static void test_slower_together(void **unused)
{
    struct scene *w = new_scene(1, 2, &always);
    struct simulation_result *r;
    w->s.host[0].cores = 2;
    w->s.host[0].all_busy = 0.8;
    w->s.closed = 8;
    r = simulate(w);
    assert_near(r->throughput, 1600, 0.01);
    assert_near(r->process[2].busy, 1, 0.01);
}

/* What a batch loses once while others compute: a quarter of 1 ms for one row, an eighth for each of two. */
static void test_crowded(void **unused)
{
    for (int rows = 1; rows <= 2; rows++) {
        struct scene *w = new_scene(1, 2, &always);
        struct simulation_result *r;
        w->s.host[0].cores = 2;
        w->measured.cost.stage_crowd_share = 0.25;
        w->s.pipeline.stage[0].max_batch = rows;
        w->s.closed = 16;
        w->s.requests = 40000;
        w->s.warm_up = 4000;
        r = simulate(w);
        assert_near(r->throughput, 2000 * rows / (1 + 0.25 / rows), 0.01);
    }
}

/* In a closed loop of 8 with batches of up to 4 whose time does not depend on their size, all are full: each
 * request waits for one batch and is in the next. */
static void test_batches(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    w->s.pipeline.stage[0].max_batch = 4;
    w->s.closed = 8;
    w->s.requests = 8000;
    w->s.warm_up = 800;
    r = simulate(w);
    assert_near(r->throughput, 4000, 0.01);
    assert_near((double)r->stage[0].entered / (double)r->stage[0].batches, 4, 0.01);
    assert_near(mean_ms(r), 2, 0.01);
}

static void add_cache(struct scene *w, double share)
{
    w->s.pipeline.cache.n_endpoints = 1;
    w->s.pipeline.n_exits = 1;
    w->s.exit[0] = (struct measured_exit){.share = share, .lookup_us = 250};
    w->s.stage[0].segment[0].exit = 0;
}

/* The exit lies in the middle of one stage: a hit is answered after 1.25 ms and stops what was begun; a miss
 * takes 2 ms. */
static void test_hits_stop_computing(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    add_cache(w, 0.4);
    w->s.stage[0].n_segments = 2;
    w->s.closed = 1;
    w->s.requests = 20000;
    w->s.warm_up = 100;
    r = simulate(w);
    assert_near((double)r->by_exit[0] / (double)r->latency.count, 0.4, 0.03);
    assert_near(mean_ms(r), 0.4 * 1.25 + 0.6 * 2, 0.01);
    assert_near(r->process[3].busy, 1, 0.01);
    assert_near((double)r->latency.max_ns / MS, 2, 0.001);
}

/* The same where the stage looks up itself: nothing is computed for nothing, and a miss waits, too. */
static void test_near_look_ups(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    add_cache(w, 0.4);
    w->s.world.near = true;
    w->s.pipeline.cache.placement = "near";
    w->s.pipeline.cache.near_keep_ms = 10000;
    w->s.stage[0].n_segments = 2;
    w->s.closed = 1;
    w->s.requests = 20000;
    w->s.warm_up = 100;
    r = simulate(w);
    assert_near((double)r->by_exit[0] / (double)r->latency.count, 0.4, 0.03);
    assert_near(mean_ms(r), 0.4 * 1.25 + 0.6 * 2.25, 0.01);
    assert_near((double)r->latency.max_ns / MS, 2.25, 0.001);
}

/* At the end of a stage the verdict is waited for: misses go on after it, hits never do. */
static void test_verdicts_are_awaited(void **unused)
{
    struct scene *w = new_scene(2, 1, &always);
    struct simulation_result *r;
    add_cache(w, 0.4);
    w->s.closed = 1;
    w->s.requests = 20000;
    w->s.warm_up = 100;
    r = simulate(w);
    assert_near(mean_ms(r), 0.4 * 1.25 + 0.6 * 2.25, 0.01);
    assert_near((double)r->stage[1].entered / (double)r->stage[0].entered, 0.6, 0.02);
}

/* A cache that answers later than anybody waits is asked ever more rarely: its share of the time goes away.
 */
static void test_late_cache_is_bypassed(void **unused)
{
    struct scene *w = new_scene(2, 1, &always);
    struct simulation_result *r;
    add_cache(w, 0);
    w->s.exit[0].lookup_us = 50000;
    w->s.closed = 1;
    w->s.requests = 20000;
    w->s.warm_up = 10000;
    r = simulate(w);
    assert_near(mean_ms(r), 2, 0.02);
}

/* 125,000 bytes at 1 Gbit/s are on their way for 1 ms, and the links' latencies come on top; the interface
 * lets 1,000 of them through per second. */
static void test_network(void **unused)
{
    struct scene *w = new_scene(1, 8, &always);
    static double nothing[PIECES];
    struct simulation_result *r;
    w->measured.batch[0].us = w->measured.batch[1].us = nothing;
    w->s.world.n_hosts = 2;
    w->s.host[0].bytes_per_ns = w->s.host[1].bytes_per_ns = 0.125;
    w->s.host[0].latency_ns = w->s.host[1].latency_ns = 0.1 * MS;
    for (int i = 0; i < 8; i++)
        w->s.world.stage_host[0][i] = 1;
    w->s.stage[0].bytes = 125000;
    w->s.closed = 1;
    w->s.requests = 2000;
    w->s.warm_up = 10;
    r = simulate(w);
    assert_near(mean_ms(r), 1 + 2 * 0.2, 0.01);
    assert_near(r->link[1].in, 1 / 1.4, 0.01);
    w->s.closed = 16;
    r = simulate(w);
    assert_near(r->throughput, 1000, 0.01);
    assert_near(r->link[0].out, 1, 0.01);
}

/* Each message costs its sender, its receiver and their second threads what it should. */
static void test_costs(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    w->measured.cost = (struct measured_costs){.client_send = 100,
                                               .client_receive = 100,
                                               .broker_request = 200,
                                               .broker_result = 300,
                                               .stage_receive = 100,
                                               .stage_send = 200,
                                               .io = 10};
    w->measured.n_wakes = 1;
    w->measured.wake_us[0] = 50;
    w->s.closed = 1;
    w->s.requests = 1000;
    w->s.warm_up = 10;
    r = simulate(w);
    /* 4 messages, each through two more threads; all threads wake: 8 of these, client (the answer, and the
     * next request at once), broker twice, worker */
    assert_near(mean_ms(r), 1 + 1.0 + 8 * 0.01 + (8 + 5) * 0.05 - 0.05, 0.01);
    assert_near(r->process[1].busy, 0.5 / mean_ms(r), 0.01);
    assert_near(r->process[1].io_busy, 0.04 / mean_ms(r), 0.01);
}

/* Threads that were asleep cost CPU time of their own, on the way of the request. */
static void test_woken_threads(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    w->measured.cost = (struct measured_costs){.thread_switch = 50, .io = 10};
    w->s.closed = 1;
    w->s.requests = 1000;
    w->s.warm_up = 10;
    r = simulate(w);
    assert_near(mean_ms(r), 1 + 8 * 0.01 + (8 + 5) * 0.05 - 0.05, 0.01); /* as in test_costs */
    assert_near(r->process[2].busy, (1 + 0.05) / mean_ms(r), 0.01); /* the worker's main thread woke once */
}

/* A client that watches the clock from 1 ms before each request takes half of the only core from a worker
 * that has 0.2 ms to do then. */
static void test_client_watches(void **unused)
{
    static double longer[PIECES] = {1200};
    struct scene *w = new_scene(1, 1, &(struct measured_batch){1, 1, longer});
    struct simulation_result *r;
    w->s.host[0].cores = 1;
    w->s.rate = 500;
    w->s.even = true;
    w->measured.cost.client_watch = 1000;
    w->s.requests = 2000;
    w->s.warm_up = 10;
    r = simulate(w);
    assert_near(mean_ms(r), 1.4, 0.005);
    assert_near(r->link[0].cores, 1, 0.005); /* the client is busy half of the time, the worker the other */
}

static void test_refuses_and_expires(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r;
    w->s.rate = 2000;
    w->s.requests = 20000;
    w->s.warm_up = 1000;
    w->s.pipeline.broker.max_requests = 10;
    r = simulate(w);
    assert_near((double)r->refused / (double)r->arrived, 0.5, 0.05);
    assert_near((double)r->latency.max_ns / MS, 10, 0.01);
    w->s.pipeline.broker.max_requests = 1000000;
    w->s.pipeline.broker.deadline_ms = 5;
    r = simulate(w);
    assert_true(r->refused + r->expired > 0 && (double)r->latency.max_ns <= 5 * MS * 1.01);
    assert_true(r->answered > 0 && r->answered < r->arrived * 6 / 10);
}

/* Two stages of 1 ms with a deadline of 30 ms at three times what they can do: the broker's own brain
 * refuses the rest. */
static void test_overload_is_refused(void **unused)
{
    struct scene *w = new_scene(2, 1, &always);
    struct simulation_result *r;
    w->s.rate = 3000;
    w->s.requests = 60000;
    w->s.warm_up = 3000;
    w->s.pipeline.broker.deadline_ms = 30;
    r = simulate(w);
    assert_true((double)r->answered > 0.97 * (double)r->arrived / 3);
    assert_true((double)r->refused > 0.6 * (double)r->arrived);
    assert_true(r->latency.max_ns <= 30 * MS);
}

static void test_determinism(void **unused)
{
    struct scene *w = new_scene(2, 3, &at_random);
    struct simulation_result *a, *b, *c;
    add_cache(w, 0.3);
    w->s.rate = 1500;
    w->s.requests = 30000;
    w->s.warm_up = 1000;
    w->s.pipeline.stage[0].max_batch = 4;
    a = simulate(w);
    b = simulate(w);
    w->s.world.seed++;
    c = simulate(w);
    assert_int_equal(a->events, b->events);
    assert_memory_equal(&a->latency, &b->latency, sizeof a->latency);
    assert_memory_not_equal(&a->latency, &c->latency, sizeof a->latency);
}

/* Processes and hosts die all the time: every request still ends in exactly one way (simulate() checks the
 * sum), and most are answered. */
static void test_failures(void **unused)
{
    struct scene *w = new_scene(2, 4, &at_random);
    struct simulation_result *r;
    add_cache(w, 0.3);
    w->s.world.n_hosts = 4;
    for (int i = 0; i < 4; i++) {
        w->s.world.stage_host[0][i] = w->s.world.stage_host[1][i] = 1 + i % 3;
        w->s.host_failing[i] = (struct simulation_failing){20 * S, 1 * S};
        w->s.host[i].latency_ns = 0.05 * MS;
    }
    w->s.world.cache_host[0] = 1;
    w->s.failing = (struct simulation_failing){5 * S, 0.2 * S};
    w->s.pipeline.broker.heartbeat_ms = 20;
    w->s.pipeline.broker.dead_after_ms = 100;
    w->s.pipeline.broker.deadline_ms = 2000;
    w->s.pipeline.broker.max_requests = 500;
    w->s.rate = 1000;
    w->s.requests = 50000;
    w->s.pipeline.stage[1].max_batch = 8;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        w->s.world.seed = seed;
        r = simulate(w);
        assert_true(r->retried > 0);
        assert_true(r->lost > 0);
        assert_true((double)r->answered > 0.5 * (double)r->arrived);
    }
}

/* Ten times what the broker can read waits in front of it, in the client's socket and behind that, whenever
 * the broker dies. */
static void test_broker_dies_before_a_backlog(void **unused)
{
    struct scene *w = new_scene(1, 4, &always);
    struct simulation_result *r;
    w->measured.cost.broker_request = 100;
    w->s.failing = (struct simulation_failing){0.3 * S, 0.05 * S};
    w->s.rate = 100000;
    w->s.requests = 60000;
    w->s.warm_up = 100;
    r = simulate(w);
    assert_true(r->lost > 4096 && r->answered > 0);
}

static void test_refuses_a_host_that_is_not_there(void **unused)
{
    struct scene *w = new_scene(1, 1, &always);
    struct simulation_result *r = NULL;
    struct error e = {0};
    w->s.rate = 100;
    w->s.world.stage_host[0][0] = 1;
    assert_int_equal(simulation_run(&r, &w->s, &e), FL_VALUE);
    assert_null(r);
    assert_non_null(strstr(e.text, "host"));
}

#define clearing(test) cmocka_unit_test_teardown(test, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        clearing(test_mm1),
        clearing(test_md1),
        clearing(test_mmc),
        clearing(test_tandem),
        clearing(test_shared_core),
        clearing(test_turns),
        clearing(test_slower_together),
        clearing(test_crowded),
        clearing(test_batches),
        clearing(test_hits_stop_computing),
        clearing(test_near_look_ups),
        clearing(test_verdicts_are_awaited),
        clearing(test_late_cache_is_bypassed),
        clearing(test_network),
        clearing(test_costs),
        clearing(test_woken_threads),
        clearing(test_client_watches),
        clearing(test_refuses_and_expires),
        clearing(test_overload_is_refused),
        clearing(test_determinism),
        clearing(test_failures),
        clearing(test_broker_dies_before_a_backlog),
        clearing(test_refuses_a_host_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
