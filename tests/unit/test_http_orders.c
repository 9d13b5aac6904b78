/* test_http_orders.c - an order over the supervisor's socket: what comes back, whole, wrong, endless or never
 */
#include "tests/testing.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/http/http_orders.h"
#include "system/folder_socket.h"

/* Somebody in the supervisor's place, who says this to whoever orders. */
struct supervisor {
    char folder[64], run[80];
    struct pipeline pipeline;
    int listener, stop_fd;
    bool silent; /* says nothing, and the broker goes */
    const char *says;
    size_t n;
    char heard[64];
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct supervisor *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    ssize_t n = recv(fd, s->heard, sizeof s->heard - 1, 0);
    s->heard[n > 0 ? n : 0] = '\0';
    if (s->silent) {
        eventfd_write(s->stop_fd, 1);
        recv(fd, s->heard + n, 1, 0); /* until it has gone */
    }
    for (size_t at = 0, part; at < s->n; at += part) {
        part = s->n - at < 7 ? s->n - at : 7; /* a line comes in pieces */
        if (send(fd, s->says + at, part, MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
    return NULL;
}

static int setup(void **state)
{
    struct supervisor *s = calloc(1, sizeof *s);
    struct error e;
    snprintf(s->folder, sizeof s->folder, "/tmp/freezeline-orders-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->run, sizeof s->run, "%s/run", s->folder);
    assert_int_equal(mkdir(s->run, 0700), 0);
    s->pipeline.state = s->folder;
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(folder_socket(&s->listener, s->run, "orders", true, &e), FL_OK);
    assert_int_equal(fcntl(s->listener, F_SETFL, 0), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct supervisor *s = *state;
    char path[100];
    close(s->listener);
    close(s->stop_fd);
    snprintf(path, sizeof path, "%s/orders", s->run);
    assert_int_equal(unlink(path) | rmdir(s->run) | rmdir(s->folder), 0);
    free(s);
    return 0;
}

static int order(struct supervisor *s, const char *says, size_t n, struct error *e)
{
    int rc;
    s->says = says;
    s->n = n;
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    rc = http_order(&s->pipeline, "load", s->stop_fd, e);
    pthread_join(s->thread, NULL);
    assert_int_equal(strcmp(s->heard, "{\"do\":\"load\"}\n"), 0);
    return rc;
}

static void the_last_line_counts(void **state)
{
    static const struct {
        const char *says;
        int rc;
        const char *text;
    } c[] = {
        {"{\"done\":true}\n", FL_OK, ""},
        {"{\"step\":1,\"of\":2,\"who\":\"stage0.0\"}\n{\"step\":2,\"of\":2,\"who\":\"a\"}\n{\"done\":true}\n",
         FL_OK, ""},
        {"{\"step\":1}\n{\"error\":14,\"text\":\"it ended\",\"who\":\"stage0.0\"}\n", FL_UNAVAILABLE,
         "stage0.0: it ended"},
        {"{\"error\":14,\"text\":\"busy\",\"who\":\"\"}\n", FL_UNAVAILABLE, "busy"},
        {"{\"error\":99999,\"text\":\"x\"}\n", FL_VALUE, "x"},
        {"{\"error\":-1}\n", FL_VALUE, ""},
        {"{\"error\":\"x\",\"text\":[],\"who\":{}}\n", FL_VALUE, ""},
        {"{\"done\":false}\n", FL_UNAVAILABLE, "the supervisor ended"},
        {"{\"done\":true}", FL_UNAVAILABLE, "the supervisor ended"}, /* cut off */
        {"", FL_UNAVAILABLE, "the supervisor ended"},
        {"\n", FL_UNAVAILABLE, "the supervisor ended"},
        {"nothing\n{\"done\":true}\n", FL_UNAVAILABLE, "the supervisor ended"},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct error e = {FL_OK, ""};
        assert_int_equal(order(*state, c[i].says, strlen(c[i].says), &e), c[i].rc);
        if (!strstr(e.text, c[i].text))
            fail_msg("%zu: \"%s\" is not in \"%s\"", i, c[i].text, e.text);
    }
}

/* "not found" would mean that there is no supervisor. */
static void who_finds_no_file_is_there_all_the_same(void **state)
{
    char line[64];
    struct error e;
    int n = snprintf(line, sizeof line, "{\"error\":%d,\"text\":\"no model\"}\n", FL_NOT_FOUND);
    assert_int_equal(order(*state, line, (size_t)n, &e), FL_VALUE);
    assert_string_equal(e.text, "no model");
}

static void a_line_without_an_end_is_not_read_on(void **state)
{
    static char endless[100000];
    struct error e;
    memset(endless, ' ', sizeof endless);
    assert_int_equal(order(*state, endless, sizeof endless, &e), FL_UNAVAILABLE);
}

static void a_broker_that_goes_waits_for_nobody(void **state)
{
    struct supervisor *s = *state;
    struct error e;
    s->silent = true;
    assert_int_equal(order(s, "", 0, &e), FL_UNAVAILABLE);
    assert_string_equal(e.text, "the broker is going away");
}

static void nobody_there_is_said(void **state)
{
    struct supervisor *s = *state;
    struct error e;
    close(s->listener);
    assert_int_equal(http_order(&s->pipeline, "load", s->stop_fd, &e), FL_NOT_FOUND);
    s->pipeline.state = (char[]){"/nowhere"};
    assert_int_equal(http_order(&s->pipeline, "load", s->stop_fd, &e), FL_NOT_FOUND);
    s->listener = dup(s->stop_fd);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(the_last_line_counts),
        test(who_finds_no_file_is_there_all_the_same),
        test(a_line_without_an_end_is_not_read_on),
        test(a_broker_that_goes_waits_for_nobody),
        test(nobody_there_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
