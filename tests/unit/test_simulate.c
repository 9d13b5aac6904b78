/* test_simulate.c - around the simulation: measurements and clusters read, hostile ones refused; a pipeline
 * set up */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/plan/plan_simulated.h"
#include "deploy/simulate/simulate_search.h"

#define PIECE_US 500.0

/* ---- measurements ---- */

static const char *const good =
    "{\"format\":\"freezeline-measured\",\"version\":1,\"model\":\"m\",\"digest\":\"ab12\",\"machine\":\"a, "
    "\\\"b\\\"\",\"threads\":1,\"cores\":2,"
    "\"all_busy\":0.9,\"reference_us\":32,\"input_bytes\":100,\"answer_bytes\":40,\"cuts\":[{\"name\":\"a\","
    "\"bytes\":64}],"
    "\"exits\":[{\"name\":\"e\",\"after\":\"a\",\"share\":0.25,\"bytes\":16,\"descriptor_us\":1,\"lookup_"
    "us\":20,"
    "\"lookup_row_us\":2}],\"costs_us\":{\"client_send\":1,\"client_receive\":1,\"client_watch\":0,"
    "\"background_cores\":0,\"broker_request\":1,"
    "\"broker_result\":1,"
    "\"stage_receive\":1,\"stage_send\":1,\"stage_kilobyte\":0.5,\"stage_lookup\":1,\"stage_verdict\":1,"
    "\"stage_crowd_share\":0,\"cache\":1,\"io\":7,\"io_kilobyte\":0.1,\"thread_"
    "switch\":1,\"turn\":900},\"wake_us\":[1,2,"
    "3],\"cold_share\":[0.1],"
    "\"batches\":[{\"batch\":1,\"runs_us\":[[10,20],[11,21]]},{\"batch\":4,\"runs_us\":[[30,60]]}]}";

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void test_measured_round_trip(void **unused)
{
    struct measured *m, *again;
    struct error e;
    char first[256];
    snprintf(first, sizeof first, "%s", in_folder("first.json"));
    put(first, good);
    assert_int_equal(measured_load(&m, first, &e), FL_OK);
    assert_int_equal(measured_save(m, in_folder("again.json"), &e), FL_OK);
    if (measured_load(&again, in_folder("again.json"), &e))
        fail_msg("%s", e.text);
    assert_string_equal(again->machine, "a, \"b\"");
    assert_string_equal(again->digest, "ab12");
    assert_int_equal(again->n_batches, 2);
    assert_int_equal(again->batch[1].batch, 4);
    assert_true(again->batch[1].us[1] == 60 && again->batch[0].us[3] == 21);
    assert_true(again->exit[0].share == 0.25 && again->cost.io == 7 && again->wake_us[2] == 3);
    assert_true(again->reference_us == 32 && again->cost.turn == 900 && again->cold_share[0] == 0.1);
    assert_true(again->all_busy == 0.9 && again->cut[0].bytes == 64);
    measured_free(m);
    measured_free(again);
}

/* `good` with the first `what` replaced. */
static void refuse_measured(const char *what, const char *with, int rc, const char *says)
{
    struct measured *m;
    struct error e;
    char text[4096];
    const char *at = strstr(good, what);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, with, at + strlen(what));
    put(in_folder("bad.json"), text);
    assert_int_equal(measured_load(&m, in_folder("bad.json"), &e), rc);
    assert_null(m);
    if (!strstr(e.text, says) || !strstr(e.text, "bad.json"))
        fail_msg("%s -> %s: \"%s\" does not say %s", what, with, e.text, says);
}

static void test_measured_refusals(void **unused)
{
    struct measured *m;
    struct error e;
    refuse_measured("freezeline-measured", "freezeline-bench", FL_CONFIG, "format");
    refuse_measured("\"version\":1", "\"version\":2", FL_CONFIG, "version");
    refuse_measured("\"cores\":2", "\"cores\":-2", FL_CONFIG, "cores");
    refuse_measured("\"cores\":2,", "", FL_CONFIG, "cores");
    refuse_measured("\"io\":7", "\"io\":\"much\"", FL_CONFIG, "io");
    refuse_measured("0.25", "1.25", FL_CONFIG, "share");
    refuse_measured("[10,20]", "[10,20,30]", FL_CONFIG, "runs_us");
    refuse_measured("[10,20]", "[10,-1]", FL_CONFIG, "runs_us");
    refuse_measured("\"batch\":4", "\"batch\":1", FL_CONFIG, "ascend");
    refuse_measured("[1,2,3]", "[1,2,1e99]", FL_CONFIG, "wake_us");
    refuse_measured("[0.1]", "0.1", FL_CONFIG, "cold_share");
    refuse_measured("\"turn\":900", "\"turn\":-900", FL_CONFIG, "turn");
    refuse_measured("\"reference_us\":32,", "", FL_CONFIG, "reference_us");
    refuse_measured("\"name\":\"a\"", "\"name\":7", FL_CONFIG, "name");
    refuse_measured("]}]}", "]}]", FL_CORRUPT, "bad.json:1:");
    assert_int_equal(measured_load(&m, in_folder("absent.json"), &e), FL_NOT_FOUND);
}

static void test_shares(void **unused)
{
    static const struct {
        const char *text;
        int rc;
        const char *says;
    } report[] = {
        {"{\"exits\":[{\"name\":\"e\",\"share\":0.75},{\"name\":\"network\",\"share\":0.25}]}", FL_OK, ""},
        {"{\"exits\":[{\"name\":\"other\",\"share\":0.75}]}", FL_OK, ""},
        {"{\"exits\":[{\"name\":\"e\",\"share\":1.75}]}", FL_CONFIG, "share"},
        {"{\"exits\":7}", FL_CONFIG, "exits"},
        {"{\"exits\":[", FL_CORRUPT, "bad.json:1:"},
    };
    struct measured *m;
    struct error e;
    put(in_folder("again.json"), good);
    assert_int_equal(measured_load(&m, in_folder("again.json"), &e), FL_OK);
    for (size_t i = 0; i < sizeof report / sizeof *report; i++) {
        put(in_folder("bad.json"), report[i].text);
        assert_int_equal(measured_take_shares(m, in_folder("bad.json"), &e), report[i].rc);
        if (report[i].rc && !strstr(e.text, report[i].says))
            fail_msg("\"%s\" does not say %s", e.text, report[i].says);
        assert_true(report[i].rc || m->exit[0].share == (i ? 0 : 0.75));
    }
    measured_free(m);
}

/* ---- clusters ---- */

static void test_cluster(void **unused)
{
    static const char text[] =
        "hosts:\n"
        "  - {name: front, cores: 4, gbps: 10, latency_us: 20}\n"
        "  - {name: big, count: 3, cores: 16, speed: 0.8, mtbf_hours: 100, repair_minutes: 2}\n"
        "broker: front\nclient: outside\nplace: pack\nreplicas: [4, 2]\ncells: 5\n"
        "stages: [{hosts: [big.0, big.2]}, {hosts: [front, big]}]\nprocesses: {restart_seconds: 3}\n";
    struct cluster *c = malloc(sizeof *c);
    struct error e;
    assert_non_null(c);
    put(in_folder("c.yaml"), text);
    if (cluster_load(c, in_folder("c.yaml"), &e))
        fail_msg("%s", e.text);
    assert_int_equal(c->n_hosts, 4);
    assert_int_equal(c->client, -1);
    assert_true(c->pack && c->cells == 5 && c->replicas[1] == 2 && c->failing.repair_ns == 3e9);
    assert_true(c->kind[0].host.bytes_per_ns == 1.25 && c->kind[1].failing.repair_ns == 120e9);
    assert_int_equal(c->n_stage_hosts[0], 2);
    assert_int_equal(c->stage_host[0][1], 3);
    assert_int_equal(c->n_stage_hosts[1], 4);
    assert_int_equal(c->stage_host[1][3], 3);
    assert_string_equal(cluster_kind_of(c, 3)->name, "big");
    free(c);
}

static void test_cluster_refusals(void **unused)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "empty"},
        {"hosts: 7", "c.yaml:1:8"},
        {"hosts: [7]", "c.yaml:1:9"},
        {"cells: 2", "hosts is missing"},
        {"hosts: [{cores: 2}]", "no name"},
        {"hosts:\n  - {name: a, cores: 0}", "c.yaml:2:22: hosts.0.cores must be a whole number"},
        {"hosts:\n  - {name: a, cores: 1.5}", "whole"},
        {"hosts:\n  - {name: a, coers: 2}",
         "c.yaml:2:15: hosts.0.coers is no key of a cluster; did you mean cores?"},
        {"hosts: [{name: a, speed: nan}]", "speed"},
        {"hosts: [{name: a, count: 5000}]", "count"},
        {"hosts: [{name: a, count: 4000}, {name: b, count: 4000}]", "too many hosts"},
        {"hosts: [{name: a}]\nbroker: b", "c.yaml:2:9: b is no host"},
        {"hosts: [{name: a, count: 2}]\nbroker: a.2", "a.2 is no host"},
        {"hosts: [{name: a}]\nclient: b", "outside"},
        {"hosts: [{name: a}]\nplace: tight", "spread or pack"},
        {"hosts: [{name: a}]\nreplicas: [0]", "replicas.0"},
        {"hosts: [{name: a}]\nreplicas: 3", "c.yaml:2:11"},
        {"hosts: [{name: a}]\nstages: [{hosts: [b]}]", "b is no host"},
        {"hosts: [{name: a}]\nprocesses: {mtbf_hour: 3}", "mtbf_hours"},
        {"hosts: [{name: a}, {name: b}, {name: a}]", "c.yaml:1:38: a is the name of two"},
        {"hosts: [{name: a}", "c.yaml"},
    };
    struct cluster *c = malloc(sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error e = {0};
        put(in_folder("c.yaml"), bad[i].text);
        assert_int_equal(cluster_load(c, in_folder("c.yaml"), &e), FL_CONFIG);
        if (!strstr(e.text, bad[i].says))
            fail_msg("%s: \"%s\" does not say %s", bad[i].text, e.text, bad[i].says);
    }
    free(c);
}

/* ---- setting up ---- */

struct world {
    struct pipeline *pipeline;
    struct measured *measured;
    struct cluster *cluster;
    struct search search;
};

/* The demo's model, each piece of which takes PIECE_US for each request, and messages that cost nothing. */
static struct measured *measured_of(const struct pipeline *p)
{
    struct measured *m = calloc(1, sizeof *m);
    struct graph *g;
    struct cut *cuts;
    struct error e;
    assert_non_null(m);
    assert_int_equal(graph_load(&g, p->model, NULL, &e), FL_OK);
    assert_int_equal(graph_cuts(g, &cuts, &m->n_cuts, &e), FL_OK);
    for (int i = 0; i < m->n_cuts; i++) {
        struct tensor shape = value_shape(&g->values[cuts[i].value], 1);
        snprintf(m->cut[i].name, sizeof m->cut[i].name, "%s", cuts[i].name);
        m->cut[i].bytes = (double)tensor_bytes(&shape);
    }
    digest_text(g->digest, m->digest);
    for (int i = 0; i < 2; i++) {
        m->batch[i] = (struct measured_batch){i ? 4 : 1, 1, calloc((size_t)m->n_cuts + 1, sizeof(double))};
        assert_non_null(m->batch[i].us);
        for (int k = 0; k <= m->n_cuts; k++)
            m->batch[i].us[k] = PIECE_US * (i ? 4 : 1);
    }
    m->n_batches = 2;
    m->threads = m->cores = 1;
    m->all_busy = m->reference_us = 1;
    m->input_bytes = 1;
    for (int i = 0; i < p->n_exits; i++) {
        struct measured_exit *x = &m->exit[m->n_exits++];
        snprintf(x->name, sizeof x->name, "%s", p->exit[i].name);
        x->share = 0.2;
    }
    free(cuts);
    graph_free(g);
    return m;
}

static void new_world(struct world *w, int stages, const char *cluster)
{
    char set[32];
    const char *sets[] = {set, "broker.max_requests=1000"};
    struct error e;
    snprintf(set, sizeof set, "stages=%d", stages);
    memset(w, 0, sizeof *w);
    if (pipeline_load(&w->pipeline, "configs/demo/demo.yaml", sets, 2, &e))
        fail_msg("%s", e.text);
    w->measured = measured_of(w->pipeline);
    w->cluster = malloc(sizeof *w->cluster);
    assert_non_null(w->cluster);
    put(in_folder("c.yaml"), cluster);
    if (cluster_load(w->cluster, in_folder("c.yaml"), &e))
        fail_msg("%s", e.text);
    w->search = (struct search){.measured = w->measured, .cluster = w->cluster};
    w->search.load = (struct search_load){.closed = 1, .requests = 2000, .seed = 3};
}

static void free_world(struct world *w)
{
    search_release(&w->search);
    pipeline_free(w->pipeline);
    measured_free(w->measured);
    free(w->cluster);
}

static const char one_host[] = "hosts: [{name: a, cores: 64}]";

/* However the model is cut, a request alone runs every piece once. */
static void test_cuts_keep_the_whole(void **unused)
{
    struct error e;
    for (int stages = 1; stages <= 4; stages++) {
        struct world w;
        double want;
        new_world(&w, stages, one_host);
        want = PIECE_US * (w.measured->n_cuts + 1) / 1e3;
        if (setup_shape_of(&w.search.shape, w.pipeline, w.measured, false, &e) || search_once(&w.search, &e))
            fail_msg("%s", e.text);
        assert_int_equal(w.search.shape.pipeline.n_stages, stages);
        assert_true(fabs(histogram_mean(&w.search.result[0]->latency) / 1e6 - want) < 0.001 * want);
        free_world(&w);
    }
}

/* With exits whose verdicts cost nothing, the mean is what their shares leave. */
static void test_exits_save_their_share(void **unused)
{
    struct world w;
    struct error e;
    struct measured *m;
    double want = 0;
    new_world(&w, 3, one_host);
    m = w.measured;
    w.search.load.requests = 20000;
    if (setup_shape_of(&w.search.shape, w.pipeline, m, true, &e) || search_once(&w.search, &e))
        fail_msg("%s", e.text);
    assert_int_equal(w.search.shape.pipeline.n_exits, 4);
    for (int i = 0; i < 4; i++)
        want += 0.2 * (w.search.shape.exit_cut[i] + 1);
    want = PIECE_US / 1e3 * (want + (1 - 4 * 0.2) * (m->n_cuts + 1));
    assert_true(fabs(histogram_mean(&w.search.result[0]->latency) / 1e6 - want) < 0.01 * want);
    free_world(&w);
}

static void test_places(void **unused)
{
    static const char hosts[] = "hosts: [{name: a, count: 4, cores: 4}]\nplace: %s\nclient: outside";
    char text[128];
    for (int pack = 0; pack < 2; pack++) {
        struct world w;
        struct simulation *one;
        struct error e;
        int on[4] = {0};
        snprintf(text, sizeof text, hosts, pack ? "pack" : "spread");
        new_world(&w, 2, text);
        assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, false, &e), FL_OK);
        w.search.shape.pipeline.stage[0].n_replicas = 3;
        w.search.shape.pipeline.stage[1].n_replicas = 2;
        assert_int_equal(setup_make(&one, &w.search.shape, w.measured, w.cluster, &e), FL_OK);
        for (int i = 0; i < 5; i++)
            on[one->world.stage_host[i / 3][i % 3]]++;
        assert_int_equal(one->world.n_hosts, 5);
        assert_int_equal(on[0], pack ? 3 : 1);
        assert_int_equal(on[1], pack ? 2 : on[1]);
        assert_true(pack || (on[1] >= 1 && on[2] >= 1 && on[3] >= 1));
        free(one);
        free_world(&w);
    }
}

/* The search finds what the load needs, no more: with deterministic times and half a core's reserve per
 * stage. */
static void test_search(void **unused)
{
    struct world w;
    struct error e;
    double total_ms;
    int sum = 0;
    new_world(&w, 2, one_host);
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, false, &e), FL_OK);
    total_ms = PIECE_US * (w.measured->n_cuts + 1) / 1e3;
    w.search.load = (struct search_load){.rate = 3e3 / total_ms, .requests = 20000, .seed = 3};
    if (search_cheapest(&w.search, 3 * total_ms, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < 2; i++)
        sum += w.search.shape.pipeline.stage[i].n_replicas;
    assert_in_range(sum, 4, 7);
    assert_int_equal(search_once(&w.search, &e), FL_OK);
    assert_true((double)histogram_quantile(&w.search.result[0]->latency, 0.99) / 1e6 <= 3 * total_ms);
    assert_int_equal(search_cheapest(&w.search, total_ms / 2, &e), FL_VALUE);
    free_world(&w);
}

static void test_search_from_more_than_a_pipeline_can_have(void **unused)
{
    struct world w;
    struct error e;
    new_world(&w, 4, one_host);
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, false, &e), FL_OK);
    for (int i = 0; i < 4; i++)
        w.search.shape.pipeline.stage[i].n_replicas = PIPELINE_MAX_REPLICAS;
    w.search.load = (struct search_load){.rate = 10, .requests = 1000, .seed = 3};
    assert_int_equal(search_cheapest(&w.search, 10, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "64 stage workers"));
    free_world(&w);
}

static void test_sweep(void **unused)
{
    struct world w;
    struct error e;
    double total_ms;
    new_world(&w, 1, one_host);
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, false, &e), FL_OK);
    total_ms = PIECE_US * (w.measured->n_cuts + 1) / 1e3;
    assert_int_equal(search_sweep(&w.search, &e), FL_OK);
    assert_true(fabs(w.search.saturation * total_ms / 1e3 - 1) < 0.02);
    for (int i = 1; i < w.search.n_results; i++)
        assert_true(w.search.offered[i] > w.search.offered[i - 1]);
    free_world(&w);
}

static void test_other_model(void **unused)
{
    struct world w;
    struct error e;
    new_world(&w, 2, one_host);
    w.measured->n_cuts = 1;
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, false, &e), FL_STALE);
    free_world(&w);
    new_world(&w, 2, one_host);
    w.measured->n_exits = 0;
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, true, &e), FL_STALE);
    free_world(&w);
    new_world(&w, 2, one_host);
    w.measured->digest[5] ^= 1;
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, true, &e), FL_STALE);
    assert_non_null(strstr(e.text, "another model"));
    free_world(&w);
}

/* Measurements of the published ResNet-18 know the demo's cuts by name, and predicted it without a word. */
static void test_demo_is_not_the_resnet(void **unused)
{
    struct world w;
    struct measured *m;
    struct error e;
    new_world(&w, 2, one_host);
    assert_int_equal(measured_load(&m, "configs/cifar10-resnet18-measured.json", &e), FL_OK);
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, m, true, &e), FL_STALE);
    measured_free(m);
    free_world(&w);
}

static void test_exit_not_measured(void **unused)
{
    struct world w;
    struct error e;
    new_world(&w, 2, one_host);
    snprintf(w.measured->exit[1].name, sizeof w.measured->exit[1].name, "elsewhere");
    assert_int_equal(setup_shape_of(&w.search.shape, w.pipeline, w.measured, true, &e), FL_OK);
    assert_int_equal(w.search.shape.pipeline.n_exits, w.pipeline->n_exits - 1);
    assert_int_equal(w.search.shape.n_unmeasured, 1);
    assert_string_equal(w.search.shape.unmeasured[0], w.pipeline->exit[1].name);
    free_world(&w);
}

/* From a first stage of one piece the cut wanders to the middle, where two cores share the work. */
static void test_plan(void **unused)
{
    struct world w;
    struct error e;
    struct graph *g;
    struct cut *cuts;
    struct plan_simulated s = {.measured = in_folder("again.json")};
    int n, chosen[1] = {0}, middle;
    new_world(&w, 2, one_host);
    w.measured->cores = 2;
    w.measured->n_exits = 0;
    snprintf(w.measured->model, sizeof w.measured->model, "demo");
    assert_int_equal(measured_save(w.measured, s.measured, &e), FL_OK);
    assert_int_equal(graph_load(&g, w.pipeline->model, NULL, &e), FL_OK);
    assert_int_equal(graph_cuts(g, &cuts, &n, &e), FL_OK);
    middle = n / 2;
    s.rate = 1.2e6 / (PIECE_US * (n + 1));
    if (plan_simulate(&s, w.pipeline, g, cuts, n, 2, chosen, &e))
        fail_msg("%s", e.text);
    assert_in_range(chosen[0], middle - 2, middle + 2);
    assert_true(s.after_ms < s.before_ms);
    free(cuts);
    graph_free(g);
    free_world(&w);
}

/* The files that the documents speak of can be read, and know each other. */
static void test_files_of_the_documents(void **unused)
{
    struct cluster *c = malloc(sizeof *c);
    struct measured *m = NULL;
    struct error e;
    assert_non_null(c);
    if (cluster_load(c, "configs/cluster-cell.yaml", &e) ||
        cluster_load(c, "configs/cluster-million.yaml", &e) ||
        measured_load(&m, "configs/cifar10-resnet18-measured.json", &e))
        fail_msg("%s", e.text);
    assert_int_equal(c->cells, 100);
    assert_true(m->n_exits > 0 && measured_find_cut(m, m->exit[0].after) >= 0);
    measured_free(m);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_round_trip),
        cmocka_unit_test(test_measured_refusals),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_cluster_refusals),
        cmocka_unit_test(test_cuts_keep_the_whole),
        cmocka_unit_test(test_exits_save_their_share),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_search_from_more_than_a_pipeline_can_have),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_other_model),
        cmocka_unit_test(test_demo_is_not_the_resnet),
        cmocka_unit_test(test_exit_not_measured),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_files_of_the_documents),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
