/* test_world.c - processes in virtual time: clients, a broker, and the sockets between them */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "deploy/world/world.h"

#define MS   NS_PER_MS
#define MANY 256

struct fixture {
    struct pipeline pipeline;
    struct world_host host[2];
    struct world_spec spec;
    struct world *w;
    int n, status;
    struct answer answer[MANY];
    uint64_t came_at[MANY];
    struct status_reply reply; /* the last one */
    double client_ns, broker_ns;
    int beside; /* asked so often */
};

static void on_answer(void *arg, int client, int broker, const struct message *m, zmq_msg_t *payload)
{
    struct fixture *f = arg;
    (void)client, (void)broker, (void)payload;
    if (m->type == MESSAGE_STATUS_REPLY) {
        f->reply = m->status_reply;
        f->status++;
        return;
    }
    assert_int_equal(m->type, MESSAGE_ANSWER);
    f->came_at[f->n] = world_now(f->w);
    f->answer[f->n++] = m->answer;
}

static double cost(void *arg, const struct world_process *p, enum world_work work, const struct message *m,
                   double bytes)
{
    const struct fixture *f = arg;
    (void)m, (void)bytes;
    if (p->role == ROLE_BROKER)
        return work == WORLD_RECEIVES ? f->broker_ns : 0;
    return work == WORLD_SENDS ? f->client_ns : 0;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error e;
    f->pipeline.n_stages = 2;
    f->pipeline.stage[0] = f->pipeline.stage[1] =
        (struct stage_config){.n_replicas = 1, .max_batch = 4, .threads = 1};
    f->pipeline.broker = (struct broker_config){.max_requests = 8,
                                                .max_memory_mb = 1,
                                                .deadline_ms = 200,
                                                .retries = 2,
                                                .heartbeat_ms = 20,
                                                .dead_after_ms = 100};
    f->host[0] = f->host[1] = (struct world_host){.speed = 1, .all_busy = 1, .latency_ns = MS};
    f->host[1].clock_ns = 7 * NS_PER_S;
    f->spec = (struct world_spec){.pipeline = &f->pipeline,
                                  .n_hosts = 2,
                                  .host = f->host,
                                  .n_clients = 1,
                                  .client_host = {1},
                                  .user = {.arg = f, .answer = on_answer},
                                  .seed = 1};
    log_threshold = LOG_LEVEL_ERROR + 1;
    *state = f;
    return world_new(&f->w, &f->spec, &e) || world_start(f->w, world_broker(f->w, 0), &e);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    world_free(f->w);
    free(f);
    return 0;
}

static int ask(struct fixture *f, uint64_t id)
{
    struct message m = {.type = MESSAGE_REQUEST};
    zmq_msg_t payload;
    int rc;
    m.request = (struct request){.id = id, .input = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 4}}};
    zmq_msg_init_size(&payload, 16);
    rc = world_send(f->w, 0, WORLD_CLIENTS, 0, 0, &m, &payload);
    zmq_msg_close(&payload);
    return rc;
}

static void ask_status(struct fixture *f)
{
    struct message m = {.type = MESSAGE_STATUS};
    assert_int_equal(world_send(f->w, 0, WORLD_CLIENTS, 0, 0, &m, NULL), FL_OK);
}

/* There and back over two hosts, 2 ms each way, once the socket is connected. */
static void test_a_request_without_workers_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, 5), FL_OK);
    assert_true(world_run(f->w, 200 * MS));
    assert_int_equal(f->n, 1);
    assert_int_equal(f->answer[0].id, 5);
    assert_int_equal(f->answer[0].error, FL_UNAVAILABLE);
    ask(f, 6);
    assert_true(world_run(f->w, 300 * MS));
    assert_int_equal(f->came_at[1], 204 * MS);
}

static void test_each_host_has_its_own_clock(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(world_clock(f->w, 1, 3), 7 * NS_PER_S + 3);
    world_run(f->w, 200 * MS);
    ask_status(f);
    world_run(f->w, 250 * MS);
    assert_int_equal(f->status, 1);
    assert_int_equal(f->reply.now_ns - f->reply.started_ns, 202 * MS); /* the broker's, on host 0 */
    assert_true(f->reply.now_ns < NS_PER_S);
}

/* What a client has sent while nobody listened waits in its socket; what a dead broker had not read is gone.
 */
static void test_sockets_keep_and_lose_what_real_ones_do(void **state)
{
    struct fixture *f = *state;
    struct error e;
    world_run(f->w, 200 * MS);
    world_stall(f->w, world_broker(f->w, 0), 300 * MS);
    ask(f, 1);
    world_run(f->w, 250 * MS);
    world_kill(f->w, world_broker(f->w, 0));
    ask(f, 2);
    world_run(f->w, 500 * MS);
    assert_int_equal(f->n, 0);
    assert_null(world_dispatch(f->w, 0));
    assert_int_equal(world_start(f->w, world_broker(f->w, 0), &e), FL_OK);
    world_run(f->w, 700 * MS);
    assert_int_equal(f->n, 1);
    assert_int_equal(f->answer[0].id, 2);
}

/* 8 unread in the broker's socket, the rest in the client's. */
static void test_a_full_socket_takes_no_more(void **state)
{
    struct fixture *f = *state;
    int sent = 0;
    world_run(f->w, 200 * MS);
    world_stall(f->w, world_broker(f->w, 0), 400 * MS);
    while (sent < 10000 && ask(f, 1) == FL_OK)
        sent++;
    assert_int_equal(sent, 8 + 4096);
}

static void test_a_held_link_keeps_the_order_and_a_broken_one_loses_the_end(void **state)
{
    struct fixture *f = *state;
    world_run(f->w, 200 * MS);
    world_hold(f->w, 0, 1, 300 * MS);
    for (uint64_t i = 0; i < 5; i++)
        ask(f, i);
    world_run(f->w, 299 * MS);
    assert_int_equal(f->n, 0);
    world_run(f->w, 310 * MS);
    assert_int_equal(f->n, 5);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(f->answer[i].id, i);
    for (uint64_t i = 5; i < 25; i++)
        ask(f, i);
    world_break(f->w, 0, 1, 0);
    world_run(f->w, 600 * MS);
    assert_true(f->n < 25);
    for (int i = 5; i < f->n; i++) /* what was flying is a prefix, and its answers had nobody to go to */
        assert_int_not_equal(f->answer[i].id, 5);
}

/* Every other message of the client. */
static uint64_t beside(void *arg, const struct world_process *from, const struct world_process *to)
{
    struct fixture *f = arg;
    (void)to;
    return from->role == ROLE_CLIENT && f->beside++ % 2 ? 5 * MS : 0;
}

/* What goes by the socket beside a lane is overtaken, and keeps an order of its own. */
static void test_a_lane_overtakes_its_socket(void **state)
{
    static const uint64_t order[] = {0, 2, 4, 1, 3, 5};
    struct fixture *f = *state;
    struct error e;
    f->pipeline.shared_memory = true;
    f->spec.client_host[0] = 0;
    f->spec.user.beside = beside;
    assert_int_equal(world_reset(f->w, &f->spec, &e), FL_OK);
    world_start(f->w, world_broker(f->w, 0), &e);
    world_run(f->w, 200 * MS);
    for (uint64_t i = 0; i < 6; i++)
        ask(f, i);
    world_run(f->w, 300 * MS);
    assert_int_equal(f->n, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(f->answer[i].id, order[i]);
        assert_int_equal(f->came_at[i], (i < 3 ? 200 : 205) * MS);
    }
}

/* Four requests of 3 ms each on one core come out 3 ms apart; the core was busy for as long. */
static void test_work_takes_time_on_cores(void **state)
{
    struct fixture *f = *state;
    struct error e;
    double used, io;
    f->host[0].cores = 1;
    f->broker_ns = 3e6;
    f->spec.user.cost = cost;
    assert_int_equal(world_reset(f->w, &f->spec, &e), FL_OK);
    world_start(f->w, world_broker(f->w, 0), &e);
    world_run(f->w, 200 * MS);
    for (uint64_t i = 0; i < 4; i++)
        ask(f, i);
    world_run(f->w, 300 * MS);
    assert_int_equal(f->n, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(f->came_at[i], (204 + 3 * (uint64_t)(i + 1)) * MS);
    world_used(f->w, world_broker(f->w, 0), &used, &io);
    assert_true(used > 12e6 - 1 && used < 12e6 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_without_workers_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_host_has_its_own_clock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sockets_keep_and_lose_what_real_ones_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_socket_takes_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_held_link_keeps_the_order_and_a_broken_one_loses_the_end,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lane_overtakes_its_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_work_takes_time_on_cores, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
