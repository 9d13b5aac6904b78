/* test_pipeline.c - pipeline files: what is filled in, what is refused and in which words
 *
 * `test_pipeline --write-reference` prints configs/reference.yaml.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "config/pipeline.h"
#include "config/precision.h"
#include "config/variants.h"
#include "config/yaml_reader.h"

static struct pipeline *parse(const char *text, int n_sets, const char *const *sets)
{
    struct pipeline *p = NULL;
    struct error e = {0};
    if (pipeline_parse(&p, text, strlen(text), "/home/u/p.yaml", sets, n_sets, &e))
        fail_msg("%s", e.text);
    return p;
}

static void refused_bytes(const char *text, size_t size, const char *says)
{
    struct pipeline *p = (struct pipeline *)1;
    struct error e = {0};
    assert_int_equal(pipeline_parse(&p, text, size, "p.yaml", NULL, 0, &e), FL_CONFIG);
    assert_null(p);
    assert_int_equal(e.code, FL_CONFIG);
    assert_null(strchr(e.text, '\n'));
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static void refused(const char *text, const char *says)
{
    refused_bytes(text, strlen(text), says);
}

static void refused_set(const char *set, int code, const char *says)
{
    static const char text[] = "model: m\nstages:\n  - {last: a}\n  - threads: 2\n";
    struct pipeline *p;
    struct error e = {0};
    assert_int_equal(pipeline_parse(&p, text, strlen(text), "p.yaml", &set, 1, &e), code);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static void test_variants(void **state)
{
    struct pipeline *p = parse("model: m\n"
                               "variants:\n  - {name: full}\n  - name: low\n    set: [precision=int8]\n"
                               "  - {name: small, file: small.yaml}\n"
                               "choose: cascade\nbudget: {latency_ms: 10}\n",
                               0, NULL);
    char *set;
    assert_int_equal(p->n_variants, 3);
    assert_string_equal(p->variant[1].set[0], "precision=int8");
    assert_string_equal(p->variant[2].file, "/home/u/small.yaml");
    assert_int_equal(p->choose, CHOOSE_CASCADE);
    assert_float_equal(p->budget.latency_ms, 10, 0);
    assert_float_equal(p->budget.max_accuracy_loss, 1, 0);
    pipeline_free(p);
    set = pipeline_absolute_set("model=small.onnx", "/home/u/p.yaml");
    assert_string_equal(set, "model=/home/u/small.onnx");
    free(set);
    refused("model: m\nvariants: [{name: a, set: [x=1]}]\n", "is the pipeline of this file itself");
    refused("model: m\nvariants: [{name: a}, {name: b}]\n", "write either `file: FILE.yaml` or `set");
    refused("model: m\nvariants: [{name: a}, {name: a, file: f}]\n", "two variants are called `a`");
    refused("model: m\nvariants: [{}]\n", "a variant has no `name`");
    refused("model: m\nvariants: [{name: 1},{name: 2},{name: 3},{name: 4},{name: 5},{name: 6},{name: 7},"
            "{name: 8},{name: 9}]\n",
            "variants has more than 8 items");
}

/* A variant of the same file: what it sets, and a state of its own. */
static void test_a_variant_is_a_pipeline(void **state)
{
    static const char text[] = "model: m.onnx\nvariants:\n  - {name: full}\n  - {name: low, set: "
                               "[precision=bfloat16, 'stages=2']}\n  - {name: gone, file: no.yaml}\n";
    const char *typed = "stages=4";
    char folder[] = "/tmp/test_pipelineXXXXXX", path[64], expected[128];
    struct pipeline *front, *p;
    struct error e = {0};
    FILE *f;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.yaml", folder);
    assert_non_null(f = fopen(path, "w"));
    fputs(text, f);
    fclose(f);
    assert_int_equal(pipeline_load(&front, path, &typed, 1, &e), FL_OK);
    assert_int_equal(variant_load(&p, front, "low", &typed, 1, &e), FL_OK);
    snprintf(expected, sizeof expected, "%s/variants/low", front->state);
    assert_string_equal(p->state, expected);
    assert_string_equal(p->precision, "bfloat16");
    assert_int_equal(p->n_stages, 2);
    assert_int_equal(p->n_variants, 0);
    pipeline_free(p);
    assert_int_equal(variant_load(&p, front, "full", &typed, 1, &e), FL_OK);
    assert_string_equal(p->state, front->state);
    assert_int_equal(p->n_stages, 4);
    pipeline_free(p);
    assert_int_equal(variant_load(&p, front, "gone", NULL, 0, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "variant gone: cannot read"));
    assert_int_equal(variant_load(&p, front, "other", NULL, 0, &e), FL_NOT_FOUND);
    assert_non_null(strstr(e.text, "it has full, low, gone"));
    pipeline_free(front);
    remove(path);
    remove(folder);
}

static void test_one_line_is_enough(void **state)
{
    struct pipeline *p = parse("model: models/net.onnx\n", 0, NULL);
    assert_string_equal(p->model, "/home/u/models/net.onnx");
    assert_string_equal(p->name, "net");
    assert_string_equal(p->state, "/home/u/.freezeline/net");
    assert_string_equal(p->broker.requests, "ipc:///home/u/.freezeline/net/sock/requests");
    assert_string_equal(p->stage[0].replica[0].endpoint, "ipc:///home/u/.freezeline/net/sock/stage.0.0");
    assert_string_equal(p->stage[0].replica[0].host, "local");
    assert_string_equal(p->cache.endpoint[0], "ipc:///home/u/.freezeline/net/sock/cache.0");
    assert_string_equal(p->cache.kind, "kmeans");
    assert_int_equal(p->security.mode, SECURITY_LOOPBACK);
    assert_null(p->redis.endpoint);
    assert_true(p->exits_auto);
    assert_int_equal(p->n_exits, 0);
    assert_int_equal(p->n_stages, 1);
    assert_int_equal(p->stage[0].n_replicas, 1);
    assert_null(p->stage[0].last);
    assert_int_equal(p->cache.descriptor.n_grids, 3);
    assert_int_equal(p->cache.descriptor.grid[2], 4);
    assert_int_equal(p->cache.seed, 1);
    assert_int_equal(p->n_mean, 0);
    pipeline_free(p);
}

static const char whole[] =
    "# a pipeline\n"
    "model: /m/net.onnx\n"
    "input: {mean: [1, 2, 3], std: [4, 5, 6.5]}\n"
    "labels: [cat, dog]\n"
    "\n"
    "# where to look\n"
    "exits:\n"
    "  - {name: early, after: /a/Relu, kind: knn}\n"
    "  - after: \"/b/Relu\"\n"
    "# how to cut\n"
    "stages:\n"
    "  - {last: early, threads: 2}\n"
    "  - last: /b/Relu\n"
    "    replicas:\n"
    "      - {cpus: [0, 3]}\n"
    "      - {host: b, endpoint: 'tcp://127.0.0.1:99', cache: 1}\n"
    "  - batch: 4\n"
    "\n"
    "# the rest\n"
    "cache: {endpoints: ['ipc:///c0', 'ipc:///c1'], grids: [7], memory_mb: 0.5, seed: 9}\n"
    "redis: {managed: yes}\n";

static void check_whole(const struct pipeline *p)
{
    assert_int_equal(p->n_mean, 3);
    assert_true(p->std[2] == 6.5f && p->mean[0] == 1);
    assert_int_equal(p->n_labels, 2);
    assert_string_equal(p->label[1], "dog");
    assert_false(p->exits_auto);
    assert_int_equal(p->n_exits, 2);
    assert_string_equal(p->exit[0].kind, "knn");
    assert_string_equal(p->exit[1].name, "exit2");
    assert_null(p->exit[1].kind);
    assert_int_equal(p->n_stages, 3);
    assert_string_equal(p->stage[0].last, "/a/Relu"); /* an exit's name became its node's */
    assert_int_equal(p->stage[0].threads, 2);
    assert_int_equal(p->stage[1].n_replicas, 2);
    assert_int_equal(p->stage[1].replica[0].n_cpus, 2);
    assert_int_equal(p->stage[1].replica[0].cpu[1], 3);
    assert_string_equal(p->stage[1].replica[1].endpoint, "tcp://127.0.0.1:99");
    assert_string_equal(p->stage[1].replica[1].host, "b");
    assert_int_equal(p->stage[1].replica[1].cache, 1);
    assert_int_equal(p->stage[2].max_batch, 4);
    assert_int_equal(p->cache.descriptor.n_grids, 1);
    assert_int_equal(p->cache.seed, 9);
    assert_string_equal(p->redis.endpoint, "unix:/m/state/redis");
}

/* ".." is taken out of paths where that can't lead elsewhere. */
static void test_paths_are_tidy(void **state)
{
    char dir[] = "/tmp/freezeline-pipeline-XXXXXX", file[64], other[64], expected[64];
    static const char text[] = "model: m.onnx\nstate: ../state\n";
    struct pipeline *p;
    struct error e = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/real", dir);
    snprintf(other, sizeof other, "%s/link", dir);
    assert_int_equal(mkdir(file, 0700), 0);
    assert_int_equal(symlink(file, other), 0);

    snprintf(file, sizeof file, "%s/real/p.yaml", dir);
    assert_int_equal(pipeline_parse(&p, text, strlen(text), file, NULL, 0, &e), FL_OK);
    snprintf(expected, sizeof expected, "%s/state", dir);
    assert_string_equal(p->state, expected);
    pipeline_free(p);

    snprintf(file, sizeof file, "%s/link/p.yaml", dir);
    assert_int_equal(pipeline_parse(&p, text, strlen(text), file, NULL, 0, &e), FL_OK);
    snprintf(expected, sizeof expected, "%s/link/../state", dir);
    assert_string_equal(p->state, expected);
    pipeline_free(p);

    snprintf(file, sizeof file, "%s/real", dir);
    unlink(other);
    rmdir(file);
    rmdir(dir);
}

static void test_everything(void **state)
{
    const char *sets[] = {"redis.endpoint=unix:/m/state/redis"};
    struct pipeline *p = parse(whole, 1, sets);
    check_whole(p);
    pipeline_free(p);
}

static void test_sets_win(void **state)
{
    const char *sets[] = {
        "stages.0.replicas=3", "stages.1.replicas=1", "cache.grids=[1, 2]", "exits.1.name=late",
        "broker.retries=7",    "labels.1=fish",       "state=/s",           "stages.2.threads=4"};
    struct pipeline *p = parse(whole, 8, sets);
    char cwd[2048], expected[2100];
    assert_int_equal(p->stage[0].n_replicas, 3);
    assert_string_equal(p->stage[0].replica[2].endpoint, "ipc:///s/sock/stage.0.2");
    assert_int_equal(p->stage[1].n_replicas, 1);
    assert_string_equal(p->stage[1].replica[0].endpoint, "ipc:///s/sock/stage.1.0");
    assert_int_equal(p->cache.descriptor.n_grids, 2);
    assert_string_equal(p->exit[1].name, "late");
    assert_int_equal(p->broker.retries, 7);
    assert_string_equal(p->label[1], "fish");
    assert_int_equal(p->stage[2].threads, 4);
    pipeline_free(p);
    p = parse(whole, 2, (const char *const[]){"exits=none", "stages=2"});
    assert_int_equal(p->n_exits, 0);
    assert_int_equal(p->n_stages, 2);
    assert_null(p->stage[0].last);
    pipeline_free(p);
    p = parse("model: a\n", 1, (const char *const[]){"model=x/y.onnx"}); /* from where the command is typed */
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected, "%s/x/y.onnx", cwd);
    assert_string_equal(p->model, expected);
    pipeline_free(p);
}

static void test_sets_that_are_refused(void **state)
{
    refused_set(
        "broker.retires=2", FL_CONFIG,
        "--set broker.retires: unknown key `broker.retires`; the nearest known key is `broker.retries`");
    refused_set("broker.retries=x", FL_CONFIG,
                "--set broker.retries: broker.retries takes a whole number from 0 to 16, not `x`");
    refused_set("broker=[1]", FL_CONFIG, "--set broker: broker takes keys of its own");
    refused_set("cache.grids=[1,", FL_CONFIG, "--set cache.grids: not valid YAML");
    refused_set("stages.9.threads=1", FL_CONFIG, "there is no stages.9: the next one is stages.2");
    refused_set("no-equals", FL_USAGE, "write --set KEY=VALUE");
    refused_set("=3", FL_USAGE, "write --set KEY=VALUE");
}

static void test_how_long_a_process_may_be_silent(void **state)
{
    struct pipeline *p;

    p = parse("model: m\nbroker: {dead_after_ms: 3000}\n", 0, NULL);
    assert_int_equal(p->broker.hung_after_ms, 15000);
    pipeline_free(p);
    p = parse("model: m\nbroker: {dead_after_ms: 400}\n", 0, NULL);
    assert_int_equal(p->broker.hung_after_ms, 10000);
    pipeline_free(p);
    p = parse("model: m\nbroker: {dead_after_ms: 3000, hung_after_ms: 0}\n", 0, NULL);
    assert_int_equal(p->broker.hung_after_ms, 0);
    pipeline_free(p);
    refused("model: m\nbroker: {hung_after_ms: 5000}\n",
            "must be at least 3 times broker.dead_after_ms (2000), or 0");
}

/* Caches under a promise learn with Redis, unless they are told not to; else nothing is sampled. */
static void test_updates_under_a_promise(void **state)
{
    struct pipeline *p;
    p = parse("model: m\n", 0, NULL);
    assert_true(p->updates.sample == 0.1 && p->updates.learn);
    pipeline_free(p);
    p = parse("model: m\ncache: {threshold: risk}\n", 0, NULL);
    assert_true(p->updates.sample == 0 && p->updates.audit == 0.01);
    pipeline_free(p);
    p = parse("model: m\nredis: {managed: true}\nupdates: {sample: 0.3}\ncache: {threshold: risk}\n", 0,
              NULL);
    assert_true(p->updates.sample == 0.3);
    pipeline_free(p);
    p = parse("model: m\nredis: {managed: true}\nupdates: {learn: false, sample: 0.3}\n"
              "cache: {threshold: risk}\n",
              0, NULL);
    assert_true(p->updates.sample == 0 && p->updates.in_vain == 0.3);
    pipeline_free(p);
}

/* In lower precision the build says what is left of the promise; without one nothing begins. */
static void test_lower_precision(void **state)
{
    static const char *const yaml[] = {
        "model: m\nredis: {managed: true}\ncache: {threshold: risk}\nstages: 2\n",
        "model: m\nredis: {managed: true}\ncache: {threshold: risk}\nstages: 2\nprecision: int8\n",
        "model: m\nredis: {managed: true}\ncache: {threshold: risk}\nstages: 2\nprecision: auto\n",
        "model: m\nredis: {managed: true}\ncache: {threshold: risk}\nstages: 2\nwire_dtype: bfloat16\n",
    };
    for (int i = 0; i < 4; i++) {
        struct pipeline *p = parse(yaml[i], 0, NULL);
        assert_true(p->updates.learn && p->updates.sample > 0);
        assert_int_equal(precision_lower(p), i > 0);
        pipeline_free(p);
    }
}

static void test_bad_keys_and_types(void **state)
{
    refused("model: m\nbrokr:\n  retries: 2\n",
            "p.yaml:2:1: unknown key `brokr`; the nearest known key is `broker`");
    refused("model: m.onnx\nstagse: 2\n",
            "p.yaml:2:1: unknown key `stagse`; the nearest known key is `stages`");
    refused("model: m\nbroker:\n  retrys: 2\n",
            "p.yaml:3:3: unknown key `broker.retrys`; the nearest known key is `broker.retries`");
    refused("retries: 2\n", "p.yaml:1:1: unknown key `retries`; the nearest known key is `broker.retries`");
    refused("model: m\nstages:\n  - {thread: 2}\n",
            "p.yaml:3:6: unknown key `stages.0.thread`; the nearest known key is `stages.#.threads`");
    refused("model: m\nbroker: {retries: two}\n",
            "p.yaml:2:19: broker.retries takes a whole number from 0 to 16, not `two`");
    refused("model: m\nbroker: {retries: 17}\n", "from 0 to 16, not `17`");
    refused("model: m\nbroker: {retries: 99999999999999999999}\n", "from 0 to 16");
    refused("model: m\nupdates: {sample: nan}\n", "a number from 0 to 1, not `nan`");
    refused("model: m\ncache: {flatten: 1}\n", "true or false");
    refused("model: m\ncache: {kind: lru}\n",
            "p.yaml:2:15: cache.kind takes knn, kmeans, learned or none, not `lru`");
    refused("model: m\ncache: {threshold: luck}\n", "takes max-wrong or risk");
    refused("model: m\ncache: {certainty: 1}\n", "a number from 0.5 to 0.999");
    refused("model: m\nkernels: cuda\n", "auto, onednn, openblas or reference");
    refused("model: [a]\n", "p.yaml:1:8: model takes the path of a file or directory, not a list");
    refused("model: m\nstages: {a: 1}\n",
            "stages takes a whole number from 1 to 16, or a list, not a mapping");
    refused("model: m\nbroker: 3\n", "p.yaml:2:9: broker takes keys of its own");
    refused("model: m\nname: ../evil\n", "a name of up to 63");
    refused("- model\n", "the file must be a mapping");
    refused("model: m\nexits: some\n", "auto or none");
}

static void test_bad_yaml(void **state)
{
    refused("", "p.yaml: the file is empty");
    refused("model: m\n  x: [\n", "p.yaml:2:4: not valid YAML");
    refused("model: m\nbroker:\n\tretries: 3\n", "p.yaml:3:1: not valid YAML: a tab: indent with blanks");
    refused("model: m\nmodel: n\n", "p.yaml:2:1: key `model` is there twice");
    refused("model: m\n---\nmodel: n\n", "second document");
    refused("model: m\nstages: &a\n  - {replicas: *a}\n", "an alias leads back");
    refused("model: *nowhere\n", "undefined alias");
    refused("model: \xff\n", "p.yaml:1:8: not valid YAML");
    refused("? [a]\n: b\n", "a key must be a word");
    refused("model: m\nbroker.retries: 3\n", "a key must be a word");
    refused("model: \"a\\nb\"\n", "control character");
    refused_bytes("model: \"a\\0b\"\n", 14, "NUL character");
    refused("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
            "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\n",
            "the file has too many values");
}

static void test_bounds_of_files(void **state)
{
    static char big[YAML_MAX_BYTES + 2];
    char deep[400] = "model: m\nlabels: ";
    memset(big, '#', YAML_MAX_BYTES + 1);
    refused_bytes(big, YAML_MAX_BYTES + 1, "larger than");
    strcpy(big, "model: ");
    memset(big + 7, 'm', 5000);
    strcpy(big + 5007, "\n");
    refused(big, "the value is too long");
    for (int i = 0; i < 40; i++)
        strcat(deep, "[");
    for (int i = 0; i < 40; i++)
        strcat(deep, "]");
    refused(deep, "nested too deeply");
}

static void test_what_does_not_fit_together(void **state)
{
    refused("name: x\n", "p.yaml: `model` is missing");
    refused("model: m\ninput: {shape: [3, 224, 224]}\n", "p.yaml:2:16: input.shape is that of one request");
    refused("model: m\ninput: {shape: [1, 0]}\n", "input.shape.#");
    refused("model: m\ninput: {std: [0]}\n", "not `0`");
    refused("model: m\ninput: {mean: [1, 2, 3, 4, 5]}\n", "more than 4 items");
    refused("model: m\nexits:\n  - {name: a}\n", "p.yaml:3:5: exit `a` has no `after`");
    refused("model: m\nexits:\n  - {name: a, after: x}\n  - {name: a, after: y}\n",
            "p.yaml:4:12: two exits are called `a`");
    refused("model: m\nexits:\n  - {after: x}\n  - {after: x}\n", "stand after the same layer");
    refused("model: m\nstages:\n  - {last: x}\n", "the last stage ends with the model");
    refused("model: m\nstages:\n  - {last: x}\n  - {threads: 1}\n  - {threads: 1}\n",
            "p.yaml:4:5: stage 1 has no `last`");
    refused("model: m\nstages:\n  - replicas:\n      - {cache: 3}\n", "cache 3 is none of cache.endpoints");
    refused("model: m\nbroker: {heartbeat_ms: 1000, dead_after_ms: 1500}\n", "at least twice");
    refused("model: m\ncache: {grids: []}\n", "cache.grids is empty");
    refused("model: m\ncache:\n  grids: [1, 2, 1]\n", "p.yaml:3:17: cache.grids has 1 twice");
    refused("model: m\nstages:\n  - replicas:\n      - {cpus: [3, 3]}\n",
            "p.yaml:4:20: stages.0.replicas.0.cpus has 3 twice");
    refused("model: m\nlabels: nowhere.txt\n", "p.yaml:2:9: cannot read labels from");
    refused("model: m\nlabels: /dev/zero\n", "not a text file");
    refused("model: m\nstages: [1]\n", "stages.# takes keys of its own");
    refused("model: m\nstages: 17\n", "from 1 to 16");
    refused("model: m\nstages:\n  - {replicas: 16, last: a}\n  - {replicas: 16, last: b}\n  - {replicas: 16, "
            "last: c}\n  - {replicas: 16}\n",
            "too many");
}

/* One value stands for all channels, with or without brackets. */
static void test_lists_of_one(void **state)
{
    struct pipeline *p = parse("model: m\ninput: {mean: 128, std: [64]}\ncache: {grids: 8}\nlabels: [a, b]\n"
                               "stages:\n  - replicas:\n      - {cpus: 1}\n",
                               1, (const char *const[]){"input.mean=127.5"});
    assert_true(p->n_mean == 1 && p->n_std == 1 && p->n_labels == 2);
    assert_true(pipeline_mean(p, 0) == 127.5f && pipeline_mean(p, 2) == 127.5f && pipeline_std(p, 3) == 64);
    assert_true(p->cache.descriptor.n_grids == 1 && p->cache.descriptor.grid[0] == 8);
    assert_true(p->stage[0].replica[0].n_cpus == 1 && p->stage[0].replica[0].cpu[0] == 1);
    pipeline_free(p);
    p = parse("model: m\ninput: {std: 255}\n", 0, NULL);
    assert_true(pipeline_mean(p, 1) == 0 && pipeline_std(p, 1) == 255);
    pipeline_free(p);
    refused("model: m\ninput: {mean: {a: 1}}\n", "takes a list");
    refused("model: m\ninput: {mean: many}\n", "p.yaml:2:15: input.mean.# takes a number");
}

/* What a message points at: the entry, else the nearest of its parents, else the file. */
static void test_errors_of_later(void **state)
{
    struct pipeline *p = parse("model: m\nexits:\n  - after: x\n", 1, (const char *const[]){"labels.0=cat"});
    struct error e;
    assert_int_equal(pipeline_error(p, "exits.0.after", &e, "no %s", "layer"), FL_CONFIG);
    assert_string_equal(e.text, "/home/u/p.yaml:3:12: no layer");
    pipeline_error(p, "exits.0.kind", &e, "x");
    assert_string_equal(e.text, "/home/u/p.yaml:3:5: x");
    pipeline_error(p, "labels.0", &e, "x");
    assert_string_equal(e.text, "--set labels.0: x");
    pipeline_error(p, "nowhere", &e, "x");
    assert_string_equal(e.text, "/home/u/p.yaml: x");
    pipeline_free(p);
}

static void doubted(const char *input, const char *says)
{
    char text[200], doubt[512];
    struct pipeline *p;
    snprintf(text, sizeof text, "model: m\ninput: %s\n", input);
    p = parse(text, 0, NULL);
    pipeline_units_doubt(p, doubt, sizeof doubt);
    if (*says ? !strstr(doubt, says) : *doubt)
        fail_msg("%s: \"%s\" does not say \"%s\"", input, doubt, says);
    pipeline_free(p);
}

static void test_units_of_mean_and_std(void **state)
{
    doubted(
        "{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}",
        "p.yaml:2:15: pixels are 0 to 255 here, and this looks like units of 0 to 1: write `mean: [123.675, "
        "116.28, 103.53]` and `std: [58.395, 57.12, 57.375]` (times 255)");
    doubted("{mean: 0.5, std: 0.5}", "write `mean: 127.5` and `std: 127.5`");
    doubted("{mean: 0.5}", "write `mean: 127.5` and `std: 255`");
    doubted("{std: 0.25}", "p.yaml:2:14: ");
    doubted("{mean: [0.485, 0.456, 0.406], std: [58.395, 57.12, 57.375]}",
            "write `mean: [123.675, 116.28, 103.53]` and `std: [58.395, 57.12, 57.375]`");
    doubted("{mean: [124, 116, 104], std: [0.25, 0.25, 0.25]}",
            "write `mean: [124, 116, 104]` and `std: [63.75, 63.75, 63.75]`");
    doubted("{mean: [125.3, 123, 113.9], std: [63, 62.1, 66.7]}", "");
    doubted("{mean: [104, 117, 123]}", "");
    doubted("{std: 255}", "");
    doubted("{mean: 0, std: 1}", "");
    doubted("{}", "");
}

static void test_endpoints(void **state)
{
    struct pipeline *p;
    char text[256];
    refused("model: m\nbroker: {requests: 'tcp://10.0.0.1:5555'}\n",
            "p.yaml:2:20: endpoint `tcp://10.0.0.1:5555` is not loopback");
    refused("model: m\nbroker: {requests: here}\n", "write tcp://HOST:PORT or ipc://PATH");
    refused("model: m\nbroker: {requests: 'ipc:///a', control: 'ipc:///a'}\n", "is used twice");
    refused("model: m\nredis: {endpoint: localhost}\n", "unix:PATH or HOST:PORT");
    refused("model: m\nsecurity: none\nbroker: {requests: 'tcp://*:5555'}\n",
            "nobody can connect to it: name the host");
    refused("model: m\nsecurity: none\nbroker: {requests: 'tcp://[::]:5555'}\n", "nobody can connect to it");
    refused("model: m\nbroker: {requests: 'tcp://127.0.0.1:*'}\n", "has no port that others could know");
    refused("model: m\nbroker: {requests: 'tcp://127.0.0.1:0'}\n", "has no port that others could know");
    refused("model: m\nbind: '*'\n", "bind: `*` is not loopback");
    refused("model: m\nsecurity: none\nbind: 'a b'\n", "bind: `a b` is not understood");
    p = parse("model: m\nsecurity: none\nbind: '*'\nbroker: {requests: 'tcp://broker.example:5555'}\n", 0,
              NULL);
    assert_string_equal(p->bind, "*");
    pipeline_free(p);
    p = parse("model: m\nbind: '::1'\n", 0, NULL);
    pipeline_free(p);
    p = parse("model: m\nsecurity: none\nbroker: {requests: 'tcp://10.0.0.1:5555', results: 'ipc://here'}\n",
              0, NULL);
    assert_string_equal(p->broker.results, "ipc:///home/u/here");
    pipeline_free(p);
    memset(text, 'd', sizeof text);
    memcpy(text, "model: m\nstate: /", 17);
    strcpy(text + 130, "\n");
    p = parse(text, 0, NULL); /* too long for a socket's address */
    assert_memory_equal(p->broker.requests, "ipc:///tmp/freezeline-", 22);
    pipeline_free(p);
}

static void test_brokers(void **state)
{
    struct pipeline *p = parse("model: m\nbroker: {replicas: 2, requests: 'ipc://here'}\n", 0, NULL);
    struct error e;
    assert_int_equal(pipeline_brokers(p), 2);
    assert_string_equal(pipeline_broker(p, 0).requests, "ipc:///home/u/here");
    assert_string_equal(pipeline_broker(p, 1).requests, "ipc:///home/u/.freezeline/m/sock/requests.1");
    assert_string_equal(p->broker.requests, "ipc:///home/u/here");
    assert_int_equal(pipeline_be_broker(p, 1, &e), FL_OK);
    assert_string_equal(p->broker.results, "ipc:///home/u/.freezeline/m/sock/results.1");
    assert_string_equal(pipeline_broker(p, 0).requests, "ipc:///home/u/here");
    assert_int_equal(pipeline_be_broker(p, 2, &e), FL_USAGE);
    pipeline_free(p);
    p = parse("model: m\nbroker: {replicas: [{http: '127.0.0.1:1'}, {control: 'tcp://127.0.0.1:7'}]}\n", 0,
              NULL);
    assert_string_equal(p->broker.http, "127.0.0.1:1");
    assert_string_equal(pipeline_broker(p, 1).control, "tcp://127.0.0.1:7");
    assert_null(pipeline_broker(p, 1).http);
    pipeline_free(p);
    refused("model: m\nbroker: {replicas: 5}\n", "broker.replicas takes a whole number from 1 to 4");
    refused("model: m\nbroker: {replicas: [{}, {}, {}, {}, {}]}\n", "broker.replicas");
    refused("model: m\nbroker: {replicas: [{}, {requests: 'ipc:///a', results: 'ipc:///a'}]}\n",
            "is used twice");
    refused("model: m\nbroker: {replicas: [{}, {requests: 'tcp://10.0.0.1:5'}]}\n",
            "p.yaml:2:36: endpoint `tcp://10.0.0.1:5` is not loopback");
    refused("model: m\nbroker: {http: '127.0.0.1:1', replicas: [{}, {http: '127.0.0.1:1'}]}\n",
            "is used by two brokers");
    refused("model: m\nbroker: {replicas: [{}, {http: '10.0.0.1:1'}]}\n", "is not loopback");
}

static void test_labels_from_a_file(void **state)
{
    char path[] = "/tmp/freezeline-test-XXXXXX", text[100];
    int fd = mkstemp(path);
    struct pipeline *p;
    assert_int_equal(write(fd, "cat\r\ndog\nmouse", 14), 14);
    close(fd);
    snprintf(text, sizeof text, "model: m\nlabels: %s\n", path);
    p = parse(text, 0, NULL);
    assert_int_equal(p->n_labels, 3);
    assert_string_equal(p->label[0], "cat");
    assert_string_equal(p->label[2], "mouse");
    pipeline_free(p);
    unlink(path);
}

static void test_missing_file(void **state)
{
    struct pipeline *p;
    struct error e = {0};
    assert_int_equal(pipeline_load(&p, "/nowhere/p.yaml", NULL, 0, &e), FL_CONFIG);
    assert_string_equal(e.text, "cannot read the pipeline file /nowhere/p.yaml: No such file or directory");
    assert_int_equal(pipeline_load(&p, "/", NULL, 0, &e), FL_CONFIG);
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 65536);
    assert_non_null(f);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    return text;
}

static void test_rewrite_keeps_the_rest(void **state)
{
    char path[] = "/tmp/freezeline-test-XXXXXX";
    int fd = mkstemp(path);
    struct pipeline *p, *q;
    struct error e = {0};
    char *text;
    assert_int_equal(write(fd, whole, sizeof whole - 1), (int)sizeof whole - 1);
    close(fd);
    assert_int_equal(
        pipeline_load(&p, path, (const char *const[]){"redis.endpoint=unix:/m/state/redis"}, 1, &e), FL_OK);
    assert_int_equal(pipeline_rewrite(p, path, &e), FL_OK);
    assert_int_equal(
        pipeline_load(&q, path, (const char *const[]){"redis.endpoint=unix:/m/state/redis"}, 1, &e), FL_OK);
    check_whole(q);
    pipeline_free(q);
    free(p->stage[0].last);
    p->stage[0].last = strdup("odd \"name\": #\\");
    p->stage[1].n_replicas--; /* its strings are still freed below */
    assert_int_equal(pipeline_rewrite(p, path, &e), FL_OK);
    p->stage[1].n_replicas++;
    text = slurp(path);
    assert_non_null(strstr(text, "# a pipeline\nmodel: /m/net.onnx\n"));
    assert_non_null(strstr(text, "\n# where to look\nexits:\n"));
    assert_non_null(strstr(text, "\n# how to cut\nstages:\n"));
    assert_non_null(strstr(text, "\n\n# the rest\ncache: {"));
    free(text);
    assert_int_equal(pipeline_load(&q, path, NULL, 0, &e), FL_OK);
    assert_string_equal(q->stage[0].last, "odd \"name\": #\\");
    assert_int_equal(q->stage[1].n_replicas, 1);
    pipeline_free(q);
    pipeline_free(p);
    unlink(path);
}

static void test_rewrite_adds_what_is_not_there(void **state)
{
    char path[] = "/tmp/freezeline-test-XXXXXX";
    int fd = mkstemp(path);
    struct pipeline *p;
    struct error e = {0};
    assert_int_equal(write(fd, "{model: m, stages: 2}\n", 22), 22);
    assert_int_equal(pipeline_load(&p, path, NULL, 0, &e), FL_OK);
    assert_int_equal(pipeline_rewrite(p, path, &e), FL_CONFIG); /* not line by line */
    pipeline_free(p);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "model: m", 8, 0), 8);
    close(fd);
    assert_int_equal(pipeline_load(&p, path, (const char *const[]){"stages=2"}, 1, &e), FL_OK);
    assert_int_equal(pipeline_rewrite(p, path, &e), FL_OK);
    pipeline_free(p);
    assert_int_equal(pipeline_load(&p, path, NULL, 0, &e), FL_OK);
    assert_int_equal(p->n_stages, 2);
    assert_true(p->exits_auto);
    pipeline_free(p);
    unlink(path);
}

static void test_reference_is_up_to_date(void **state)
{
    char *printed = NULL, *committed = slurp("configs/reference.yaml");
    size_t size;
    FILE *f = open_memstream(&printed, &size);
    struct pipeline *p;
    pipeline_print_reference(f);
    fclose(f);
    if (strcmp(printed, committed))
        fail_msg("configs/reference.yaml is old: write it with `test_pipeline --write-reference`");
    p = parse(committed, 0, NULL); /* and it is a pipeline file itself */
    pipeline_free(p);
    free(printed);
    free(committed);
}

/* The pipelines of the paper's experiment stand for what people write first. */
static void test_configs_are_pipelines(void **state)
{
    static const struct {
        const char *path;
        int labels;
    } file[] = {{"configs/cifar10-resnet18.yaml", 10},
                {"configs/cifar10-resnet18-learned.yaml", 10},
                {"configs/cifar100-resnet18-learned.yaml", 100},
                {"configs/imagenette-mobilenetv2-learned.yaml", 10}};
    for (size_t i = 0; i < sizeof file / sizeof file[0]; i++) {
        struct pipeline *p;
        struct error e = {0};
        if (pipeline_load(&p, file[i].path, NULL, 0, &e))
            fail_msg("%s", e.text);
        assert_int_equal(p->n_labels, file[i].labels);
        pipeline_free(p);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line_is_enough),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_a_variant_is_a_pipeline),
        cmocka_unit_test(test_paths_are_tidy),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_sets_win),
        cmocka_unit_test(test_sets_that_are_refused),
        cmocka_unit_test(test_how_long_a_process_may_be_silent),
        cmocka_unit_test(test_updates_under_a_promise),
        cmocka_unit_test(test_lower_precision),
        cmocka_unit_test(test_bad_keys_and_types),
        cmocka_unit_test(test_bad_yaml),
        cmocka_unit_test(test_bounds_of_files),
        cmocka_unit_test(test_what_does_not_fit_together),
        cmocka_unit_test(test_lists_of_one),
        cmocka_unit_test(test_errors_of_later),
        cmocka_unit_test(test_units_of_mean_and_std),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_brokers),
        cmocka_unit_test(test_labels_from_a_file),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_rewrite_keeps_the_rest),
        cmocka_unit_test(test_rewrite_adds_what_is_not_there),
        cmocka_unit_test(test_reference_is_up_to_date),
        cmocka_unit_test(test_configs_are_pipelines),
    };
    if (argc > 1 && !strcmp(argv[1], "--write-reference")) {
        pipeline_print_reference(stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
