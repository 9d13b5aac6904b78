/* steady_client.h - requests at a steady rate from a thread of their own, each of them counted */
#ifndef FREEZELINE_STEADY_CLIENT_H
#define FREEZELINE_STEADY_CLIENT_H

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define STEADY_INPUTS  8
#define STEADY_NUMBERS (3 * 16 * 16) /* of tests/data/tiny.onnx */
#define STEADY_OPEN    128           /* at once at most: a busy machine must not look like an overload */

struct steady {
    struct harness *h;
    pthread_t thread;
    uint64_t gap_ns;
    atomic_bool stop;
    atomic_int sent, answered, failed, wrong; /* wrong: with another label than at first */
    int32_t label[STEADY_INPUTS];             /* -1: not known yet */
    uint64_t first_id;
    char why[MESSAGE_TEXT_BYTES]; /* of the first that failed */
};

static void steady_fail(struct steady *s, const char *why)
{
    if (!s->failed++)
        snprintf(s->why, sizeof s->why, "%s", why);
}

static void steady_send(struct steady *s, struct client *c, float data[STEADY_INPUTS][STEADY_NUMBERS],
                        int of[65536])
{
    int i = s->sent % STEADY_INPUTS;
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data[i]};
    struct error e = {FL_OK, ""};
    uint64_t id;

    s->sent++;
    if (client_submit(c, &in, 0, 0, &id, &e))
        steady_fail(s, e.text);
    else
        of[id % 65536] = i;
}

static void steady_take(struct steady *s, const struct answer *a, const int of[65536])
{
    int i = of[a->id % 65536];

    if (a->error) {
        steady_fail(s, a->text);
        return;
    }
    s->answered++;
    if (s->label[i] < 0)
        s->label[i] = a->label;
    s->wrong += s->label[i] != a->label;
}

static void *steady_run(void *arg)
{
    static float data[STEADY_INPUTS][STEADY_NUMBERS];
    static int of[65536]; /* which input a request had */
    struct steady *s = arg;
    struct client *c = harness_client(s->h);
    uint64_t next = clock_ns(), last_ns = 0;
    struct error e;
    struct answer a;

    for (int i = 0; i < STEADY_INPUTS; i++)
        harness_random(data[i], STEADY_NUMBERS, (uint64_t)i);
    for (;;) {
        uint64_t now = clock_ns();
        int open = s->sent - s->answered - s->failed;
        if (s->stop && !last_ns)
            last_ns = now;
        if (s->stop && (!open || now - last_ns > 200 * NS_PER_S))
            break;
        if (!s->stop && open < STEADY_OPEN && now >= next) {
            steady_send(s, c, data, of);
            next += s->gap_ns;
        }
        if (!client_receive(c, 2, &a, NULL, 0, NULL, &e))
            steady_take(s, &a, of);
    }
    client_free(c);
    return NULL;
}

static inline void steady_begin(struct steady *s, struct harness *h, int per_second)
{
    memset(s, 0, sizeof *s);
    memset(s->label, -1, sizeof s->label);
    s->h = h;
    s->gap_ns = NS_PER_S / (uint64_t)per_second;
    assert_int_equal(pthread_create(&s->thread, NULL, steady_run, s), 0);
}

/* Ends the load; every request must have its one right answer. */
static inline void steady_end(struct steady *s)
{
    s->stop = true;
    pthread_join(s->thread, NULL);
    if (s->answered != s->sent || s->failed || s->wrong)
        fail_msg("of %d requests %d were answered, %d failed (%s), %d wrong", s->sent, s->answered, s->failed,
                 s->why, s->wrong);
    assert_true(s->sent > 0);
}

#endif
