/* test_batch.c - the script for sbatch: what a job needs, and what cannot be said */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/launch/batch.h"

#define UNUSED __attribute__((unused))

static struct pipeline *parsed(const char *yaml)
{
    struct pipeline *p;
    struct error e = {0};

    if (pipeline_parse(&p, yaml, strlen(yaml), "P.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    return p;
}

static char *script(const char *yaml, const struct pipeline_arguments *a, int expected)
{
    struct pipeline *p = parsed(yaml);
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    assert_int_equal(batch_script(f, p, a, NULL), expected);
    fclose(f);
    pipeline_free(p);
    return text;
}

static void needs(const char *yaml, int nodes, int cpus)
{
    struct pipeline *p = parsed(yaml);

    assert_int_equal(batch_nodes(p), nodes);
    assert_int_equal(batch_cpus(p), cpus);
    pipeline_free(p);
}

static void nodes_and_processors(void UNUSED **state)
{
    needs("model: m.onnx\nstages: 3\n", 3, 2);
    needs("model: m.onnx\nstages: [{last: x, threads: 4, replicas: 3}, {}]\n", 2, 8);
    needs("model: m.onnx\nsecurity: none\nhosts: [{name: a}, {name: b}, {name: c}]\nstages: [{last: x, "
          "threads: 4, replicas: "
          "3}, {}]\n",
          3, 6);
    needs("model: m.onnx\nlaunch: {slurm: {nodes: 5, cpus: 7}}\nstages: 3\n", 5, 7);
}

static void the_script_has_all_that_sbatch_needs(void UNUSED **state)
{
    const struct pipeline_arguments a = {.path = "P.yaml", .sets = {.n = 1, .item = {"labels=it's"}}};
    char *text = script("model: m.onnx\nname: net\nstate: /tmp/a b\nstages: 2\n"
                        "launch: {slurm: {partition: cpu, time: '1:00:00', options: ['--comment=a b']}}\n",
                        &a, FL_OK);
    static const char *const lines[] = {
        "#!/bin/sh\n",
        "\n#SBATCH --nodes=2\n",
        "\n#SBATCH --cpus-per-task=2\n",
        "\n#SBATCH --requeue\n",
        "\n#SBATCH --job-name=freezeline-net\n",
        "\n#SBATCH --output=\"/tmp/a b/logs/slurm-%j.log\"\n",
        "\n#SBATCH --partition=cpu\n",
        "\n#SBATCH --time=1:00:00\n",
        "\n#SBATCH \"--comment=a b\"\n",
        " up --on slurm --foreground -c P.yaml --set 'labels=it'\\''s'\n",
    };

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("no line `%s` in:\n%s", lines[i], text);
    free(text);
}

static void what_sbatch_cannot_read_is_refused(void UNUSED **state)
{
    static const char *const wrong[] = {"partition: 'a\"b'", "options: ['-w x']", "account: 'a\\b'"};
    char yaml[200];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(yaml, sizeof yaml, "model: m.onnx\nlaunch: {slurm: {%s}}\n", wrong[i]);
        free(script(yaml, &(struct pipeline_arguments){0}, FL_CONFIG));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_and_processors),
        cmocka_unit_test(the_script_has_all_that_sbatch_needs),
        cmocka_unit_test(what_sbatch_cannot_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
