/* bench_curve.c - what CURVE costs: a message of an activation's size from one process to another and back,
 * over tcp of this host, with keys and without, in turns
 *
 *   usage: bench_curve [BYTES [ROUNDS]]     (262144, 2000)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/allow_list.h"
#include "keys/keys.h"
#include "wire/frames.h"

#define TURN 50 /* messages of one kind before it is the other's turn */

static const char *folder;

static void die(const char *what)
{
    fprintf(stderr, "bench_curve: %s\n", what);
    exit(1);
}

static void make_keys(char *at)
{
    const enum party role[] = {PARTY_BROKER, PARTY_WORKER};
    struct allow_list list = {0};
    char path[128];
    if (!(folder = mkdtemp(at)))
        die("no folder in /tmp");
    for (int i = 0; i < 2; i++) {
        struct allowed a = {.role = role[i]};
        struct key_pair k;
        snprintf(path, sizeof path, "%s/%s.key", folder, party_name(role[i]));
        if (key_pair_new(&k, role[i], party_name(role[i]), NULL) || key_file_write(&k, path, NULL))
            die("no keys");
        memcpy(a.key, k.public_key, sizeof a.key);
        snprintf(a.name, sizeof a.name, "%s", party_name(role[i]));
        allow_list_add(&list, &a, NULL);
    }
    if (allow_list_write(&list, folder, NULL))
        die("no list of keys");
    allow_list_free(&list);
}

static void *open_socket(void *context, enum frames_mode mode, const char *endpoint, struct security *s,
                         enum party self)
{
    struct error e;
    void *socket;
    if ((s->mode == SECURITY_CURVE && keys_open(&s->keys, folder, self, NULL, &e)) ||
        frames_socket(&socket, context, ZMQ_DEALER, mode, endpoint, NULL, s, &e))
        die(e.text);
    return socket;
}

/* Sends back what comes, until an empty message. */
static void echo(int to_parent)
{
    struct security s[2] = {{.mode = SECURITY_LOOPBACK}, {.mode = SECURITY_CURVE}};
    void *context = zmq_ctx_new();
    zmq_pollitem_t item[2];
    for (int i = 0; i < 2; i++) {
        char bound[64];
        size_t size = sizeof bound;
        item[i] = (zmq_pollitem_t){
            .socket = open_socket(context, FRAMES_BIND, "tcp://127.0.0.1:*", &s[i], PARTY_BROKER),
            .events = ZMQ_POLLIN};
        zmq_getsockopt(item[i].socket, ZMQ_LAST_ENDPOINT, bound, &size);
        if (write(to_parent, bound, sizeof bound) < 0)
            exit(1);
    }
    for (;;) {
        zmq_poll(item, 2, -1);
        for (int i = 0; i < 2; i++) {
            zmq_msg_t m;
            if (!(item[i].revents & ZMQ_POLLIN))
                continue;
            zmq_msg_init(&m);
            if (zmq_msg_recv(&m, item[i].socket, 0) <= 0)
                exit(0);
            zmq_msg_send(&m, item[i].socket, 0);
        }
    }
}

static double round_trip_us(void *socket, char *bytes, size_t n)
{
    uint64_t start = clock_ns();
    if (zmq_send(socket, bytes, n, 0) < 0 || zmq_recv(socket, bytes, n, 0) != (int)n)
        die("a message was lost");
    return (double)(clock_ns() - start) / 1e3;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? (size_t)atoll(argv[1]) : 256 << 10;
    int rounds = argc > 2 ? atoi(argv[2]) : 2000, fd[2];
    struct security s[2] = {{.mode = SECURITY_LOOPBACK}, {.mode = SECURITY_CURVE}};
    char at[] = "/tmp/freezeline-curve-XXXXXX", endpoint[2][64], *bytes = calloc(1, n), command[64];
    double *us[2] = {calloc((size_t)rounds, sizeof(double)), calloc((size_t)rounds, sizeof(double))},
           cpu[2] = {0};
    void *context, *socket[2];
    pid_t child;

    make_keys(at);
    if (!bytes || !us[0] || !us[1] || pipe(fd) || (child = fork()) < 0)
        die("no memory or process");
    if (!child)
        echo(fd[1]);
    if (read(fd[0], endpoint, sizeof endpoint[0]) <= 0 || read(fd[0], endpoint[1], sizeof endpoint[1]) <= 0)
        die("the other process did not start");
    context = zmq_ctx_new();
    for (int i = 0; i < 2; i++) {
        socket[i] = open_socket(context, FRAMES_CONNECT, endpoint[i], &s[i], PARTY_WORKER);
        for (int k = 0; k < TURN; k++)
            round_trip_us(socket[i], bytes, n);
    }
    for (int done = 0; done < rounds; done += TURN)
        for (int i = 0; i < 2; i++) {
            double before = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID);
            for (int k = done; k < done + TURN && k < rounds; k++)
                us[i][k] = round_trip_us(socket[i], bytes, n);
            cpu[i] += clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) - before;
        }
    for (int i = 0; i < 2; i++)
        qsort(us[i], (size_t)rounds, sizeof(double), by_size);
    printf("%zu bytes there and back over tcp, %d times each, in turns of %d\n", n, rounds, TURN);
    for (int i = 0; i < 2; i++)
        printf("%-8s median %8.1f us   p90 %8.1f us   p99 %8.1f us   cpu of one end %8.1f us\n",
               i ? "curve" : "plain", us[i][rounds / 2], us[i][rounds * 9 / 10], us[i][rounds * 99 / 100],
               cpu[i] / rounds);
    printf("curve / plain: median %.2fx, cpu %.2fx\n", us[1][rounds / 2] / us[0][rounds / 2],
           cpu[1] / cpu[0]);
    zmq_send(socket[0], "", 0, 0);
    waitpid(child, NULL, 0);
    for (int i = 0; i < 2; i++)
        frames_close(socket[i], 0);
    zmq_ctx_term(context);
    keys_close(s[1].keys);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0;
}
