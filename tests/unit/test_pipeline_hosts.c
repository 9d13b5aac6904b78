/* test_pipeline_hosts.c - hosts of a pipeline file: who is placed where, and by which endpoint two meet */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "config/here.h"
#include "config/pipeline.h"

static struct pipeline *parse(const char *text)
{
    struct pipeline *p;
    struct error e = {0};
    if (pipeline_parse(&p, text, strlen(text), "/f/p.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    return p;
}

static void refused(const char *text, const char *why)
{
    struct pipeline *p;
    struct error e = {0};
    assert_int_equal(pipeline_parse(&p, text, strlen(text), "p.yaml", NULL, 0, &e), FL_CONFIG);
    if (!strstr(e.text, why))
        fail_msg("`%s` does not say `%s`", e.text, why);
}

#define THREE                                                            \
    "model: m.onnx\nsecurity: none\nstate: /s\nredis: {managed: true}\n" \
    "hosts: [{name: a, address: 10.0.0.1}, {name: b, address: 'fd00:77::2'}, {name: c}]\n"

static void test_placing(void **state)
{
    struct pipeline *p = parse(THREE "stages: [{replicas: 2}, {replicas: 2}, {replicas: [{host: a}, {}]}]\n");
    const char *want[3][2] = {{"b", "c"}, {"a", "b"}, {"a", "c"}};
    for (int s = 0; s < 3; s++)
        for (int r = 0; r < 2; r++) {
            assert_string_equal(p->stage[s].replica[r].host, want[s][r]);
            assert_int_equal(p->stage[s].replica[r].placed, s < 2 || r == 1);
        }
    assert_string_equal(p->broker.host, "a");
    assert_string_equal(p->redis.host, "a");
    assert_int_equal(p->cache.n_endpoints, 3);
    assert_string_equal(p->cache.host[2], "c");
    assert_int_equal(p->stage[0].replica[1].cache, 2);
    assert_string_equal(p->host[2].address, "c");
    assert_string_equal(p->host[1].ssh, "fd00:77::2");
    pipeline_free(p);
}

static void test_brokers(void **state)
{
    struct pipeline *p = parse(THREE "broker: {host: b, replicas: [{}, {}, {host: a}]}\n");
    struct error e;
    assert_string_equal(pipeline_broker(p, 0).host, "b");
    assert_string_equal(pipeline_broker(p, 1).host, "b");
    assert_string_equal(pipeline_broker(p, 2).host, "a");
    assert_string_equal(pipeline_broker(p, 1).control, "tcp://[fd00:77::2]:5605");
    assert_int_equal(pipeline_be_at(p, 1, &e), FL_OK);
    assert_string_equal(p->broker.requests, "ipc:///s/sock/requests");
    assert_int_equal(pipeline_be_broker(p, 1, &e), FL_OK);
    assert_string_equal(p->broker.requests, "ipc:///s/sock/requests.1");
    assert_string_equal(pipeline_also(p, p->broker.requests), "tcp://[fd00:77::2]:5604");
    assert_string_equal(pipeline_broker(p, 2).results, "tcp://10.0.0.1:5609");
    pipeline_free(p);
    refused("model: m\nbroker: {replicas: [{}, {host: b}]}\n", "a host is named, but `hosts` does not say");
    refused(THREE "broker: {replicas: [{}, {host: z}]}\n", "host `z` is none of `hosts` (a, b, c)");
}

static void test_slots(void **state)
{
    struct pipeline *p = parse("model: m\nsecurity: none\nstages: [{replicas: 3}, {replicas: 2}]\n"
                               "hosts: [{name: a, slots: 1}, {name: b, slots: 2}, {name: c}]\n");
    assert_string_equal(p->stage[0].replica[0].host, "a");
    assert_string_equal(p->stage[0].replica[2].host, "c");
    assert_string_equal(p->stage[1].replica[0].host, "b");
    assert_string_equal(p->stage[1].replica[1].host, "c");
    pipeline_free(p);
    refused("model: m\nsecurity: none\nstages: 3\nhosts: [{name: a, slots: 1}, {name: b, slots: 1}]\n",
            "no slot is left for stage 2, replica 0");
}

static void test_ways(void **state)
{
    struct pipeline *p = parse(THREE "stages: 3\nbroker: {results: 'tcp://10.0.0.1:7000'}\n");
    assert_string_equal(p->broker.requests, "tcp://10.0.0.1:5601");
    assert_string_equal(p->broker.control, "tcp://10.0.0.1:5602");
    assert_string_equal(p->broker.results, "tcp://10.0.0.1:7000");
    assert_string_equal(p->cache.endpoint[1], "tcp://[fd00:77::2]:5617");
    assert_string_equal(p->stage[2].replica[0].endpoint, "tcp://c:5664");
    assert_string_equal(p->redis.endpoint, "10.0.0.1:5600");
    assert_string_equal(pipeline_way(p, 0, "tcp://10.0.0.1:7000"), "ipc:///s/sock/results");
    assert_string_equal(pipeline_way(p, 1, "ipc:///s/sock/results"), "tcp://10.0.0.1:7000");
    assert_string_equal(pipeline_way(p, 1, "tcp://elsewhere:1"), "tcp://elsewhere:1");
    assert_null(pipeline_also(p, "tcp://10.0.0.1:7000"));
    assert_string_equal(pipeline_also(p, "ipc:///s/sock/results"), "tcp://10.0.0.1:7000");
    pipeline_free(p);
}

/* Who says where it is has the endpoints that it uses itself, again and again. */
static void test_being_there(void **state)
{
    struct pipeline *p = parse(THREE "stages: 3\n");
    struct error e = {0};
    assert_int_equal(here_settle(p, "a", &e), FL_OK);
    assert_string_equal(p->broker.requests, "ipc:///s/sock/requests");
    assert_string_equal(p->redis.endpoint, "unix:/s/sock/redis");
    assert_string_equal(p->stage[0].replica[0].endpoint, "ipc:///s/sock/stage.0.0");
    assert_string_equal(p->stage[1].replica[0].endpoint, "tcp://[fd00:77::2]:5648");
    assert_int_equal(here_settle(p, "b", &e), FL_OK);
    assert_string_equal(p->broker.requests, "tcp://10.0.0.1:5601");
    assert_string_equal(p->redis.endpoint, "10.0.0.1:5600");
    assert_string_equal(p->stage[1].replica[0].endpoint, "ipc:///s/sock/stage.1.0");
    assert_int_equal(here_settle(p, "d", &e), FL_USAGE);
    assert_int_equal(here_settle(p, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "--host NAME"));
    pipeline_free(p);
}

/* Several of the hosts are this machine: it must be said which. */
static void test_same_machine(void **state)
{
    struct pipeline *p =
        parse("model: m\nhosts: [{name: x, address: 127.0.0.2}, {name: y, address: 127.0.0.3}]\n");
    struct error e = {0};
    assert_int_equal(here_settle(p, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "(x, y)"));
    assert_int_equal(here_settle(p, "y", &e), FL_OK);
    assert_int_equal(p->here, 1);
    pipeline_free(p);
    p = parse("model: m\n");
    assert_int_equal(here_settle(p, NULL, &e), FL_OK);
    assert_int_equal(p->here, -1);
    assert_int_equal(here_settle(p, "a", &e), FL_USAGE);
    pipeline_free(p);
}

static void test_refused(void **state)
{
    refused("model: m\nhosts: [{name: a, address: 10.0.0.1}]\n", "host a: `10.0.0.1` is not loopback");
    refused("model: m\nhosts: [{name: a}, {name: a}]\n", "two hosts are called `a`");
    refused("model: m\nhosts: [{address: a}]\n", "p.yaml:2:9: a host has no `name`");
    refused("model: m\nhosts: [{name: a, address: x}, {name: b, address: x}]\n", "same address, x");
    refused("model: m\nhosts: [{name: '-oProxyCommand=x'}]\n", "name or the address of a machine");
    refused("model: m\nhosts: [{name: a, ssh: '-oProxyCommand=x'}]\n", "USER@HOST");
    refused("model: m\nhosts: [{name: a, ssh: 'a;b'}]\n", "USER@HOST");
    refused(THREE "stages: [{replicas: [{host: d}]}]\n", "host `d` is none of `hosts` (a, b, c)");
    refused(THREE "broker: {host: d}\n", "host `d` is none");
    refused(THREE "cache: {hosts: [a, d]}\n", "host `d` is none");
    refused(THREE "broker: {requests: 'ipc:///x'}\n", "is a socket within a host");
    refused(THREE "cache: {endpoints: ['tcp://10.0.0.1:1', 'tcp://10.0.0.1:2']}\n", "one for each");
    refused("model: m\nbroker: {host: a}\n", "`hosts` does not say what it is");
    refused(THREE "port: 65535\n", "port takes");
}

static void test_example(void **state)
{
    struct pipeline *p;
    struct error e = {0};
    if (pipeline_load(&p, "configs/three-hosts.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    assert_int_equal(p->n_hosts, 3);
    assert_string_equal(p->stage[0].replica[1].host, "b");
    assert_string_equal(p->stage[1].replica[1].host, "a");
    assert_int_equal(p->cache.n_endpoints, 3);
    pipeline_free(p);
}

static char *printed(const struct pipeline *p)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    pipeline_print(to, p);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void test_printed_brokers(void **state)
{
    struct pipeline *p = parse(THREE "broker: {replicas: 2}\n"), *again;
    struct error e = {0};
    char *first = printed(p), *second;
    if (pipeline_parse(&again, first, strlen(first), "/f/q.yaml", NULL, 0, &e))
        fail_msg("%s\n%s", e.text, first);
    second = printed(again);
    assert_string_equal(first, second);
    assert_int_equal(again->broker.n_replicas, 2);
    assert_string_equal(again->broker.replica[1].host, p->broker.replica[1].host);
    free(first);
    free(second);
    pipeline_free(p);
    pipeline_free(again);
}

/* The printed file describes the same pipeline, and says where everything is. */
static void test_printed(void **state)
{
    static const char *const sets[] = {"stages.0.threads=3", "broker.retries=1"};
    static const char text[] = THREE
        "labels: [one, 'two \"quoted\" words', '*x']\nwire_dtype: bfloat16\ncache: {threshold: risk, grids: "
        "[8]}\n"
        "input: {mean: [1.5, 2], shape: [1, 3, 8, 8]}\nexits: [{after: 'x: y'}, {after: z, kind: knn}]\n"
        "stages: [{last: exit1, replicas: 2}, {replicas: [{host: c, cpus: [0, 3]}]}]\n";
    struct pipeline *p, *again;
    struct error e = {0};
    char *first, *second;
    assert_int_equal(pipeline_parse(&p, text, strlen(text), "/f/p.yaml", sets, 2, &e), FL_OK);
    first = printed(p);
    if (pipeline_parse(&again, first, strlen(first), "/f/q.yaml", NULL, 0, &e))
        fail_msg("%s\n%s", e.text, first);
    second = printed(again);
    assert_string_equal(first, second);
    assert_non_null(strstr(first, "host: \"b\", endpoint: \"tcp://[fd00:77::2]:5633\", cache: 1"));
    assert_int_equal(again->stage[0].threads, 3);
    assert_int_equal(again->broker.retries, 1);
    assert_int_equal(again->cache.rule, THRESHOLD_RISK);
    assert_string_equal(again->label[1], "two \"quoted\" words");
    assert_string_equal(again->exit[0].after, "x: y");
    assert_int_equal(again->stage[1].replica[0].cpu[1], 3);
    free(first);
    free(second);
    pipeline_free(p);
    pipeline_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placing),         cmocka_unit_test(test_brokers),
        cmocka_unit_test(test_slots),           cmocka_unit_test(test_ways),
        cmocka_unit_test(test_being_there),     cmocka_unit_test(test_same_machine),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_printed),
        cmocka_unit_test(test_printed_brokers), cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
