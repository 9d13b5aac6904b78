/* test_cli.c - the tool on wrong command lines and wrong files: one clear line, the right exit status */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/data/npy.h"

static char output[65536];

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char *programs(void)
{
    const char *build = getenv("FREEZELINE_BUILD");
    return build ? build : "build/release";
}

/* Returns the exit status, -1 when a signal ended it. */
static int shell(const char *line)
{
    size_t got = 0, k;
    FILE *f = popen(line, "r");
    int status;

    assert_non_null(f);
    while (got < sizeof output - 1 && (k = fread(output + got, 1, sizeof output - 1 - got, f)) > 0)
        got += k;
    output[got] = 0;
    status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs `freezeline ARGUMENTS` ('@' stands for the folder). */
static int tool(const char *arguments)
{
    char line[2048];
    size_t n = (size_t)snprintf(line, sizeof line, "{ %s/freezeline ", programs());

    for (const char *c = arguments; *c && n < sizeof line - 64; c++) {
        if (*c == '@')
            n += (size_t)snprintf(line + n, sizeof line - n, "%s", folder);
        else
            line[n++] = *c;
    }
    snprintf(line + n, sizeof line - n, "; } 2>&1 </dev/null");
    return shell(line);
}

static int lines(void)
{
    int n = 0;
    for (const char *c = output; *c; c++)
        n += *c == '\n';
    return n;
}

struct call {
    const char *arguments;
    int status;
    const char *says;
};

static void check(const struct call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int status = tool(calls[i].arguments);
        if (status != calls[i].status || !strstr(output, calls[i].says) || lines() != 1)
            fail_msg("freezeline %s: status %d, expected %d, one line with '%s'; it said:\n%s",
                     calls[i].arguments, status, calls[i].status, calls[i].says, output);
    }
}

static void test_usage(void **state)
{
    static const struct call calls[] = {
        {"", 2, "--help"},
        {"inspct m.onnx", 2, "did you mean 'inspect'?"},
        {"xyzzy", 2, "unknown command 'xyzzy'"},
        {"stop", 2, "did you mean 'down'?"},
        {"inspect", 2, "MODEL.onnx is missing"},
        {"inspect a b", 2, "unexpected argument 'b'"},
        {"up my.yaml", 2, "did you mean -c my.yaml?"},
        {"inspect a --jsn", 2, "did you mean --json?"},
        {"inspect a --json=yes", 2, "takes no value"},
        {"profile a --threads", 2, "--threads needs a value"},
        {"profile a --threads two", 2, "takes a number"},
        {"profile a --threads 0", 2, "out of range"},
        {"profile a --threads 1.5", 2, "whole number"},
        {"profile a --threads=1e99", 2, "out of range"},
        {"run a --rtol nan", 2, "takes a number"},
        {"eval", 2, "--data is missing"},
        {"bench", 2, "--data is missing"},
        {"bench --data x --closed 1 --arrivals mmpp", 2, "exclude one another"},
        {"bench --data x --arrivals poisson", 2, "needs --rate"},
        {"bench --data x --arrivals trace:t --rate 1", 2, "leave --rate out"},
        {"bench --data x --rate 1e7", 2, "out of range"},
        {"bench --data x --rate -1", 2, "out of range"},
        {"bench --data x --scenario servr", 2, "did you mean server?"},
        {"bench --data x --scenario server", 2, "needs --target-ms"},
        {"bench --data x --scenario offline --target-ms 3", 2, "belongs to --scenario server"},
        {"bench --data x --scenario offline --rate 3", 2, "a load of its own"},
        {"bench --data x --scenario offline --sweep", 2, "exclude one another"},
        {"bench --data x --sweep --requests 9", 2, "leave --requests out"},
        {"bench --data x --sweep --closed 1", 2, "leave --closed out"},
        {"bench --data x --report @/same --output @/same", 2, "given for two files"},
        {"bench --data x --trace /nowhere/x", 1, "cannot write /nowhere/x"},
        {"bench --data x --rounds 10", 2, "belongs to --against"},
        {"bench --data x --trace @/t --against whole --against traced:0.1", 2,
         "--against traced:0.1 exclude"},
        {"build -c x.yaml", 2, "--train and --calibrate"},
        {"status", 2, "-c P.yaml is missing"},
        {"up -c configs/demo/demo.yaml --on cloud", 2, "local"},
        {"simulate -c x.yaml --rate 3", 2, "--measured FILE is missing"},
        {"simulate -c x.yaml --measured m.json", 2, "--sweep"},
        {"simulate -c x.yaml --measured m.json --rate 3 --closed 3", 2, "exclude"},
        {"simulate -c x.yaml --measured m.json --rate 3 --search", 2, "--target-p99-ms"},
        {"simulate -c x.yaml --measured m.json --rate 3 --target-p99-ms 5", 2, "belongs to --search"},
        {"simulate -c configs/demo/demo.yaml --measured @/absent.json --rate 3", 1, "absent.json: "},
    };
    check(calls, sizeof calls / sizeof calls[0]);
}

/* A list that does not fit the model is refused by whatever meets the model. */
static void test_lists_that_do_not_fit(void **state)
{
    static const struct call calls[] = {
        {"up -c configs/demo/demo.yaml --set state=@/s --set input.std=[1,2]", 2,
         "--set input.std: input.std has 2 entries, the model takes 1x3x32x32"},
        {"infer -c configs/demo/demo.yaml --set labels=[a,b] --input @/x.png", 2,
         "labels has 2 names, the model has 10"},
        {"build -c configs/demo/demo.yaml --set input.mean=[1,2] --train cifar10:@/r.bin --calibrate "
         "cifar10:@/r.bin",
         2, "input.mean has 2 entries"},
        {"eval -c configs/demo/demo.yaml --set input.mean=[1,2] --data cifar10:@/r.bin", 2,
         "input.mean has 2 entries"},
        {"bench -c configs/demo/demo.yaml --set input.mean=[1,2] --data cifar10:@/r.bin", 2,
         "input.mean has 2 entries"},
    };
    char record[3074], path[256];
    FILE *f;

    memset(record, 0, sizeof record);
    snprintf(path, sizeof path, "%s/r.bin", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(record, 1, 3073, f);
    fclose(f);
    check(calls, sizeof calls / sizeof calls[0]);
}

static void test_help(void **state)
{
    static const char *const commands[] = {"inspect", "run",      "profile", "plan",           "build",
                                           "eval",    "up",       "status",  "logs",           "down",
                                           "infer",   "bench",    "top",     "verify-promise", "simulate",
                                           "cache",   "feedback", "apply",   "restart",        "scale"};
    static const char *const other_ways[] = {"help up", "up -h", "help up --json"};
    char arguments[64];

    assert_int_equal(tool("--help"), 0);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        assert_int_equal(tool("--help"), 0);
        assert_non_null(strstr(output, commands[i]));
        snprintf(arguments, sizeof arguments, "%s --help", commands[i]);
        assert_int_equal(tool(arguments), 0);
        assert_non_null(strstr(output, "usage: freezeline "));
        assert_non_null(strstr(output, "example"));
        assert_non_null(strstr(output, "--json"));
    }
    for (size_t i = 0; i < sizeof other_ways / sizeof *other_ways; i++) {
        assert_int_equal(tool(other_ways[i]), 0);
        assert_non_null(strstr(output, "usage: freezeline up [options]"));
    }
    assert_int_equal(tool("help"), 0);
    assert_non_null(strstr(output, "usage: freezeline COMMAND"));
    assert_int_equal(tool("help upp"), 2);
    assert_non_null(strstr(output, "did you mean 'up'?"));
}

static void test_bad_files(void **state)
{
    static const struct call calls[] = {
        {"inspect @/none.onnx", 1, "none.onnx"},
        {"inspect @", 1, "freezeline inspect: "},
        {"inspect @/garbage.onnx", 1, "garbage.onnx"},
        {"inspect @/empty.onnx", 1, "empty.onnx"},
        {"status -c @/none.yaml", 2, "none.yaml"},
        {"status -c @/key.yaml", 2, "key.yaml:2:1"},
        {"status -c @/type.yaml", 2, "type.yaml:2"},
        {"status -c @/broken.yaml", 2, "broken.yaml:"},
        {"eval -c configs/demo/demo.yaml --data cifar10:@/short.bin", 1, "short.bin"},
        {"eval -c configs/demo/demo.yaml --data mnist:x", 2, "cifar10:FILE"},
        {"eval -c configs/demo/demo.yaml --data cifar10:@/one.bin#0-1", 2, "out of range"},
        {"eval -c configs/demo/demo.yaml --data folder:@/nowhere", 1, "nowhere"},
        {"eval -c @/good.yaml --set nonsense=1 --data x", 2, "nonsense"},
        {"up -c @/good.yaml", 1, "good.yaml: "},
        {"logs -c @/good.yaml", 1, "no logs"},
        {"down -c @/good.yaml --drain -1", 2, "out of range"},
        {"profile tests/data/tiny.onnx --runs 2000000", 2, "--runs 2000000 is out of range: 1 to 1000000"},
    };
    char *record = calloc(1, 3073);
    char path[256];
    FILE *f;

    assert_non_null(record);
    put("garbage.onnx", "this is no protobuf at all, whatever it is");
    put("empty.onnx", "");
    put("key.yaml", "model: m.onnx\nmodle: x\n");
    put("type.yaml", "model: m.onnx\nbroker: {retries: many}\n");
    put("broken.yaml", "model: [\n");
    put("good.yaml", "model: m.onnx\nstate: state\n");
    put("short.bin", "short");
    snprintf(path, sizeof path, "%s/one.bin", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(record, 1, 3073, f);
    fclose(f);
    free(record);
    check(calls, sizeof calls / sizeof calls[0]);
}

static void write_npy(const char *name, enum tensor_dtype dtype, int64_t n, int64_t side)
{
    struct tensor t = {.dtype = dtype, .rank = 4, .dim = {n, 3, side, side}};
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    assert_int_equal(npy_write(&t, path, NULL), FL_OK);
    tensor_release(&t);
}

#define FREE "tests/conformance/cases/load_free_height_and_width/model.onnx"

static void test_run(void **state)
{
    static const struct call wrong[] = {
        {"run tests/data/tiny.onnx", 2, "--input for 'input' is missing"},
        {"run tests/data/tiny.onnx --input x.txt", 2, ".npy and .pb"},
        {"run tests/data/tiny.onnx --input @/none.npy", 1, "none.npy"},
        {"run tests/data/tiny.onnx --input @/x.npy --input @/x.npy", 2, "only 1"},
        {"run tests/data/tiny.onnx --input foo=@/x.npy", 2, "foo"},
        {"run tests/data/tiny.onnx --input input=@/x.npy --input input=@/x.npy", 2, "given twice"},
        {"run tests/data/tiny.onnx --input @/bytes.npy", 1, "uint8"},
        {"run tests/data/tiny.onnx --input @/small.npy", 1, "the model wants 16"},
        {"run tests/data/tiny.onnx --input @/x.npy --kernels fast", 2, "onednn"},
        {"run tests/data/tiny.onnx --input @/x.npy --output @/y.txt", 2, ".npy and .pb"},
    };
    static const struct call free_sizes[] = {
        {"inspect " FREE, 1, "such as --shape x=1x3x224x224"},
        {"inspect " FREE " --shape 1x3x16x16x", 2, "write [NAME=]DIMS"},
        {"inspect " FREE " --shape 1x0x16x16", 2, "write [NAME=]DIMS"},
        {"inspect " FREE " --shape z=1x3x16x16", 2, "no input 'z'"},
        {"run " FREE " --input z=@/x.npy", 2, "no input 'z'"},
        {"run " FREE " --input @/x.npy --shape 2x3x16x15", 1, "has 1536 elements, not 1440"},
        {"run " FREE " --input x=@/x.npy --shape 2x3x16x16", 2, "no --input goes by that name or place"},
    };
    static const char *const right[] = {
        "inspect " FREE " --shape 1x3x16x16",
        "inspect " FREE " --shape x=1x3x16x16 --json",
        "profile " FREE " --shape 1x3x16x16 --runs 1",
        "run " FREE " --input @/x.npy",
        "run " FREE " --input x=@/x.npy",
        "run " FREE " --input x=@/x.npy --shape x=4x3x8x16",
        "run " FREE " --input @/x.npy --shape 1x3x32x16 --expect @/y2.npy",
    };

    write_npy("x.npy", TENSOR_F32, 2, 16);
    assert_int_equal(tool("run " FREE " --input @/x.npy --shape x=1x3x32x16"), 2);
    assert_int_equal(tool("run " FREE " --input @/x.npy --shape 1x3x32x16 --output @/y2.npy"), 0);
    check(free_sizes, sizeof free_sizes / sizeof free_sizes[0]);
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(tool(right[i]), 0);
    write_npy("bytes.npy", TENSOR_U8, 1, 16);
    write_npy("small.npy", TENSOR_F32, 1, 15);
    check(wrong, sizeof wrong / sizeof wrong[0]);
    assert_int_equal(tool("run tests/data/tiny.onnx --input @/x.npy --output @/y.npy --kernels reference"),
                     0);
    assert_int_equal(tool("run tests/data/tiny.onnx --input input=@/x.npy --expect logits=@/y.npy --json"),
                     0);
    assert_non_null(strstr(output, "\"ok\": true"));
    assert_non_null(strstr(output, "\"max_abs_error\""));
    assert_int_equal(tool("run tests/data/tiny.onnx --input @/x.npy --output @/y.pb"), 0);
    assert_int_equal(tool("run tests/data/tiny.onnx --input @/x.npy --expect @/y.pb"), 0);
    assert_int_equal(tool("run tests/data/tiny.onnx --input @/x.npy --expect @/x.npy"), 1);
    assert_non_null(strstr(output, "MISMATCH"));
}

/* A table that a full disk cut off is no result: whoever reads only the exit status must hear of it. */
static void test_full_disk(void **state)
{
    static const struct call calls[] = {
        {"--help >/dev/full", 1, "freezeline: cannot write to standard output: No space left on device"},
        {"inspect tests/data/tiny.onnx >/dev/full", 1, "freezeline inspect: cannot write"},
        {"inspect tests/data/tiny.onnx --json >/dev/full", 1, "standard output"},
    };

    if (access("/dev/full", W_OK))
        skip();
    check(calls, sizeof calls / sizeof calls[0]);
}

/* On a terminal a table is no wider than that, and tells all the same. */
static void test_narrow_terminal(void **state)
{
    static char whole[sizeof output];
    char line[1024], *word, *rest = whole;
    const char *row = output;

    if (system("command -v script >/dev/null"))
        skip();
    assert_int_equal(tool("inspect tests/data/tiny.onnx"), 0);
    assert_non_null(strstr(output, " - layer 1, 6%\n 1  block1.relu1 "));
    strcpy(whole, output);
    snprintf(line, sizeof line,
             "script -qec 'stty cols 50; %s/freezeline inspect tests/data/tiny.onnx' /dev/null </dev/null",
             programs());
    assert_int_equal(shell(line), 0);
    assert_non_null(strstr(output, "\n    FLOPs: 110.6 k; parameters: 224; activation:\r\n"));
    for (; (row = strchr(row, '\n')); row++)
        if (row[1] == ' ')
            assert_true(strcspn(row + 1, "\r") <= 50);
    while ((word = strsep(&rest, " \n")))
        assert_non_null(strstr(output, word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_lists_that_do_not_fit),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_narrow_terminal),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
