/* test_http.c - HTTP clients of a real pipeline: the protocol, overload, deadlines, slow and vanishing
 * clients
 *
 * What the protocol says is in tests/conformance/oip/suite.py, which runs here as it does against any server.
 * Here is what takes hands on the processes.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"

static int port; /* of the broker that was started last */

static void find_port(struct harness *h, int broker)
{
    char line[1024];
    FILE *f = fopen(harness_log(h, broker), "re");
    port = 0;
    harness_expect(h, broker, "HTTP (Open", 1);
    assert_non_null(f);
    while (!port && fgets(line, sizeof line, f))
        if (strstr(line, "http://127.0.0.1:"))
            sscanf(strstr(line, "http://127.0.0.1:"), "http://127.0.0.1:%d/", &port);
    fclose(f);
    assert_int_not_equal(port, 0);
}

/* ---- a client of a few lines ---- */

static int dial(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, const void *bytes, size_t n)
{
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

/* One row of zeroes as raw binary. */
static void say_infer(int fd, const char *headers, size_t bytes)
{
    char head[512], *row = calloc(1, bytes);
    int n = snprintf(head, sizeof head,
                     "POST /v2/models/%s/infer HTTP/1.1\r\nHost: x\r\n%sInference-Header-Content-Length: "
                     "0\r\nContent-Length: %zu\r\n\r\n",
                     "tiny", headers, bytes);
    assert_non_null(row);
    say(fd, head, (size_t)n);
    say(fd, row, bytes);
    free(row);
}

/* The next reply: head and body in `text`; its status, or 0 when the connection has ended. */
static int hear(int fd, char *text, size_t size)
{
    size_t n = 0, body = 0;
    char *end = NULL, *length;
    while (!end || n < body) {
        ssize_t got = recv(fd, text + n, end ? body - n : 1, 0);
        if (got <= 0)
            return 0;
        n += (size_t)got;
        assert_true(n < size - 1);
        text[n] = '\0';
        if (!end && n >= 4 && !strcmp(text + n - 4, "\r\n\r\n")) {
            end = text + n;
            length = strstr(text, "\nContent-Length: ");
            body = n + (length ? strtoul(length + 17, NULL, 10) : 0);
            assert_true(body < size);
        }
    }
    return atoi(text + 9);
}

static int get(const char *path, char *text, size_t size)
{
    int fd = dial(), status;
    char head[256];
    int n = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    say(fd, head, (size_t)n);
    status = hear(fd, text, size);
    close(fd);
    return status;
}

static bool is_ready(void *arg)
{
    char text[1024];
    (void)arg;
    return get("/v2/health/ready", text, sizeof text) == 200;
}

static bool is_not_ready(void *arg)
{
    return !is_ready(arg);
}

static bool is_empty(void *client)
{
    return harness_status(client).in_flight == 0;
}

static bool is_full(void *client)
{
    return harness_status(client).in_flight == 1;
}

#define ROW (3 * 16 * 16 * sizeof(float))

/* ---- tests ---- */

/* Runs a program of tests/conformance/oip against a pipeline; it has to say that nothing failed. Its exit
 * status. */
static int run_suite(const char *program, const char *options)
{
    struct harness *h = harness_new(NULL, "stages: 2\nexits: none\nbroker: {http: '127.0.0.1:0', "
                                          "model_control: true}\n"
                                          "labels: [a, b, c, d, e, f, g, h, i, j]\n");
    char line[512], output[16384];
    int status;
    FILE *f;
    find_port(h, harness_pipeline_up(h));
    snprintf(line, sizeof line, PYTHON " tests/conformance/oip/%s http://127.0.0.1:%d tiny %s 2>&1", program,
             port, options);
    assert_non_null(f = popen(line, "r"));
    output[fread(output, 1, sizeof output - 1, f)] = 0;
    status = pclose(f);
    harness_free(h);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        print_message("skipped: %s", output);
    else if (status || (strncmp(output, "0 failed", 8) && !strstr(output, " 0 failed")))
        fail_msg("%s", output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_suite(void **state)
{
    (void)state;
    if (access(PYTHON, X_OK))
        skip();
    run_suite("suite.py", "--freezeline --control");
}

static void test_tritons_client(void **state)
{
    (void)state;
    if (access(PYTHON, X_OK) || run_suite("triton.py", "") == 77)
        skip();
}

/* Scores as the native client gets them, bit by bit; and no more of them than broker.client_rate says. */
static void test_same_answer_as_the_native_client(void **state)
{
    struct harness *h =
        harness_new(NULL, "stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', client_rate: 0.01}\n"
                          "log_level: debug\nlogs: {format: json}\n");
    struct client *c;
    struct answer answer;
    struct error e = {0};
    float x[3 * 16 * 16], scores[16];
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = x};
    char head[256], text[4096], *at;
    int n, fd, broker = harness_pipeline_up(h);
    (void)state;
    find_port(h, broker);
    harness_random(x, 3 * 16 * 16, 7);
    c = harness_client(h);
    assert_int_equal(client_infer(c, &input, 0, 0, &answer, scores, 16, &n, &e), FL_OK);
    client_free(c);
    fd = dial();
    say(fd, head,
        (size_t)snprintf(head, sizeof head,
                         "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: "
                         "0\r\nContent-Length: %zu\r\n\r\n",
                         ROW));
    say(fd, x, ROW);
    assert_int_equal(hear(fd, text, sizeof text), 200);
    assert_non_null(at = strstr(text, "Inference-Header-Content-Length: "));
    at = strstr(at, "\r\n\r\n") + 4 + atoi(at + 33);
    assert_memory_equal(at, scores, (size_t)n * sizeof *scores);
    snprintf(head, sizeof head, "\"level\":\"debug\",\"request\":\"%llu\",\"message\":\"answered after",
             (unsigned long long)answer.request);
    harness_expect(h, broker, head, 1);
    for (int i = 0; i < 2; i++) { /* one in 100 s was allowed; the connection stays */
        say_infer(fd, "", ROW);
        assert_int_equal(hear(fd, text, sizeof text), 429);
        assert_non_null(strstr(text, "broker.client_rate"));
        assert_non_null(strstr(text, "Retry-After: "));
    }
    assert_int_equal(get("/v2/health/ready", text, sizeof text), 200);
    close(fd);
    harness_free(h);
}

/* A stage that stands still: the one request that may be admitted waits, others are refused at once. */
static void test_overload_deadline_and_end(void **state)
{
    struct harness *h = harness_new(
        NULL, "stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', max_requests: 1, deadline_ms: 60000, "
              "dead_after_ms: 60000}\n");
    int broker = harness_broker(h), stage, first, second;
    struct client *c = harness_client(h);
    struct error e = {0};
    char text[4096];
    (void)state;
    find_port(h, broker);
    assert_int_equal(get("/v2/health/live", text, sizeof text), 200);
    assert_int_equal(get("/v2/health/ready", text, sizeof text), 503);
    assert_int_equal(get("/v2/models/tiny", text, sizeof text), 503);
    assert_non_null(strstr(text, "not loaded yet"));
    stage = harness_stage(h, 0, 0);
    harness_until(is_ready, NULL, 60, "HTTP is ready");

    first = dial();
    say_infer(first, "", ROW);
    assert_int_equal(hear(first, text, sizeof text), 200);
    harness_signal(h, stage, SIGSTOP);
    say_infer(first, "", ROW);
    harness_until(is_full, c, 60, "the first is admitted");
    second = dial();
    say_infer(second, "", ROW);
    assert_int_equal(hear(second, text, sizeof text), 429);
    assert_non_null(strstr(text, "Retry-After: "));
    assert_non_null(strstr(text, "{\"error\":"));
    harness_signal(h, stage, SIGCONT);
    assert_int_equal(hear(first, text, sizeof text), 200);

    harness_signal(h, stage, SIGSTOP);
    say_infer(second, "", ROW);
    harness_until(is_full, c, 60, "the second is admitted");
    close(second); /* who goes before the answer is there: nothing is left of the request */
    harness_until(is_empty, c, 60, "the request ended");
    assert_int_equal(harness_status(c).cancelled, 1);
    harness_signal(h, stage, SIGCONT);
    say_infer(first, "", ROW);
    assert_int_equal(hear(first, text, sizeof text), 200);

    assert_int_equal(client_drain(c, 60000, 30000, NULL, &e), FL_OK);
    harness_until(is_not_ready, NULL, 60, "HTTP says that it drains");
    say_infer(first, "", ROW);
    assert_int_equal(hear(first, text, sizeof text), 503);
    assert_non_null(strstr(text, "draining"));
    assert_non_null(strstr(text, "Retry-After: "));
    assert_int_equal(client_undrain(c, 30000, &e), FL_OK);
    harness_until(is_ready, NULL, 60, "HTTP is ready again");

    harness_signal(h, stage, SIGSTOP);
    say_infer(first, "", ROW);
    harness_until(is_full, c, 60, "the first is admitted");
    client_free(c);
    harness_signal(h, broker, SIGTERM);
    assert_int_equal(hear(first, text, sizeof text), 503);
    assert_non_null(strstr(text, "Retry-After: "));
    assert_int_equal(harness_wait(h, broker), 0);
    harness_signal(h, stage, SIGCONT);
    close(first);
    harness_free(h);
}

static bool has_served_many(void *arg)
{
    char text[4096], *count;
    (void)arg;
    return get("/v2/models/tiny/stats", text, sizeof text) == 200 &&
           (count = strstr(text, "\"execution_count\":")) && atoi(count + 18) > 100;
}

/* In a process of its own, over several connections, until one of them ends. */
static pid_t begin_to_ask(void)
{
    char request[512 + ROW] = "", text[4096];
    size_t n = (size_t)sprintf(request,
                               "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\n"
                               "Inference-Header-Content-Length: 0\r\nContent-Length: %zu\r\n\r\n",
                               ROW) +
               ROW;
    int fd[16];
    pid_t pid;
    for (int i = 0; i < 16; i++)
        fd[i] = dial();
    if (!(pid = fork()))
        for (;;) {
            for (int i = 0; i < 16; i++)
                send(fd[i], request, n, MSG_NOSIGNAL);
            for (int i = 0; i < 16; i++)
                if (recv(fd[i], text, sizeof text, 0) <= 0)
                    _exit(0);
        }
    assert_true(pid > 0);
    for (int i = 0; i < 16; i++)
        close(fd[i]);
    return pid;
}

/* Requests that come while the broker goes are told so, and it ends as it should. */
static void test_end_while_requests_come(void **state)
{
    struct harness *h =
        harness_new(NULL, "stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', response_cache_mb: 1}\n");
    int broker = harness_pipeline_up(h), status;
    pid_t asks[2];
    (void)state;
    find_port(h, broker);
    harness_until(is_ready, NULL, 60, "HTTP is ready");
    for (int i = 0; i < 2; i++)
        asks[i] = begin_to_ask();
    harness_until(has_served_many, NULL, 60, "many are answered");
    harness_signal(h, broker, SIGTERM);
    assert_int_equal(harness_wait(h, broker), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(waitpid(asks[i], &status, 0), asks[i]);
    harness_free(h);
}

static void test_deadline_is_408(void **state)
{
    struct harness *h = harness_new(
        NULL,
        "stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', deadline_ms: 200, latency_target_ms: 60000, "
        "dead_after_ms: 60000}\n");
    int broker = harness_broker(h), stage = harness_stage(h, 0, 0), fd;
    char text[4096];
    (void)state;
    find_port(h, broker);
    harness_until(is_ready, NULL, 60, "HTTP is ready");
    harness_signal(h, stage, SIGSTOP);
    fd = dial();
    say_infer(fd, "", ROW);
    assert_int_equal(hear(fd, text, sizeof text), 408);
    harness_signal(h, stage, SIGCONT);
    close(fd);
    harness_free(h);
}

/* Who brings no whole request is cut off, also one who sends a byte now and then; others are served. */
static void test_slow_writers_are_cut_off(void **state)
{
    struct harness *h = harness_new(NULL, "stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', "
                                          "http_timeout_ms: 300, max_request_mb: 0.01}\n");
    static const char *const begun[] = {
        "", "GE", "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\n",
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"};
    int slow[4], fd;
    static const char chunked[] =
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    char text[4096], chunk[5000];
    (void)state;
    find_port(h, harness_pipeline_up(h));
    for (int i = 0; i < 4; i++) {
        slow[i] = dial();
        say(slow[i], begun[i], strlen(begun[i]));
    }
    fd = dial();
    say_infer(fd, "", ROW);
    assert_int_equal(hear(fd, text, sizeof text), 200);
    for (int i = 0; i < 4; i++) {
        while (i == 3 && send(slow[i], " ", 1, MSG_NOSIGNAL) == 1 &&
               recv(slow[i], text, 1, MSG_DONTWAIT) != 0)
            usleep(20000);
        while (recv(slow[i], text, sizeof text, 0) > 0)
            ;
        close(slow[i]);
    }
    close(fd);
    /* too large: said before the body comes, or when that shows */
    fd = dial();
    say_infer(fd, "Expect: 100-continue\r\n", 20000);
    assert_int_equal(hear(fd, text, sizeof text), 413);
    close(fd);
    fd = dial();
    say(fd, chunked, sizeof chunked - 1);
    memset(chunk, ' ', sizeof chunk);
    for (int i = 0; i < 3; i++) {
        say(fd, "1388\r\n", 6);
        say(fd, chunk, sizeof chunk);
        say(fd, "\r\n", 2);
    }
    say(fd, "0\r\n\r\n", 5);
    assert_int_equal(hear(fd, text, sizeof text), 413);
    close(fd);
    assert_int_equal(get("/v2/health/ready", text, sizeof text), 200);
    harness_free(h);
}

/* A collector of a few lines: takes one POST, says that it is well. Its body, in `text`. */
static void collect(int listener, char *text, size_t size)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    struct timeval patience = {.tv_sec = 60};
    int fd = accept(listener, NULL, NULL);
    size_t n = 0, body = 0;
    char *end = NULL;
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (!end || n < body) {
        ssize_t got = recv(fd, text + n, size - 1 - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = 0;
        if (!end && (end = strstr(text, "\r\n\r\n")))
            body = (size_t)(end + 4 - text) + strtoul(strstr(text, "\nContent-Length: ") + 17, NULL, 10);
    }
    say(fd, ok, sizeof ok - 1);
    close(fd);
}

/* A request with a traceparent that is sampled is told to a collector, with what each process did for it; the
 * metrics name its trace beside the time that it took. */
static void test_traces_reach_a_collector(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    static const char scrape[] =
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    static char text[65536];
    char yaml[512], *span;
    struct harness *h;
    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &length), 0);
    snprintf(yaml, sizeof yaml,
             "stages: 2\nexits: none\nbroker: {http: '127.0.0.1:0', heartbeat_ms: 20, dead_after_ms: 2000}\n"
             "traces: {to: 'http://127.0.0.1:%d', share: 0}\n",
             ntohs(a.sin_port));
    h = harness_new(NULL, yaml);
    find_port(h, harness_pipeline_up(h));
    fd = dial();
    say_infer(fd, "", ROW); /* not sampled */
    assert_int_equal(hear(fd, text, sizeof text), 200);
    say_infer(fd, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n", ROW);
    assert_int_equal(hear(fd, text, sizeof text), 200);
    assert_non_null(span = strstr(text, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-"));
    snprintf(yaml, sizeof yaml,
             "\"spanId\":\"%.16s\",\"parentSpanId\":\"b7ad6b7169203331\",\"name\":\"request\"", span + 49);
    collect(listener, text, sizeof text);
    assert_non_null(strstr(text, "POST /v1/traces HTTP/1.1\r\n"));
    assert_non_null(strstr(text, yaml));
    assert_null(strstr(strstr(text, "\"name\":\"request\"") + 1, "\"name\":\"request\""));
    assert_non_null(strstr(text, "\"name\":\"compute\""));
    assert_non_null(strstr(text, "\"key\":\"freezeline.stage\",\"value\":{\"intValue\":\"1\"}"));
    say(fd, scrape, sizeof scrape - 1);
    assert_int_equal(hear(fd, text, sizeof text), 200);
    assert_non_null(strstr(text, "# {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} "));
    assert_non_null(strstr(text, "# TYPE freezeline_requests_admitted counter\n"));
    assert_non_null(strstr(text, "# TYPE nv_inference_count unknown\n"));
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    assert_int_equal(get("/metrics", text, sizeof text), 200);
    assert_null(strstr(text, "trace_id"));
    close(fd);
    close(listener);
    harness_free(h);
}

static int count_in(const char *text, const char *what)
{
    int n = 0;
    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

/* How often the file of traces has this. */
static int traces_have(struct harness *h, const char *what)
{
    static char text[1 << 18];
    char path[HARNESS_PATH];
    FILE *f;
    snprintf(path, sizeof path, "%.400s/traces.json", harness_pipeline(h)->state);
    if (!(f = fopen(path, "re")))
        return 0;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return count_in(text, what);
}

static int set_traces(const char *settings, char *text, size_t size)
{
    int fd = dial(), status;
    char head[512];
    say(fd, head,
        (size_t)snprintf(head, sizeof head,
                         "POST /v2/trace/setting HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(settings), settings));
    status = hear(fd, text, size);
    close(fd);
    return status;
}

static bool has_the_last_trace(void *arg)
{
    return traces_have(arg, "\"parentSpanId\":\"b7ad6b7169203331\"") > 0;
}

/* Drawn as many as are asked for; switched off, also those that their clients would have traced. */
static void test_traces_are_set_while_it_serves(void **state)
{
    static const char parent[] = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    struct harness *h = harness_new(
        NULL, "stages: 1\nexits: none\n"
              "broker: {http: '127.0.0.1:0', model_control: true, heartbeat_ms: 20, dead_after_ms: 2000}\n"
              "traces: {to: traces.json, share: 0}\n");
    char text[8192];
    int fd;
    (void)state;
    find_port(h, harness_pipeline_up(h));
    fd = dial();
    assert_int_equal(set_traces("{\"trace_level\":[\"OFF\"]}", text, sizeof text), 200);
    assert_non_null(strstr(text, "\"trace_level\":[\"OFF\"]"));
    say_infer(fd, parent, ROW);
    assert_int_equal(hear(fd, text, sizeof text), 200);
    assert_int_equal(
        set_traces("{\"trace_level\":[\"TIMESTAMPS\"],\"trace_rate\":\"1\",\"trace_count\":\"2\"}", text,
                   sizeof text),
        200);
    for (int i = 0; i < 4; i++) {
        say_infer(fd, "", ROW);
        assert_int_equal(hear(fd, text, sizeof text), 200);
    }
    assert_int_equal(get("/v2/models/tiny/trace/setting", text, sizeof text), 200);
    assert_non_null(
        strstr(text, "\"trace_level\":[\"TIMESTAMPS\"],\"trace_rate\":\"1\",\"trace_count\":\"0\""));
    say_infer(fd, parent, ROW);
    assert_int_equal(hear(fd, text, sizeof text), 200);
    harness_until(has_the_last_trace, h, 60, "traces are written");
    assert_int_equal(traces_have(h, "\"name\":\"request\""), 3);
    close(fd);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),
        cmocka_unit_test(test_tritons_client),
        cmocka_unit_test(test_same_answer_as_the_native_client),
        cmocka_unit_test(test_overload_deadline_and_end),
        cmocka_unit_test(test_end_while_requests_come),
        cmocka_unit_test(test_deadline_is_408),
        cmocka_unit_test(test_slow_writers_are_cut_off),
        cmocka_unit_test(test_traces_reach_a_collector),
        cmocka_unit_test(test_traces_are_set_while_it_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
