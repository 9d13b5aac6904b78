/* trace_door.c - once a second: spans from the broker, whole traces to the sink */
#include "trace_door.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "otlp_text.h"
#include "trace_sink.h"
#include "system/quiet_thread.h"

#define EVERY_MS   1000
#define ASK_MS     500
#define TEXT_BYTES (1 << 20) /* of one object, about */
#define WAIT_MOST  4         /* such objects that wait for a collector */

struct trace_door {
    const struct pipeline *pipeline;
    struct client *client;
    struct trace_join *join;
    struct trace_sink sink;
    struct spans spans;
    struct json_text text[WAIT_MOST]; /* oldest first */
    int n;
    uint64_t dropped, told_lost; /* objects; spans */
    int wake_fd;
    _Atomic bool stop;
    bool started;
    pthread_t thread;
};

static uint64_t realtime_offset(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec - clock_ns();
}

static void take_spans(struct trace_door *d)
{
    do {
        if (client_take_spans(d->client, ASK_MS, &d->spans, NULL))
            return;
        for (int i = 0; i < d->spans.n; i++)
            trace_join_add(d->join, &d->spans.span[i], clock_ns());
    } while (d->spans.left && !d->stop);
}

/* Room for one more object: the oldest is dropped, if none is left. */
static struct json_text *next_text(struct trace_door *d)
{
    if (d->n == WAIT_MOST) {
        json_text_free(&d->text[0]);
        memmove(d->text, d->text + 1, (WAIT_MOST - 1) * sizeof *d->text);
        d->n--;
        d->dropped++;
        log_warn("traces are dropped, %llu times about 1 MiB so far: see traces.to",
                 (unsigned long long)d->dropped);
    }
    d->text[d->n] = (struct json_text){.at = NULL};
    return &d->text[d->n++];
}

static void write_traces(struct trace_door *d, bool all)
{
    const struct traced *t = trace_join_take(d->join, all, clock_ns());
    while (t) {
        struct json_text *out = next_text(d);
        uint64_t realtime = realtime_offset();
        bool first = true;
        otlp_begin(out, d->pipeline->name);
        for (; t && out->n < TEXT_BYTES; t = trace_join_take(d->join, all, clock_ns())) {
            otlp_trace(out, t, first, realtime);
            first = false;
        }
        otlp_end(out);
    }
}

static void send_texts(struct trace_door *d)
{
    struct error e = {FL_OK, ""};
    while (d->n) {
        int rc = d->text[0].failed ? FL_NOMEM : trace_sink_send(&d->sink, d->text[0].at, d->text[0].n, &e);
        if (rc)
            log_warn("%s", e.text);
        if (rc == FL_UNAVAILABLE || rc == FL_IO)
            return;
        json_text_free(&d->text[0]);
        memmove(d->text, d->text + 1, (WAIT_MOST - 1) * sizeof *d->text);
        d->n--;
    }
}

static void turn(struct trace_door *d, bool last)
{
    uint64_t lost;
    if (!last) /* the broker does not reply any more */
        take_spans(d);
    write_traces(d, last);
    send_texts(d);
    lost = trace_join_lost(d->join);
    if (lost != d->told_lost)
        log_warn("%llu spans of traces had no room so far: trace less (traces.share)",
                 (unsigned long long)lost);
    d->told_lost = lost;
}

static void *run(void *arg)
{
    struct trace_door *d = arg;
    while (!d->stop) {
        poll(&(struct pollfd){.fd = d->wake_fd, .events = POLLIN}, 1, EVERY_MS);
        turn(d, d->stop);
    }
    return NULL;
}

static int start(struct trace_door *d, struct error *e)
{
    int rc = quiet_thread(&d->thread, run, d);
    d->started = !rc;
    return rc ? error_set(e, FL_UNAVAILABLE, "no thread for traces: %s", strerror(rc)) : FL_OK;
}

int trace_door_open(struct trace_door **out, const struct pipeline *p, struct error *e)
{
    struct trace_door *d;
    uint64_t wait_ns = ((uint64_t)p->broker.heartbeat_ms * 2 + 500) * NS_PER_MS;
    int rc;
    *out = NULL;
    if (!p->traces.to)
        return FL_OK;
    if (!(d = calloc(1, sizeof *d)))
        return error_set(e, FL_NOMEM, "out of memory");
    d->pipeline = p;
    if ((d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        rc = error_set(e, FL_IO, "no descriptor for traces: %s", strerror(errno));
    else if (trace_join_new(&d->join, wait_ns))
        rc = error_set(e, FL_NOMEM, "out of memory for traces");
    else if (!(rc = trace_sink_open(&d->sink, p, e)) &&
             !(rc = client_new_of(&d->client, p, p->broker.index, e)) && !(rc = start(d, e)))
        log_info("traces of %.3g%% of the requests go to %s", p->traces.share * 100, p->traces.to);
    if (rc) {
        trace_door_close(d);
        return rc;
    }
    *out = d;
    return FL_OK;
}

void trace_door_close(struct trace_door *d)
{
    if (!d)
        return;
    d->stop = true;
    if (d->started) {
        if (eventfd_write(d->wake_fd, 1))
            log_warn("the thread of traces was not woken: %s", strerror(errno));
        pthread_join(d->thread, NULL);
    }
    client_free(d->client);
    trace_join_free(d->join);
    for (int i = 0; i < d->n; i++)
        json_text_free(&d->text[i]);
    if (d->wake_fd >= 0)
        close(d->wake_fd);
    free(d);
}
