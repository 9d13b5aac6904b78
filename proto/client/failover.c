/* failover.c - unanswered requests, and what is known of each broker */
#include "failover.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "numbers/shuffle.h"

#define SILENT_NS \
    (200 * NS_PER_MS) /* a broker that has said nothing for so long while it should is asked .. */
#define PATIENT_NS (400 * NS_PER_MS) /* .. and is not relied upon when it does not answer */
#define LOST_NS    (30 * NS_PER_MS)  /* a connection that is gone for so long is not just being made */
#define REST_NS    (500 * NS_PER_MS) /* a broker that failed is not asked for so long; doubled .. */
#define REST_MOST  (8 * NS_PER_S)    /* .. up to this */
#define JITTER_NS  (20 * NS_PER_MS)
#define TICK_NS    (20 * NS_PER_MS)
#define GRACE_NS   (250 * NS_PER_MS) /* so long after its deadline, an answer that says so should be here */
#define TOKENS     0.2               /* gained per answer */
#define TIMES      2                 /* that a request is sent to each broker, at most, .. */
#define REFUSALS   4                 /* .. those not counted that met a full one after another was lost */
#define LATELY_NS  (5 * NS_PER_S)
#define NOWHERE    (-1)
#define BUCKETS    8192

struct pending {
    struct request request;
    zmq_msg_t payload;
    uint64_t deadline_ns, not_before_ns;
    int broker; /* where it is; NOWHERE: to be sent */
    uint8_t sent[PIPELINE_MAX_BROKERS], refused;
    bool again; /* the next time is not the first */
    bool cancelled;
    uint64_t sent_ns;        /* when it was sent last */
    int older, newer, chain; /* by age; in its bucket. `newer` links the free ones too */
};

struct broker_view {
    uint64_t heard_ns; /* when it last said anything, or was first asked after a pause */
    uint64_t asked_ns; /* when it was asked whether it lives; 0: it was not */
    uint64_t gone_ns;  /* since when it is not connected; 0: it is */
    uint64_t rest_until_ns, rest_ns;
    uint64_t started_ns; /* of the process, as it said last */
    int unanswered;
};

struct failover {
    struct failover_io io;
    int n_brokers, home;
    struct broker_view broker[PIPELINE_MAX_BROKERS];
    struct pending *pending;       /* [FAILOVER_MOST] */
    int oldest, newest, unused, n; /* unused: of the first `fresh`, which have been in use */
    int fresh;
    uint64_t client; /* a part of all keys */
    double tokens;
    struct shuffle random;
    int bucket[BUCKETS];
    struct message out;
};

int failover_new(struct failover **out, int brokers, uint64_t seed, const struct failover_io *io)
{
    struct failover *f = memory_cleared(sizeof *f, offsetof(struct failover, bucket));
    *out = NULL;
    if (!f || !(f->pending = malloc(FAILOVER_MOST * sizeof *f->pending))) {
        free(f);
        return FL_NOMEM;
    }
    f->io = *io;
    f->n_brokers = brokers;
    shuffle_seed(&f->random, seed, 0);
    f->client = seed | 1; /* a key of zeros would be none */
    f->home = (int)shuffle_below(&f->random, (uint32_t)brokers);
    f->tokens = FAILOVER_MOST;
    f->oldest = f->newest = f->unused = NOWHERE;
    for (int i = 0; i < BUCKETS; i++)
        f->bucket[i] = NOWHERE;
    *out = f;
    return FL_OK;
}

void failover_free(struct failover *f)
{
    if (!f)
        return;
    for (int i = f->oldest; i != NOWHERE; i = f->pending[i].newer)
        zmq_msg_close(&f->pending[i].payload);
    free(f->pending);
    free(f);
}

int failover_unanswered(const struct failover *f)
{
    return f->n;
}

/* --- the table --- */

static int *bucket_of(struct failover *f, uint64_t id)
{
    return &f->bucket[id % BUCKETS];
}

static struct pending *find(struct failover *f, uint64_t id)
{
    int i = *bucket_of(f, id);
    while (i != NOWHERE && f->pending[i].request.id != id)
        i = f->pending[i].chain;
    return i == NOWHERE ? NULL : &f->pending[i];
}

static void leave_broker(struct failover *f, struct pending *p)
{
    if (p->broker != NOWHERE)
        f->broker[p->broker].unanswered--;
    p->broker = NOWHERE;
}

static void take_out(struct failover *f, struct pending *p)
{
    int i = (int)(p - f->pending), *link = bucket_of(f, p->request.id);
    while (*link != i)
        link = &f->pending[*link].chain;
    *link = p->chain;
    leave_broker(f, p);
    zmq_msg_close(&p->payload);
    *(p->older == NOWHERE ? &f->oldest : &f->pending[p->older].newer) = p->newer;
    *(p->newer == NOWHERE ? &f->newest : &f->pending[p->newer].older) = p->older;
    p->newer = f->unused;
    f->unused = i;
    f->n--;
}

/* --- brokers --- */

static bool usable(const struct failover *f, int broker, uint64_t now)
{
    const struct broker_view *b = &f->broker[broker];
    return !b->gone_ns && now >= b->rest_until_ns;
}

/* Its home, or the next one that is there; NOWHERE: none is. One that it has not been at comes first, and one
 * that rests last. */
static int choose(const struct failover *f, const struct pending *p, uint64_t now)
{
    int best = NOWHERE, least = 4;
    for (int k = 0; k < f->n_brokers; k++) {
        int i = (f->home + k) % f->n_brokers, rank = (p->sent[i] > 0) + 2 * !usable(f, i, now);
        if (f->broker[i].gone_ns || (p->sent[i] >= TIMES && f->n_brokers > 1) || rank >= least)
            continue;
        best = i;
        least = rank;
    }
    return best;
}

static uint64_t jitter(struct failover *f)
{
    return shuffle_below(&f->random, JITTER_NS);
}

/* It is to be sent once more, if there is a token. */
static bool move(struct failover *f, struct pending *p, uint64_t now)
{
    if (f->tokens < 1)
        return false;
    f->tokens -= 1;
    leave_broker(f, p);
    p->again = true;
    p->not_before_ns = now + jitter(f);
    return true;
}

static void move_all(struct failover *f, int broker, uint64_t now)
{
    for (int i = f->oldest; i != NOWHERE; i = f->pending[i].newer)
        if (f->pending[i].broker == broker)
            move(f, &f->pending[i], now);
}

/* What is unanswered there is sent to the next. */
static void give_up(struct failover *f, int broker, uint64_t now)
{
    struct broker_view *b = &f->broker[broker];
    b->rest_ns = b->rest_ns ? 2 * b->rest_ns : REST_NS;
    b->rest_ns = b->rest_ns < REST_MOST ? b->rest_ns : REST_MOST;
    b->rest_until_ns = now + b->rest_ns + jitter(f);
    b->asked_ns = 0;
    move_all(f, broker, now);
}

static void look_at_connection(struct failover *f, int broker, uint64_t now)
{
    struct broker_view *b = &f->broker[broker];
    bool connected = f->io.connected(f->io.arg, broker);
    if (connected && b->gone_ns)
        move_all(f, broker, now); /* what was on the connection before may be lost */
    if (connected)
        b->gone_ns = 0;
    else if (!b->gone_ns)
        b->gone_ns = now;
    else if (now - b->gone_ns >= LOST_NS && b->unanswered && now >= b->rest_until_ns)
        give_up(f, broker, now);
}

static void look_for_silence(struct failover *f, int broker, uint64_t now)
{
    struct broker_view *b = &f->broker[broker];
    if (!b->unanswered || now - b->heard_ns < SILENT_NS)
        return;
    if (!b->asked_ns) {
        f->out.type = MESSAGE_STATUS;
        f->io.send(f->io.arg, broker, &f->out, NULL);
        b->asked_ns = now;
    } else if (now - b->asked_ns >= PATIENT_NS) {
        b->heard_ns = now;
        b->asked_ns = 0;
        if (f->n_brokers >
            1) /* an only one is asked again: what it has is not lost before it is another process */
            give_up(f, broker, now);
    }
}

void failover_heard(struct failover *f, int broker, uint64_t now)
{
    struct broker_view *b = &f->broker[broker];
    b->heard_ns = now;
    b->asked_ns = 0;
    if (now >= b->rest_until_ns)
        b->rest_ns = 0;
}

void failover_started(struct failover *f, int broker, uint64_t started_ns, uint64_t now)
{
    struct broker_view *b = &f->broker[broker];
    if (b->started_ns && b->started_ns != started_ns)
        move_all(f, broker, now); /* the one before has taken them along */
    b->started_ns = started_ns;
}

/* --- requests --- */

static void send(struct failover *f, struct pending *p, int broker, uint64_t now)
{
    struct broker_view *b = &f->broker[broker];
    uint64_t left_ms = (p->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
    zmq_msg_t copy;
    f->out.type = MESSAGE_REQUEST;
    f->out.request = p->request;
    if (p->again) { /* with the time that is left, as its first broker would count */
        f->out.request.sent_ns = now;
        f->out.request.deadline_ms = (uint32_t)left_ms;
    }
    zmq_msg_init(&copy);
    if (zmq_msg_copy(&copy, &p->payload) || f->io.send(f->io.arg, broker, &f->out, &copy)) {
        zmq_msg_close(&copy);
        return;
    }
    if (!b->unanswered++)
        b->heard_ns = now; /* until now there was nothing to say */
    p->broker = broker;
    p->sent[broker]++;
    p->sent_ns = now;
}

/* Half of what it had left is over: it, or its answer, may be lost with a connection. A broker that has it
 * knows it by its key. What an only broker is slow with is left to it. */
static bool may_be_lost(const struct failover *f, const struct pending *p, uint64_t now)
{
    return f->n_brokers > 1 && p->broker != NOWHERE && p->sent[p->broker] < TIMES &&
           usable(f, p->broker, now) && now - p->sent_ns > (p->deadline_ns - p->sent_ns) / 2;
}

static void send_pending(struct failover *f, struct pending *p, uint64_t now)
{
    int broker;
    if (now >= p->deadline_ns || (may_be_lost(f, p, now) && !move(f, p, now)))
        return;
    if (p->broker == NOWHERE && now >= p->not_before_ns && (broker = choose(f, p, now)) != NOWHERE)
        send(f, p, broker, now);
}

int failover_submit(struct failover *f, const struct request *r, zmq_msg_t *payload, uint64_t time_ns,
                    uint64_t now)
{
    struct pending *p;
    int i = f->unused, *bucket;
    bool first = !f->n;
    if (i == NOWHERE && f->fresh == FAILOVER_MOST)
        return FL_AGAIN;
    if (i == NOWHERE)
        i = f->fresh++;
    else
        f->unused = f->pending[i].newer;
    p = &f->pending[i];
    bucket = bucket_of(f, r->id);
    *p = (struct pending){.request = *r,
                          .deadline_ns = now + time_ns,
                          .not_before_ns = now,
                          .broker = NOWHERE,
                          .older = f->newest,
                          .newer = NOWHERE,
                          .chain = *bucket};
    p->request.key_low = r->id;
    p->request.key_high = f->client;
    zmq_msg_init(&p->payload);
    zmq_msg_move(&p->payload, payload);
    *(f->newest == NOWHERE ? &f->oldest : &f->pending[f->newest].newer) = i;
    f->newest = i;
    *bucket = i;
    f->n++;
    for (int b = 0; b < f->n_brokers; b++)
        if (first || f->broker[b].gone_ns) /* else failover_tick looks, before long */
            look_at_connection(f, b, now);
    send_pending(f, p, now);
    return FL_OK;
}

/* It says that it cannot serve, and another one may. */
static bool asks_another(struct failover *f, struct pending *p, int broker, const struct answer *a,
                         uint64_t now)
{
    if (a->error != FL_UNAVAILABLE || now >= p->deadline_ns || p->broker != broker)
        return false;
    for (int i = 0; i < f->n_brokers; i++)
        if (i != broker && !p->sent[i] && !f->broker[i].gone_ns)
            return move(f, p, now);
    return false;
}

/* Another one than this is gone, or was given up a moment ago. */
static bool lost_lately(const struct failover *f, int broker, uint64_t now)
{
    for (int i = 0; i < f->n_brokers; i++) {
        const struct broker_view *b = &f->broker[i];
        if (i != broker && (now < b->rest_until_ns || (b->gone_ns && now < b->gone_ns + LATELY_NS)))
            return true;
    }
    return false;
}

/* All that was at a lost broker comes to the next at once, which has no room for so much, nor for what comes
 * then: the hint says when there will be. */
static bool waits_for_room(struct failover *f, struct pending *p, int broker, const struct answer *a,
                           uint64_t now)
{
    uint64_t then = now + a->retry_after_ms * NS_PER_MS;

    if (f->n_brokers == 1 || a->error != FL_OVERLOADED || p->broker != broker ||
        (!p->again && !lost_lately(f, broker, now)) || p->refused >= REFUSALS || then >= p->deadline_ns ||
        !move(f, p, now))
        return false;
    p->refused++;
    p->sent[broker]--;
    p->not_before_ns += then - now;
    return true;
}

/* The only broker goes down, and says that another process will take its place. */
static bool waits_for_next(struct failover *f, struct pending *p, int broker, const struct answer *a,
                           uint64_t now)
{
    if (f->n_brokers > 1 || a->error != FL_UNAVAILABLE || !a->retry_after_ms || now >= p->deadline_ns ||
        f->tokens < 1)
        return false;
    if (now >= f->broker[broker].rest_until_ns)
        give_up(f, broker, now);
    else if (p->broker == broker)
        move(f, p, now);
    return true;
}

bool failover_answer(struct failover *f, int broker, const struct answer *a, uint64_t now)
{
    struct pending *p = find(f, a->id);
    if (!p)
        return false;
    f->tokens = f->tokens + TOKENS < FAILOVER_MOST ? f->tokens + TOKENS : FAILOVER_MOST;
    if (asks_another(f, p, broker, a, now) || waits_for_room(f, p, broker, a, now) ||
        waits_for_next(f, p, broker, a, now))
        return false;
    if (a->error == FL_UNAVAILABLE && p->broker != broker)
        return false; /* it is asked elsewhere */
    take_out(f, p);
    return true;
}

bool failover_cancel(struct failover *f, uint64_t id, uint64_t now)
{
    struct pending *p = find(f, id);
    if (!p)
        return false;
    if (p->cancelled)
        return true;
    p->cancelled = true;
    p->deadline_ns = now;
    if (p->broker != NOWHERE) {
        f->out.type = MESSAGE_CANCEL;
        f->out.cancel = (struct cancel){.n = 1, .request = {id}};
        f->io.send(f->io.arg, p->broker, &f->out, NULL); /* one that does not hear it works in vain */
    }
    return true;
}

uint64_t failover_tick(struct failover *f, uint64_t now)
{
    for (int i = 0; i < f->n_brokers; i++) {
        look_at_connection(f, i, now);
        look_for_silence(f, i, now);
    }
    for (int i = f->oldest; i != NOWHERE; i = f->pending[i].newer)
        send_pending(f, &f->pending[i], now);
    return f->n ? now + TICK_NS : UINT64_MAX;
}

bool failover_expired(struct failover *f, uint64_t now, struct answer *out)
{
    for (int i = f->oldest; i != NOWHERE; i = f->pending[i].newer) {
        struct pending *p = &f->pending[i];
        bool sent = p->broker != NOWHERE;
        if (now < p->deadline_ns + (sent ? GRACE_NS : 0))
            continue;
        *out = (struct answer){
            .id = p->request.id, .error = p->cancelled ? FL_CANCELLED : FL_DEADLINE, .label = -1, .exit = -1};
        snprintf(out->text, sizeof out->text, "%s",
                 p->cancelled ? "it was cancelled"
                 : sent       ? "the broker has not answered by the deadline"
                              : "no broker was reached by the deadline");
        take_out(f, p);
        return true;
    }
    return false;
}
