/* test_reload.c - what answers is one model with its own caches, whatever becomes of the files; and
 * `freezeline reload`, the older name of `freezeline apply`
 *
 * The journey of somebody who trains again in place: what was built for one network never answers for
 * another, status says what serves, and the new model, cut or build is taken without a failed request.
 */
#include "tool_world.h"

#include <math.h>

static const char cached[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits:\n"
    "  - {name: a, after: /blocks.1/Relu_1}\n"
    "  - {name: b, after: /blocks.3/Relu_1}\n"
    "stages:\n"
    "  - last: /blocks.1/Relu_1\n"
    "  - {}\n"
    "cache: {kind: kmeans, grids: [1], nodes: 32, train_epochs: 1, threshold: risk,\n"
    "        max_accuracy_loss: 40}\n"
    "updates: {sample: 0, audit: 0}\n"
    "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

/* Puts a network into the harness's folder; with a doc_string it is another one that answers the same. */
static void put_model(struct harness *h, const char *from, bool other)
{
    char path[HARNESS_PATH], bytes[65536];
    FILE *in = fopen(from, "rb"), *out;
    size_t n;

    snprintf(path, sizeof path, "%.400s/net.onnx", harness_dir(h));
    assert_true(in && (out = fopen(path, "wb")));
    while ((n = fread(bytes, 1, sizeof bytes, in)) > 0)
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    if (other)
        fwrite("\x32\x01x", 1, 3, out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void build(struct harness *h)
{
    char arguments[900];
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%s/d.bin#0-199 --calibrate cifar10:%s/d.bin#200-399", harness_dir(h),
             harness_dir(h));
    tool_ok(h, "build", arguments);
}

static struct harness *new_world(void)
{
    struct harness *h = harness_new("net.onnx", cached);
    char line[1024];
    put_model(h, "configs/demo/demo.onnx", false);
    snprintf(line, sizeof line, "%s/freezeline generate --count 460 --output %s/d.bin", tool_folder(),
             harness_dir(h));
    assert_int_equal(shell(line), 0);
    return h;
}

struct load {
    int answered, errors;
    double accuracy, early;
};

static struct load read_load(json_t *root)
{
    struct load l = {.answered = (int)json_integer_value(json_object_get(root, "answered")),
                     .errors = (int)json_integer_value(json_object_get(root, "errors")),
                     .accuracy = json_number_value(json_object_get(root, "accuracy"))};
    json_t *exit;
    size_t i;
    json_array_foreach(json_object_get(root, "exits"), i,
                       exit) if (strcmp(json_string_value(json_object_get(exit, "name")), "network"))
        l.early += json_number_value(json_object_get(exit, "share"));
    json_decref(root);
    return l;
}

/* Sixty requests whose labels are known. */
static struct load ask_all(struct harness *h)
{
    char arguments[900];
    struct load l;
    snprintf(arguments, sizeof arguments,
             "--closed 2 --requests 60 --no-warm-up --data cifar10:%s/d.bin#400-459", harness_dir(h));
    l = read_load(tool_json(h, "bench", arguments));
    assert_true(l.answered == 60 && l.errors == 0);
    return l;
}

/* What status prints without --json. */
static void assert_status(struct harness *h, const char *says, bool really)
{
    tool_ok(h, "status", "");
    if (really)
        assert_said(says);
    else if (strstr(output, says))
        fail_msg("\"%s\" is in\n%s", says, output);
}

/* For harness_until: another process is ready in this role, and the pipeline is. */
static bool is_back(void *arg)
{
    struct replaced *r = arg;
    json_t *root;
    bool ready;
    if (!is_replaced(r))
        return false;
    root = tool_json(r->h, "status", "");
    ready = json_is_true(json_object_get(root, "ready"));
    json_decref(root);
    return ready;
}

static void kill_and_wait(struct harness *h, const char *role)
{
    struct replaced r = {h, role, pid_of(h, role)};
    assert_true(r.old > 1);
    assert_int_equal(kill(r.old, SIGKILL), 0);
    harness_until(is_back, &r, 60, role);
}

struct progress {
    struct harness *h;
    uint64_t admitted;
};

static bool has_admitted(void *arg)
{
    struct progress *p = arg;
    json_t *root = tool_json(p->h, "status", "");
    uint64_t n = (uint64_t)json_integer_value(json_object_get(json_object_get(root, "requests"), "admitted"));
    json_decref(root);
    return n >= p->admitted;
}

/* Reloads while requests come in; none may fail. */
static struct load reload_under_load(struct harness *h)
{
    struct progress p = {h, 0};
    char line[2048], path[HARNESS_PATH];
    json_t *root = tool_json(h, "status", "");
    FILE *load;

    p.admitted =
        30 + (uint64_t)json_integer_value(json_object_get(json_object_get(root, "requests"), "admitted"));
    json_decref(root);
    snprintf(path, sizeof path, "%.400s/load.json", harness_dir(h));
    snprintf(line, sizeof line,
             "%s/freezeline bench -c %s --rate 60 --duration 3 --no-warm-up --json --data "
             "cifar10:%s/d.bin#400-459 "
             ">%s 2>/dev/null",
             tool_folder(), harness_config(h), harness_dir(h), path);
    assert_non_null(load = popen(line, "r"));
    harness_until(has_admitted, &p, 60, "requests come in");
    tool_ok(h, "reload", "");
    assert_said("the stages have moved on");
    assert_true(pclose(load) >= 0);
    root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return read_load(root);
}

/* Caches of something else than is to serve. */
static void old_caches_are_refused_at_the_start(struct harness *h)
{
    char arguments[512];
    put_model(h, "configs/demo/demo.onnx", true);
    assert_int_equal(tool(h, "up", ""), 1);
    assert_said("were built for another model: run freezeline build -c");
    snprintf(arguments, sizeof arguments, "--data cifar10:%.400s/d.bin#400-459", harness_dir(h));
    assert_int_equal(tool(h, "eval", arguments), 1);
    assert_said("were built for another model");
    put_model(h, "configs/demo/demo.onnx", false);
    assert_int_equal(tool(h, "up", "--set labels='[a,b,c,d,e,f,g,h,i,j]'"), 1);
    assert_said("other `labels`");
    assert_int_equal(tool(h, "up", "--set input.mean='[100,128,128]'"), 1);
    assert_said("another `input` (mean 128 128 128; std 64 64 64 then, mean 100 128 128");
}

/* For harness_until: no worker uses what the service before handed out. */
static bool has_no_near_caches(void *arg)
{
    struct harness *h = arg;
    tool_ok(h, "status", "");
    return !strstr(output, "looks up in shared memory");
}

/* What `apply` finds served is what answers. */
static void a_damaged_cache_is_mended(struct harness *h)
{
    const char *state = harness_pipeline(h)->state;
    char line[4 * HARNESS_PATH];

    snprintf(line, sizeof line,
             "cd %.900s/caches && set -- *.cache && cp $1 ../whole && head -c 1000 ../whole >$1", state);
    assert_int_equal(shell(line), 0);
    tool_ok(h, "restart cache0", "");
    assert_status(h, "caches that were built: `freezeline logs -c ", true);
    snprintf(line, sizeof line, "cd %.900s/caches && set -- *.cache && mv ../whole $1", state);
    assert_int_equal(shell(line), 0);
    tool_ok(h, "apply", "");
    assert_said("what is mended is read after `freezeline restart -c ");
    tool_ok(h, "restart cache0", "");
    assert_status(h, "caches that were built: `freezeline logs -c ", false);
}

static void training_again_in_place(void **state)
{
    struct harness *h = new_world();
    struct load before, foreign, after;

    build(h);
    old_caches_are_refused_at_the_start(h);
    tool_ok(h, "up", "");
    assert_status(h, "answers from", false); /* right after the start, before any heartbeat */
    assert_status(h, "the caches promise: at most 40 points", true);
    before = ask_all(h);
    assert_true(before.early > 0);

    /* Another promise is built, and not served before it is taken. */
    edit(h, "max_accuracy_loss: 40", "max_accuracy_loss: 35");
    build(h);
    assert_status(h, "the caches promise: at most 40 points", true);
    assert_said("is not served yet: `freezeline apply -c");
    assert_said("the pipeline file asks for at most 35 points");
    tool_ok(h, "reload", "");
    assert_said("the cache services start again, `freezeline build` reads it"); /* there is no learner */
    assert_said("at most 35 points");
    assert_status(h, "the caches promise: at most 35 points", true);
    assert_status(h, "not served yet", false);

    a_damaged_cache_is_mended(h);

    /* Another network in the same file: the caches are not its own. */
    put_model(h, "configs/demo/demo.onnx", true);
    assert_int_equal(tool(h, "reload", ""), 1);
    assert_said("were built for another model");
    build(h);
    kill_and_wait(h, "cache0");
    assert_status(h, "cache0 has caches of another model than the stages serve: its look-ups are misses",
                  true);
    assert_said("serves another model than");
    assert_status(h, "the caches promise", false);
    harness_until(has_no_near_caches, h, 60, "workers let go of the caches before");
    foreign = ask_all(h);
    assert_true(foreign.early == 0);
    assert_true(fabs(foreign.accuracy - 1) < 0.2); /* the old network's own answers */

    after = reload_under_load(h);
    assert_int_equal(after.errors, 0);
    assert_status(h, "the caches promise: at most 35 points", true);
    assert_status(h, "another model", false);
    after = ask_all(h);
    assert_true(after.early > 0 && fabs(after.accuracy - before.accuracy) < 0.2);
    tool_ok(h, "reload", "");
    assert_said("nothing to do");
    tool_ok(h, "down", "");
    finish(h);
}

/* Without caches, on the smallest model there is. */
static const char plain[] = "exits: none\n"
                            "stages:\n"
                            "  - last: block1.out\n"
                            "  - {}\n"
                            "cache: {kind: none}\n"
                            "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

static struct harness *plain_world(void)
{
    struct harness *h = harness_new("net.onnx", plain);
    put_model(h, "tests/data/tiny.onnx", false);
    return h;
}

/* Labels of a few inputs, by which stages that do not fit one another would show. */
static void labels_of(struct harness *h, int32_t label[8])
{
    static float data[3 * 16 * 16];
    struct client *c = harness_client(h);
    for (int i = 0; i < 8; i++) {
        struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
        struct error e = {FL_OK, ""};
        struct answer a;
        uint64_t id;
        harness_random(data, 3 * 16 * 16, (uint64_t)i);
        if (client_submit(c, &in, 0, 0, &id, &e) || client_receive(c, 30000, &a, NULL, 0, NULL, &e))
            fail_msg("%s", e.text);
        if (a.error)
            fail_msg("%s", a.text);
        label[i] = a.label;
    }
    client_free(c);
}

static void assert_same_answers(struct harness *h, const int32_t before[8])
{
    int32_t now[8];
    labels_of(h, now);
    assert_memory_equal(before, now, sizeof now);
}

static void an_edited_cut_is_taken_by_all_or_by_none(void **state)
{
    struct harness *h = plain_world();
    int32_t before[8];
    tool_ok(h, "up", "");
    labels_of(h, before);
    edit(h, "block1.out", "block2.out");
    assert_status(h, "serves other cuts or exits than", true);
    assert_same_answers(h, before);
    kill_and_wait(h, "stage1.0"); /* it comes back as it was */
    assert_same_answers(h, before);
    assert_status(h, "serves other cuts or exits than", true);
    tool_ok(h, "apply", "--dry-run");
    assert_said("stages.0.last: block1.out -> block2.out: the stage workers are replaced together");
    assert_status(h, "other cuts", true);
    tool_ok(h, "apply", "");
    assert_same_answers(h, before);
    assert_status(h, "other cuts", false);
    edit(h, "block2.out", "block1.out");
    tool_ok(h, "reload", "");
    assert_same_answers(h, before);
    assert_status(h, "other cuts", false);
    edit(h, "exits: none", "exits: [{name: x, after: block1.out}]");
    tool_ok(h, "plan", "--runs 2");
    assert_said("freezeline plan: the pipeline serves other cuts or exits than");
    tool_ok(h, "down", "");
    tool_ok(h, "plan", "--runs 2");
    if (strstr(output, "the pipeline serves"))
        fail_msg("%s", output);
    finish(h);
}

/* Cuts that were made for nobody's traffic are moved to where the running pipeline needs them. */
static void a_plan_is_applied_to_what_runs(void **state)
{
    struct harness *h = new_world();
    json_t *root;
    edit(h, "last: /blocks.1/Relu_1", "last: /blocks.6/Relu_1");
    assert_int_equal(tool(h, "plan", "--apply --runs 2"), 1); /* nobody serves it */
    build(h);
    tool_ok(h, "up", "");
    ask_all(h);
    root = tool_json(h, "plan", "--apply --runs 15"); /* other programs disturb some */
    assert_true(json_is_true(json_object_get(root, "moved")));
    json_decref(root);
    assert_status(h, "other cuts", false);
    ask_all(h);
    assert_int_equal(tool(h, "plan", "--apply --stages 3"), 2);
    assert_said("another number of stages");
    tool_ok(h, "down", "");
    harness_free(h);
}

static bool one_waits(void *h)
{
    json_t *root = tool_json(h, "status", ""), *note;
    bool yes = false;
    size_t i;
    json_array_foreach(json_object_get(root, "notes"), i, note) yes =
        yes || strstr(json_string_value(note), "1 stage worker of another plan waits");
    json_decref(root);
    return yes;
}

/* While another replica of its stage lives the pipeline goes on as it is. */
static void a_replica_with_another_plan_waits_for_a_reload(void **state)
{
    struct harness *h = plain_world();
    int32_t before[8];
    pid_t other;
    edit(h, "  - {}", "  - {replicas: 2}");
    tool_ok(h, "up", "");
    labels_of(h, before);
    other = pid_of(h, "stage1.1");
    put_model(h, "tests/data/tiny.onnx", true);
    assert_int_equal(kill(pid_of(h, "stage1.0"), SIGKILL), 0);
    harness_until(one_waits, h, 60, "the replica waits");
    assert_same_answers(h, before);
    assert_int_equal(pid_of(h, "stage1.1"), other);
    tool_ok(h, "reload", "");
    assert_same_answers(h, before);
    assert_true(pid_of(h, "stage1.0") > 0 && pid_of(h, "stage1.1") > 0 && pid_of(h, "stage1.1") != other);
    tool_ok(h, "down", "");
    finish(h);
}

static void what_cannot_be_taken_changes_nothing(void **state)
{
    struct harness *h = plain_world();
    int32_t before[8];
    pid_t first, last;
    assert_int_equal(tool(h, "reload", ""), 1); /* nothing is up */
    tool_ok(h, "up", "");
    labels_of(h, before);
    first = pid_of(h, "stage0.0");
    last = pid_of(h, "stage1.0");
    edit(h, "exits: none", "name: other\nexits: none");
    assert_int_equal(tool(h, "reload", ""), 2);
    assert_said("name: net -> other: takes `freezeline down` and `up`");
    assert_said("name in the pipeline file is another");
    edit(h, "name: other\n", "");
    edit(h, "  - {}", "  - {threads: 1, cpus: 1}");
    assert_int_equal(tool(h, "reload", ""), 2);
    edit(h, "  - {threads: 1, cpus: 1}", "  - {replicas: [{cpus: [4000]}]}");
    put_model(h, "tests/data/tiny.onnx", true);
    assert_int_equal(tool(h, "reload", ""), 1); /* one that cannot start */
    assert_said("stage1.0: its successor ended");
    assert_said("cpu 4000");
    assert_true(pid_of(h, "stage0.0") == first && pid_of(h, "stage1.0") == last);
    assert_same_answers(h, before);
    assert_int_equal(tool(h, "reload", "--set broker.retries=3"), 2);
    assert_said("--set broker.retries=3: the pipeline did not come up with it");
    edit(h, "  - {replicas: [{cpus: [4000]}]}", "  - {}");
    edit(h, "deadline_ms: 150000", "deadline_ms: 10000");
    tool_ok(h, "reload", "");
    assert_said("broker.deadline_ms: 150000 -> 10000: the broker starts again");
    assert_same_answers(h, before);
    tool_ok(h, "down", "");
    finish(h);
}

static bool serves_the_file(void *arg)
{
    json_t *root = tool_json(arg, "status", "");
    bool yes = json_is_true(json_object_get(root, "ready")) &&
               !strcmp(json_string_value(json_object_get(json_object_get(root, "serves"), "file")), "same");
    json_decref(root);
    return yes;
}

/* The supervisor goes on with what was begun. */
static void a_reload_that_is_killed_loses_nothing(void **state)
{
    struct harness *h = plain_world();
    int32_t before[8];
    char line[1024];
    tool_ok(h, "up", "");
    labels_of(h, before);
    put_model(h, "tests/data/tiny.onnx", true);
    snprintf(line, sizeof line,
             "%s/freezeline apply -c %s >/dev/null 2>&1 & p=$!; "
             "while kill -0 $p 2>/dev/null && ! grep -q 'reload: ordered' %s/logs/supervisor.log; do :; "
             "done; kill "
             "-9 $p; true",
             tool_folder(), harness_config(h), harness_pipeline(h)->state);
    assert_int_equal(shell(line), 0);
    harness_until(serves_the_file, h, 60, "the model of the file serves");
    assert_same_answers(h, before);
    tool_ok(h, "down", "");
    finish(h);
}

/* Nobody here can start successors of what somebody else tends: the commands are told. */
static void without_a_supervisor_it_says_what_to_start(void **state)
{
    struct harness *h = plain_world();
    char text[64];
    harness_pipeline_up(h);
    put_model(h, "tests/data/tiny.onnx", true);
    assert_int_equal(tool(h, "reload", ""), 1);
    for (int i = 1; i < 3; i++) { /* process 0 is the broker */
        snprintf(text, sizeof text, "--stage %d --replica 0 --after %d\n", i - 1, harness_pid(h, i));
        assert_said(text);
    }
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_again_in_place),
        cmocka_unit_test(an_edited_cut_is_taken_by_all_or_by_none),
        cmocka_unit_test(a_plan_is_applied_to_what_runs),
        cmocka_unit_test(a_replica_with_another_plan_waits_for_a_reload),
        cmocka_unit_test(what_cannot_be_taken_changes_nothing),
        cmocka_unit_test(a_reload_that_is_killed_loses_nothing),
        cmocka_unit_test(without_a_supervisor_it_says_what_to_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
