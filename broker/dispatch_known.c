/* dispatch_known.c - requests whose answer is known, or being computed for another one with the same input
 *
 * Those that teach the caches, check them, or are traced are computed all the same: a fair sample must not
 * depend on what was asked before. So are frames of a stream, whose answers are certified for streams alone.
 */
#include <stdlib.h>

#include "base/digest.h"
#include "dispatch_inside.h"

#define ITSELF (JOB_SAMPLED | JOB_AUDIT | JOB_TRACE)

/* What decides answers now: the network with its precision; and the caches of each service with their epoch,
 * as it told last. A worker that has near caches goes on using the old ones for a while: it tells when it
 * does no more. */
static struct response_stamp stamp_now(const struct dispatch *d, const uint8_t *identity)
{
    uint8_t caches[DIGEST_BYTES] = {0};
    for (int i = 0; i < registry_known(d->registry); i++) {
        const struct member *m = registry_member(d->registry, i);
        const uint64_t of[] = {(uint64_t)m->stage,     (uint64_t)m->replica,
                               m->hello.caches.loaded, m->last.epoch,
                               m->last.caches,         m->stage < 0 ? 0 : m->hello.incarnation};
        if (!m->alive || m->stage == MEMBER_LEARNER || (m->stage >= 0 && !m->last.caches))
            continue;
        digest_add(caches, m->hello.caches.build, sizeof m->hello.caches.build);
        digest_add(caches, of, sizeof of);
    }
    return (struct response_stamp){digest_short(identity), digest_short(caches)};
}

enum response_state dispatch_ask_known(struct dispatch *d, struct request_entry *e, struct response *out,
                                       struct request_entry **leader)
{
    const uint8_t *identity = registry_identity(d->registry);
    enum response_state state;
    uint64_t request;

    if (!d->responses || (e->flags & ITSELF) || e->stream || !identity)
        return RESPONSE_NEW;
    e->keyed = true;
    e->key = responses_key(d->responses, &e->input, zmq_msg_data(&e->payload), zmq_msg_size(&e->payload),
                           (e->flags & JOB_NO_CACHE) | e->loss_allowed << 8);
    e->stamp = stamp_now(d, identity);
    state = responses_ask(d->responses, e->key, e->stamp, out, &request);
    if (state != RESPONSE_UNDER_WAY)
        return state;
    *leader = requests_find(d->requests, request);
    return *leader ? RESPONSE_UNDER_WAY : RESPONSE_NEW;
}

/* --- requests that come again --- */

static const struct response_stamp whatever; /* the answer of a request does not change */

void dispatch_may_repeat(struct dispatch *d, struct request_entry *e, const struct request *r)
{
    if (!d->repeats || !(r->key_low | r->key_high))
        return;
    e->repeat = (struct response_key){r->key_low, r->key_high};
    responses_take(d->repeats, e->repeat, whatever, e->id);
}

void dispatch_keep_answer(struct dispatch *d, const struct request_entry *e, const struct response *a)
{
    if (e->repeat.low | e->repeat.high)
        responses_keep(d->repeats, e->repeat, whatever, e->id, a);
}

bool dispatch_repeats(struct dispatch *d, const struct peer *from, const struct request *r)
{
    struct response_key key = {r->key_low, r->key_high};
    enum response_state state = RESPONSE_NEW;
    struct request_entry *e = NULL;
    struct response known;
    uint64_t request;

    if (d->repeats && (key.low | key.high))
        state = responses_ask(d->repeats, key, whatever, &known, &request);
    if (state == RESPONSE_UNDER_WAY)
        e = requests_find(d->requests, request);
    if (e) {
        e->client = *from;
        e->client_id = r->id;
    } else if (state == RESPONSE_KNOWN) {
        dispatch_answer_again(d, from, r->id, &known);
    } else {
        return false;
    }
    d->counters.repeated++;
    return true;
}

void dispatch_stamp(const struct dispatch *d, struct request_entry *e)
{
    const uint8_t *identity = registry_identity(d->registry);
    if (e->keyed && identity)
        e->stamp = stamp_now(d, identity);
}

void dispatch_compute(struct dispatch *d, struct request_entry *e)
{
    if (e->keyed)
        responses_take(d->responses, e->key, e->stamp, e->id);
    requests_enqueue(d->requests, e);
}

void dispatch_follow(struct dispatch *d, struct request_entry *e, struct request_entry *leader)
{
    e->follows = leader->id;
    leader->followers++;
    requests_drop_payload(d->requests, e);
    requests_append(d->requests, e, REQUESTS_FOLLOWING);
}

static void unfollow(struct dispatch *d, struct request_entry *e)
{
    struct request_entry *leader = e->follows ? requests_find(d->requests, e->follows) : NULL;
    if (leader)
        leader->followers--;
    e->follows = 0;
    requests_unlist(d->requests, e);
}

void dispatch_finish(struct dispatch *d, struct request_entry *e)
{
    dispatch_give_audit_up(d, e);
    dispatch_end_course(d, e);
    dispatch_call_off(d, e);
    dispatch_release_route(d, e);
    unfollow(d, e);
    requests_remove(d->requests, e);
}

struct request_entry *dispatch_follower(struct dispatch *d, const struct request_entry *leader,
                                        const struct request_entry *after)
{
    struct request_entry *e = NULL;
    if (leader->followers)
        e = after ? requests_next(d->requests, after) : requests_first(d->requests, REQUESTS_FOLLOWING);
    while (e && e->follows != leader->id)
        e = requests_next(d->requests, e);
    return e;
}

/* The oldest that followed e is computed instead; the others follow it. */
void dispatch_succeed(struct dispatch *d, struct request_entry *e)
{
    struct request_entry *heir = dispatch_follower(d, e, NULL), *f;
    if (!heir)
        return;
    unfollow(d, heir);
    requests_move_payload(d->requests, heir, e);
    for (f = requests_first(d->requests, REQUESTS_FOLLOWING); f; f = requests_next(d->requests, f))
        if (f->follows == e->id) {
            f->follows = heir->id;
            heir->followers++;
        }
    e->followers = 0;
    dispatch_compute(d, heir);
}
