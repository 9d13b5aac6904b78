/* test_lanes.c - lanes between processes: messages, death of either side, what is short or in the way, and
 * who may not have one */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "link/greeting.h"
#include "link/lane.h"
#include "link/link.h"

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
    if (lanes_new(&l, &e))
        _exit(2);
    lanes_connect(l, DOOR, p->endpoint, true);
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
    make_place(&p);
    l = listening(&p, true);
    child = fork();
    if (!child) {
        struct lanes *mine;
        struct error e = {0};
        if (lanes_new(&mine, &e))
            _exit(2);
        lanes_connect(mine, DOOR, p.endpoint, true);
        while (!lanes_reach(mine, DOOR))
            lanes_turn(mine, clock_ns());
        for (uint64_t i = 1; i <= 3; i++)
            send_activation(mine, NULL, i, true);
        /* In the middle of the next one. */
        if (lanes_payload(mine, DOOR, FLOATS * sizeof(float), &payload))
            _exit(2);
        memset(zmq_msg_data(&payload), 1, FLOATS);
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
    child = fork();
    if (!child)
        child_sends(&p, 1, false);
    assert_int_equal(receive(l, &from, &payload), FL_OK);
    assert_true(is_activation(&payload, 1));
    expect_exit(child, 0);
    zmq_msg_close(&payload);
    lanes_free(l);
    remove_place(&p);
}

/* Both ends in one process. */
static void meet(struct lanes *mine, struct lanes *l, uint64_t now)
{
    lanes_turn(mine, now); /* asks */
    lanes_turn(l, now);    /* accepts */
    lanes_turn(l, now);    /* grants */
    lanes_turn(mine, now);
    assert_true(lanes_reach(mine, DOOR));
}

/* A listener that comes back is found again; in between nothing can be sent. */
static void who_listens_again_is_found_again(void **state)
{
    struct place p;
    struct lanes *l, *mine = NULL;
    struct error e = {0};
    uint64_t now = clock_ns();
    make_place(&p);
    assert_int_equal(lanes_new(&mine, &e), FL_OK);
    lanes_connect(mine, DOOR, p.endpoint, true);
    assert_false(lanes_reach(mine, DOOR));
    assert_int_equal(send_activation(mine, NULL, 1, true), FL_AGAIN);
    for (int round = 0; round < 3; round++) {
        l = listening(&p, false);
        now += NS_PER_S;
        meet(mine, l, now);
        assert_int_equal(send_activation(mine, NULL, 1, true), FL_OK);
        lanes_free(l);
        lanes_turn(mine, now);
        assert_false(lanes_reach(mine, DOOR));
        assert_int_equal(send_activation(mine, NULL, 1, true), FL_AGAIN);
    }
    lanes_free(mine);
    remove_place(&p);
}

/* The other process lives on, and has no lane left over: or there would be none for anyone before long. */
static void a_door_that_connects_again_has_one_lane(void **state)
{
    struct place p;
    struct lanes *l, *mine = NULL;
    struct error e = {0};
    uint64_t now = clock_ns();
    make_place(&p);
    l = listening(&p, false);
    assert_int_equal(lanes_new(&mine, &e), FL_OK);
    for (int i = 0; i <= LANES_MAX; i++) {
        lanes_connect(mine, DOOR, p.endpoint, false);
        meet(mine, l, now);
    }
    lanes_connect(mine, DOOR, "tcp://127.0.0.1:5600", false); /* somebody else is there now */
    assert_int_equal(send_activation(mine, NULL, 1, true), FL_AGAIN);
    lanes_free(mine);
    lanes_free(l);
    remove_place(&p);
}

/* Who only sends is not kept awake by what the other side writes, and does not wait for it to be read. */
static void a_door_that_receives_nothing_sleeps(void **state)
{
    struct place p;
    struct lanes *l, *mine = NULL;
    struct peer from;
    struct error e = {0};
    zmq_msg_t payload;
    uint64_t now = clock_ns();
    make_place(&p);
    zmq_msg_init(&payload);
    l = listening(&p, true);
    assert_int_equal(lanes_new(&mine, &e), FL_OK);
    lanes_connect(mine, DOOR, p.endpoint, false);
    meet(mine, l, now);
    assert_int_equal(send_activation(mine, NULL, 1, true), FL_OK);
    assert_int_equal(lanes_receive(l, DOOR, &from, &m, &payload, &e), FL_OK);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(send_activation(l, &from, i, false), FL_OK);
        lanes_turn(mine, now);
        assert_true(lanes_sleep(mine, 0));
        lanes_wake(mine);
        assert_int_equal(poll(&(struct pollfd){.fd = lanes_fd(mine), .events = POLLIN}, 1, 0), 0);
    }
    assert_int_equal(send_activation(mine, NULL, 2, true), FL_OK);
    assert_false(lanes_sleep(l, 0));
    assert_true(lanes_sleep(l, 1u << DOOR));
    lanes_free(l);
    lanes_turn(mine, now);
    l = listening(&p, true);
    meet(mine, l, now + NS_PER_S);
    zmq_msg_close(&payload);
    lanes_free(l);
    lanes_free(mine);
    remove_place(&p);
}

/* Answers for which there is no room wait, in order, up to a bound; who reads gets all of them. */
static void answers_wait_for_room(void **state)
{
    const struct lane_options o = {.in_bytes = 128 << 10, .out_bytes = 64 << 10, .unsent = 50};
    struct place p;
    struct lanes *l, *mine = NULL;
    struct peer from;
    struct error e = {0};
    zmq_msg_t payload;
    uint64_t sent = 0, now = clock_ns(), until = now + WAIT_S * NS_PER_S;
    make_place(&p);
    zmq_msg_init(&payload);
    assert_int_equal(lanes_new(&l, &e) || lanes_listen(l, DOOR, p.endpoint, &o, &e) || lanes_new(&mine, &e),
                     0);
    lanes_connect(mine, DOOR, p.endpoint, true);
    meet(mine, l, now);
    assert_int_equal(send_activation(mine, NULL, 1, true), FL_OK);
    assert_int_equal(lanes_receive(l, DOOR, &from, &m, &payload, &e), FL_OK);
    while (send_activation(l, &from, sent + 1, false) == FL_OK)
        sent++;
    assert_in_range(sent, 50 + 2, 50 + 4); /* those in the ring, and those that wait */
    for (uint64_t got = 0; got < sent && clock_ns() < until;) {
        struct pollfd fd = {.fd = lanes_fd(l), .events = POLLIN};
        if (lanes_receive(mine, DOOR, NULL, &m, &payload, &e) == FL_OK) {
            assert_true(is_activation(&payload, ++got));
            continue;
        }
        lanes_turn(l, now); /* looks for room, or sees that it has to look again */
        poll(&fd, 1, 1000);
    }
    zmq_msg_close(&payload);
    lanes_turn(l, now);
    assert_int_equal(send_activation(l, &from, 9, false), FL_OK);
    assert_int_equal(receive(mine, NULL, &payload), FL_OK);
    assert_true(is_activation(&payload, 9));
    zmq_msg_close(&payload);
    lanes_free(mine);
    lanes_free(l);
    remove_place(&p);
}

/* --- with the socket beside it --- */

static void open_link(struct link *k, const struct place *p, int type, enum frames_mode mode)
{
    struct lane_options o = {.in_bytes = 128 << 10, .out_bytes = 64 << 10};
    struct error e = {0};
    *k = (struct link){.door = DOOR};
    if (lanes_new(&k->lanes, &e) ||
        link_open(k, zmq_ctx_new(), type, mode, p->endpoint, NULL, &o, NULL, &e)) {
        fprintf(stderr, "%s\n", e.text);
        _exit(4);
    }
}

static bool link_sends(struct link *k, uint64_t request)
{
    zmq_msg_t payload;
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    int rc;
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_JOB;
    m.job = (struct job){.request = request, .attempt = 1, .deadline_ns = 1, .n_route = 1};
    m.job.activation = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, FLOATS}};
    if (lanes_payload(k->lanes, DOOR, FLOATS * sizeof(float), &payload))
        return false;
    for (int i = 0; i < FLOATS; i++)
        ((float *)zmq_msg_data(&payload))[i] = (float)(request + (uint64_t)i);
    while ((rc = link_send(k, NULL, &m, &payload)) == FL_AGAIN && clock_ns() < until)
        usleep(100);
    zmq_msg_close(&payload);
    return !rc;
}

/* The next message, by either way, which may be awaited for long. */
static bool link_gets(struct link *k, zmq_msg_t *payload)
{
    struct error e = {0};
    uint64_t until = clock_ns() + WAIT_S * NS_PER_S;
    int rc;
    zmq_msg_init(payload);
    while ((rc = link_receive(k, NULL, &m, payload, &e)) == FL_AGAIN && clock_ns() < until) {
        zmq_pollitem_t items[] = {{.socket = k->socket, .events = ZMQ_POLLIN},
                                  {.fd = lanes_fd(k->lanes), .events = ZMQ_POLLIN}};
        if (lanes_sleep(k->lanes, 0))
            zmq_poll(items, 2, 1000);
        lanes_wake(k->lanes);
        lanes_turn(k->lanes, clock_ns());
    }
    return !rc;
}

#define KEPT 20 /* more than fit into the ring */

/* Reads all, in any order of the two ways, gives nothing back; tells how often each came, and then does. */
static void child_keeps(const struct place *p, int ready)
{
    zmq_msg_t payload[KEPT];
    int seen[KEPT + 1] = {0};
    struct link k;
    open_link(&k, p, ZMQ_PULL, FRAMES_BIND);
    eventfd_write(ready, 1);
    for (int i = 0; i < KEPT; i++)
        if (!link_gets(&k, &payload[i]) || m.job.request > KEPT || seen[m.job.request]++ ||
            !is_activation(&payload[i], m.job.request))
            _exit(5);
    for (int i = 0; i < KEPT; i++)
        zmq_msg_close(&payload[i]);
    eventfd_write(ready, 1);
    if (!link_gets(&k, &payload[0]) || !is_activation(&payload[0], 7))
        _exit(6);
    _exit(0);
}

static void who_gives_nothing_back_fills_its_own_ring_alone(void **state)
{
    struct place p;
    struct link k;
    pid_t child;
    eventfd_t count;
    int ready = eventfd(0, 0);
    make_place(&p);
    child = fork();
    if (!child)
        child_keeps(&p, ready);
    eventfd_read(ready, &count);
    open_link(&k, &p, ZMQ_PUSH, FRAMES_CONNECT);
    while (!lanes_reach(k.lanes, DOOR))
        lanes_turn(k.lanes, clock_ns());
    for (uint64_t i = 1; i <= KEPT; i++)
        assert_true(link_sends(&k, i));
    eventfd_read(ready, &count);
    assert_true(link_sends(&k, 7));
    expect_exit(child, 0);
    link_close(&k, 0);
    lanes_free(k.lanes);
    unlink(p.endpoint + strlen("ipc://"));
    close(ready);
    remove_place(&p);
}

/* A process that may not make so much memory gets its messages through the socket. */
static void without_memory_the_socket_does(void **state)
{
    const struct rlimit few = {4096, RLIM_INFINITY};
    struct place p;
    struct link k;
    zmq_msg_t payload;
    pid_t child;
    make_place(&p);
    child = fork();
    if (!child) {
        open_link(&k, &p, ZMQ_PULL, FRAMES_BIND);
        if (setrlimit(RLIMIT_FSIZE, &few))
            _exit(7);
        for (uint64_t i = 1; i <= 3; i++)
            if (!link_gets(&k, &payload) || !is_activation(&payload, i))
                _exit(8);
        _exit(lanes_reach(k.lanes, DOOR) ? 9 : 0);
    }
    open_link(&k, &p, ZMQ_PUSH, FRAMES_CONNECT);
    for (uint64_t i = 1; i <= 3; i++) {
        lanes_turn(k.lanes, clock_ns());
        assert_true(link_sends(&k, i));
    }
    expect_exit(child, 0);
    assert_false(lanes_reach(k.lanes, DOOR));
    link_close(&k, 0);
    lanes_free(k.lanes);
    unlink(p.endpoint + strlen("ipc://"));
    remove_place(&p);
}

/* A connection that can't be accepted keeps nobody awake, and is accepted when it can be. */
static void without_descriptors_a_lane_comes_later(void **state)
{
    struct place p;
    struct lanes *l, *mine = NULL;
    struct error e = {0};
    struct rlimit usual, few;
    uint64_t now = clock_ns();
    int next;
    make_place(&p);
    l = listening(&p, false);
    assert_int_equal(lanes_new(&mine, &e), FL_OK);
    lanes_connect(mine, DOOR, p.endpoint, true);
    next = dup(0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    few = (struct rlimit){(rlim_t)next, usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    lanes_turn(l, now);
    assert_int_equal(poll(&(struct pollfd){.fd = lanes_fd(l), .events = POLLIN}, 1, 0), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    meet(mine, l, now + NS_PER_S);
    lanes_free(mine);
    lanes_free(l);
    remove_place(&p);
}

/* --- what is in the way --- */

static int listen_at(const struct place *p, struct error *e)
{
    const struct lane_options o = {.in_bytes = 1};
    struct lanes *l;
    int rc;
    if (lanes_new(&l, e))
        return FL_NOMEM;
    rc = lanes_listen(l, DOOR, p->endpoint, &o, e);
    lanes_free(l);
    return rc;
}

static void a_file_in_the_way_stays(void **state)
{
    struct place p;
    struct error e = {0};
    struct stat st;
    int fd;
    make_place(&p);
    fd = open(p.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    assert_int_equal(listen_at(&p, &e), FL_IO);
    assert_non_null(strstr(e.text, p.path));
    assert_non_null(strstr(e.text, "remove"));
    assert_true(!stat(p.path, &st) && st.st_size == 4);
    assert_int_equal(unlink(p.path), 0);
    assert_int_equal(listen_at(&p, &e), FL_OK);
    remove_place(&p);
}

#define NOBODY 65534

/* In a folder where all may make files. Another one listens there: its socket stays, and nobody else's lane
 * leads to it. */
static void another_users_socket_is_left_alone(void **state)
{
    struct place p;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat st;
    pid_t child;
    int fd;
    if (geteuid())
        skip();
    make_place(&p);
    assert_int_equal(chmod(p.dir, 01777), 0);
    memcpy(at.sun_path, p.path, strlen(p.path));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(setegid(NOBODY) || seteuid(NOBODY), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 8) || chmod(p.path, 0666), 0);
    assert_int_equal(seteuid(0) || setegid(0), 0);
    child = fork();
    if (!child) {
        struct lanes *l;
        struct error e = {0};
        if (setgid(NOBODY - 1) || setuid(NOBODY - 1) || listen_at(&p, &e) != FL_IO ||
            !strstr(e.text, p.path) || lanes_new(&l, &e))
            _exit(2);
        lanes_connect(l, DOOR, p.endpoint, true);
        lanes_turn(l, clock_ns());
        _exit(lanes_reach(l, DOOR) || send_activation(l, NULL, 1, true) != FL_AGAIN ? 3 : 0);
    }
    expect_exit(child, 0);
    assert_int_equal(stat(p.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode) && st.st_uid == NOBODY);
    close(fd);
    remove_place(&p);
}

static bool is_file(int fd, const struct stat *want)
{
    struct stat st;
    bool same = fd >= 0 && !fstat(fd, &st) && st.st_ino == want->st_ino && st.st_dev == want->st_dev;
    if (fd >= 0)
        close(fd);
    return same;
}

/* The newest is what counts: who comes late gets that alone, and nothing comes twice. */
static void what_is_offered_reaches_everyone(void **state)
{
    struct place p;
    struct lanes *l, *one, *two;
    struct stat st[2];
    struct error e = {0};
    uint64_t now = clock_ns();
    int fd[2];
    make_place(&p);
    l = listening(&p, false);
    for (int i = 0; i < 2; i++) {
        fd[i] = memfd_create("offer", MFD_CLOEXEC);
        assert_int_equal(fstat(fd[i], &st[i]), 0);
    }
    lanes_offer(l, DOOR, fd[0]);
    assert_int_equal(lanes_new(&one, &e), FL_OK);
    lanes_connect(one, DOOR, p.endpoint, true);
    for (int i = 0; i < 3; i++)
        lanes_turn(l, now);
    for (int i = 0; i < 2; i++) /* the lane, then what is offered */
        lanes_turn(one, now);
    assert_true(is_file(lanes_offered(one, DOOR), &st[0]));
    assert_int_equal(lanes_offered(one, DOOR), -1);
    for (int i = 0; i < 3; i++) /* one that does not look for a while gets the newest */
        lanes_offer(l, DOOR, fd[i % 2 ? 0 : 1]);
    assert_int_equal(lanes_new(&two, &e), FL_OK);
    lanes_connect(two, DOOR, p.endpoint, true);
    for (int i = 0; i < 3; i++)
        lanes_turn(l, now);
    for (int i = 0; i < 3; i++) {
        lanes_turn(one, now);
        lanes_turn(two, now);
    }
    assert_true(is_file(lanes_offered(one, DOOR), &st[1]));
    assert_true(is_file(lanes_offered(two, DOOR), &st[1]));
    assert_int_equal(lanes_offered(two, DOOR), -1);
    assert_true(lanes_reach(one, DOOR) && lanes_reach(two, DOOR));
    lanes_free(one);
    lanes_free(two);
    lanes_free(l);
    close(fd[0]);
    close(fd[1]);
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
    lanes_turn(l, clock_ns() + 10 * NS_PER_S);
    assert_int_equal(recv(fd[2], junk, sizeof junk, 0), 0); /* it had its time */
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    lanes_turn(l, clock_ns());
    lanes_free(l);
    remove_place(&p);
}

/* A descriptor to wake by that takes no more, and would make its writer wait. */
static void who_can_not_be_woken_keeps_nobody_waiting(void **state)
{
    struct greeting g = {.magic = GREETING_MAGIC};
    int fds[2], full = eventfd(0, EFD_CLOEXEC), fd;
    struct place p;
    struct lanes *l;
    struct lane_memory *theirs;
    struct sockaddr_un at;
    struct peer from;
    struct error e = {0};
    zmq_msg_t payload;
    bool wake;
    make_place(&p);
    zmq_msg_init(&payload);
    l = listening(&p, true);
    assert_true(greeting_address(p.endpoint, &at));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at) || greeting_send(fd, &g, &full, 1), 0);
    assert_int_equal(eventfd_write(full, UINT64_MAX - 1), 0);
    lanes_turn(l, clock_ns()); /* accepts */
    lanes_turn(l, clock_ns()); /* grants */
    assert_int_equal(greeting_receive(fd, &g, fds), 2);
    theirs = lane_map(fds[0], g.in_bytes, g.out_bytes);
    assert_non_null(theirs);
    m = (struct message){.type = MESSAGE_JOB};
    m.job = (struct job){.request = 1, .attempt = 1, .deadline_ns = 1, .n_route = 1};
    assert_int_equal(lane_send(theirs, &m, NULL, 0, &wake), FL_OK);
    assert_int_equal(lanes_receive(l, DOOR, &from, &m, &payload, &e), FL_OK);
    assert_true(ring_sleep(lane_in(theirs)));
    alarm(WAIT_S);
    assert_int_equal(send_activation(l, &from, 1, false), FL_OK);
    alarm(0);
    lane_release(theirs);
    close(fds[0]);
    close(fds[1]);
    close(fd);
    close(full);
    lanes_free(l);
    remove_place(&p);
}

static void only_its_user_may_open_the_door(void **state)
{
    struct place p;
    struct lanes *l;
    struct stat st;
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
        cmocka_unit_test(a_door_that_connects_again_has_one_lane),
        cmocka_unit_test(a_door_that_receives_nothing_sleeps),
        cmocka_unit_test(answers_wait_for_room),
        cmocka_unit_test(who_gives_nothing_back_fills_its_own_ring_alone),
        cmocka_unit_test(without_memory_the_socket_does),
        cmocka_unit_test(without_descriptors_a_lane_comes_later),
        cmocka_unit_test(a_file_in_the_way_stays),
        cmocka_unit_test(another_users_socket_is_left_alone),
        cmocka_unit_test(what_is_offered_reaches_everyone),
        cmocka_unit_test(strangers_get_no_lane),
        cmocka_unit_test(who_can_not_be_woken_keeps_nobody_waiting),
        cmocka_unit_test(only_its_user_may_open_the_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
