/* test_slurm_up.c - a job that is waited for while Slurm is busy, against programs with Slurm's names */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/hosts/slurm_job.h"
#include "deploy/launch/slurm_up.h"
#include "deploy/process/word.h"

#define UNUSED __attribute__((unused))

struct world {
    char folder[64];
    struct pipeline *pipeline;
};

/* An executable file in the world's folder, which is first in PATH. */
static void program(const struct world *w, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    assert_non_null(f = fopen(path, "w"));
    fprintf(f, "#!/bin/sh\ncd '%s' || exit 1\n%s", w->folder, text);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
}

static struct world begin(void)
{
    struct world w = {.folder = "/tmp/freezeline-slurm-XXXXXX"};
    char yaml[256], path[4096];
    struct error e = {0};

    assert_non_null(mkdtemp(w.folder));
    snprintf(yaml, sizeof yaml, "model: m.onnx\nname: net\nstages: 2\nstate: %s/state\n", w.folder);
    if (pipeline_parse(&w.pipeline, yaml, strlen(yaml), "P.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s:%s", w.folder, getenv("PATH"));
    setenv("PATH", path, 1);
    return w;
}

static void end(struct world *w)
{
    char line[128];

    pipeline_free(w->pipeline);
    snprintf(line, sizeof line, "rm -r %s", w->folder);
    assert_int_equal(system(line), 0);
}

#define BUSY "echo 'slurm_load_jobs error: Socket timed out on send/recv operation' >&2\nexit 1\n"

static void a_job_is_kept_while_slurm_is_busy_or_lets_it_wait(void UNUSED **state)
{
    struct world w = begin();
    const struct pipeline_arguments a = {.path = "P.yaml"};
    struct error e = {0};
    char job[SLURM_ID_BYTES];

    program(&w, "sbatch", "cat >/dev/null\necho 7\n");
    program(&w, "scancel", "exit 1\n");
    program(&w, "squeue",
            "[ -e asked ] || { : >asked\n" BUSY "}\necho 7 >state/run/job-ready\necho SUSPENDED\n");
    if (slurm_up(w.pipeline, &a, 60, &e))
        fail_msg("%s", e.text);
    assert_true(slurm_submitted(w.pipeline, job));
    assert_string_equal(job, "7");
    program(&w, "squeue", BUSY);
    assert_true(slurm_submitted(w.pipeline, job));
    assert_int_equal(slurm_up(w.pipeline, &a, 60, &e), FL_UNAVAILABLE); /* not a second one */
    program(&w, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n");
    assert_false(slurm_submitted(w.pipeline, job));
    program(&w, "squeue", "echo COMPLETED\n");
    assert_false(slurm_submitted(w.pipeline, job));
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_kept_while_slurm_is_busy_or_lets_it_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
