/* test_build_promise.c - `build` with cache.threshold: risk, `eval` and `verify-promise` on it, with the
 * demo's network and pictures */
#include <stdbool.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"

static char output[1 << 20];

/* Runs `freezeline ARGUMENTS` with the pipeline file; its stdout, or with `errors` its stderr, is in
 * `output`. */
static int tool(const char *command, const char *arguments, int errors)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char line[2048];
    size_t got;
    FILE *f;
    snprintf(line, sizeof line, "%s/freezeline %s -c %s/p.yaml %s %s </dev/null",
             build ? build : "build/release", command, folder, arguments,
             errors ? "2>&1 >/dev/null" : "2>/dev/null");
    f = popen(line, "r");
    assert_non_null(f);
    got = fread(output, 1, sizeof output - 1, f);
    output[got] = 0;
    return WEXITSTATUS(pclose(f));
}

static int build(const char *more, int calibrate, int errors)
{
    char arguments[1024];
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%s/d.bin#0-599 --calibrate cifar10:%s/d.bin#600-%d --json %s", folder, folder,
             599 + calibrate, more);
    return tool("build", arguments, errors);
}

static json_t *parsed(void)
{
    json_t *root = json_loads(output, 0, NULL);
    if (!root)
        fail_msg("no JSON: %.500s", output);
    return root;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static json_t *manifest(void)
{
    char path[256];
    json_t *m;
    snprintf(path, sizeof path, "%s/state/caches/manifest.json", folder);
    m = json_load_file(path, 0, NULL);
    assert_non_null(m);
    return m;
}

static int prepare(void **state)
{
    char line[512], here[256];
    const char *at = getenv("FREEZELINE_BUILD");
    FILE *f;
    assert_int_equal(make_folder(state), 0);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(line, sizeof line, "%s/p.yaml", folder);
    f = fopen(line, "w");
    assert_non_null(f);
    fprintf(
        f,
        "model: %s/configs/demo/demo.onnx\nstate: state\ninput: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
        "exits: auto\ncache: {kind: kmeans, grids: [1, 2], nodes: 64, augment: 1, memory_mb: 4, threshold: "
        "risk,\n"
        "        max_accuracy_loss: 2}\n",
        here);
    fclose(f);
    snprintf(line, sizeof line, "%s/freezeline generate --count 1400 --output %s/d.bin >/dev/null 2>&1",
             at ? at : "build/release", folder);
    return system(line);
}

static void build_states_what_it_promises(void **state)
{
    json_t *root, *promise, *levels, *m, *exits, *exit;
    char *first, *second;
    size_t i;
    assert_int_equal(build("", 600, 0), 0);
    root = parsed();
    promise = json_object_get(root, "promise");
    exits = json_object_get(promise, "exits");
    assert_string_equal(json_string_value(json_object_get(promise, "of")), "accuracy");
    assert_true(number(promise, "planning_points") == 180 && number(promise, "certifying_points") == 420);
    assert_true(number(promise, "loss") <= number(promise, "loss_upper"));
    assert_true(number(promise, "full_accuracy") > 0.7 && number(promise, "commonest_label_share") < 0.3);
    assert_true(json_is_false(json_object_get(promise, "labels_doubtful")));
    assert_true(number(promise, "loss_upper") <= 0.02 && number(promise, "mean_time_share") > 0);
    json_array_foreach(exits, i, exit)
    { /* each has its reason */
        int placed = json_is_true(json_object_get(exit, "placed"));
        assert_true(number(exit, "lookup_time") > 0 && number(exit, "time_before") > 0);
        assert_true(!placed || (number(exit, "saves") > 0 && number(exit, "marginal_share") > -0.1));
        assert_true(placed == !strncmp(json_string_value(json_object_get(exit, "note")), "placed", 6));
    }
    m = manifest();
    levels =
        json_object_get(promise, "levels"); /* for requests that ask for less; the first is the promise */
    assert_int_equal(json_array_size(levels),
                     json_array_size(json_object_get(json_object_get(m, "promise"), "levels")));
    assert_in_range(json_array_size(levels), 1, 3);
    assert_true(number(json_array_get(levels, 0), "loss_upper") == number(promise, "loss_upper"));
    assert_true(json_is_true(json_object_get(m, "promised")));
    assert_int_equal(json_array_size(json_object_get(m, "exits")), json_array_size(exits));
    json_decref(m);
    first = json_dumps(promise, JSON_SORT_KEYS);
    json_decref(root);
    assert_int_equal(build("", 600, 0), 0); /* times are those of the first build */
    root = parsed();
    promise = json_object_get(root, "promise");
    second = json_dumps(promise, JSON_SORT_KEYS);
    assert_string_equal(first, second);
    free(first);
    free(second);
    json_decref(root);
}

static bool has_cache(const json_t *exit)
{
    return *json_string_value(json_object_get(exit, "file")) != '\0';
}

/* Of 4 MB. */
static void the_exits_that_stand_share_all_of_the_memory(void **state)
{
    json_t *m = manifest(), *exit;
    int standing = 0;
    size_t i;
    json_array_foreach(json_object_get(m, "exits"), i, exit) standing += has_cache(exit);
    json_array_foreach(json_object_get(m, "exits"), i, exit) if (has_cache(exit))
        assert_true(number(exit, "budget_bytes") == (double)(4000000 / standing));
    json_decref(m);
}

static void exits_left_out_have_no_cache(void **state)
{
    json_t *m = manifest(), *root, *exit;
    char arguments[256];
    size_t i;
    snprintf(arguments, sizeof arguments, "--data cifar10:%s/d.bin#1200-1399 --json", folder);
    assert_int_equal(tool("eval", arguments, 0), 0);
    root = parsed();
    assert_true(number(root, "requests") == 200);
    assert_true(json_is_number(json_object_get(root, "accuracy_gap")));
    assert_true(number(root, "accuracy_gap_upper") >= number(root, "accuracy_gap"));
    json_array_foreach(json_object_get(m, "exits"), i, exit)
    {
        const json_t *seen = json_array_get(json_object_get(root, "exits"), i);
        const char *kind = has_cache(exit) ? json_string_value(json_object_get(exit, "kind")) : "none";
        assert_string_equal(json_string_value(json_object_get(seen, "kind")), kind);
        assert_true(has_cache(exit) || number(seen, "share") == 0);
    }
    json_decref(root);
    json_decref(m);
}

static int shell(const char *format)
{
    char line[1024];
    snprintf(line, sizeof line, format, folder, folder, folder);
    return WEXITSTATUS(system(line));
}

/* The pipeline file may change after the build; what was promised does not. */
static void what_was_promised_is_what_is_told(void **state)
{
    static const char changed[] = "--set cache.max_accuracy_loss=0.02 --set cache.certainty=0.999";
    char arguments[512];
    json_t *root;
    snprintf(arguments, sizeof arguments, "%s --data cifar10:%s/d.bin#1200-1219 --json", changed, folder);
    assert_int_equal(tool("eval", arguments, 0), 0);
    root = parsed();
    assert_true(number(json_object_get(root, "promise"), "max_loss") == 0.02);
    assert_true(number(json_object_get(root, "promise"), "certifying_points") == 420);
    assert_non_null(strstr(json_string_value(json_object_get(root, "promise_asked")), "0.02 points"));
    json_decref(root);
    assert_int_equal(tool("eval", arguments, 1), 0);
    assert_non_null(strstr(output, "promise at most 2 points of accuracy lost, certainty 95%; the pipeline "
                                   "file asks for at most 0.02 points"));
    assert_int_equal(tool("status", changed, 0), 1);
    assert_non_null(strstr(
        output, "the caches that were built promise: at most 2 points of accuracy lost, certainty 95%"));
    assert_non_null(strstr(output, "asks for at most 0.02 points of accuracy lost, certainty 99.9%"));
    assert_int_equal(shell("sed 's/max_accuracy_loss: 2/max_accuracy_loss: 40/' %s/p.yaml >%s/q.yaml"), 0);
    snprintf(arguments, sizeof arguments, "-c %s/q.yaml --resamples 5 --json", folder);
    tool("verify-promise", arguments, 0);
    root = parsed();
    assert_true(number(root, "max_loss") == 0.02 && json_is_true(json_object_get(root, "as_built")));
    assert_int_equal(json_array_size(json_object_get(root, "levels")), 2);
    assert_true(number(json_array_get(json_object_get(root, "levels"), 1), "max_loss") == 0.005);
    json_decref(root);
    tool("verify-promise", "--resamples 5 --json --set cache.max_accuracy_loss=2", 0);
    root = parsed();
    assert_true(json_is_true(json_object_get(root, "as_built")));
    json_decref(root);
    tool("verify-promise", "--resamples 5 --json --set cache.max_accuracy_loss=40", 0);
    root = parsed();
    assert_true(number(root, "max_loss") == 0.4 && json_is_false(json_object_get(root, "as_built")));
    json_decref(root);
}

/* A build that cannot end leaves the one before as it was, and no file of one build passes for another's. */
static void builds_do_not_mix(void **state)
{
#define TWO_EXITS "--set exits='[{name: a, after: /blocks.1/Relu_1}, {name: b, after: /blocks.3/Relu_1}]' "
    char data[256];
    snprintf(data, sizeof data, TWO_EXITS "--data cifar10:%s/d.bin#1200-1249", folder);
    assert_int_equal(build(TWO_EXITS, 600, 0), 0);
    assert_int_equal(shell("cp -r %s/state %s/first"), 0);
    assert_int_equal(shell("cd %s/state/caches && mv manifest.json m && mkdir -p manifest.json/full"), 0);
    assert_int_equal(build(TWO_EXITS "--set cache.seed=9", 600, 1), 1);
    assert_non_null(strstr(output, "manifest.json"));
    assert_int_equal(shell("cd %s/state/caches && rm -r manifest.json && mv m manifest.json"), 0);
    assert_int_equal(tool("eval", data, 1), 0);
    assert_in_range(tool("verify-promise", TWO_EXITS "--resamples 1", 1), 0, 1);
    assert_null(strstr(output, "build"));
    assert_int_equal(build(TWO_EXITS "--set cache.seed=9", 600, 0), 0); /* which draws other centroids */
    assert_int_equal(shell("test $(ls %s/state/caches/evidence-* | wc -l) = 1"), 0);
    assert_int_equal(shell("cp %s/first/caches/evidence-* $(ls %s/state/caches/evidence-*)"), 0);
    assert_int_equal(tool("verify-promise", TWO_EXITS "--resamples 1", 1), 1);
    assert_non_null(strstr(output, "of another build"));
    assert_int_equal(shell("cp %s/first/caches/a-*.cache $(ls %s/state/caches/a-*.cache)"), 0);
    assert_int_equal(tool("eval", data, 1), 1);
    assert_non_null(strstr(output, "of another build"));
    assert_int_equal(shell("rm -r %s/first"), 0);
}

/* Of the same width and yet something else. */
static void caches_serve_where_they_were_built(void **state)
{
    static const char *const moved[] = {
        "--set exits='[{name: a, after: /blocks.0/Relu_1}]'",
        "--set exits='[{name: a, after: /blocks.1/Relu_1}]' --set cache.grids='[2, 1]'",
        "--set exits='[{name: a, after: /blocks.1/Relu_1}]' --set cache.flatten=true",
    };
    char arguments[512];
    assert_int_equal(
        build("--set updates.sample=0.3 --set exits='[{name: a, after: /blocks.1/Relu_1}]'", 600, 1), 0);
    assert_non_null(strstr(output, "updates.sample: 0.3 teaches nothing under cache.threshold: risk"));
    for (int i = 0; i < 3; i++) {
        snprintf(arguments, sizeof arguments, "%s --data cifar10:%s/d.bin#1200-1249", moved[i], folder);
        assert_int_equal(tool("eval", arguments, 1), 1);
        assert_non_null(strstr(output, "exit a was built after `/blocks.1/Relu_1` (grids 1,2 of"));
        assert_int_equal(tool("up", moved[i], 1), 1);
        assert_non_null(strstr(output, "exit a was built after `/blocks.1/Relu_1` (grids 1,2 of"));
    }
    assert_int_equal(shell("cd %s/state/caches && cp a-*.cache kept && truncate -s 1000 a-*.cache"), 0);
    assert_int_equal(tool("up", "--set exits='[{name: a, after: /blocks.1/Relu_1}]'", 1), 1);
    assert_non_null(strstr(output, ".cache: "));
    assert_null(strstr(output, "teaches nothing"));
    assert_int_equal(
        tool("up", "--set updates.sample=0.2 --set exits='[{name: b, after: /blocks.1/Relu_1}]'", 1), 1);
    assert_non_null(strstr(output, "updates.sample: 0.2 teaches nothing"));
    assert_non_null(strstr(output, "exit b is number 1 in the pipeline file, a in the caches"));
    assert_int_equal(build("--set exits='[{name: a, after: /blocks.1/Relu_1}, {name: b, after: "
                           "/blocks.3/Relu_1}]'",
                           600, 1),
                     0);
    assert_int_equal(tool("up", "--set exits='[{name: a, after: /blocks.1/Relu_1}]'", 1), 1);
    assert_non_null(strstr(output, "the promise was made for caches at exit b too"));
    snprintf(arguments, sizeof arguments,
             "--set exits='[{name: a, after: /blocks.1/Relu_1}]' --data cifar10:%s/d.bin#1200-1249", folder);
    assert_int_equal(tool("eval", arguments, 1), 0);
    assert_non_null(strstr(output, "the pipeline file asks for no cache at exit b"));
}

/* The times that decide the order of thresholds outlive a build that cannot end. */
static void times_are_kept_at_once(void **state)
{
    char more[128];
    json_t *root, *kept, *exit;
    FILE *f;
    size_t i;
    snprintf(more, sizeof more, "--set state=%s/timed", folder);
    assert_int_equal(shell("mkdir -p %s/timed/caches/manifest.json/full"), 0);
    assert_int_equal(build(more, 600, 1), 1);
    snprintf(more, sizeof more, "cat %s/timed/build/times/*.json", folder);
    f = popen(more, "r");
    assert_non_null(f);
    kept = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
    assert_int_equal(pclose(f), 0);
    assert_non_null(kept);
    assert_int_equal(shell("rm -r %s/timed/caches/manifest.json"), 0);
    snprintf(more, sizeof more, "--set state=%s/timed", folder);
    assert_int_equal(build(more, 600, 0), 0);
    root = parsed();
    json_array_foreach(json_object_get(json_object_get(root, "promise"), "exits"), i, exit)
    {
        double lookup = json_number_value(json_array_get(json_object_get(kept, "lookup"), i));
        assert_true(lookup > 0 && fabs(number(exit, "lookup_time") - lookup) < 1e-6);
    }
    assert_int_equal(i, json_array_size(json_object_get(kept, "lookup")));
    assert_int_equal(shell("test $(ls %s/timed/build/times | wc -l) = 1 && rm -r %s/timed"), 0);
    json_decref(root);
    json_decref(kept);
}

/* Of an exit, the entry of `kinds` that won. */
static const char *winner(const json_t *kinds, const char *exit, int *entries)
{
    const char *won = NULL;
    json_t *x;
    size_t i;
    *entries = 0;
    json_array_foreach(json_object_get(kinds, "entries"), i, x)
    {
        if (strcmp(json_string_value(json_object_get(x, "exit")), exit))
            continue;
        (*entries)++;
        assert_true(number(x, "bytes") > 0 && number(x, "lookup_time") > 0 && number(x, "time_alone") > 0);
        if (json_is_true(json_object_get(x, "won"))) {
            assert_null(won);
            won = json_string_value(json_object_get(x, "kind"));
        }
    }
    return won;
}

static void kinds_are_compared(void **state)
{
    static const char exits[] = "--set exits='[{name: a, after: /blocks.1/Relu_1}, {name: b, after: "
                                "/blocks.3/Relu_1}, {name: c, after: /blocks.5/Relu_1, kind: knn}]'";
    char arguments[512];
    json_t *root, *kinds, *m, *exit;
    char *first, *second;
    size_t i;
    assert_int_equal(build("--kinds kmeans,tree", 600, 1), 2);
    assert_non_null(strstr(output, "'tree'"));
    snprintf(arguments, sizeof arguments, "--kinds kmeans,learned %s", exits);
    assert_int_equal(build(arguments, 600, 0), 0);
    root = parsed();
    kinds = json_object_get(root, "kinds");
    m = manifest();
    assert_true(json_is_true(json_object_get(m, "compared")));
    assert_int_equal(json_array_size(json_object_get(m, "exits")), 3);
    json_array_foreach(json_object_get(m, "exits"), i, exit)
    { /* what won is what is kept; the file's own word counts */
        int entries;
        const char *won = winner(kinds, json_string_value(json_object_get(exit, "name")), &entries);
        assert_int_equal(entries, i == 2 ? 1 : 2);
        assert_string_equal(won, json_string_value(json_object_get(exit, "kind")));
        assert_true(i != 2 || !strcmp(won, "knn"));
    }
    assert_true(number(kinds, "time") <= number(json_object_get(kinds, "time_everywhere"), "learned") &&
                number(kinds, "time") <= number(json_object_get(kinds, "time_everywhere"), "kmeans"));
    json_array_foreach(json_object_get(root, "exits"), i, exit)
    { /* generated pictures have labels, and accuracy is what is promised */
        json_t *recipe = json_object_get(exit, "recipe");
        assert_true(!recipe || json_is_true(json_object_get(recipe, "true_labels")));
    }
    first = json_dumps(kinds, JSON_SORT_KEYS);
    json_decref(root);
    assert_int_equal(build(arguments, 600, 0), 0); /* everything is there already */
    root = parsed();
    second = json_dumps(json_object_get(root, "kinds"), JSON_SORT_KEYS);
    assert_string_equal(first, second);
    free(first);
    free(second);
    json_decref(root);
    snprintf(arguments, sizeof arguments, "%s --data cifar10:%s/d.bin#1200-1249 --json", exits, folder);
    assert_int_equal(tool("eval", arguments, 0), 0);
    root = parsed();
    json_array_foreach(json_object_get(root, "exits"), i, exit) assert_string_equal(
        json_string_value(json_object_get(exit, "kind")),
        json_string_value(json_object_get(json_array_get(json_object_get(m, "exits"), i), "kind")));
    json_decref(root);
    json_decref(m);
}

/* Of the series of `name`, the entry at the largest loss. */
static const json_t *boldest(const json_t *frontier, const char *name)
{
    json_t *s;
    size_t i;
    json_array_foreach(json_object_get(frontier, "series"), i, s)
    {
        const json_t *at = json_object_get(s, "at");
        if (!strcmp(json_string_value(json_object_get(s, "caches")), name) && json_array_size(at) == 5)
            return json_array_get(at, 4);
    }
    fail_msg("no series %s", name);
    return NULL;
}

static void frontier_is_drawn(void **state)
{
    static const char *const names[] = {"kmeans", "learned", "as built"}; /* the last: knn at one exit */
    static const char exits[] = "--set exits='[{name: a, after: /blocks.1/Relu_1}, {name: b, after: "
                                "/blocks.3/Relu_1}, {name: c, after: /blocks.5/Relu_1, kind: knn}]'";
    char arguments[512], path[128], text[64] = "";
    const json_t *frontier;
    json_t *root;
    FILE *f;
    snprintf(path, sizeof path, "%s/frontier.svg", folder);
    snprintf(arguments, sizeof arguments, "%s --data cifar10:%s/d.bin#1200-1399 --frontier %s --json", exits,
             folder, path);
    assert_int_equal(tool("eval", arguments, 0), 0);
    root = parsed();
    frontier = json_object_get(root, "frontier");
    assert_true(number(frontier, "requests") == 200);
    for (int i = 0; i < 3; i++) {
        const json_t *at = boldest(frontier, names[i]), *fast = json_object_get(at, "fastest"),
                     *half = json_object_get(at, "by_half");
        assert_true(number(at, "max_loss") == 0.02 && number(fast, "loss") <= 0.02 &&
                    number(half, "loss") <= 0.02);
        assert_true(number(fast, "mean_time_share") <= 1 && number(fast, "mean_ms") > 0);
        assert_true(number(half, "early_share") == number(half, "by_half_share"));
    }
    assert_true(number(json_object_get(boldest(frontier, "learned"), "by_half"), "by_half_share") > 0.3);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_int_equal(strncmp(text, "<svg ", 5), 0);
    fclose(f);
    json_decref(root);
    /* Other exits than those that were built: the kinds that do not fit are named, not used. */
    snprintf(
        arguments, sizeof arguments,
        "--set exits='[{name: a, after: /blocks.1/Relu_1}]' --data cifar10:%s/d.bin#1200-1399 --frontier "
        "%s",
        folder, path);
    assert_int_equal(tool("eval", arguments, 0), 0);
    assert_non_null(strstr(output, "left out   kmeans: its exit b is not in the pipeline file"));
    snprintf(arguments, sizeof arguments, "%s --data cifar10:%s/d.bin --limit 9 --frontier %s", exits, folder,
             path);
    assert_int_equal(tool("eval", arguments, 1), 2);
    assert_non_null(strstr(output, "--limit"));
}

static void half_certainty_has_no_bound(void **state)
{
    static const char half[] = "--set cache.certainty=0.5";
    char arguments[1024];
    json_t *root, *promise;
    assert_int_equal(build(half, 600, 0), 0);
    root = parsed();
    promise = json_object_get(root, "promise");
    assert_true(json_is_number(json_object_get(promise, "loss")));
    assert_true(json_is_null(json_object_get(promise, "loss_upper")));
    json_decref(root);
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%s/d.bin#0-599 --calibrate cifar10:%s/d.bin#600-1199 %s", folder, folder, half);
    assert_int_equal(tool("build", arguments, 0), 0);
    assert_non_null(strstr(output, "(point estimate, no bound)"));
}

static void resampling_is_judged(void **state)
{
    json_t *root;
    int status;
    status = tool("verify-promise", "--resamples 40 --json", 0);
    root = parsed();
    assert_true(number(root, "resamples") == 40 && number(root, "points") == 600);
    assert_int_equal(json_is_true(json_object_get(root, "kept")), number(root, "broken") <= 6);
    assert_int_equal(json_is_true(json_object_get(root, "kept")), number(root, "p_value") >= 0.01);
    assert_true(number(root, "broken_share_low") <= number(root, "broken_share") &&
                number(root, "broken_share_high") >= number(root, "broken_share"));
    assert_int_equal(status, json_is_true(json_object_get(root, "kept")) ? 0 : 1);
    json_decref(root);
}

static void what_cannot_be_promised_is_refused(void **state)
{
    json_t *m;
    assert_int_equal(build("", 100, 1), 2);
    assert_non_null(strstr(output, "100 calibration points cannot promise"));
    assert_non_null(strstr(output, "at least 213 are needed"));
    assert_int_equal(tool("verify-promise", "--set cache.max_accuracy_loss=0.1", 1), 1);
    assert_non_null(strstr(output, "are needed"));
    assert_int_equal(build("--set cache.threshold=max-wrong", 600, 0), 0);
    assert_null(strstr(output, "\"promise\""));
    m = manifest();
    assert_false(json_is_true(json_object_get(m, "promised")));
    json_decref(m);
    assert_int_equal(tool("verify-promise", "", 1), 1);
    assert_non_null(strstr(output, "promise nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(build_states_what_it_promises),
        cmocka_unit_test(the_exits_that_stand_share_all_of_the_memory),
        cmocka_unit_test(exits_left_out_have_no_cache),
        cmocka_unit_test(resampling_is_judged),
        cmocka_unit_test(what_was_promised_is_what_is_told),
        cmocka_unit_test(what_cannot_be_promised_is_refused), /* leaves a build without a promise */
        cmocka_unit_test(half_certainty_has_no_bound),
        cmocka_unit_test(builds_do_not_mix),
        cmocka_unit_test(caches_serve_where_they_were_built),
        cmocka_unit_test(times_are_kept_at_once),
        cmocka_unit_test(kinds_are_compared),
        cmocka_unit_test(frontier_is_drawn),
    };
    return cmocka_run_group_tests_name("build under a promise", tests, prepare, remove_folder);
}
