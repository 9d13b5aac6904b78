/* bench_crowd.c - what 1,000 idle connections and 200 slow writers cost those who ask beside them
 *
 * usage: bench_crowd CROWDED ALONE PATH BODY_BYTES [SLICES [MILLISECONDS]]     (100 slices of 250 ms)
 *
 * CROWDED and ALONE are two servers of one kind, as IPV4:PORT. All the crowd is at the first. Eight
 * connections to each ask in turn, a slice of time at one server, a slice at the other; each sends its next
 * request when it has its answer. The slow ones send a byte every half a second, each at its own moment, and
 * rest while the other server is asked, so that nothing of them is in the slices alone. Short slices that
 * take turns meet the same machine, whatever else it does: each pair of slices gives a ratio, and the median
 * of the ratios is printed with its 95% interval.
 */
#include "deploy/tool/statistics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ASKING     8
#define IDLE       1000
#define SLOW       200
#define SLOW_NS    500000000
#define HEAD_BYTES 4096
#define MOST       200000 /* requests of one slice whose time is kept */

struct connection {
    int fd;
    int64_t sent;      /* ns, when the request left */
    size_t head, want; /* bytes of the answer's head so far, of its body that are still to come */
    char text[HEAD_BYTES];
};

struct server {
    struct sockaddr_in at;
    struct connection asking[ASKING];
    int epoll;
    double *p50, *p99; /* us, of each slice */
    int64_t requests;
};

static struct server servers[2];
static int slow[SLOW];
static char *request, slow_head[512];
static size_t request_bytes;
static double times[MOST];

static void need(bool there, const char *what)
{
    if (there)
        return;
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int connection_to(const struct server *s)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    need(fd >= 0 && !connect(fd, (const struct sockaddr *)&s->at, sizeof s->at), "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void parse_address(struct server *s, const char *text)
{
    char host[64];
    unsigned port;
    s->at.sin_family = AF_INET;
    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &s->at.sin_addr) != 1) {
        fprintf(stderr, "bench_crowd: %s is no IPV4:PORT\n", text);
        exit(2);
    }
    s->at.sin_port = htons((uint16_t)port);
}

static void ask(struct connection *c)
{
    c->head = c->want = 0;
    c->sent = now_ns();
    need(send(c->fd, request, request_bytes, MSG_NOSIGNAL) == (ssize_t)request_bytes, "send");
}

/* Takes what has come. True when the answer is whole; ends the program when it is no 200. */
static bool answered(struct connection *c)
{
    char body[65536], *end;
    ssize_t n;
    if (c->want) {
        n = recv(c->fd, body, c->want < sizeof body ? c->want : sizeof body, 0);
        need(n > 0, "recv");
        return !(c->want -= (size_t)n);
    }
    n = recv(c->fd, c->text + c->head, sizeof c->text - 1 - c->head, 0);
    need(n > 0, "recv");
    c->head += (size_t)n;
    c->text[c->head] = '\0';
    if ((end = strstr(c->text, "\r\n\r\n"))) {
        const char *length = strcasestr(c->text, "\r\ncontent-length:");
        size_t body_here = c->head - (size_t)(end + 4 - c->text);
        if (strncmp(c->text, "HTTP/1.1 200", 12) || !length) {
            fprintf(stderr, "bench_crowd: answered \"%.60s\"\n", c->text);
            exit(1);
        }
        c->want = strtoul(length + 17, NULL, 10) - body_here;
        return !c->want;
    }
    need(c->head < sizeof c->text - 1, "a head of over 4 KiB");
    return false;
}

static void write_slowly(int turn)
{
    int *fd = &slow[turn % SLOW];
    if (send(*fd, "0", 1, MSG_NOSIGNAL) == 1)
        return;
    close(*fd); /* the server has lost patience: another one comes */
    *fd = connection_to(&servers[0]);
    need(send(*fd, slow_head, strlen(slow_head), MSG_NOSIGNAL) > 0, "send");
}

static void run_slice(struct server *s, int64_t ns, int slice)
{
    static int turn;
    struct epoll_event events[ASKING];
    int64_t end = now_ns() + ns, next_byte = now_ns(), n = 0;
    int waiting = ASKING;
    struct summary summary;

    for (int i = 0; i < ASKING; i++)
        ask(&s->asking[i]);
    while (waiting) {
        int ready = epoll_wait(s->epoll, events, ASKING, 1);
        int64_t now = now_ns();
        need(ready >= 0 || errno == EINTR, "epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!answered(c))
                continue;
            now = now_ns();
            if (n < MOST)
                times[n++] = (double)(now - c->sent) / 1e3;
            if (now < end)
                ask(c);
            else
                waiting--;
        }
        if (s == &servers[0] && now >= next_byte) {
            write_slowly(turn++);
            next_byte += SLOW_NS / SLOW;
        }
    }
    s->requests += n;
    summary = statistics_summary(times, n);
    s->p50[slice] = summary.p50;
    s->p99[slice] = summary.p99;
}

static void tell(const char *what, const double *crowded, const double *alone, int n)
{
    double *ratios = malloc((size_t)n * sizeof *ratios), *a = malloc((size_t)n * sizeof *a),
           *b = malloc((size_t)n * sizeof *b);
    int64_t low, high;
    need(ratios && a && b, "malloc");
    for (int i = 0; i < n; i++) {
        ratios[i] = crowded[i] / alone[i];
        a[i] = crowded[i];
        b[i] = alone[i];
    }
    statistics_quantile_ranks(n, 0.5, &low, &high);
    printf("%s: %.1f us beside the crowd, %.1f us alone (medians), ratio %.3f", what,
           statistics_summary(a, n).p50, statistics_summary(b, n).p50, statistics_summary(ratios, n).p50);
    if (low > 0 && high <= n)
        printf(" [%.3f .. %.3f]", ratios[low - 1], ratios[high - 1]);
    putchar('\n');
    free(ratios);
    free(a);
    free(b);
}

int main(int argc, char **argv)
{
    struct rlimit files = {4096, 4096};
    int slices = argc > 5 ? atoi(argv[5]) : 100, ms = argc > 6 ? atoi(argv[6]) : 250, bytes;

    if (argc < 5 || argc > 7 || (bytes = atoi(argv[4])) < 1 || slices < 1 || ms < 1) {
        fputs("usage: bench_crowd CROWDED ALONE PATH BODY_BYTES [SLICES [MILLISECONDS]]\n", stderr);
        return 2;
    }
    need(!setrlimit(RLIMIT_NOFILE, &files), "more than 1,200 files");
    need((request = calloc(1, (size_t)bytes + 512)) != NULL, "calloc");
    snprintf(slow_head, sizeof slow_head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             argv[3], bytes);
    request_bytes = (size_t)snprintf(request, 512,
                                     "POST %s HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\n"
                                     "Content-Length: %d\r\n\r\n",
                                     argv[3], bytes) +
                    (size_t)bytes;
    for (int k = 0; k < 2; k++) {
        struct server *s = &servers[k];
        parse_address(s, argv[1 + k]);
        need((s->epoll = epoll_create1(0)) >= 0, "epoll_create1");
        s->p50 = calloc((size_t)slices + 1, sizeof *s->p50);
        s->p99 = calloc((size_t)slices + 1, sizeof *s->p99);
        need(s->p50 && s->p99, "calloc");
        for (int i = 0; i < ASKING; i++) {
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = &s->asking[i]};
            s->asking[i].fd = connection_to(s);
            need(!epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->asking[i].fd, &e), "epoll_ctl");
        }
    }
    for (int i = 0; i < IDLE; i++)
        connection_to(&servers[0]);
    for (int i = 0; i < SLOW; i++) {
        slow[i] = connection_to(&servers[0]);
        need(send(slow[i], slow_head, strlen(slow_head), MSG_NOSIGNAL) > 0, "send");
    }
    for (int k = 0; k < 2; k++) /* a first slice of each warms up */
        run_slice(&servers[k], (int64_t)ms * 1000000, slices);
    for (int k = 0; k < 2 * slices; k++) /* one, other, other, one: what drifts meets both alike */
        run_slice(&servers[(k + 1) / 2 % 2], (int64_t)ms * 1000000, k / 2);
    printf("%d connections beside %d idle and %d slow ones, %d pairs of slices of %d ms, %lld and %lld "
           "requests\n",
           ASKING, IDLE, SLOW, slices, ms, (long long)servers[0].requests, (long long)servers[1].requests);
    tell("p50", servers[0].p50, servers[1].p50, slices);
    tell("p99", servers[0].p99, servers[1].p99, slices);
    return 0;
}
