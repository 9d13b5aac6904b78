/* test_namespaces.c - the pipeline over three hosts: network namespaces joined by a bridge, tcp between them
 *
 * Each process is started from its role and the pipeline file alone. Namespaces need root and iproute2; where
 * they cannot be made the tests are skipped and say so. The bridge lies in a namespace of its own, so nothing
 * of the machine's network is touched.
 */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deploy/data/npy.h"

#define HOSTS 3

static const char yaml[] = "name: tiny\n"
                           "security: none\n"
                           "stages:\n"
                           "  - {last: block1.out, replicas: [{host: a, endpoint: 'tcp://10.77.0.1:7100'}]}\n"
                           "  - {last: block2.out, replicas: [{host: b, endpoint: 'tcp://10.77.0.2:7101'}]}\n"
                           "  - {replicas: [{host: c, endpoint: 'tcp://10.77.0.3:7102'}]}\n"
                           "broker:\n"
                           "  requests: 'tcp://10.77.0.1:7000'\n"
                           "  control: 'tcp://10.77.0.1:7001'\n"
                           "  results: 'tcp://10.77.0.1:7002'\n"
                           "cache: {kind: kmeans, endpoints: ['tcp://10.77.0.2:7200']}\n";

static char name[HOSTS + 1][32]; /* of the namespaces; the last one holds the bridge */
static char skip_reason[256];

/* Runs a shell line quietly; true when it went well. */
static bool shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool shell(const char *format, ...)
{
    char line[1024];
    va_list args;
    size_t n;

    va_start(args, format);
    n = (size_t)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    snprintf(line + n, sizeof line - n, " >/dev/null 2>&1");
    return system(line) == 0;
}

static bool join(int i)
{
    const char *host = name[i], *bridge = name[HOSTS];

    return shell("ip link add fz%d-%d netns %s type veth peer name eth0 netns %s", (int)getpid() % 10000, i,
                 bridge, host) &&
           shell("ip -n %s link set fz%d-%d master br0 up", bridge, (int)getpid() % 10000, i) &&
           shell("ip -n %s addr add 10.77.0.%d/24 dev eth0", host, i + 1) &&
           shell("ip -n %s link set eth0 up", host) && shell("ip -n %s link set lo up", host);
}

static int make_namespaces(void **state)
{
    for (int i = 0; i <= HOSTS; i++)
        snprintf(name[i], sizeof name[i], "freezeline-%d-%c", (int)getpid(), 'a' + i);
    if (geteuid() != 0) {
        snprintf(skip_reason, sizeof skip_reason, "not root");
        return 0;
    }
    for (int i = 0; i <= HOSTS; i++) {
        if (!shell("ip netns add %s", name[i])) {
            snprintf(skip_reason, sizeof skip_reason, "`ip netns add` does not work here");
            return 0;
        }
    }
    if (!shell("ip -n %s link add br0 type bridge", name[HOSTS]) ||
        !shell("ip -n %s link set br0 up", name[HOSTS])) {
        snprintf(skip_reason, sizeof skip_reason, "no bridge can be made here");
        return 0;
    }
    for (int i = 0; i < HOSTS; i++)
        if (!join(i))
            snprintf(skip_reason, sizeof skip_reason, "no veth pairs can be made here");
    return 0;
}

static int remove_namespaces(void **state)
{
    for (int i = 0; i <= HOSTS; i++)
        shell("ip netns delete %s", name[i]);
    return 0;
}

static bool skipped(void)
{
    if (skip_reason[0]) {
        print_message("skipped: no network namespaces: %s\n", skip_reason);
        skip();
    }
    return skip_reason[0] != 0;
}

/* Starts `program` in a namespace; nsenter becomes the program, so its pid is the harness's to end. */
static int spawn_in(struct harness *h, int host, const char *program, const char *const *arguments)
{
    const char *env = getenv("FREEZELINE_BUILD");
    char net[128], path[HARNESS_PATH];
    const char *argv[24] = {"nsenter", net, "--", path};
    int n = 4;

    snprintf(net, sizeof net, "--net=/run/netns/%s", name[host]);
    snprintf(path, sizeof path, "%s/%s", env ? env : "build/release", program);
    for (; *arguments; arguments++)
        argv[n++] = *arguments;
    return harness_spawn_path(h, "nsenter", argv);
}

static int start(struct harness *h, int host, const char *program, const char *stage)
{
    const char *arguments[] = {"-c", harness_config(h), stage ? "--stage" : NULL, stage, "--replica", "0",
                               NULL};
    return spawn_in(h, host, program, arguments);
}

static void write_images(struct harness *h, char *path, size_t size)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {8, 3, 16, 16}};
    struct error e;

    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = (float)((i * 53 % 97) - 48) / 48;
    snprintf(path, size, "%s/x.npy", harness_dir(h));
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
}

static void test_three_hosts(void **state)
{
    struct harness *h;
    char images[HARNESS_PATH], data[HARNESS_PATH + 8];
    int broker, stage[HOSTS], bench;

    if (skipped())
        return;
    h = harness_new(NULL, yaml);
    write_images(h, images, sizeof images);
    snprintf(data, sizeof data, "npy:%s", images);
    broker = start(h, 0, "freezeline-broker", NULL);
    start(h, 1, "freezeline-cache", NULL);
    for (int i = 0; i < HOSTS; i++) {
        const char number[2] = {(char)('0' + i), 0};
        stage[i] = start(h, i, "freezeline-stage", number);
    }
    for (int i = 0; i < HOSTS; i++)
        harness_expect(h, stage[i], " ready: ", 1);
    harness_expect(h, broker, "every stage has a ready worker", 1);
    bench = spawn_in(h, 2, "freezeline",
                     (const char *const[]){"bench", "-c", harness_config(h), "--data", data, "--closed", "4",
                                           "--requests", "200", "--json", NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    assert_true(harness_count(h, bench, "\"answered\": 200") > 0);
    assert_int_equal(harness_count(h, bench, "\"errors_by_kind\": {}"), 1);
    harness_free(h);
}

/* Without `security: none` the same addresses are refused, by every role. */
static void test_refused_without_leave(void **state)
{
    struct harness *h;
    int process;

    if (skipped())
        return;
    h = harness_new(NULL, yaml);
    process = spawn_in(h, 0, "freezeline-broker",
                       (const char *const[]){"-c", harness_config(h), "--set", "security=loopback", NULL});
    assert_int_equal(harness_wait(h, process), 2);
    assert_true(harness_count(h, process, "loopback") > 0);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_hosts),
        cmocka_unit_test(test_refused_without_leave),
    };
    return cmocka_run_group_tests(tests, make_namespaces, remove_namespaces);
}
