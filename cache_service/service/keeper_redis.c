/* keeper_redis.c - rounds with Redis: which step is due, what its failure puts off, and what is said
 *
 * Each step is done when it is due, and what it fails at puts off itself alone (retry.h): a Redis that
 * refuses writes is still followed, caches that are damaged there still get updates. Only a lost connection
 * ends a round.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

#define MEND_NS (5 * NS_PER_S) /* caches are published again for others at most so often */

struct step {
    const char *does;
    uint64_t first_ns, last_ns;
    int (*run)(struct keeper *k, struct error *e);
    uint64_t (*due)(const struct keeper *k); /* UINT64_MAX: there is nothing to do */
    bool regular;
};

static const struct step steps[KEEPER_STEPS];

/* --- what is said --- */

static bool fails(const struct keeper *k)
{
    for (int i = 0; i < KEEPER_STEPS; i++)
        if (k->step[i].failing)
            return true;
    return false;
}

/* Another step met the same: said once. */
static bool said_already(const struct keeper *k, int step)
{
    for (int i = 0; i < KEEPER_STEPS; i++)
        if (i != step && k->step[i].failing && k->step[i].said == k->step[step].said)
            return true;
    return false;
}

/* What an operator can do about an answer of Redis. */
static const char *advice(const char *text)
{
    if (strstr(text, "OOM "))
        return " (Redis is full: raise its maxmemory)";
    if (strstr(text, "WRONGTYPE"))
        return " (something else wrote to a key of this pipeline: delete it)";
    return "";
}

static void note(struct keeper *k, int step, int rc, const struct error *e)
{
    if (!rc)
        retry_worked(&k->step[step]);
    else if (retry_failed(&k->step[step], e->text, clock_ns()) && step != STEP_LISTEN &&
             !said_already(k, step)) {
        k->complained = true;
        log_warn("Redis at %s, %s: %s%s; look-ups go on%s", k->p->redis.endpoint, steps[step].does, e->text,
                 advice(e->text), step == STEP_FOLLOW ? "" : ", updates wait");
    }
}

/* --- connecting --- */

static int connect_redis(struct keeper *k, struct error *e)
{
    k->looked = false;
    k->watch.since_ns = 0;
    k->look_ns = 0;
    return redis_link_open(k->link, e);
}

static uint64_t connect_due(const struct keeper *k)
{
    /* A look comes next: a Redis that accepts and then fails is as good as gone. */
    return redis_link_up(k->link) ? UINT64_MAX : k->step[STEP_LOOK].next_ns;
}

static int listen_redis(struct keeper *k, struct error *e)
{
    int rc = redis_link_open(k->ears, e);
    if (!rc && (rc = redis_link_listen(k->ears, store_channel(k->store), e)))
        redis_link_drop(k->ears);
    return rc;
}

static uint64_t listen_due(const struct keeper *k)
{
    return redis_link_up(k->ears) ? UINT64_MAX : 0;
}

/* Somebody could not use the caches of the head: put them there again, if they are ours whole. */
static void mend(struct keeper *k, uint64_t sequence)
{
    uint64_t now = clock_ns();
    if (!keeper_at_head(k) || keeper_lacks(k) || sequence != k->head.sequence || now < k->mend_ns)
        return;
    k->mend_ns = now + MEND_NS;
    k->place = LINEAGE_PUBLISH;
    log_info("another cache service can't use the caches in Redis: they are published again");
}

static void on_hint(void *arg, const char *text, size_t size)
{
    struct keeper *k = arg;
    uint64_t sequence;
    switch (store_hint(text, size, &sequence)) {
    case STORE_HINT_HEAD:
        if (size != strlen(k->head.text) || memcmp(text, k->head.text, size)) /* else: our own */
            k->look_ns = 0;
        break;
    case STORE_HINT_UPDATES:
        k->more = true;
        break;
    case STORE_HINT_DAMAGED:
        mend(k, sequence);
        break;
    }
}

/* --- rounds --- */

static const struct step steps[KEEPER_STEPS] = {
    [STEP_CONNECT] = {"connecting", 50 * NS_PER_MS, 2 * NS_PER_S, connect_redis, connect_due, false},
    [STEP_LOOK] = {"reading the head", 50 * NS_PER_MS, 2 * NS_PER_S, keeper_look, keeper_look_due, true},
    [STEP_LISTEN] = {"listening to hints", NS_PER_S, 30 * NS_PER_S, listen_redis, listen_due, false},
    [STEP_FOLLOW] = {"exchanging caches", NS_PER_S, 60 * NS_PER_S, keeper_follow, keeper_follow_due, false},
    [STEP_LEASE] = {"the learner's lease", 200 * NS_PER_MS, 2 * NS_PER_S, keeper_hold_lease, keeper_lease_due,
                    true},
    [STEP_APPEND] = {"adding updates", 200 * NS_PER_MS, 2 * NS_PER_S, keeper_append, keeper_append_due,
                     false},
    [STEP_LEARN] = {"learning", 200 * NS_PER_MS, 2 * NS_PER_S, keeper_learn, keeper_learn_due, false},
};

void keeper_redis_init(struct keeper *k)
{
    lease_init(&k->lease, KEEPER_LEASE_MS * NS_PER_MS);
    for (int i = 0; i < KEEPER_STEPS; i++)
        retry_init(&k->step[i], steps[i].first_ns, steps[i].last_ns);
}

static uint64_t due(const struct keeper *k, int step)
{
    uint64_t wanted = steps[step].due(k), allowed = k->step[step].next_ns;
    return wanted > allowed ? wanted : allowed;
}

static bool is_due(const struct keeper *k, int step, uint64_t now)
{
    uint64_t slack = steps[step].regular ? KEEPER_SLACK_NS : 0;
    return retry_due(&k->step[step], now) && steps[step].due(k) <= now + slack;
}

static void end_round(struct keeper *k)
{
    bool up = redis_link_up(k->link) && !k->step[STEP_LOOK].failing;
    if (up && !k->complained && !atomic_load(&k->redis_up))
        log_info("Redis at %s answers", k->p->redis.endpoint);
    if (up && k->complained && !fails(k)) {
        k->complained = false;
        log_info("Redis at %s does again all that is wanted of it", k->p->redis.endpoint);
    }
    atomic_store(&k->redis_up, up);
    atomic_store(&k->learner, lease_held(&k->lease, clock_ns()));
}

void keeper_step_redis(struct keeper *k)
{
    struct error e = {0};
    if (redis_link_up(k->ears))
        redis_link_hear(k->ears, on_hint, k, &e);
    for (int i = 0; i < KEEPER_STEPS; i++) {
        int rc;
        if (steps[i].due(k) == UINT64_MAX)
            retry_idle(&k->step[i]);
        if (i != STEP_CONNECT && !redis_link_up(k->link))
            break;
        if (!is_due(k, i, clock_ns()))
            continue;
        e.text[0] = '\0';
        rc = steps[i].run(k, &e);
        note(k, i, rc, &e);
    }
    end_round(k);
}

uint64_t keeper_redis_next(const struct keeper *k)
{
    uint64_t next = UINT64_MAX;
    if (!redis_link_up(k->link))
        return due(k, STEP_CONNECT);
    for (int i = 0; i < KEEPER_STEPS; i++)
        if (due(k, i) < next)
            next = due(k, i);
    return next;
}
