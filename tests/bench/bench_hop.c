/* bench_hop.c - what bare ZeroMQ takes to bring some bytes to the next process
 *
 * usage: bench_hop BYTES [PAUSE_MS [COUNT]]
 *
 * PUSH to PULL over ipc, one message at a time with a pause in between in which the sender computes, as a
 * stage does: an idle machine is woken for each message, and that is most of a small one's way. Prints the
 * median and the tenth and ninetieth percentile of the time from before zmq_msg_init to after zmq_msg_recv,
 * in us.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/samples.h"

#define MOST 100000

static void receive(const char *endpoint, int count)
{
    static double us[MOST];
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_PULL);
    zmq_bind(socket, endpoint);
    for (int i = 0; i < count; i++) {
        uint64_t sent;
        zmq_msg_t m;
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, socket, 0) < (int)sizeof sent)
            exit(1);
        us[i] = (double)clock_ns();
        memcpy(&sent, zmq_msg_data(&m), sizeof sent);
        us[i] = (us[i] - (double)sent) / NS_PER_US;
        zmq_msg_close(&m);
    }
    samples_sort(us, count);
    printf("%.1f %.1f %.1f\n", us[count / 2], us[count / 10], us[count * 9 / 10]);
}

static void compute(double ms)
{
    volatile double x = 1;
    uint64_t end = clock_ns() + (uint64_t)(ms * NS_PER_MS);
    while (clock_ns() < end)
        x = x * 1.0000001;
}

static void send_all(const char *endpoint, size_t bytes, double pause_ms, int count)
{
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PUSH);
    char *from = calloc(1, bytes);
    zmq_connect(socket, endpoint);
    for (int i = 0; from && i < count; i++) {
        uint64_t now;
        zmq_msg_t m;
        compute(pause_ms);
        now = clock_ns();
        zmq_msg_init_size(&m, bytes);
        memcpy(zmq_msg_data(&m), from, bytes);
        memcpy(zmq_msg_data(&m), &now, sizeof now);
        zmq_msg_send(&m, socket, 0);
    }
    zmq_close(socket);
    zmq_ctx_term(context); /* once the last one is sent */
    free(from);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/freezeline-hop-XXXXXX", endpoint[80], path[64];
    long bytes = argc > 1 ? atol(argv[1]) : 0, count = argc > 3 ? atol(argv[3]) : 300;
    double pause = argc > 2 ? atof(argv[2]) : 2;
    pid_t child;
    if (bytes < 8 || bytes > 1 << 28 || count < 10 || count > MOST || !mkdtemp(dir)) {
        fprintf(stderr, "usage: bench_hop BYTES [PAUSE_MS [COUNT]]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/hop", dir);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    child = fork();
    if (child == 0) {
        send_all(endpoint, (size_t)bytes, pause, (int)count);
        _exit(0);
    }
    receive(endpoint, (int)count);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    unlink(path);
    rmdir(dir);
    return 0;
}
