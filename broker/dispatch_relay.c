/* dispatch_relay.c - requests are handed on to other pipelines, and are answered there or come back
 *
 * A request that was handed on stays admitted here, with its input and its deadline. When the other pipeline
 * fails it, refuses it, says nothing for half of its time or is gone, the stages of this one compute it. So
 * whatever happens there costs time, never an answer. Audits and samples are of what these stages compute: a
 * request that is handed on is neither.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/state/trust.h"
#include "dispatch_inside.h"

#define WATCH_TICK_NS (20 * NS_PER_MS)
#define ITS_OWN       (JOB_AUDIT | JOB_TRACE) /* who asks for these asks this pipeline */

/* ---- there ---- */

static int send_copy(struct dispatch *d, const struct request_entry *e, int place, uint64_t ns, uint64_t now)
{
    struct request *r = &d->out.request;
    zmq_msg_t copy;
    int rc;

    memset(r, 0, sizeof *r);
    d->out.type = MESSAGE_REQUEST;
    r->id = e->id;
    r->deadline_ms = (uint32_t)((ns + NS_PER_MS - 1) / NS_PER_MS);
    r->flags = e->flags & JOB_NO_CACHE;
    r->input = e->input;
    r->sent_ns = now;
    r->clock = clock_id(d->self.boot_id);
    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, (zmq_msg_t *)(uintptr_t)&e->payload);
    if ((rc = d->io.relay(d->io.arg, place, &d->out, &copy)))
        zmq_msg_close(&copy);
    return rc;
}

/* How long e may stay there: while there is time to compute it here after all. Where load decides who is
 * asked, that is little, since few are to come back. */
static uint64_t time_there(const struct dispatch *d, const struct request_entry *e, uint64_t now)
{
    uint64_t ns = e->deadline_ns - now, kept = ns / 2;

    if (dispatch_course(d, e) && d->pipeline->choose == CHOOSE_BUDGET &&
        2 * d->admission.quick_ns < (double)kept)
        kept = (uint64_t)(2 * d->admission.quick_ns);
    ns -= kept;
    ns = ns < d->attempt_ns ? ns : d->attempt_ns;
    return ns + (ns == 0);
}

bool dispatch_ask_place(struct dispatch *d, struct request_entry *e, int place, uint64_t now)
{
    struct relay_place *p = &d->relays.place[place];
    uint64_t ns = time_there(d, e, now);

    if (!relay_takes(p, now) || send_copy(d, e, place, ns, now)) {
        p->done.turned++;
        e->failed_at = place + 1;
        return false;
    }
    dispatch_give_audit_up(d, e);
    e->flags &= ~(uint32_t)JOB_SAMPLED;
    e->away |= (uint8_t)(1u << place);
    e->asked |= (uint8_t)(1u << place);
    e->handed_on++;
    relay_sent(p, e->id, now);
    if (e->list == REQUESTS_RELAYED || now + ns < e->wake_ns)
        requests_wake_at(d->requests, e, now + ns);
    return true;
}

bool dispatch_hand_on(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    int place = e->flags & ITS_OWN || e->loss_allowed ? -1 : relay_of(&d->relays, e->id);
    bool audit = e->audit; /* drawn, and not begun */

    if (place < 0)
        return false;
    e->audit = false;
    if (!dispatch_ask_place(d, e, place, now)) {
        e->audit = audit;
        return false;
    }
    e->keyed = false;
    requests_append(d->requests, e, REQUESTS_RELAYED);
    return true;
}

void dispatch_mirror(struct dispatch *d, const struct request_entry *e, uint64_t now)
{
    int place = e->flags & ITS_OWN ? -1 : relay_mirror_of(&d->relays, e->id);

    /* That it is not connected yet is no failure of it. */
    if (place < 0 || !d->relays.place[place].met || !relay_pair_fits(&d->relays, e->id))
        return;
    relay_pair_begin(&d->relays, e->id, place, e->deadline_ns, now);
    if (!relay_takes(&d->relays.place[place], now) || send_copy(d, e, place, e->deadline_ns - now, now))
        relay_pair_next(&d->relays, e->id, place, true, -1, now);
}

/* ---- and back ---- */

/* e is no more with the pipeline in this place. */
static void come_back(struct dispatch *d, struct request_entry *e, int place)
{
    if (e->away >> place & 1)
        relay_released(&d->relays.place[place], e->id);
    e->away &= (uint8_t) ~(1u << place);
}

void dispatch_call_off(struct dispatch *d, struct request_entry *e)
{
    for (int i = 0; e->away; i++) {
        if (!(e->away >> i & 1))
            continue;
        memset(&d->out.cancel, 0, sizeof d->out.cancel);
        d->out.type = MESSAGE_CANCEL;
        d->out.cancel.n = 1;
        d->out.cancel.request[0] = e->id;
        d->io.relay(d->io.arg, i, &d->out, NULL);
        come_back(d, e, i);
    }
}

/* Where e was handed on, it has failed or is late: that is no fault of who answers others meanwhile. */
static void handed_back(struct dispatch *d, struct request_entry *e, int place, enum fl_code code,
                        const char *why, uint64_t now)
{
    struct relay_place *p = &d->relays.place[place];
    bool rested = p->aside.for_ns != 0;

    relay_failed(p, e->id, why, trust_speaks_against(code), now);
    if (p->aside.for_ns && !rested)
        log_warn("%s fails one request after the other and is put aside: %s", p->told.name, why);
    come_back(d, e, place);
    e->failed_at = place + 1;
    if (dispatch_course(d, e))
        dispatch_variant_failed(d, e, place, code, now);
    else
        dispatch_reroute(d, e, now);
}

void dispatch_relays_late(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    uint64_t id = e->id;
    if (!e->away) { /* nobody is: that ends here */
        dispatch_end_course(d, e);
        dispatch_reroute(d, e, now);
        return;
    }
    for (int i = 0; i < MESSAGE_MAX_RELAYS && e->id == id; i++)
        if (e->away >> i & 1)
            handed_back(d, e, i, d->relays.place[i].heard_ns > e->received_ns ? FL_DEADLINE : FL_UNAVAILABLE,
                        "it did not answer in time", now);
}

static uint64_t within(uint64_t ns, uint64_t whole_ns)
{
    return ns < whole_ns ? ns : whole_ns;
}

/* All that the other pipeline says of its time is kept; what is left of the whole is the brokers'. */
void dispatch_answer_of(struct dispatch *d, struct request_entry *e, int place, const struct answer *its,
                        zmq_msg_t *scores, uint64_t now)
{
    struct answer *a = dispatch_begin_answer(d, e);
    struct response kept = {its->label, its->exit,   its->confidence,
                            its->epoch, its->scores, (uint8_t)(place + 1)};
    zmq_msg_t copy;

    a->scores = its->scores;
    a->label = its->label;
    a->exit = its->exit;
    a->confidence = its->confidence;
    a->epoch = its->epoch;
    a->known = its->known;
    a->trace = its->trace;
    a->lookup_wire_ns = its->lookup_wire_ns;
    a->lookup_queue_ns = its->lookup_queue_ns;
    a->lookup_ns = its->lookup_ns;
    a->return_ns = its->return_ns;
    a->clock_error_ns = its->clock_error_ns;
    a->total_ns = now - e->received_ns;
    a->broker_ns = a->total_ns - within(its->total_ns - within(its->broker_ns, its->total_ns), a->total_ns);
    if (place >= 0)
        memcpy(a->variant, d->relays.place[place].told.name, sizeof a->variant);
    d->counters.answered++;
    dispatch_count_total(d, a->total_ns);
    zmq_msg_init(&copy); /* a reference: sending moves the scores away */
    zmq_msg_copy(&copy, scores);
    kept.scores.data = zmq_msg_data(&copy);
    dispatch_send_answer(d, &e->client, scores);
    if (e->attempt)
        dispatch_cancel(d, e, -1);
    dispatch_keep_answer(d, e, &kept);
    zmq_msg_close(&copy);
    dispatch_succeed(d, e);
    dispatch_finish(d, e);
}

void dispatch_answered(struct dispatch *d, int place, const struct answer *its, zmq_msg_t *scores,
                       uint64_t now)
{
    struct request_entry *e = requests_find(d->requests, its->id);
    struct error why = {FL_OK, ""};

    d->relays.place[place].heard_ns = now;
    if (its->error)
        error_set(&why, (enum fl_code)its->error, "%s", its->text);
    else
        dispatch_doubt_answer(d, its, &why);
    if (!e || !(e->asked >> place & 1)) {
        if (!relay_pair_next(&d->relays, its->id, place, why.code != FL_OK, its->label, now))
            d->counters.duplicates += why.code == FL_OK;
        return;
    }
    e->asked &= (uint8_t) ~(1u << place);
    if (why.code) {
        if (e->away >> place & 1)
            handed_back(d, e, place, why.code, why.text, now);
    } else if (e->deadline_ns <= now) {
        dispatch_expire(d, e, now);
    } else {
        come_back(d, e, place);
        relay_answered(&d->relays.place[place], now - e->received_ns, its->exit >= 0);
        if (dispatch_course(d, e))
            dispatch_variant_answered(d, e, place, its, scores, now);
        else
            dispatch_answer_of(d, e, place, its, scores, now);
    }
}

/* ---- who they are ---- */

/* What it was asked and has not answered is computed here. `failed`: by its fault. */
static void take_back(struct dispatch *d, int place, const char *failed, uint64_t now)
{
    for (int i = 0; i < requests_slots(d->requests); i++) {
        struct request_entry *e = requests_slot(d->requests, i);
        if (!e || e->original)
            continue;
        if (!failed && e->failed_at == place + 1)
            e->failed_at = 0;
        e->asked &= (uint8_t) ~(1u << place);
        if (!(e->away >> place & 1))
            continue;
        if (failed) {
            handed_back(d, e, place, FL_UNAVAILABLE, failed, now);
            continue;
        }
        come_back(d, e, place);
        dispatch_reroute(d, e, now);
    }
}

static void let_go(struct dispatch *d, int place, uint64_t now)
{
    log_info("no more requests go to %s", d->relays.place[place].told.name);
    take_back(d, place, NULL, now);
    relay_clear(&d->relays, place);
    d->io.aim(d->io.arg, place, NULL);
}

static bool same(const struct relay *a, const struct relay *b)
{
    return !strcmp(a->name, b->name) && !strcmp(a->endpoint, b->endpoint);
}

static bool is_told(const struct relays *r, const struct relay *one)
{
    for (int i = 0; i < r->n; i++)
        if (same(&r->relay[i], one))
            return true;
    return false;
}

/* The place of this one, a free one if it is new; NULL: its endpoint cannot be used. */
static struct relay_place *place_for(struct dispatch *d, const struct relay *one)
{
    struct relay_place *p = d->relays.place, *end = p + MESSAGE_MAX_RELAYS, *free_one = NULL;

    for (; p < end; p++) {
        if (p->told.name[0] && !p->fixed && same(&p->told, one))
            return p;
        if (!p->told.name[0] && !free_one)
            free_one = p;
    }
    if (!free_one || d->io.aim(d->io.arg, (int)(free_one - d->relays.place), one->endpoint))
        return NULL;
    free_one->told = *one;
    free_one->told.share_ppm = free_one->told.mirror_ppm = 0;
    free_one->away = true;
    return free_one;
}

void dispatch_set_relays(struct dispatch *d, const struct relays *r, uint64_t now)
{
    uint64_t ms = r->lease_ms ? r->lease_ms : DRAIN_LEASE_MS;

    if (!d->io.aim)
        return;
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if (d->relays.place[i].told.name[0] && !d->relays.place[i].fixed &&
            !is_told(r, &d->relays.place[i].told))
            let_go(d, i, now);
    for (int i = 0; i < r->n; i++) {
        const struct relay *one = &r->relay[i];
        struct relay_place *p = place_for(d, one);
        if (p && (p->told.share_ppm != one->share_ppm || p->told.mirror_ppm != one->mirror_ppm))
            log_info("%.2f%% of the requests go to %s, and %.2f%% are asked of both", one->share_ppm / 1e4,
                     one->name, one->mirror_ppm / 1e4);
        if (p)
            p->told = *one;
    }
    d->relays.slower = r->slower;
    d->relays.until_ns = r->n ? now + ms * NS_PER_MS : 0;
}

void dispatch_away(struct dispatch *d, int place, bool away, uint64_t now)
{
    struct relay_place *p = &d->relays.place[place];

    if (!p->told.name[0] || p->away == away)
        return;
    p->away = away;
    p->met |= !away;
    log_info(away ? "%s is not there" : "%s is there", p->told.name);
    if (away)
        take_back(d, place, "its broker is gone", now);
}

uint64_t dispatch_watch_relays(struct dispatch *d, uint64_t now)
{
    bool any = false;

    if (d->relays.until_ns && d->relays.until_ns <= now) {
        log_warn("who asked to hand requests on has gone: all are answered here");
        dispatch_set_relays(d, &(struct relays){0}, now);
    }
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        any |= d->relays.place[i].told.name[0] != 0;
    if (!any)
        return UINT64_MAX;
    relay_pairs_expire(&d->relays, now);
    if (d->choice)
        dispatch_page(d, now);
    return now + WATCH_TICK_NS;
}
