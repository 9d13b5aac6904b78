/* test_core.c - who is about to sleep wakes the other process on its own core, and binds it for no longer */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/core.h"
#include "wire/lanes.h"

#define DOOR   0
#define ROUNDS 20
#define WAIT_S 20

static char dir[] = "/tmp/freezeline-core-XXXXXX", endpoint[64];
static struct message m;

static int receive(struct lanes *l, struct peer *from)
{
    struct error e = {0};
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    zmq_msg_t payload;
    int rc;
    zmq_msg_init(&payload);
    while ((rc = lanes_receive(l, DOOR, from, &m, &payload, &e)) == FL_AGAIN && clock_ns() < until) {
        struct pollfd fd = {.fd = lanes_fd(l), .events = POLLIN};
        if (lanes_sleep(l, 0))
            poll(&fd, 1, 1000);
        lanes_wake(l);
        lanes_turn(l, clock_ns());
    }
    zmq_msg_close(&payload);
    return rc;
}

static int say(struct lanes *l, const struct peer *to, uint64_t a, uint32_t b)
{
    zmq_msg_t none;
    int rc;
    zmq_msg_init(&none);
    m = (struct message){.type = MESSAGE_HEARTBEAT};
    m.heartbeat.incarnation = a;
    m.heartbeat.queued = b;
    rc = lanes_send(l, DOOR, to, &m, &none);
    zmq_msg_close(&none);
    return rc;
}

static uint32_t cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 0 : (uint32_t)CPU_COUNT(&set);
}

/* Says on which core it woke up, and on how many it may run. */
static void child_answers(void)
{
    struct lanes *l;
    struct error e = {0};
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    if (lanes_new(&l, &e))
        _exit(2);
    lanes_allow_core(l);
    lanes_connect(l, DOOR, endpoint, true);
    while (say(l, NULL, 0, 0) == FL_AGAIN && clock_ns() < until)
        lanes_turn(l, clock_ns());
    for (int i = 0; i < ROUNDS; i++)
        if (receive(l, NULL) || say(l, NULL, (uint64_t)sched_getcpu(), cores()))
            _exit(4);
    lanes_free(l);
    _exit(0);
}

/* The state of a process, as the kernel has it; it sleeps when that is 'S'. */
static void await_sleep(pid_t pid)
{
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    while (state != 'S' && clock_ns() < until) {
        FILE *f = fopen(path, "re");
        if (!f || fscanf(f, "%*d %*s %c", &state) != 1)
            state = 0;
        if (f)
            fclose(f);
    }
    assert_int_equal(state, 'S');
}

static void bind_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    assert_int_equal(sched_setaffinity(0, sizeof set, &set), 0);
}

static void test_the_reader_wakes_where_the_writer_stays(void **state)
{
    struct lane_options o = {.in_bytes = 64 << 10, .out_bytes = 64 << 10};
    struct error e = {0};
    struct lanes *l;
    struct peer child;
    cpu_set_t all;
    pid_t pid;
    int here = 0, status, cpu = -1;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    if (!core_is_free()) /* bound to some cores: nobody may move it */
        skip();
    assert_non_null(mkdtemp(dir));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/door", dir);
    assert_int_equal(lanes_new(&l, &e), FL_OK);
    assert_int_equal(lanes_listen(l, DOOR, endpoint, &o, &e), FL_OK);
    if (!(pid = fork()))
        child_answers();
    assert_int_equal(receive(l, &child), FL_OK);
    for (int i = 0; i < ROUNDS; i++) {
        do
            cpu = (cpu + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(cpu, &all));
        bind_to(cpu);
        await_sleep(pid);
        lanes_stay(l, true);
        assert_int_equal(say(l, &child, 0, 0), FL_OK);
        assert_int_equal(receive(l, &child), FL_OK);
        assert_int_equal(m.heartbeat.queued, CPU_COUNT(&all));
        here += m.heartbeat.incarnation == (uint64_t)cpu;
    }
    assert_true(here > ROUNDS / 2); /* a busy machine may have moved it since */
    sched_setaffinity(0, sizeof all, &all);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    lanes_free(l);
    rmdir(dir);
}

static void test_who_is_bound_stays_so(void **state)
{
    cpu_set_t all;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    if (CPU_COUNT(&all) < 2)
        skip();
    bind_to(sched_getcpu());
    assert_false(core_is_free());
    sched_setaffinity(0, sizeof all, &all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_reader_wakes_where_the_writer_stays),
        cmocka_unit_test(test_who_is_bound_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
