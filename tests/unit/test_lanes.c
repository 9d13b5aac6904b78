/* test_lanes.c - lanes between processes: messages, death of either side, and who may not have one */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/lanes.h"

#define DOOR   0
#define FLOATS 4096
#define WAIT_S 20

struct place {
    char dir[64], endpoint[128], path[140];
};

static struct message m; /* large */

static void make_place(struct place *p)
{
    snprintf(p->dir, sizeof p->dir, "/tmp/freezeline-lanes-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->endpoint, sizeof p->endpoint, "ipc://%s/door", p->dir);
    snprintf(p->path, sizeof p->path, "%s/door.lane", p->dir);
}

static void remove_place(const struct place *p)
{
    unlink(p->path);
    rmdir(p->dir);
}

/* Sleeps until there is something, at most WAIT_S. */
static int receive(struct lanes *l, struct peer *from, zmq_msg_t *payload)
{
    struct error e = {0};
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    int rc;
    while ((rc = lanes_receive(l, DOOR, from, &m, payload, &e)) == FL_AGAIN && clock_ns() < until) {
        struct pollfd fd = {.fd = lanes_fd(l), .events = POLLIN};
        if (lanes_sleep(l, 0))
            poll(&fd, 1, 1000);
        lanes_wake(l);
        lanes_turn(l, clock_ns());
    }
    return rc;
}

static int send_activation(struct lanes *l, const struct peer *to, uint64_t request, bool in_place)
{
    struct job *j = &m.job;
    zmq_msg_t payload;
    int rc;
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_JOB;
    j->request = request;
    j->attempt = 1;
    j->deadline_ns = 1;
    j->n_route = 1;
    j->activation = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, FLOATS}};
    if (in_place && lanes_payload(l, DOOR, FLOATS * sizeof(float), &payload))
        return FL_NOMEM;
    if (!in_place && zmq_msg_init_size(&payload, FLOATS * sizeof(float)))
        return FL_NOMEM;
    for (int i = 0; i < FLOATS; i++)
        ((float *)zmq_msg_data(&payload))[i] = (float)(request + (uint64_t)i);
    rc = lanes_send(l, DOOR, to, &m, &payload);
    zmq_msg_close(&payload);
    return rc;
}

static bool is_activation(const zmq_msg_t *payload, uint64_t request)
{
    const float *x = zmq_msg_data((zmq_msg_t *)(uintptr_t)payload);
    if (m.type != MESSAGE_JOB || m.job.request != request || zmq_msg_size(payload) != FLOATS * sizeof(float))
        return false;
    for (int i = 0; i < FLOATS; i++)
        if (x[i] != (float)(request + (uint64_t)i))
            return false;
    return true;
}

static struct lanes *listening(const struct place *p, bool copy)
{
    struct lane_options o = {.in_bytes = 128 << 10, .out_bytes = 64 << 10, .copy = copy};
    struct lanes *l;
    struct error e = {0};
    assert_int_equal(lanes_new(&l, &e), FL_OK);
    if (lanes_listen(l, DOOR, p->endpoint, &o, &e))
        fail_msg("%s", e.text);
    return l;
}

/* The child's side: sends `count`, each once there is room, and reads an answer to each where `answers`. */
static void child_sends(const struct place *p, int count, bool answers)
{
    struct lanes *l;
    struct error e = {0};
    zmq_msg_t payload;
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    zmq_msg_init(&payload);
    if (lanes_new(&l, &e) || lanes_connect(l, DOOR, p->endpoint, false, &e))
        _exit(2);
    for (int i = 0; i < count; i++) {
        int rc;
        while ((rc = send_activation(l, NULL, (uint64_t)i + 1, i % 2)) == FL_AGAIN && clock_ns() < until) {
            lanes_turn(l, clock_ns());
            usleep(100);
        }
        if (rc || (answers && (receive(l, NULL, &payload) || !is_activation(&payload, (uint64_t)i + 1000))))
            _exit(3);
    }
    zmq_msg_close(&payload);
    lanes_free(l);
    _exit(0);
}

static void expect_exit(pid_t child, int status)
{
    int got;
    assert_int_equal(waitpid(child, &got, 0), child);
    assert_true(WIFEXITED(got));
    assert_int_equal(WEXITSTATUS(got), status);
}

static void messages_cross_both_ways(void **state)
{
    struct place p;
    struct lanes *l;
    zmq_msg_t payload;
    pid_t child;
    (void)state;
    make_place(&p);
    l = listening(&p, false);
    child = fork();
    if (!child)
        child_sends(&p, 200, true);
    zmq_msg_init(&payload);
    for (uint64_t i = 0; i < 200; i++) {
        struct peer from;
        assert_int_equal(receive(l, &from, &payload), FL_OK);
        assert_true(is_activation(&payload, i + 1));
        assert_true(peer_has_lane(&from));
        assert_int_equal(send_activation(l, &from, i + 1000, false), FL_OK);
    }
    expect_exit(child, 0);
    zmq_msg_close(&payload);
    lanes_free(l);
    assert_int_equal(access(p.path, F_OK), -1);
    remove_place(&p);
}

/* Payloads may be closed late and out of order, and after the lane. */
static void payloads_outlive_the_lane(void **state)
{
    struct place p;
    struct lanes *l;
    zmq_msg_t payload[3];
    pid_t child;
    (void)state;
    make_place(&p);
    l = listening(&p, false);
    child = fork();
    if (!child)
        child_sends(&p, 3, false);
    for (uint64_t i = 0; i < 3; i++) {
        zmq_msg_init(&payload[i]);
        assert_int_equal(receive(l, NULL, &payload[i]), FL_OK);
        assert_true(is_activation(&payload[i], i + 1));
    }
    expect_exit(child, 0);
    lanes_free(l);
    m.job.request = 2;
    assert_true(is_activation(&payload[1], 2));
    for (int i = 2; i >= 0; i--)
        zmq_msg_close(&payload[i]);
    remove_place(&p);
}

/* What a process wrote before it died is read; then it is gone. */
static void the_dead_have_said_what_they_wrote(void **state)
{
    struct place p;
    struct lanes *l;
    struct peer from;
    zmq_msg_t payload;
    pid_t child;
    (void)state;
    make_place(&p);
    l = listening(&p, true);
    child = fork();
    if (!child) {
        struct lanes *mine;
        struct error e = {0};
        if (lanes_new(&mine, &e) || lanes_connect(mine, DOOR, p.endpoint, false, &e))
            _exit(2);
        while (!lanes_reach(mine, DOOR))
            lanes_turn(mine, clock_ns());
        for (uint64_t i = 1; i <= 3; i++)
            send_activation(mine, NULL, i, true);
        raise(SIGKILL);
    }
    zmq_msg_init(&payload);
    /* It needs us to answer; then it dies. */
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(receive(l, &from, &payload), FL_OK);
        assert_true(is_activation(&payload, i));
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    lanes_turn(l, clock_ns());
    assert_int_equal(lanes_receive(l, DOOR, &from, &m, &payload, NULL), FL_AGAIN);
    lanes_turn(l, clock_ns());
    assert_int_equal(send_activation(l, &from, 1, false), FL_UNAVAILABLE);
    zmq_msg_close(&payload);
    lanes_free(l);
    remove_place(&p);
}

/* A listener that comes back is found again; in between nothing can be sent. */
static void who_listens_again_is_found_again(void **state)
{
    struct place p;
    struct lanes *l, *mine;
    struct error e = {0};
    uint64_t now = clock_ns();
    (void)state;
    make_place(&p);
    assert_int_equal(lanes_new(&mine, &e), FL_OK);
    assert_int_equal(lanes_connect(mine, DOOR, p.endpoint, false, &e), FL_OK);
    assert_false(lanes_reach(mine, DOOR));
    assert_int_equal(send_activation(mine, NULL, 1, true), FL_AGAIN);
    for (int round = 0; round < 3; round++) {
        l = listening(&p, false);
        now += NS_PER_S;
        lanes_turn(mine, now); /* asks */
        lanes_turn(l, now);    /* accepts */
        lanes_turn(l, now);    /* grants */
        lanes_turn(mine, now);
        assert_true(lanes_reach(mine, DOOR));
        assert_int_equal(send_activation(mine, NULL, 1, true), FL_OK);
        lanes_free(l);
        lanes_turn(mine, now);
        assert_false(lanes_reach(mine, DOOR));
        assert_int_equal(send_activation(mine, NULL, 1, true), FL_AGAIN);
    }
    lanes_free(mine);
    remove_place(&p);
}

/* Bytes that are no greeting, a greeting without a descriptor, silence: no lane, and nothing else happens. */
static void strangers_get_no_lane(void **state)
{
    struct place p;
    struct lanes *l;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char junk[64];
    int fd[3];
    (void)state;
    make_place(&p);
    l = listening(&p, false);
    memcpy(to.sun_path, p.path, strlen(p.path));
    memset(junk, 'x', sizeof junk);
    for (int i = 0; i < 3; i++) {
        fd[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&to, sizeof to), 0);
    }
    memcpy(junk, &(uint32_t){0x464c4e31u}, sizeof(uint32_t));
    assert_int_equal(send(fd[0], junk, 24, 0), 24);
    assert_int_equal(send(fd[1], junk + 4, 60, 0), 60);
    for (int i = 0; i < 4; i++)
        lanes_turn(l, clock_ns());
    assert_int_equal(recv(fd[0], junk, sizeof junk, 0), 0); /* closed */
    assert_int_equal(recv(fd[1], junk, sizeof junk, 0), 0);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    lanes_turn(l, clock_ns());
    lanes_free(l);
    remove_place(&p);
}

static void only_its_user_may_open_the_door(void **state)
{
    struct place p;
    struct lanes *l;
    struct stat st;
    (void)state;
    make_place(&p);
    l = listening(&p, false);
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    lanes_free(l);
    remove_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_cross_both_ways),
        cmocka_unit_test(payloads_outlive_the_lane),
        cmocka_unit_test(the_dead_have_said_what_they_wrote),
        cmocka_unit_test(who_listens_again_is_found_again),
        cmocka_unit_test(strangers_get_no_lane),
        cmocka_unit_test(only_its_user_may_open_the_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
