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

uint64_t stage_talk_time(const struct stage_talk *t, uint64_t local_ns)
{
    return t->remote ? local_ns + (uint64_t)offset_ns(&t->offset) : local_ns;
}

/* The replicas of the next stage that a job could be sent to now. */
static void look_at_links(struct stage_talk *t)
{
    uint32_t all = (1u << t->n_next) - 1;
    t->reached_ns = stage_talk_moment(t);
    t->beat.reaches = t->n_next ? REACHES_TOLD | (t->io->reaches(t->io->arg) & all) : 0;
}

void stage_talk_hello(struct stage_talk *t, bool ready)
{
    look_at_links(t);
    t->out->type = MESSAGE_HELLO;
    t->out->hello = t->self;
    t->out->hello.ready = ready;
    t->out->hello.leaving = t->leaving;
    t->out->hello.reaches = t->beat.reaches;
    t->hello_ns = t->io->control(t->io->arg, t->out) == FL_OK ? stage_talk_moment(t) : 0;
    t->unheard = true;
}

/* `worker_ns`: this host's clock, for the echo; 0: no echo is wanted. */
static void send_beat(struct stage_talk *t, uint64_t worker_ns)
{
    t->out->type = MESSAGE_HEARTBEAT;
    t->out->heartbeat = t->beat;
    t->out->heartbeat.incarnation = t->self.incarnation;
    t->out->heartbeat.worker_ns = worker_ns;
    t->out->heartbeat.clock_error_ns = offset_error_ns(&t->offset);
    t->io->control(t->io->arg, t->out);
}

void stage_talk_beat(struct stage_talk *t)
{
    send_beat(t, 0);
}

static uint64_t beat_ns(const struct stage_talk *t)
{
    return (uint64_t)t->pipeline->broker.heartbeat_ms * NS_PER_MS;
}

/* A remote worker needs its clock's offset before its first job: ask a few times in a row. */
uint64_t stage_talk_due(const struct stage_talk *t)
{
    uint64_t every = beat_ns(t);
    if (t->remote && t->offset.n < OFFSET_SAMPLES && every > LEARN_CLOCK_NS)
        every = LEARN_CLOCK_NS;
    return t->hello_ns ? t->heartbeat_ns + every : UINT64_MAX;
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

uint64_t stage_talk_tick(struct stage_talk *t, uint64_t now)
{
    uint64_t due;
    if (!t->hello_ns)
        stage_talk_hello(t, t->self.ready);
    if (now >= stage_talk_due(t)) {
        if (t->unheard && now - t->hello_ns >= beat_ns(t))
            stage_talk_hello(t, t->self.ready);
        t->beat.resident_bytes = t->io->resident_bytes(t->io->arg);
        look_at_links(t);
        send_beat(t, now);
        t->heartbeat_ns = now;
    } else if (t->hello_ns && links_changed(t, now)) {
        stage_talk_beat(t);
    }
    due = stage_talk_due(t);
    return t->leaving && now + LEAVING_TICK_NS < due ? now + LEAVING_TICK_NS : due;
}

void stage_talk_on_heartbeat(struct stage_talk *t, const struct heartbeat *h, uint64_t now)
{
    if (h->incarnation != t->self.incarnation) {
        stage_talk_hello(t, t->self.ready); /* the broker is another one now */
        return;
    }
    if (h->worker_ns)
        offset_add(&t->offset, h->worker_ns, h->broker_ns, now);
    else
        t->heartbeat_ns = 0; /* no echo: the broker asks for one */
    t->exits_told = h->exits_told;
    t->exits = h->exits;
    t->learns = h->learns;
}

/* It comes again for each of ours. Its clock is learned anew only from another broker. */
void stage_talk_on_hello(struct stage_talk *t, const struct hello *h)
{
    bool other = h->incarnation != t->broker, waits = !h->ready;
    t->unheard = false;
    if (!other && waits == t->waits)
        return;
    t->waits = waits;
    if (waits)
        log_info("the pipeline serves another plan than this worker has");
    else
        log_info("the broker (pid %llu on %s) has accepted this worker", (unsigned long long)h->pid, h->host);
    if (!other)
        return;
    t->broker = h->incarnation;
    t->remote = !clock_is_shared(t->self.boot_id, h->boot_id);
    memset(&t->offset, 0, sizeof t->offset);
    if (t->remote)
        log_info("the broker has another clock: it is learned");
}

bool stage_talk_hears(const struct stage_talk *t, uint64_t now)
{
    uint64_t patience = (uint64_t)t->pipeline->broker.dead_after_ms * NS_PER_MS;
    return t->broker && now - t->heard_ns <= patience && t->io->connected(t->io->arg);
}

/* The broker gives it no more requests and tells it to end once nothing is left that is to pass through it.
 */
void stage_talk_leave(struct stage_talk *t, uint64_t now)
{
    t->leaving = true;
    t->leave_by_ns = now + LEAVE_NS;
    stage_talk_hello(t, t->self.ready);
    log_info("leaving: takes no more requests, finishes what it has");
}

bool stage_talk_learns_at(const struct stage_talk *t, int exit)
{
    return t->exits_told && (t->learns >> exit & 1);
}

bool stage_talk_no_cache_at(const struct stage_talk *t, int exit)
{
    return t->exits_told && !(t->exits >> exit & 1);
}
