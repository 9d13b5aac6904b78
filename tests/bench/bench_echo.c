/* bench_echo.c - the least that libmicrohttpd takes for a request: reads its body, and answers with so many
 * bytes
 *
 * usage: bench_echo BYTES     (prints the port of 127.0.0.1 that it listens at, and serves until it is ended)
 *
 * For tests/bench/http_load.sh: with a loop and buffers as broker/http has them, and nothing else.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES 16384
#define MOST_BYTES   65536

static char answer[MOST_BYTES];
static size_t size;

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *bytes, size_t *n,
                                  void **state)
{
    struct MHD_Response *response;
    enum MHD_Result rc;
    (void)arg, (void)path, (void)method, (void)version, (void)bytes;
    if (!*state || *n) {
        *state = answer;
        *n = 0;
        return MHD_YES;
    }
    if (!(response = MHD_create_response_from_buffer(size, answer, MHD_RESPMEM_PERSISTENT)))
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    rc = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return rc;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)arg, (void)connection, (void)why;
    *state = NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd fd = {.events = POLLIN};
    struct MHD_Daemon *d;

    size = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (!size || size > MOST_BYTES) {
        fprintf(stderr, "usage: bench_echo BYTES     (1 to %d)\n", MOST_BYTES);
        return 2;
    }
    memset(answer, 'x', size);
    d = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &at,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)BUFFER_BYTES,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!d) {
        fprintf(stderr, "bench_echo: libmicrohttpd did not start\n");
        return 1;
    }
    printf("%u\n", MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    fd.fd = MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    for (;;) {
        MHD_UNSIGNED_LONG_LONG ms = 1000;
        MHD_run(d);
        if (MHD_get_timeout(d, &ms) != MHD_YES || ms)
            poll(&fd, 1, ms < 1000 ? (int)ms : 1000);
    }
}
