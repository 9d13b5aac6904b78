/* test_orders_heard.c - who ordered something hears of it, and nobody else does */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/supervise/order.h"
#include "deploy/supervise/orders.h"
#include "deploy/tool/state.h"

static struct pipeline pipeline;
static struct orders *orders;

static int setup(void **state)
{
    char folder[] = "/tmp/freezeline-orders-XXXXXX", run[STATE_PATH_BYTES];

    assert_non_null(mkdtemp(folder));
    pipeline.state = strdup(folder);
    snprintf(run, sizeof run, "%s/run", folder);
    assert_int_equal(state_make(run, NULL), FL_OK);
    assert_int_equal(orders_open(&orders, &pipeline, NULL), FL_OK);
    return 0;
}

static int teardown(void **state)
{
    char run[STATE_PATH_BYTES];

    orders_close(orders, false);
    snprintf(run, sizeof run, "%s/run", pipeline.state);
    assert_int_equal(rmdir(run) | rmdir(pipeline.state), 0);
    free(pipeline.state);
    return 0;
}

/* A connection that orders; the supervisor knows it by *id. */
static int ordering(int *id)
{
    static const char line[] = "{\"do\": \"state\"}\n";
    struct order o;
    int fd;

    assert_int_equal(order_socket(&fd, &pipeline, false, NULL), FL_OK);
    assert_int_equal(send(fd, line, sizeof line - 1, 0), (ssize_t)sizeof line - 1);
    assert_true(orders_next(orders, &o, id));
    assert_int_equal(o.kind, ORDER_STATE);
    return fd;
}

static void say(int to)
{
    orders_say(orders, to, json_pack("{s:b}", "done", true));
}

static bool hears(int fd)
{
    char text[64];
    return recv(fd, text, sizeof text, MSG_DONTWAIT) > 0;
}

static void each_hears_what_is_said_to_it(void **state)
{
    int a, b, fd_a = ordering(&a), fd_b = ordering(&b);

    say(b);
    assert_false(hears(fd_a));
    assert_true(hears(fd_b));
    say(a);
    assert_true(hears(fd_a));
    assert_false(hears(fd_b));
    say(-1);
    close(fd_a);
    close(fd_b);
}

static void who_comes_after_another_hears_nothing_of_its_order(void **state)
{
    struct order o;
    int id, a, b, fd;

    close(ordering(&a));
    assert_false(orders_next(orders, &o, &id));
    fd = ordering(&b);
    assert_int_equal(a % ORDERS_MOST, b % ORDERS_MOST); /* in the same place */
    say(a);
    assert_false(hears(fd));
    say(b);
    assert_true(hears(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_hears_what_is_said_to_it, setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_after_another_hears_nothing_of_its_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
