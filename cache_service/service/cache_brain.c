/* cache_brain.c - look-ups, outcomes and the broker, tied together */
#include "cache_brain.h"

#include <string.h>

#include "base/arrival.h"
#include "base/memory.h"
#include "base/mishap.h"
#include "control.h"
#include "index/verdicts.h"
#include "wire/span_log.h"

#define SPANS 4096

struct cache_brain {
    struct cache_io io;
    struct lookups *lookups;
    int n_brokers;
    struct control broker[PIPELINE_MAX_BROKERS];
    struct hello hello;           /* what this process says of itself */
    uint8_t stages[DIGEST_BYTES]; /* identity of the stage workers, as the broker told last */
    struct mishap garbage[2], refused, undelivered; /* garbage: of the look-up socket, of the broker's */
    bool sent_away;
    bool streams; /* their last answers are tried, as far as was told */
    uint64_t busy_ns;
    struct span_log spans[PIPELINE_MAX_BROKERS]; /* of the requests of each broker */
    struct message out, verdict;                 /* large: not on the stack */
};

void cache_brain_garbage(struct cache_brain *b, bool from_broker, const char *text, uint64_t now)
{
    mishap(&b->garbage[from_broker], LOG_LEVEL_WARN, from_broker ? "control socket" : "look-up socket", text,
           now);
}

uint64_t cache_brain_broker_ns(const struct cache_brain *b, uint64_t request, uint64_t now)
{
    return control_broker_ns(&b->broker[request_broker(request)], now);
}

/* --- look-ups --- */

/* Sends each hit to the broker. One that can't be sent becomes a miss, so that the request goes on through
 * the layers. */
static void send_hits(struct cache_brain *b, const struct lookup *in, struct verdict *v,
                      const struct arrival *came, uint64_t now)
{
    for (int i = 0; i < v->n; i++) {
        int rc;
        if (!v->item[i].hit)
            continue;
        b->out.type = MESSAGE_RESULT;
        verdicts_result(&b->out.result, in, v, i, cache_brain_broker_ns(b, v->item[i].request, now));
        b->out.result.lookup_wire_ns = came->wire_ns;
        b->out.result.lookup_queue_ns = came->queue_ns;
        if (!(rc = b->io.result(b->io.arg, &b->out)))
            continue;
        v->item[i].hit = false;
        lookups_undo_hit(b->lookups);
        mishap(&b->undelivered, LOG_LEVEL_WARN, "a hit could not be sent to the broker and counts as a miss",
               error_sentence(rc), now);
    }
}

/* Notes what passed for the traced requests of a look-up. Times are this host's. */
static void note_spans(struct cache_brain *b, const struct lookup *in, const struct verdict *v,
                       const struct arrival *came, uint64_t taken_ns, uint64_t done_ns)
{
    int32_t exit = (int32_t)in->exit;
    for (int i = 0; i < in->n; i++) {
        const struct lookup_item *item = &in->item[i];
        struct span_log *spans = &b->spans[request_broker(item->request)];
        uint64_t taken = cache_brain_broker_ns(b, item->request, taken_ns), came_ns = taken - came->queue_ns;
        uint64_t done = cache_brain_broker_ns(b, item->request, done_ns);
        if (!(item->flags & JOB_TRACE))
            continue;
        span_log_note(spans, SPAN_WIRE, item->request, item->attempt, exit, came_ns - came->wire_ns, came_ns);
        span_log_note(spans, SPAN_QUEUE, item->request, item->attempt, exit, came_ns, taken);
        span_log_note(spans, v->item[i].hit ? SPAN_HIT : SPAN_MISS, item->request, item->attempt, exit, taken,
                      done);
    }
}

/* Times in a look-up are by the clock of the first item's broker. Decoding is a part of serving a look-up: it
 * counts from when the message was taken. */
static void answer(struct cache_brain *b, const struct peer *from, const struct lookup *in,
                   const float *descriptors, const struct cache_arrival *when, uint64_t now)
{
    struct verdict *v = &b->verdict.verdict;
    struct error e = {0};
    uint64_t first = in->n ? in->item[0].request : 0, broker_now = cache_brain_broker_ns(b, first, now);
    uint64_t taken_ns, done_ns;
    struct arrival came = arrival_of(in->sent_ns, cache_brain_broker_ns(b, first, when->empty_ns),
                                     cache_brain_broker_ns(b, first, when->taken_ns), broker_now);
    if (lookups_answer(b->lookups, in, descriptors, now, broker_now, v, &e))
        mishap(&b->refused, LOG_LEVEL_ERROR, "look-ups answered as misses", e.text, now);
    done_ns = b->io.moment(b->io.arg);
    taken_ns = now - came.decode_ns;
    v->lookup_ns = done_ns - taken_ns;
    b->busy_ns += done_ns - now;
    if (in->told)
        return; /* it has its verdict */
    send_hits(b, in, v, &came, done_ns);
    note_spans(b, in, v, &came, taken_ns, done_ns);
    if (b->io.verdict(b->io.arg, from, &b->verdict))
        return; /* the stage is gone or does not read: it has stopped waiting for this verdict */
}

void cache_brain_lookup(struct cache_brain *b, const struct peer *from, const struct message *m,
                        const float *descriptors, const struct cache_arrival *came, uint64_t now)
{
    if (m->type == MESSAGE_LOOKUP)
        answer(b, from, &m->lookup, descriptors, came, now);
    else
        cache_brain_garbage(b, false, "a message that is no look-up", now);
}

struct snapshot *cache_brain_swap(struct cache_brain *b, struct snapshot *s)
{
    if (control_tell(&b->hello, s))
        for (int i = 0; i < b->n_brokers; i++)
            control_changed(&b->broker[i]);
    return lookups_swap(b->lookups, s);
}

const struct snapshot *cache_brain_snapshot(const struct cache_brain *b)
{
    return lookups_snapshot(b->lookups);
}

/* --- the broker --- */

/* The stages may have moved on to another model since the caches in use were built. */
static void on_welcome(struct cache_brain *b, int broker, const struct hello *h, uint64_t now)
{
    static const uint8_t none[DIGEST_BYTES];
    control_welcome(&b->broker[broker], h, b->hello.boot_id, now);
    if (!memcmp(h->identity, none, sizeof none) || !memcmp(h->identity, b->stages, sizeof b->stages))
        return;
    memcpy(b->stages, h->identity, sizeof b->stages);
    if (!memcmp(b->stages, b->hello.identity, sizeof b->stages) ||
        !memcmp(b->hello.identity, none, sizeof none))
        return;
    log_warn("the stages serve another model than these caches were built for: look-ups miss; the built "
             "caches are read again");
    b->io.reload(b->io.arg);
}

static void say_of_streams(struct cache_brain *b)
{
    struct streams_state s =
        lookups_streams(b->lookups) ? streams_state(lookups_streams(b->lookups)) : (struct streams_state){0};
    if (s.on != b->streams && s.on)
        log_info(
            "streams: certified by %lld frames: %.1f%% leave early where the last answer is tried first, "
            "%.1f%% by the caches alone",
            (long long)s.keys, 100 * s.share, 100 * s.alone);
    else if (s.on != b->streams)
        log_info("streams: their last answers are not tried any more, until that is certified anew");
    b->streams = s.on;
}

void cache_brain_control(struct cache_brain *b, int broker, const struct message *m, uint64_t now)
{
    switch (m->type) {
    case MESSAGE_HELLO:
        on_welcome(b, broker, &m->hello, now);
        break;
    case MESSAGE_HEARTBEAT:
        control_echo(&b->broker[broker], &m->heartbeat, now);
        break;
    case MESSAGE_OUTCOME:
        lookups_outcome(b->lookups, &m->outcome, b->io.update, b->io.arg);
        say_of_streams(b);
        break;
    case MESSAGE_FEEDBACK:
        lookups_feedback(b->lookups, &m->feedback, b->io.update, b->io.arg);
        break;
    case MESSAGE_CANCEL:
        break;
    case MESSAGE_DRAIN:
        b->sent_away = true;
        break;
    default:
        cache_brain_garbage(b, true, "a message that does not belong there", now);
    }
}

static uint32_t exits_of(const struct snapshot *used)
{
    uint32_t exits = 0;
    for (int i = 0; used && i < used->manifest.n_exits; i++)
        if (used->cache[i])
            exits |= 1u << i;
    return exits;
}

static void fill_heartbeat(struct cache_brain *b, int broker, struct heartbeat *h, uint64_t now)
{
    struct lookups_counters l = lookups_counters(b->lookups);
    const struct snapshot *used = cache_brain_snapshot(b);
    *h = (struct heartbeat){.incarnation = b->hello.incarnation,
                            .worker_ns = now,
                            .lookups = l.items,
                            .hits = l.hits,
                            .batches = l.batches,
                            .caches = used ? (uint32_t)snapshot_caches(used) : 0,
                            .exits = exits_of(used),
                            .exits_told = true,
                            .learns = lookups_learns(b->lookups),
                            .clock_error_ns = offset_error_ns(&b->broker[broker].offset),
                            .learning = {.built = l.built, .learned = l.learned}};
    b->io.keeper(b->io.arg, h);
    h->learning.rejected += l.truths_refused;
}

static void say_what_is_due(struct cache_brain *b, int broker, uint64_t now)
{
    int type = control_next(&b->broker[broker], now);
    if (!type)
        return;
    lookups_expire(b->lookups, now);
    if (type == MESSAGE_HEARTBEAT) /* first: who has the heartbeat has them */
        span_log_send(&b->spans[broker], b->io.control, b->io.arg, broker, &b->out);
    b->out.type = (enum message_type)type;
    if (type == MESSAGE_HELLO)
        b->out.hello = b->hello;
    else
        fill_heartbeat(b, broker, &b->out.heartbeat, now);
    b->io.control(b->io.arg, broker, &b->out); /* nobody there: said again at the next beat */
}

uint64_t cache_brain_tick(struct cache_brain *b, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < b->n_brokers; i++) {
        say_what_is_due(b, i, now);
        next = b->broker[i].next_ns < next ? b->broker[i].next_ns : next;
    }
    return next;
}

bool cache_brain_sent_away(const struct cache_brain *b)
{
    return b->sent_away;
}

void cache_brain_goodbye(struct cache_brain *b)
{
    b->out.type = MESSAGE_HELLO;
    b->out.hello = b->hello;
    b->out.hello.ready = false;
    for (int i = 0; !b->sent_away && i < b->n_brokers; i++)
        b->io.control(b->io.arg, i, &b->out);
}

/* --- life --- */

int cache_brain_new(struct cache_brain **out, const struct cache_setup *setup, const struct cache_io *io,
                    struct error *e)
{
    struct cache_brain *b = memory_cleared(sizeof *b, offsetof(struct cache_brain, out));
    bool promised = setup->pipeline->updates.learn && setup->pipeline->redis.endpoint;
    int rc = !b || lookups_new(&b->lookups, &setup->pending, promised, io->look, io->arg);
    *out = NULL;
    if (!rc && setup->pipeline->cache.n_endpoints == 1) /* what others' exits answer would not be seen here */
        rc = lookups_follow_streams(b->lookups);
    for (int i = 0; !rc && i < pipeline_brokers(setup->pipeline); i++, b->n_brokers = i) {
        control_init(&b->broker[i], setup->pipeline);
        span_log_init(&b->spans[i], setup->spans ? setup->spans : SPANS, ROLE_CACHE, 0, setup->hello.replica);
    }
    if (rc) {
        cache_brain_free(b);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    b->io = *io;
    b->hello = setup->hello;
    b->verdict.type = MESSAGE_VERDICT;
    *out = b;
    return FL_OK;
}

void cache_brain_free(struct cache_brain *b)
{
    if (!b)
        return;
    lookups_free(b->lookups);
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++)
        span_log_free(&b->spans[i]);
    free(b);
}

struct cache_counters cache_brain_counters(const struct cache_brain *b)
{
    return (struct cache_counters){.lookups = lookups_counters(b->lookups),
                                   .pending = lookups_pending(b->lookups),
                                   .busy_ns = b->busy_ns,
                                   .garbage = b->garbage[0].count + b->garbage[1].count,
                                   .undelivered = b->undelivered.count};
}
