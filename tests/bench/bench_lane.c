/* bench_lane.c - what it takes to bring an activation to the next process: through a lane, through ZeroMQ,
 * and what a bare wake-up takes
 *
 * usage: bench_lane [BYTES [PAUSE_MS [COUNT]]]       (262144, 0, 500)
 *
 * A part of table.py (rounds.h): a round is COUNT messages each way, in us. Two processes; one message at a
 * time, there and, to say that it came, back through an eventfd. Before each message the sender computes for
 * PAUSE_MS while the receiver sleeps. A hop starts with the activation in the sender's arena and ends with it
 * in the receiver's. The three ways take turns, message by message.
 */
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "system/slice.h"
#include "rounds.h"
#include "link/lanes.h"

#define WAYS  3
#define MOST  20000
#define FIRST 50 /* not counted */

enum way { BARE, LANE, ZEROMQ };
static const char *const names[WAYS] = {"bare", "lane", "zmq"};

struct bench {
    size_t bytes;
    double pause_ms;
    int count, bare, back; /* eventfds */
    char endpoint[128];
    uint64_t *came; /* shared: when the last message was in the receiver's arena */
    uint8_t *arena;
};

static void fill(struct message *m, size_t bytes)
{
    memset(m, 0, sizeof *m);
    m->type = MESSAGE_JOB;
    m->job.request = m->job.attempt = 1;
    m->job.deadline_ns = 1;
    m->job.n_route = 3;
    m->job.activation = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, (int64_t)(bytes / 4)}};
}

static void *zmq_end(const struct bench *b, int type, enum frames_mode mode)
{
    void *socket;
    struct error e;
    if (frames_socket(&socket, zmq_ctx_new(), type, mode, b->endpoint, NULL, NULL, &e)) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    return socket;
}

static void receiver(const struct bench *b)
{
    static struct message m;
    struct lane_options o = {.in_bytes = 4 * b->bytes};
    struct lanes *l;
    struct error e;
    zmq_msg_t payload;
    void *socket;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    slice_short(true);
    socket = zmq_end(b, ZMQ_PULL, FRAMES_BIND);
    rounds_need(!lanes_new(&l, &e) && !lanes_listen(l, 0, b->endpoint, &o, &e), "lanes");
    zmq_msg_init(&payload);
    for (;;) {
        zmq_pollitem_t items[] = {{.socket = socket, .events = ZMQ_POLLIN},
                                  {.fd = lanes_fd(l), .events = ZMQ_POLLIN},
                                  {.fd = b->bare, .events = ZMQ_POLLIN}};
        uint64_t count;
        if (lanes_sleep(l, 0))
            zmq_poll(items, 3, 1000);
        lanes_wake(l);
        if (read(b->bare, &count, sizeof count) != sizeof count) {
            if (lanes_receive(l, 0, NULL, &m, &payload, &e) && frames_recv(socket, NULL, &m, &payload, &e)) {
                lanes_turn(l, clock_ns());
                continue;
            }
            memcpy(b->arena, zmq_msg_data(&payload), b->bytes);
            zmq_msg_close(&payload);
            zmq_msg_init(&payload);
        }
        *b->came = clock_ns();
        eventfd_write(b->back, 1);
        lanes_turn(l, *b->came);
    }
}

static void compute(double ms)
{
    volatile double x = 1;
    uint64_t end = clock_ns() + (uint64_t)(ms * NS_PER_MS);
    while (clock_ns() < end)
        x = x * 1.0000001;
}

/* One hop; how long it took, in us. */
static double hop(const struct bench *b, enum way way, struct lanes *l, void *socket)
{
    static struct message m;
    uint64_t start, back;
    zmq_msg_t payload;
    int rc;
    compute(b->pause_ms);
    fill(&m, b->bytes);
    start = clock_ns();
    if (way == BARE) {
        eventfd_write(b->bare, 1);
    } else {
        rc = way == LANE ? lanes_payload(l, 0, b->bytes, &payload) : zmq_msg_init_size(&payload, b->bytes);
        rounds_need(!rc, "payload");
        memcpy(zmq_msg_data(&payload), b->arena, b->bytes);
        rc = way == LANE ? lanes_send(l, 0, NULL, &m, &payload) : frames_send(socket, NULL, &m, &payload);
        rounds_need(!rc, "sending");
        zmq_msg_close(&payload);
    }
    rounds_need(read(b->back, &back, sizeof back) == sizeof back, "read");
    return (double)(*b->came - start) / NS_PER_US;
}

static void round_of(const struct bench *b, int count, struct lanes *l, void *socket)
{
    static double us[WAYS][MOST];
    for (int i = 0; i < count; i++)
        for (int way = 0; way < WAYS; way++)
            us[way][i] = hop(b, (enum way)way, l, socket);
    for (int way = 0; way < WAYS; way++)
        printf("%s\"%s\": %.2f", way ? ", " : "{", names[way], samples_median(us[way], count));
    printf("}\n");
}

static void measure(const struct bench *b)
{
    struct lanes *l;
    struct error e;
    void *socket;
    slice_short(true);
    socket = zmq_end(b, ZMQ_PUSH, FRAMES_CONNECT);
    rounds_need(!lanes_new(&l, &e), "lanes");
    lanes_connect(l, 0, b->endpoint, false);
    while (!lanes_reach(l, 0))
        lanes_turn(l, clock_ns());
    round_of(b, FIRST, l, socket);
    while (rounds_next())
        round_of(b, b->count, l, socket);
}

int main(int argc, char **argv)
{
    struct bench b = {.bytes = argc > 1 ? (size_t)atol(argv[1]) / 4 * 4 : 262144,
                      .pause_ms = argc > 2 ? atof(argv[2]) : 0,
                      .count = argc > 3 ? atoi(argv[3]) : 500};
    char dir[] = "/tmp/freezeline-lane-XXXXXX";
    pid_t child;
    if (b.bytes < 8 || b.bytes > 4 << 20 || b.count < 10 || b.count > MOST || !mkdtemp(dir)) {
        fprintf(stderr, "usage: bench_lane [BYTES [PAUSE_MS [COUNT]]]\n");
        return 2;
    }
    snprintf(b.endpoint, sizeof b.endpoint, "ipc://%s/hop", dir);
    b.came = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    b.bare = eventfd(0, EFD_NONBLOCK);
    b.back = eventfd(0, 0);
    b.arena = calloc(1, b.bytes);
    rounds_need(b.came != MAP_FAILED && b.arena && b.bare >= 0 && b.back >= 0, "memory");
    memset(b.arena, 1, b.bytes);
    if (!(child = fork()))
        receiver(&b);
    measure(&b);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    unlink(b.endpoint + 6);
    strcat(b.endpoint, ".lane");
    unlink(b.endpoint + 6);
    rmdir(dir);
    return 0;
}
