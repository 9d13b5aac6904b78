/* load.c - when to send, matching answers to what was sent, counting */
#include "load.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "client/client.h"

#define LOAD_WINDOW   65536 /* requests in flight at most; a power of two */
#define LOAD_GRACE_NS (3 * NS_PER_S)
#define LOAD_TICK_NS  (200 * NS_PER_MS)
#define LOAD_NAP_NS   (1 * NS_PER_MS)

struct sent {
    uint64_t id, due_ns;
    int64_t record;
    bool waiting;
};

struct load {
    const struct load_options *o;
    struct load_result *out;
    struct client *client;
    struct tensor input; /* owned */
    struct sent *sent;   /* by id modulo LOAD_WINDOW */
    int64_t in_flight, deadline_ms;
    uint64_t random, begin_ns, next_ns, last_ns, tick_ns;
    bool stop;
};

/* xorshift64*, in (0, 1]. */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717ull >> 11) + 1) / 9007199254740992.0;
}

static bool sending(const struct load *l)
{
    const struct load_options *o = l->o;
    if (l->stop || (o->requests > 0 && l->out->sent >= o->requests))
        return false;
    return o->duration_s <= 0 || l->next_ns < l->begin_ns + (uint64_t)(o->duration_s * NS_PER_S);
}

static int submit(struct load *l, uint64_t due_ns, struct error *e)
{
    int64_t record = l->out->sent % dataset_count(l->o->data);
    struct sent *s;
    uint64_t id;
    int rc;

    dataset_image(l->o->data, record, l->o->pipeline, l->input.data);
    rc = client_submit(l->client, &l->input, l->o->flags, l->o->deadline_ms, &id, e);
    l->out->sent++;
    histogram_record(&l->out->send_lag, clock_ns() - due_ns);
    if (rc == FL_UNAVAILABLE ||
        rc == FL_OVERLOADED) { /* the queue to the broker is full: that is an answer too */
        l->out->errors++;
        l->out->error[rc]++;
        return FL_OK;
    }
    if (rc)
        return rc;
    s = &l->sent[id % LOAD_WINDOW];
    if (s->waiting) { /* one that was sent LOAD_WINDOW requests ago never came back */
        l->out->lost++;
        l->in_flight--;
    }
    *s = (struct sent){id, due_ns, record, true};
    l->in_flight++;
    return FL_OK;
}

/* Sends what is due. Open loop: the next time is drawn from the last one's, not from now. */
static int send_due(struct load *l, struct error *e)
{
    int rc = FL_OK;

    if (l->o->rate <= 0) {
        while (!rc && l->in_flight < l->o->closed && sending(l)) {
            l->next_ns = clock_ns();
            rc = submit(l, l->next_ns, e);
        }
        l->next_ns = clock_ns();
        return rc;
    }
    while (!rc && sending(l) && l->next_ns <= clock_ns()) {
        rc = submit(l, l->next_ns, e);
        l->next_ns += (uint64_t)(-log(uniform(&l->random)) / l->o->rate * NS_PER_S);
    }
    return rc;
}

static void count_answer(struct load *l, const struct answer *a, const struct sent *s, uint64_t now)
{
    struct load_result *out = l->out;
    int32_t label = dataset_label(l->o->data, s->record);

    if (a->error) {
        out->errors++;
        out->error[a->error < FL_CODES ? a->error : FL_INTERNAL]++;
        return;
    }
    out->answered++;
    out->retried += a->attempts > 1;
    if (a->exit >= 0 && a->exit < PIPELINE_MAX_EXITS)
        out->by_exit[a->exit]++;
    else
        out->by_network++;
    if (label >= 0) {
        out->labelled++;
        out->right += a->label == label;
    }
    histogram_record(&out->latency, now - s->due_ns);
    histogram_record(&out->exit_latency[a->exit >= 0], now - s->due_ns);
    attribution_add(out->attribution, a, now - s->due_ns);
}

/* Takes all answers that are there. */
static int take_answers(struct load *l, struct error *e)
{
    struct answer a;
    int n, rc;

    while (!(rc = client_receive(l->client, 0, &a, NULL, 0, &n, e))) {
        struct sent *s = &l->sent[a.id % LOAD_WINDOW];
        if (!s->waiting || s->id != a.id)
            continue;
        s->waiting = false;
        l->in_flight--;
        l->last_ns = clock_ns();
        count_answer(l, &a, s, l->last_ns);
    }
    return rc == FL_AGAIN ? FL_OK : rc;
}

/* Sleeps until an answer may be there or the next request is due; never long, the descriptor tells of edges
 * only. */
static void nap(struct load *l)
{
    struct pollfd fd = {.fd = client_fd(l->client), .events = POLLIN};
    uint64_t now = clock_ns(), wait = LOAD_NAP_NS;
    struct timespec t;

    if (l->o->rate > 0 && sending(l))
        wait = l->next_ns <= now ? 0 : l->next_ns - now < wait ? l->next_ns - now : wait;
    t.tv_sec = 0;
    t.tv_nsec = (long)wait;
    if (wait)
        ppoll(&fd, 1, &t, NULL);
}

static void tick(struct load *l)
{
    uint64_t now = clock_ns();

    if (now < l->tick_ns)
        return;
    l->tick_ns = now + LOAD_TICK_NS;
    l->out->seconds = (double)(now - l->begin_ns) / NS_PER_S;
    if (l->o->tick && l->o->tick(l->o->tick_arg, l->out))
        l->stop = true;
}

static int drive(struct load *l, struct error *e)
{
    uint64_t patience = (uint64_t)l->deadline_ms * NS_PER_MS + LOAD_GRACE_NS, sent_ns;
    int rc = FL_OK;

    l->begin_ns = l->next_ns = l->last_ns = sent_ns = clock_ns();
    while (!rc && (sending(l) || (l->in_flight && clock_ns() < sent_ns + patience))) {
        if (sending(l))
            sent_ns = clock_ns();
        rc = send_due(l, e);
        if (!rc)
            rc = take_answers(l, e);
        tick(l);
        nap(l);
    }
    l->out->lost += l->in_flight;
    l->out->errors += l->out->lost;
    l->out->seconds = (double)((l->last_ns > l->begin_ns ? l->last_ns : clock_ns()) - l->begin_ns) / NS_PER_S;
    l->out->offered_rps = l->o->rate > 0 ? l->o->rate : (double)l->out->sent / l->out->seconds;
    return rc;
}

int load_run(struct load_result *out, const struct load_options *o, struct error *e)
{
    struct load l = {.o = o, .out = out, .random = o->seed * 2654435769u + 88172645463325252ull};
    int rc;

    memset(out, 0, sizeof *out);
    if (attribution_new(&out->attribution))
        return error_set(e, FL_NOMEM, "no memory for sums");
    l.deadline_ms = o->deadline_ms ? (int64_t)o->deadline_ms : o->pipeline->broker.deadline_ms;
    l.input = dataset_shape(o->data);
    l.sent = calloc(LOAD_WINDOW, sizeof *l.sent);
    if (!l.sent || tensor_alloc(&l.input))
        rc = error_set(e, FL_NOMEM, "no memory for requests");
    else if (!(rc = client_new(&l.client, o->pipeline, e)))
        rc = drive(&l, e);
    client_free(l.client);
    tensor_release(&l.input);
    free(l.sent);
    return rc;
}

void load_result_close(struct load_result *r)
{
    attribution_free(r->attribution);
    r->attribution = NULL;
}
