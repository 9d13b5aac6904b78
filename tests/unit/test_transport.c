/* test_transport.c - words for a shell; commands through a transport to this machine's own shell */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/hosts/shell_words.h"
#include "deploy/hosts/transport.h"

#define UNUSED __attribute__((unused))

static const struct host two[] = {{.name = "a"}, {.name = "b"}};
static const struct host_list hosts = {two, 2};

static struct transport *open_local(void)
{
    struct transport *t;
    assert_int_equal(transport_open(&t, TRANSPORT_LOCAL, &hosts, NULL, NULL), FL_OK);
    return t;
}

static char *quoted(const char *word)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    shell_word(f, word);
    fclose(f);
    return text;
}

static void plain_words_stay_others_are_quoted(void UNUSED **state)
{
    static const char *const pairs[][2] = {
        {"up", "up"},           {"--set", "--set"},   {"", "''"},       {"a b", "'a b'"},
        {"it's", "'it'\\''s'"}, {"$(id)", "'$(id)'"}, {"a=b", "'a=b'"}, {"~", "'~'"},
        {"a\nb", "'a\nb'"},     {"*", "'*'"},         {"\\", "'\\'"},   {"#x", "'#x'"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *text = quoted(pairs[i][0]);
        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
}

/* Whatever bytes a word has, the program on the host is given these. */
static void words_arrive_as_they_are(void UNUSED **state)
{
    struct transport *t = open_local();
    char every[256] = "";
    struct host_result r;

    for (int c = 1; c < 256; c++)
        every[c - 1] = (char)c;
    char *argv[] = {
        (char *)"printf", (char *)"%s|%s|%s", every, (char *)"-x ' \" $HOME `id`", (char *)"", NULL};
    assert_int_equal(transport_run(t, 1, argv, NULL, 0, &r, NULL), FL_OK);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.size, 255 + 1 + strlen(argv[3]) + 1);
    assert_memory_equal(r.out, every, 255);
    assert_memory_equal(r.out + 256, argv[3], strlen(argv[3]));
    free(r.out);
    transport_close(t);
}

static void input_and_both_outputs_and_the_status_pass(void UNUSED **state)
{
    struct transport *t = open_local();
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"cat; echo wrong >&2; echo right; exit 7", NULL};
    struct transport_bytes in = {"given\n", 6};
    struct host_result r;
    struct error e = {0};

    assert_int_equal(transport_run(t, 0, argv, &in, 60000, &r, &e), FL_OK);
    assert_int_equal(r.status, 7);
    assert_string_equal(r.out, "given\nwrong\nright\n");
    free(r.out);
    assert_int_equal(transport_run(t, 0, argv, NULL, 0, NULL, &e), FL_UNAVAILABLE);
    assert_string_equal(e.text, "host a: exit status 7: wrong\nright\n");
    transport_close(t);
}

/* Of more output than is kept the end stays, and input that nobody reads stops nothing. */
static void output_is_bounded_and_input_may_be_left(void UNUSED **state)
{
    struct transport *t = open_local();
    char *argv[] = {(char *)"sh", (char *)"-c",
                    (char *)"exec 0<&-; head -c 3000000 /dev/zero | tr '\\0' x; echo end", NULL};
    static char much[4000000];
    struct transport_bytes in = {much, sizeof much};
    struct host_result r;

    assert_int_equal(transport_run(t, 0, argv, &in, 0, &r, NULL), FL_OK);
    assert_int_equal(r.size, TRANSPORT_OUT_BYTES);
    assert_string_equal(r.out + r.size - 5, "xend\n");
    free(r.out);
    transport_close(t);
}

static void what_takes_too_long_is_ended_there(void UNUSED **state)
{
    struct transport *t = open_local();
    char *argv[] = {(char *)"sleep", (char *)"1000", NULL};
    struct host_result r;
    struct error e = {0};

    assert_int_equal(transport_run(t, 1, argv, NULL, 100, &r, &e), FL_DEADLINE);
    assert_string_equal(e.text, "host b: sleep took longer than 100 ms and was ended");
    transport_close(t);
}

/* It writes its pid when it runs, after the call has returned at the latest. */
static void what_is_started_has_a_session_of_its_own(void UNUSED **state)
{
    char folder[] = "/tmp/freezeline-test-XXXXXX", log[64], fifo[64], line[64] = "";
    struct transport *t = open_local();
    struct error e = {0};
    FILE *f;
    int pid;

    assert_non_null(mkdtemp(folder));
    snprintf(log, sizeof log, "%s/logs/it's.log", folder);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"echo $$ >\"$0\"; echo said; exec sleep 1000", fifo,
                    NULL};
    assert_int_equal(transport_start(t, 0, argv, log, &e), FL_OK);
    transport_close(t);
    assert_non_null(f = fopen(fifo, "r"));
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    pid = atoi(line);
    assert_true(pid > 1);
    assert_int_equal(getsid(pid), pid);
    kill(pid, SIGKILL);

    argv[0] = (char *)"no-such-program";
    t = open_local();
    assert_int_equal(transport_start(t, 1, argv, log, &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "host b: exit status 127: no-such-program: no such program there"));
    transport_close(t);
    unlink(fifo);
    unlink(log);
    snprintf(log, sizeof log, "%s/logs", folder);
    rmdir(log);
    assert_int_equal(rmdir(folder), 0);
}

static int fail_with_name(struct transport *t, int host, void *arg, struct error *e)
{
    int *calls = arg;
    __atomic_add_fetch(calls, 1, __ATOMIC_RELAXED);
    return host ? error_set(e, FL_IO, "host %s fails", transport_host(t, host)) : FL_OK;
}

static void each_host_is_asked_and_the_failing_one_named(void UNUSED **state)
{
    struct transport *t = open_local();
    struct error e = {0};
    int calls = 0;

    assert_int_equal(transport_each(t, fail_with_name, &calls, &e), FL_IO);
    assert_int_equal(calls, 2);
    assert_string_equal(e.text, "host b fails");
    transport_close(t);
}

static void kinds_have_names(void UNUSED **state)
{
    enum transport_kind kind;
    struct error e = {0};

    assert_int_equal(transport_kind_from(&kind, "ssh", &e), FL_OK);
    assert_int_equal(kind, TRANSPORT_SSH);
    assert_int_equal(transport_kind_from(&kind, "rsh", &e), FL_USAGE);
    assert_non_null(strstr(e.text, "local, ssh, slurm"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_words_stay_others_are_quoted),
        cmocka_unit_test(words_arrive_as_they_are),
        cmocka_unit_test(input_and_both_outputs_and_the_status_pass),
        cmocka_unit_test(output_is_bounded_and_input_may_be_left),
        cmocka_unit_test(what_takes_too_long_is_ended_there),
        cmocka_unit_test(what_is_started_has_a_session_of_its_own),
        cmocka_unit_test(each_host_is_asked_and_the_failing_one_named),
        cmocka_unit_test(kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
