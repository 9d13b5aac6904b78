/* message_cost.c - one message after the other to a thread that sleeps; bursts, for their CPU time */
#include "message_cost.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "hop.h"

#define COUNT      80 /* small and large ones in turns: a busy moment meets both */
#define PAUSE_MOST 5.0
#define WARM_UP    5
#define BURSTS     40 /* of each size */

struct way {
    struct hop *hop;
    _Atomic uint64_t sent_ns;
    double ms[COUNT]; /* of the messages that came */
    atomic_int came;
};

/* Patience is for each message: a busy machine may take long for all of them. */
static void *receive(void *arg)
{
    struct way *w = arg;
    uint64_t end = clock_ns() + HOP_WAIT_MS * NS_PER_MS;
    for (int i = 0; i < COUNT;) {
        if (hop_receive(w->hop)) {
            if (clock_ns() > end)
                break;
            hop_sleep(w->hop, HOP_WAIT_MS);
            continue;
        }
        w->ms[i] = (double)(clock_ns() - atomic_load(&w->sent_ns)) / NS_PER_MS;
        atomic_store(&w->came, ++i);
        end = clock_ns() + HOP_WAIT_MS * NS_PER_MS;
    }
    return NULL;
}

static void compute(double ms)
{
    uint64_t end = clock_ns() + (uint64_t)(ms * NS_PER_MS);
    while (clock_ns() < end)
        ;
}

/* One at a time: a message that waits behind another tells nothing. */
static bool send_one(struct way *w, size_t bytes, int number)
{
    uint64_t now = clock_ns(), until = now + HOP_WAIT_MS * NS_PER_MS;

    atomic_store(&w->sent_ns, now);
    if (hop_send(w->hop, bytes))
        return false;
    while (atomic_load(&w->came) <= number && clock_ns() < until)
        sched_yield();
    return atomic_load(&w->came) > number;
}

/* Of every second message, from the one of this number on. */
static double quick_ms(const struct way *w, int first)
{
    double ms[COUNT / 2];

    for (int i = 0; i < COUNT / 2; i++)
        ms[i] = w->ms[2 * i + first];
    samples_sort(ms, COUNT / 2);
    return ms[COUNT / 8]; /* a quarter were as quick: what else the machine does slows the others */
}

static int send_all(struct way *w, double pause_ms, struct error *e)
{
    pthread_t thread;

    atomic_store(&w->came, 0);
    if (pthread_create(&thread, NULL, receive, w))
        return error_set(e, FL_NOMEM, "no thread to measure messages with");
    for (int i = 0; i < COUNT; i++) {
        compute(pause_ms);
        if (!send_one(w, i % 2 ? HOP_LARGE_BYTES : HOP_SMALL_BYTES, i))
            break;
    }
    pthread_join(thread, NULL);
    if (atomic_load(&w->came) < COUNT)
        return error_set(e, FL_IO,
                         "a message from this process to itself took more than %d s: try again when the "
                         "machine is less busy",
                         HOP_WAIT_MS / 1000);
    return FL_OK;
}

int message_cost_measure(struct message_cost *out, const struct pipeline *p, double pause_ms, struct error *e)
{
    struct way w = {0};
    int rc = hop_open(&w.hop, p, p->shared_memory, e);

    if (!rc && !(rc = send_all(&w, fmin(fmax(pause_ms, 0), PAUSE_MOST), e))) {
        double small = quick_ms(&w, 0), large = quick_ms(&w, 1);
        out->per_byte_ms = fmax(large - small, 0) / (HOP_LARGE_BYTES - HOP_SMALL_BYTES);
        out->fixed_ms = fmax(small - out->per_byte_ms * HOP_SMALL_BYTES, 0);
    }
    hop_close(w.hop);
    return rc;
}

/* A burst, so that nobody sleeps within it; its means are added to *cost, times `by`. */
static int time_burst(struct hop *h, size_t bytes, bool lanes, struct message_cpu *cost, double by)
{
    double all = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID), start = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID), sent,
           end;
    uint64_t until = clock_ns() + HOP_WAIT_MS * NS_PER_MS;
    int rc = FL_OK;
    for (int i = 0; i < HOP_BURST && !rc; i++)
        rc = hop_send(h, bytes);
    sent = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    usleep(lanes ? 0 : 2000); /* ZeroMQ's threads work meanwhile */
    for (int i = 0; i < HOP_BURST && !rc; i += !rc)
        while ((rc = hop_receive(h)) == FL_AGAIN && clock_ns() < until)
            usleep(1000);
    end = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    cost->send += (sent - start) / HOP_BURST * by;
    cost->receive += (end - sent) / HOP_BURST * by;
    cost->io += (clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) - all - (end - start)) / HOP_BURST * by;
    return rc;
}

int message_cost_cpu(struct message_cpu out[2], const struct pipeline *p, bool lanes, struct error *e)
{
    struct hop *h;
    int rc = hop_open(&h, p, lanes, e);

    out[0] = out[1] = (struct message_cpu){0};
    for (int i = -WARM_UP; i < BURSTS && !rc; i++)
        for (int k = 0; k < 2 && !rc; k++)
            if ((rc = time_burst(h, k ? HOP_LARGE_BYTES : HOP_SMALL_BYTES, lanes, &out[k],
                                 i < 0 ? 0 : 1.0 / BURSTS)))
                error_set(e, rc, "a message to this very process was lost");
    hop_close(h);
    return rc;
}
