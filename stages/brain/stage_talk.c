/* stage_talk.c - hello, heartbeats and their echoes */
#include "stage_talk.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LEAVE_NS         (4 * NS_PER_S)   /* less than a supervisor's patience */
#define LEAVING_TICK_NS  (20 * NS_PER_MS) /* that the broker is gone shows in no message */
#define LOOK_AT_LINKS_NS (10 * NS_PER_MS) /* at those that are not there */
#define LEARN_CLOCK_NS   (10 * NS_PER_MS) /* between the first heartbeats to a broker with another clock */

uint64_t stage_talk_moment(const struct stage_talk *t)
{
    return t->io->moment(t->io->arg);
}

uint64_t stage_talk_time(const struct stage_talk *t, uint64_t request, uint64_t local_ns)
{
    const struct stage_line *l = &t->line[request_broker(request)];
    return l->remote ? local_ns + (uint64_t)offset_ns(&l->offset) : local_ns;
}

/* The replicas of the next stage that a job could be sent to now. */
static void look_at_links(struct stage_talk *t)
{
    uint32_t all = (1u << t->n_next) - 1;
    t->reached_ns = stage_talk_moment(t);
    t->beat.reaches = t->n_next ? REACHES_TOLD | (t->io->reaches(t->io->arg) & all) : 0;
}

static void say_hello(struct stage_talk *t, int broker, bool ready)
{
    struct stage_line *l = &t->line[broker];
    look_at_links(t);
    t->out->type = MESSAGE_HELLO;
    t->out->hello = t->self;
    t->out->hello.ready = ready;
    t->out->hello.leaving = t->leaving;
    t->out->hello.reaches = t->beat.reaches;
    l->hello_ns = t->io->control(t->io->arg, broker, t->out) == FL_OK ? stage_talk_moment(t) : 0;
    l->unheard = true;
}

void stage_talk_hello(struct stage_talk *t, bool ready)
{
    for (int i = 0; i < t->n_lines; i++)
        if (!t->line[i].sent_away)
            say_hello(t, i, ready);
}

/* `worker_ns`: this host's clock, for the echo; 0: no echo is wanted. */
static void send_beat(struct stage_talk *t, int broker, uint64_t worker_ns)
{
    struct heartbeat *h = &t->out->heartbeat;
    const struct stage_line *l = &t->line[broker];
    t->out->type = MESSAGE_HEARTBEAT;
    *h = t->beat;
    h->incarnation = t->self.incarnation;
    h->worker_ns = worker_ns;
    h->ready = t->self.ready;
    h->clock_error_ns = offset_error_ns(&l->offset);
    h->taken = l->taken;
    h->others = l->others;
    t->io->control(t->io->arg, broker, t->out);
}

void stage_talk_taken(struct stage_talk *t, uint64_t request)
{
    t->line[request_broker(request)].taken = request;
}

void stage_talk_beat(struct stage_talk *t, uint64_t request)
{
    if (request_broker(request) < t->n_lines)
        send_beat(t, request_broker(request), 0);
}

static uint64_t beat_ns(const struct stage_talk *t)
{
    return (uint64_t)t->pipeline->broker.heartbeat_ms * NS_PER_MS;
}

/* A remote worker needs its clock's offset before its first job: ask a few times in a row. */
uint64_t stage_talk_due(const struct stage_talk *t, int broker)
{
    const struct stage_line *l = &t->line[broker];
    uint64_t every = beat_ns(t);
    if (l->remote && l->offset.n < OFFSET_SAMPLES && every > LEARN_CLOCK_NS)
        every = LEARN_CLOCK_NS;
    return l->hello_ns ? l->heartbeat_ns + every : UINT64_MAX;
}

uint32_t stage_talk_must_greet(const struct stage_talk *t)
{
    uint32_t brokers = 0;
    for (int i = 0; i < t->n_lines; i++)
        brokers |= (uint32_t)!t->line[i].hello_ns << i;
    return brokers;
}

/* A link that came or broke is told at once, so that nothing is sent over one that is not there. */
static bool links_changed(struct stage_talk *t, uint64_t now)
{
    uint32_t before = t->beat.reaches, all = REACHES_TOLD | ((1u << t->n_next) - 1);
    if (!t->n_next || (t->reached_ns && (before == all || now - t->reached_ns < LOOK_AT_LINKS_NS)))
        return false;
    look_at_links(t);
    return t->beat.reaches != before;
}

static bool hears(const struct stage_talk *t, int broker, uint64_t now)
{
    const struct stage_line *l = &t->line[broker];
    uint64_t patience = (uint64_t)t->pipeline->broker.dead_after_ms * NS_PER_MS;
    return l->broker && now - l->heard_ns <= patience && t->io->connected(t->io->arg, broker);
}

int stage_talk_hears(const struct stage_talk *t, uint64_t now)
{
    int n = 0;
    for (int i = 0; i < t->n_lines; i++)
        n += hears(t, i, now);
    return n;
}

static void beat_in_turn(struct stage_talk *t, int broker, uint64_t now)
{
    struct stage_line *l = &t->line[broker];
    if (l->unheard && now - l->hello_ns >= beat_ns(t))
        say_hello(t, broker, t->self.ready);
    if (t->io->use)
        t->io->use(t->io->arg, &t->beat);
    t->beat.brokers = t->n_lines > 1 ? (uint32_t)stage_talk_hears(t, now) : 1;
    look_at_links(t);
    send_beat(t, broker, now);
    l->heartbeat_ns = now;
}

uint64_t stage_talk_tick(struct stage_talk *t, uint64_t now)
{
    uint64_t due = UINT64_MAX;
    bool changed = links_changed(t, now);
    for (int i = 0; i < t->n_lines; i++) {
        struct stage_line *l = &t->line[i];
        if (!l->hello_ns)
            say_hello(t, i, t->self.ready);
        if (now >= stage_talk_due(t, i))
            beat_in_turn(t, i, now);
        else if (l->hello_ns && changed)
            send_beat(t, i, 0);
        if (stage_talk_due(t, i) < due)
            due = stage_talk_due(t, i);
    }
    return t->leaving && now + LEAVING_TICK_NS < due ? now + LEAVING_TICK_NS : due;
}

void stage_talk_on_heartbeat(struct stage_talk *t, int broker, const struct heartbeat *h, uint64_t now)
{
    struct stage_line *l = &t->line[broker];
    if (h->incarnation != t->self.incarnation) {
        say_hello(t, broker, t->self.ready); /* the broker is another one now */
        return;
    }
    if (h->worker_ns)
        offset_add(&l->offset, h->worker_ns, h->broker_ns, now);
    else
        l->heartbeat_ns = 0; /* no echo: the broker asks for one */
    l->exits_told = h->exits_told;
    l->exits = h->exits;
    l->learns = h->learns;
}

/* It comes again for each of ours. Its clock is learned anew only from another broker. */
void stage_talk_on_hello(struct stage_talk *t, int broker, const struct hello *h)
{
    struct stage_line *l = &t->line[broker];
    bool other = h->incarnation != l->broker, waits = !h->ready;
    l->unheard = false;
    if (!other && waits == l->waits)
        return;
    l->waits = waits;
    if (waits)
        log_info("this worker has to wait: another holds its place, or another plan serves");
    else
        log_info("the broker (pid %llu on %s) has accepted this worker", (unsigned long long)h->pid, h->host);
    if (!other)
        return;
    if ((int)h->replica != broker)
        log_error("at %s is broker %u of the pipeline, not %d: see that all processes have the same pipeline "
                  "file (broker.replicas)",
                  pipeline_broker(t->pipeline, broker).control, h->replica, broker);
    l->broker = h->incarnation;
    l->remote = !clock_is_shared(t->self.boot_id, h->boot_id);
    memset(&l->offset, 0, sizeof l->offset);
    if (l->remote)
        log_info("the broker has another clock: it is learned");
}

bool stage_talk_dismissed(const struct stage_talk *t)
{
    for (int i = 0; i < t->n_lines; i++)
        if (t->line[i].sent_away)
            return true;
    return false;
}

bool stage_talk_over(const struct stage_talk *t, uint64_t now)
{
    for (int i = 0; i < t->n_lines; i++)
        if (!t->line[i].sent_away && (t->n_lines == 1 || hears(t, i, now)))
            return false;
    return stage_talk_dismissed(t);
}

bool stage_talk_waits(const struct stage_talk *t)
{
    for (int i = 0; i < t->n_lines; i++)
        if (t->line[i].waits)
            return true;
    return false;
}

/* The brokers give it no more requests and tell it to end once nothing is left that is to pass through it. */
void stage_talk_leave(struct stage_talk *t, uint64_t now)
{
    t->leaving = true;
    t->leave_by_ns = now + LEAVE_NS;
    stage_talk_hello(t, t->self.ready);
    log_info("leaving: takes no more requests, finishes what it has");
}

bool stage_talk_learns_at(const struct stage_talk *t, int exit)
{
    for (int i = 0; i < t->n_lines; i++)
        if (t->line[i].exits_told && (t->line[i].learns >> exit & 1))
            return true;
    return false;
}

bool stage_talk_no_cache_at(const struct stage_talk *t, int exit)
{
    bool told = false;
    for (int i = 0; i < t->n_lines; i++) {
        if (t->line[i].exits_told && (t->line[i].exits >> exit & 1))
            return false;
        told = told || t->line[i].exits_told;
    }
    return told;
}

bool stage_talk_cache_known(const struct stage_talk *t)
{
    bool met = false;
    for (int i = 0; i < t->n_lines; i++) {
        if (t->line[i].exits_told)
            return true;
        met = met || t->line[i].broker;
    }
    return !met;
}
