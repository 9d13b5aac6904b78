/* test_slurm_transport.c - commands, files and what lives on, through the steps of a real Slurm job
 *
 * Outside of Slurm this program makes three hosts with Slurm (tests/hosts/world.sh) and runs itself there in
 * an allocation of all three. Where there is no root, no namespaces or no Slurm it is skipped and says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/hosts/slurm_job.h"
#include "deploy/hosts/transport.h"

#define UNUSED __attribute__((unused))

static const struct host three[] = {
    {.name = "a", .address = "h1"}, {.name = "b", .address = "h2"}, {.name = "h3"}};
static const struct host_list hosts = {three, 3};

static struct transport *open_slurm(const char *log)
{
    const struct transport_options o = {.log = log};
    struct transport *t;
    struct error e = {0};

    if (transport_open(&t, TRANSPORT_SLURM, &hosts, &o, &e))
        fail_msg("%s", e.text);
    return t;
}

static int shell(struct transport *t, int host, const char *script, char *out, size_t size)
{
    struct host_result r;
    struct error e = {0};

    if (transport_script(t, host, script, NULL, 300000, &r, &e))
        fail_msg("%s", e.text);
    if (out)
        snprintf(out, size, "%s", r.out);
    free(r.out);
    return r.status;
}

static int until(struct transport *t, int host, const char *script)
{
    char loop[1024];
    snprintf(loop, sizeof loop, "for i in $(seq 1200); do if %s; then exit 0; fi; sleep 0.1; done; exit 1",
             script);
    return shell(t, host, loop, NULL, 0);
}

static void the_allocation_says_its_nodes(void UNUSED **state)
{
    struct slurm_nodes *nodes = malloc(sizeof *nodes);

    assert_int_equal(slurm_nodes_here(nodes, NULL), FL_OK);
    assert_int_equal(nodes->n, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(nodes->name[i], ((const char *[]){"h1", "h2", "h3"})[i]);
        assert_int_equal(nodes->cpus[i], 2);
    }
    free(nodes);
}

static int says_its_name(struct transport *t, int host, void *arg, struct error *e)
{
    (void)e;
    return shell(t, host, "hostname; pwd; exit 7", (char *)arg + 64 * host, 64) == 7 ? FL_OK : FL_INTERNAL;
}

static void commands_run_in_the_home_folder_of_each_node(void UNUSED **state)
{
    struct transport *t = open_slurm(NULL);
    char said[3][64];

    assert_int_equal(transport_each(t, says_its_name, said, NULL), FL_OK);
    for (int i = 0; i < 3; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "h%d\n/root\n", i + 1);
        assert_string_equal(said[i], expected);
    }
    transport_close(t);
}

static void bytes_pass_as_they_are(void UNUSED **state)
{
    struct transport *t = open_slurm(NULL);
    const size_t size = 1000003;
    struct transport_bytes in = {malloc(size), size};
    char *argv[] = {(char *)"sh", (char *)"-c",
                    (char *)"cat >blob; md5sum <blob; wc -c <blob; tail -c 7 blob", NULL};
    struct host_result r;

    for (size_t i = 0; i < size; i++)
        ((char *)(uintptr_t)in.data)[i] = (char)(i * 7 + i / 251);
    assert_int_equal(transport_run(t, 1, argv, &in, 300000, &r, NULL), FL_OK);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "\n1000003\n"));
    assert_memory_equal(r.out + r.size - 7, (const char *)in.data + size - 7, 7);
    free(r.out);
    free((void *)(uintptr_t)in.data);
    transport_close(t);
}

static void what_takes_too_long_is_ended_there(void UNUSED **state)
{
    struct transport *t = open_slurm(NULL);
    char *argv[] = {(char *)"sleep", (char *)"4321", NULL};
    struct error e = {0};

    assert_int_equal(transport_run(t, 0, argv, NULL, 300, NULL, &e), FL_DEADLINE);
    assert_int_equal(until(t, 0, "! pgrep -f 'sleep [4]321'"), 0);
    transport_close(t);
}

/* Its exit status is told when it ends: 3 by SIGTERM. */
static void a_step_lives_on_and_its_end_is_told(void UNUSED **state)
{
    char log[] = "/tmp/freezeline-slurm-XXXXXX", text[4096] = "";
    char *argv[] = {(char *)"sh", (char *)"-c",
                    (char *)"trap 'echo asked; exit 3' TERM; echo \"it's here\"; sleep 1000 & wait", NULL};
    struct transport *t;
    struct error e = {0};
    int fd = mkstemp(log);

    t = open_slurm(log);
    if (transport_start(t, 2, argv, "logs/deep/step.log", &e))
        fail_msg("%s", e.text);
    transport_close(t);
    t = open_slurm(log);
    assert_int_equal(until(t, 2, "grep -q \"it's here\" logs/deep/step.log"), 0);
    assert_int_equal(shell(t, 2, "pkill -TERM -o -f 'trap .echo [a]sked'", NULL, 0), 0);
    assert_int_equal(until(t, 2, "grep -q asked logs/deep/step.log"), 0);
    for (int i = 0; i < 1200 && !strstr(text, "exit code 3"); i++) {
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        usleep(100000);
    }
    assert_non_null(strstr(text, "exit code 3"));
    transport_close(t);
    close(fd);
    unlink(log);
}

static void a_program_that_is_not_there_is_named(void UNUSED **state)
{
    struct transport *t = open_slurm(NULL);
    char *argv[] = {(char *)"/no/such/program", NULL};
    struct error e = {0};

    assert_int_equal(transport_start(t, 0, argv, "logs/none.log", &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "/no/such/program"));
    transport_close(t);
}

static void what_is_wrong_is_said(void UNUSED **state)
{
    static const struct host other[] = {{.name = "x", .address = "h9"}};
    static const struct host_list strange = {other, 1};
    struct transport *t;
    struct error e = {0};
    char *argv[] = {(char *)"true", NULL};

    assert_int_equal(transport_open(&t, TRANSPORT_SLURM, &strange, NULL, &e), FL_OK);
    assert_int_equal(transport_run(t, 0, argv, NULL, 0, NULL, &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "host x"));
    assert_non_null(strstr(e.text, "none of the job's"));
    transport_close(t);
    assert_int_equal(
        transport_open(&t, TRANSPORT_SLURM, &hosts, &(struct transport_options){.job = "99999"}, &e),
        FL_NOT_FOUND);
    assert_int_equal(
        transport_open(&t, TRANSPORT_SLURM, &hosts, &(struct transport_options){.job = "-x"}, &e), FL_USAGE);
}

/* A node that has just started takes no steps yet: srun says so, and is asked again. */
static void a_node_that_has_just_started_is_waited_for(void UNUSED **state)
{
    char folder[] = "/tmp/freezeline-srun-XXXXXX", line[1024], path[1024], *before = strdup(getenv("PATH")),
         out[64];
    struct transport *t = open_slurm(NULL);

    assert_non_null(mkdtemp(folder));
    snprintf(line, sizeof line,
             "cat >%s/srun <<'END'\n#!/bin/sh\necho >>%s/calls\n[ $(wc -l <%s/calls) -gt 2 ] || {\n"
             "echo 'srun: error: Unable to create step for job 1: Requested node configuration is not "
             "available' >&2\n"
             "exit 1; }\nexec %s \"$@\"\nEND\nchmod +x %s/srun",
             folder, folder, folder, "$(PATH=${PATH#*:} command -v srun)", folder);
    assert_int_equal(system(line), 0);
    snprintf(path, sizeof path, "%s:%s", folder, before);
    setenv("PATH", path, 1);
    assert_int_equal(shell(t, 0, "hostname", out, sizeof out), 0);
    assert_string_equal(out, "h1\n");
    setenv("PATH", before, 1);
    snprintf(line, sizeof line, "[ $(wc -l <%s/calls) = 3 ] && rm -r %s", folder, folder);
    assert_int_equal(system(line), 0);
    free(before);
    transport_close(t);
}

static void jobs_are_submitted_and_cancelled(void UNUSED **state)
{
    char job[SLURM_ID_BYTES], is[SLURM_STATE_BYTES];
    char *options[] = {(char *)"--nodes=1", (char *)"--output=/dev/null", NULL};
    char *wrong[] = {(char *)"--partition=nowhere", NULL};
    struct error e = {0};

    assert_int_equal(slurm_submit(job, options, "#!/bin/sh\nexec sleep 1000\n", &e), FL_OK);
    assert_int_equal(slurm_job_state(job, is, &e), FL_OK);
    assert_true(!strcmp(is, "PENDING") || !strcmp(is, "RUNNING") || !strcmp(is, "CONFIGURING"));
    assert_int_equal(slurm_cancel(job, false, &e), FL_OK);
    for (int i = 0; i < 1200 && strcmp(is, "CANCELLED"); i++) {
        usleep(100000);
        assert_int_equal(slurm_job_state(job, is, &e), FL_OK);
    }
    assert_string_equal(is, "CANCELLED");
    assert_int_equal(slurm_submit(job, wrong, "#!/bin/sh\n", &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "partition"));
}

/* Three hosts, Slurm, and this program there in an allocation. 77: they cannot be made, and it was said why.
 */
static int run_there(const char *self)
{
    char folder[] = "/tmp/freezeline-slurm-XXXXXX", line[2048];
    int status;

    if (!mkdtemp(folder))
        return 1;
    snprintf(line, sizeof line, "%s/world", folder);
    setenv("FREEZELINE_WORLD", line, 1);
    snprintf(line, sizeof line,
             "w=tests/hosts/world.sh; $w up 3 --owner %d >%s/said && $w slurm >%s/said && $w exec 0 salloc "
             "--quiet --nodes=3 --cpus-per-task=2 %s --there; rc=$?; [ $rc = 0 ] || { cat %s/said; (cd "
             "%s/world && "
             "tail -n 20 h*/slurm*.log); }; $w down; rm -rf %s; exit $rc",
             (int)getpid(), folder, folder, self, folder, folder, folder);
    status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_allocation_says_its_nodes),
        cmocka_unit_test(commands_run_in_the_home_folder_of_each_node),
        cmocka_unit_test(bytes_pass_as_they_are),
        cmocka_unit_test(what_takes_too_long_is_ended_there),
        cmocka_unit_test(a_step_lives_on_and_its_end_is_told),
        cmocka_unit_test(a_program_that_is_not_there_is_named),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_node_that_has_just_started_is_waited_for),
        cmocka_unit_test(jobs_are_submitted_and_cancelled),
    };
    char self[1024];
    ssize_t n;
    int rc;

    if (argc > 1)
        return cmocka_run_group_tests(tests, NULL, NULL);
    (void)argv;
    if ((n = readlink("/proc/self/exe", self, sizeof self - 1)) < 0)
        return 1;
    self[n] = 0;
    if ((rc = run_there(self)) == 77) {
        printf("[  SKIPPED ] Slurm\n");
        return 0;
    }
    return rc;
}
