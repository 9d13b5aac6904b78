/* bench_http.c - what a request takes over HTTP, beside one by the native client
 *
 * usage: bench_http -c P.yaml --data D [--requests N]
 *
 * The pipeline is up, on this host, and its file says `broker.http: ADDRESS:PORT` without TLS. One request at
 * a time: one by the native client, then the same picture over a connection that is kept open, as raw binary
 * data, and so on in turn. Prints both medians and the median of the differences within the pairs, with its
 * 95% interval.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/tool/statistics.h"
#include "asking.h"

#define FIRST 50 /* pairs that are not counted */

struct bench {
    struct asking ask;
    int pairs, fd;
    double *us[2], *more;
};

static const struct usage usage = {.command = "bench_http",
                                   .summary = "Measures HTTP beside the native client."};

static int dial(struct bench *b, struct error *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char address[64];
    int yes = 1;
    snprintf(address, sizeof address, "%s", b->ask.pipeline->broker.http ? b->ask.pipeline->broker.http : "");
    char *port = strrchr(address, ':');
    if (!port)
        return error_set(e, FL_USAGE, "the pipeline file has no `broker.http: ADDRESS:PORT`");
    *port++ = '\0';
    a.sin_port = htons((uint16_t)atoi(port));
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        return error_set(e, FL_USAGE, "'%s' is no IPv4 address", address);
    if ((b->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 || connect(b->fd, (struct sockaddr *)&a, sizeof a))
        return error_set(e, FL_UNAVAILABLE, "nobody listens at %s", b->ask.pipeline->broker.http);
    setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return FL_OK;
}

/* Reads a reply of a head and a body of the length that it says. */
static int hear(struct bench *b, struct error *e)
{
    char reply[65536];
    size_t n = 0, all = sizeof reply;
    while (n < all) {
        ssize_t got = recv(b->fd, reply + n, sizeof reply - 1 - n, 0);
        const char *end, *length;
        if (got <= 0)
            return error_set(e, FL_IO, "the connection ended");
        reply[n += (size_t)got] = '\0';
        if (all == sizeof reply && (end = strstr(reply, "\r\n\r\n")) &&
            (length = strcasestr(reply, "\r\ncontent-length:")))
            all = (size_t)(end + 4 - reply) + strtoul(length + 17, NULL, 10);
    }
    return strncmp(reply, "HTTP/1.1 200", 12) ? error_set(e, FL_IO, "answered \"%.60s\"", reply) : FL_OK;
}

static int ask_http(struct bench *b, const struct tensor *input, struct error *e)
{
    size_t bytes = (size_t)tensor_bytes(input);
    char head[512];
    int n = snprintf(head, sizeof head,
                     "POST /v2/models/%s/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     b->ask.pipeline->name, bytes);
    struct iovec parts[] = {{head, (size_t)n}, {input->data, bytes}};
    const struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(b->fd, &m, MSG_NOSIGNAL) != n + (ssize_t)bytes)
        return error_set(e, FL_IO, "sending was cut short");
    return hear(b, e);
}

static int ask_native(struct bench *b, const struct tensor *input, struct error *e)
{
    const struct client_request r = {.input = *input};
    struct answer a;
    int n, rc = client_ask(b->ask.client, &r, &a, NULL, 0, &n, e);
    return rc || !a.error ? rc : error_set(e, (enum fl_code)a.error, "answered with an error");
}

static int run(struct bench *b, struct error *e)
{
    for (int i = -FIRST; i < b->pairs; i++) {
        const struct tensor *input;
        double us[2];
        input = asking_next(&b->ask);
        for (int k = 0; k < 2; k++) { /* who comes first takes turns, too */
            int way = (i + k) & 1;
            uint64_t began = clock_ns();
            int rc = way ? ask_http(b, input, e) : ask_native(b, input, e);
            if (rc)
                return rc;
            us[way] = (double)(clock_ns() - began) / NS_PER_US;
        }
        if (i < 0)
            continue;
        b->us[0][i] = us[0];
        b->us[1][i] = us[1];
        b->more[i] = us[1] - us[0];
    }
    return FL_OK;
}

static int measure(struct bench *b, struct error *e)
{
    size_t n = (size_t)b->pairs;
    int64_t low, high;
    double more;
    int rc;
    if ((rc = asking_open(&b->ask, e)) || (rc = dial(b, e)))
        return rc;
    if (!(b->us[0] = calloc(n, sizeof(double))) || !(b->us[1] = calloc(n, sizeof(double))) ||
        !(b->more = calloc(n, sizeof(double))))
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = run(b, e)))
        return rc;
    more = statistics_summary(b->more, b->pairs).p50;
    statistics_quantile_ranks(b->pairs, 0.5, &low, &high);
    printf("%d pairs, %lld bytes: p50 %.1f us by the native client, %.1f us over HTTP, %.1f us more",
           b->pairs, (long long)tensor_bytes(&b->ask.model.input), statistics_summary(b->us[0], b->pairs).p50,
           statistics_summary(b->us[1], b->pairs).p50, more);
    if (low > 0 && high <= b->pairs)
        printf(" [%.1f .. %.1f]", b->more[low - 1], b->more[high - 1]); /* sorted by now */
    putchar('\n');
    return FL_OK;
}

int main(int argc, char **argv)
{
    static struct bench b = {.pairs = 5000};
    struct error e = {0};
    const struct argument table[] = {
        ASKING_OPTIONS(b.ask),
        OPTION_INT("requests", b.pairs, "N", "each way (5000)", 10, 10000000),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, &e);
    if (rc == ARGUMENTS_HELPED)
        return 0;
    if (rc || (rc = measure(&b, &e)))
        fprintf(stderr, "bench_http: %s\n", e.text);
    return rc ? 1 : 0;
}
