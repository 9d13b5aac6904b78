/* relay.c - see relay.h */
#include "relay.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "sampling.h"
#include "trust.h"

#define SLOWER_NS (500 * NS_PER_US)

int relay_of(const struct relay_table *t, uint64_t request)
{
    double at = sampling_point(request) * SHARE_PPM;
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if ((at -= t->place[i].told.share_ppm) < 0)
            return i;
    return -1;
}

/* From the other end, so that a growing share takes its requests from nobody else's. */
int relay_mirror_of(const struct relay_table *t, uint64_t request)
{
    double at = (1 - sampling_point(request)) * SHARE_PPM;
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if ((at -= t->place[i].told.mirror_ppm) < 0)
            return i;
    return -1;
}

bool relay_takes(const struct relay_place *p, uint64_t now)
{
    if (!p->told.name[0] || p->away)
        return false;
    return !p->aside.for_ns || (!rest_lasts(&p->aside, now) && !p->trial);
}

void relay_sent(struct relay_place *p, uint64_t request, uint64_t now)
{
    p->done.sent++;
    p->done.outstanding++;
    if (p->aside.for_ns && !rest_lasts(&p->aside, now))
        p->trial = request;
}

void relay_released(struct relay_place *p, uint64_t request)
{
    p->done.outstanding -= p->done.outstanding > 0;
    if (p->trial == request)
        p->trial = 0;
}

void relay_answered(struct relay_place *p, uint64_t ns, bool early)
{
    p->done.answered++;
    p->done.early += early;
    p->done.answered_ns += ns;
    p->failures = 0;
    p->aside = (struct rest){0};
}

void relay_failed(struct relay_place *p, uint64_t request, const char *why, bool blame, uint64_t now)
{
    p->done.failed++;
    snprintf(p->done.why, sizeof p->done.why, "%s", why);
    if (!blame)
        return;
    p->failures += p->failures < TRUST_FAILURES;
    if (p->failures == TRUST_FAILURES || p->trial == request)
        rest_begin(&p->aside, now);
}

/* ---- pairs ---- */

static size_t slot_of(uint64_t request)
{
    return (size_t)(sampling_point(request) * RELAY_PAIRS * RELAY_PAIRS) % RELAY_PAIRS;
}

bool relay_pair_fits(const struct relay_table *t, uint64_t request)
{
    return !t->pair[slot_of(request)].request;
}

void relay_pair_begin(struct relay_table *t, uint64_t request, int place, uint64_t until_ns, uint64_t now)
{
    t->pair[slot_of(request)] =
        (struct relay_pair){.request = request, .place = place, .began_ns = now, .until_ns = until_ns};
}

bool relay_is_slower(uint64_t next_ns, uint64_t now_ns, double share)
{
    return next_ns > now_ns + SLOWER_NS && (double)next_ns > (double)now_ns * (1 + share);
}

/* Counts it once both are there. */
static void settle(struct relay_table *t, struct relay_pair *x)
{
    struct relay_status *s = &t->place[x->place].done;
    if (!x->now.here || !x->next.here)
        return;
    s->pairs++;
    s->failed_now += x->now.failed && !x->next.failed;
    s->failed_next += x->next.failed && !x->now.failed;
    if (!x->now.failed && !x->next.failed) {
        s->both++;
        s->agreed += x->now.label == x->next.label;
        s->timed++;
        s->slower += relay_is_slower(x->next.ns, x->now.ns, t->slower);
    }
    x->request = 0;
}

static bool saw(struct relay_table *t, struct relay_pair *x, struct relay_view *view, bool failed,
                int32_t label, uint64_t now)
{
    if (view->here)
        return false;
    *view = (struct relay_view){true, failed, label, now - x->began_ns};
    settle(t, x);
    return true;
}

bool relay_pair_now(struct relay_table *t, uint64_t request, bool failed, int32_t label, uint64_t now)
{
    struct relay_pair *x = &t->pair[slot_of(request)];
    return request && x->request == request && saw(t, x, &x->now, failed, label, now);
}

bool relay_pair_next(struct relay_table *t, uint64_t request, int place, bool failed, int32_t label,
                     uint64_t now)
{
    struct relay_pair *x = &t->pair[slot_of(request)];
    return request && x->request == request && x->place == place && saw(t, x, &x->next, failed, label, now);
}

void relay_pairs_expire(struct relay_table *t, uint64_t now)
{
    for (struct relay_pair *x = t->pair; x < t->pair + RELAY_PAIRS; x++) {
        if (!x->request || x->until_ns > now)
            continue;
        x->now.failed |= !x->now.here;
        x->next.failed |= !x->next.here;
        x->now.here = x->next.here = true;
        settle(t, x);
    }
}

void relay_clear(struct relay_table *t, int place)
{
    for (struct relay_pair *x = t->pair; x < t->pair + RELAY_PAIRS; x++)
        if (x->place == place)
            x->request = 0;
    memset(&t->place[place], 0, sizeof t->place[place]);
}

void relay_describe(const struct relay_place *p, struct relay_status *out, uint64_t now)
{
    *out = p->done;
    memcpy(out->name, p->told.name, sizeof out->name);
    out->share_ppm = p->told.share_ppm;
    out->mirror_ppm = p->told.mirror_ppm;
    snprintf(out->state, sizeof out->state, "%s",
             p->away ? "away" : (relay_takes(p, now) || !p->aside.for_ns ? "ready" : "resting"));
}
