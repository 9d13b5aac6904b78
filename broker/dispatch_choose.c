/* dispatch_choose.c - which variants of the model are asked, and whose answer is served
 *
 * Who is asked, and what follows from what they answer, is decided by choice.h; here it is done. Variant 0 is
 * this pipeline, computed as any request; the others are pipelines in the places of relay.h. Answers that
 * others have to be compared with are kept, with their scores. A request that another variant was asked of is
 * no sample and no audit.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/state/trust.h"
#include "dispatch_inside.h"

#define ITS_OWN (JOB_AUDIT | JOB_TRACE) /* who asks for these asks this pipeline */

int dispatch_set_variants(struct dispatch *d, struct choice *choice, const char *own, int n)
{
    d->course = calloc((size_t)requests_slots(d->requests), sizeof *d->course);
    if (!d->course)
        return FL_NOMEM;
    d->choice = choice;
    d->variant = own;
    d->n_variants = n;
    d->wanted = choice_wants(choice, 0, ~0u);
    return FL_OK;
}

int dispatch_add_variant(struct dispatch *d, int variant, const char *name, const char *endpoint)
{
    struct relay_place *p = &d->relays.place[variant - 1];

    snprintf(p->told.name, sizeof p->told.name, "%s", name);
    snprintf(p->told.endpoint, sizeof p->told.endpoint, "%s", endpoint);
    p->away = p->fixed = true;
    return d->io.aim(d->io.arg, variant - 1, endpoint);
}

struct course *dispatch_course(const struct dispatch *d, const struct request_entry *e)
{
    struct course *c = d->course && !e->original ? &d->course[e->slot] : NULL;
    return c && c->on ? c : NULL;
}

void dispatch_end_course(struct dispatch *d, struct request_entry *e)
{
    struct course *c = dispatch_course(d, e);

    if (!c)
        return;
    c->on = false;
    choice_end(d->choice, &c->choice);
    for (int i = 0; i < d->n_variants; i++)
        if (c->kept[i].here)
            zmq_msg_close(&c->kept[i].scores);
}

void dispatch_page(struct dispatch *d, uint64_t now)
{
    uint32_t loaded = 1, was = d->wanted;

    for (int i = 1; i < d->n_variants; i++)
        loaded |= (uint32_t)!d->relays.place[i - 1].away << i;
    d->wanted = choice_wants(d->choice, now, loaded);
    for (int i = 1; i < d->n_variants; i++)
        if ((was ^ d->wanted) >> i & 1)
            log_info("variant %s %s", d->relays.place[i - 1].told.name,
                     d->wanted >> i & 1 ? "should be loaded: requests would use it more than others"
                                        : "should be put away: budget.memory_mb has room for others");
}

/* ---- asking ---- */

static void look_at_load(const struct dispatch *d, const struct request_entry *e, bool room_here,
                         struct choice_load load[CHOICE_MAX], uint64_t now)
{
    bool counted = e->list != REQUESTS_RELAYED;
    int ahead = dispatch_ahead(d) - counted;

    memset(load, 0, CHOICE_MAX * sizeof *load);
    load[0] = (struct choice_load){.ready = room_here && trust_ready(d->registry),
                                   .ahead = ahead > 0 ? (uint32_t)ahead : 0};
    for (int i = 1; i < d->n_variants; i++) {
        const struct relay_place *p = &d->relays.place[i - 1];
        load[i] = (struct choice_load){.ready = relay_takes(p, now), .ahead = p->done.outstanding};
    }
}

bool dispatch_variant_ready(const struct dispatch *d, uint64_t now)
{
    for (int i = 1; i < d->n_variants; i++)
        if (relay_takes(&d->relays.place[i - 1], now))
            return true;
    return false;
}

static bool room_here(const struct dispatch *d, const struct request_entry *e, uint64_t now)
{
    return e->deadline_ns > now &&
           !admission_refuses(&d->admission, dispatch_ahead(d), d->room, e->deadline_ns - now);
}

uint32_t dispatch_choose(struct dispatch *d, struct request_entry *e, bool room, uint64_t now)
{
    struct choice_request r = {
        .id = e->id, .context = e->context, .left_ns = e->deadline_ns - now, .max_loss = NAN};
    struct choice_load load[CHOICE_MAX];
    struct course *c;
    uint32_t mask;

    /* The first one warms these stages, and shows how long they take. */
    if (!d->choice || e->flags & ITS_OWN || e->loss_allowed || !d->admission.learned)
        return 0;
    c = &d->course[e->slot];
    look_at_load(d, e, room, load, now);
    mask = choice_begin(d->choice, now, &r, load, &c->choice);
    if (!mask)
        return 0;
    c->on = true;
    c->code = FL_UNAVAILABLE;
    c->flags = e->flags & ~(uint32_t)JOB_SAMPLED;
    c->asked_ns[0] = now;
    memset(c->kept, 0, sizeof c->kept);
    if (d->pipeline->choose == CHOOSE_CASCADE) /* it is sure by the network's own confidence */
        e->flags |= JOB_NO_CACHE;
    if (mask != 1 || d->pipeline->choose == CHOOSE_CASCADE) {
        e->audit = e->keyed = false;
        e->flags &= ~(uint32_t)JOB_SAMPLED;
    }
    return mask;
}

/* Then an answer's confidence is that of the vote. */
static bool votes(const struct dispatch *d)
{
    return d->pipeline->choose == CHOOSE_EXP4;
}

static void serve(struct dispatch *d, struct request_entry *e, struct course *c, const struct choice_step *s,
                  uint64_t now)
{
    struct kept_answer *k = &c->kept[s->variant];
    struct answer a = {.label = k->label,
                       .exit = k->exit,
                       .confidence = votes(d) ? s->confidence : k->confidence,
                       .epoch = k->epoch,
                       .known = k->known,
                       .scores = k->shape};
    zmq_msg_t scores;

    zmq_msg_init(&scores);
    zmq_msg_move(&scores, &k->scores);
    dispatch_answer_of(d, e, s->variant - 1, &a, &scores, now);
    zmq_msg_close(&scores);
}

/* The error of one who has too much to do. */
static bool is_load(uint32_t code)
{
    return code == FL_OVERLOADED || code == FL_DEADLINE;
}

/* Nobody is left to ask. */
static void give_up(struct dispatch *d, struct request_entry *e, struct course *c, uint64_t now)
{
    uint32_t code = c->code;
    bool load = is_load(code);

    dispatch_end_course(d, e);
    if (!load && !e->attempt && e->list == REQUESTS_RELAYED && room_here(d, e, now) && !d->ends)
        dispatch_reroute(d, e, now);
    else
        dispatch_answer_error(d, e, code,
                              load ? "every variant has too much to do" : "every variant has failed",
                              load ? dispatch_retry_ms(d) : 0, now);
}

/* All were asked, so whatever it answers is served: it may look up. */
static bool is_last(const struct dispatch *d, const struct course *c)
{
    return __builtin_popcount(c->choice.asked) == d->n_variants;
}

/* Does what s says; e may have ended by that. */
static void follow(struct dispatch *d, struct request_entry *e, struct course *c, struct choice_step s,
                   uint64_t now)
{
    struct choice_load load[CHOICE_MAX];

    while (s.what == CHOICE_ASK && s.variant > 0) {
        c->asked_ns[s.variant] = now;
        if (is_last(d, c))
            e->flags = c->flags;
        if (dispatch_ask_place(d, e, s.variant - 1, now))
            return;
        look_at_load(d, e, room_here(d, e, now), load, now);
        s = choice_answered(d->choice, now, &c->choice,
                            &(struct choice_answer){.variant = s.variant, .failed = true}, load);
    }
    if (s.what == CHOICE_ASK) {
        c->asked_ns[0] = now;
        e->flags = is_last(d, c) ? c->flags : e->flags;
        dispatch_reroute(d, e, now);
    } else if (s.what == CHOICE_SERVE) {
        serve(d, e, c, &s, now);
    } else if (s.what == CHOICE_FAIL) {
        give_up(d, e, c, now);
    }
}

/* Nothing of e is computed here, for now or any more. */
static void put_by(struct dispatch *d, struct request_entry *e, const struct course *c, uint64_t now)
{
    uint64_t until = c->choice.began_ns + choice_patience(&c->choice);

    dispatch_release_route(d, e);
    requests_append(d->requests, e, REQUESTS_RELAYED);
    requests_wake_at(d->requests, e, until > now && until < e->deadline_ns ? until : e->deadline_ns);
}

void dispatch_ask_variants(struct dispatch *d, struct request_entry *e, uint32_t mask, uint64_t now)
{
    struct course *c = dispatch_course(d, e);
    uint64_t id = e->id;

    if (!(mask & 1))
        put_by(d, e, c, now);
    for (int i = 1; i < d->n_variants && e->id == id && c->on; i++)
        if (mask >> i & 1)
            follow(d, e, c, (struct choice_step){.what = CHOICE_ASK, .variant = i}, now);
}

/* ---- answers ---- */

static struct choice_step tell(struct dispatch *d, const struct request_entry *e, struct course *c,
                               struct choice_answer a, uint64_t now)
{
    struct choice_load load[CHOICE_MAX];

    a.took_ns = now - c->asked_ns[a.variant];
    look_at_load(d, e, room_here(d, e, now), load, now);
    return choice_answered(d->choice, now, &c->choice, &a, load);
}

static void keep(struct kept_answer *k, const struct kept_answer *its, zmq_msg_t *scores)
{
    if (k->here)
        zmq_msg_close(&k->scores);
    *k = *its;
    k->here = true;
    zmq_msg_init(&k->scores);
    zmq_msg_move(&k->scores, scores);
}

bool dispatch_weighs(struct dispatch *d, struct request_entry *e, const struct result *r, zmq_msg_t *scores,
                     float *confidence, uint64_t now)
{
    struct course *c = dispatch_course(d, e);
    struct choice_step s;

    if (!c)
        return false;
    if (c->kept[0].here) /* of another attempt */
        return true;
    s = tell(d, e, c, (struct choice_answer){.label = r->label, .confidence = r->confidence}, now);
    if (s.what == CHOICE_SERVE && s.variant == 0) {
        if (votes(d))
            *confidence = s.confidence;
        return false;
    }
    if (s.what == CHOICE_WAIT && !e->away)
        return false;
    keep(&c->kept[0],
         &(struct kept_answer){.label = r->label,
                               .exit = r->exit,
                               .confidence = r->confidence,
                               .epoch = r->epoch,
                               .shape = r->scores},
         scores);
    dispatch_cancel(d, e, -1);
    put_by(d, e, c, now);
    follow(d, e, c, s, now);
    return true;
}

void dispatch_variant_answered(struct dispatch *d, struct request_entry *e, int place,
                               const struct answer *its, zmq_msg_t *scores, uint64_t now)
{
    struct course *c = dispatch_course(d, e);
    struct choice_step s =
        tell(d, e, c,
             (struct choice_answer){.variant = place + 1, .label = its->label, .confidence = its->confidence},
             now);
    struct answer a;

    if (s.what == CHOICE_SERVE && s.variant == place + 1) {
        a = *its;
        if (votes(d))
            a.confidence = s.confidence;
        dispatch_answer_of(d, e, place, &a, scores, now);
        return;
    }
    keep(&c->kept[place + 1],
         &(struct kept_answer){.known = its->known,
                               .label = its->label,
                               .exit = its->exit,
                               .confidence = its->confidence,
                               .epoch = its->epoch,
                               .shape = its->scores},
         scores);
    follow(d, e, c, s, now);
}

void dispatch_variant_failed(struct dispatch *d, struct request_entry *e, int place, uint32_t code,
                             uint64_t now)
{
    struct course *c = dispatch_course(d, e);

    c->code = code;
    follow(d, e, c,
           tell(d, e, c,
                (struct choice_answer){.variant = place + 1, .failed = true, .crowded = is_load(code)}, now),
           now);
}

/* When a request that is computed here is looked at again. */
static uint64_t look_again(const struct dispatch *d, const struct request_entry *e, uint64_t hurry_ns,
                           uint64_t now)
{
    uint64_t ns = e->list == REQUESTS_WAITING ? e->deadline_ns : e->sent_ns + d->attempt_ns;
    ns = ns < e->deadline_ns ? ns : e->deadline_ns;
    return hurry_ns > now && hurry_ns < ns ? hurry_ns : ns;
}

bool dispatch_hurries(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    struct course *c = dispatch_course(d, e);
    uint64_t hurry_ns = c ? c->choice.began_ns + choice_patience(&c->choice) : 0, again;
    struct choice_step s;

    if (!c)
        return false;
    if (now >= hurry_ns && (s = choice_hurry(d->choice, now, &c->choice)).what == CHOICE_SERVE &&
        c->kept[s.variant].here) {
        serve(d, e, c, &s, now);
        return true;
    }
    if (e->list == REQUESTS_RELAYED || (again = look_again(d, e, hurry_ns, now)) <= now)
        return false;
    requests_wake_at(d->requests, e, again);
    return true;
}

void dispatch_wake_to_hurry(struct dispatch *d, struct request_entry *e)
{
    struct course *c = dispatch_course(d, e);
    uint64_t ns = c ? c->choice.began_ns + choice_patience(&c->choice) : UINT64_MAX;

    if (ns > e->sent_ns && ns < e->wake_ns)
        requests_wake_at(d->requests, e, ns);
}

bool dispatch_fails_over(struct dispatch *d, struct request_entry *e, uint32_t code, uint64_t now)
{
    struct course *c = dispatch_course(d, e);
    bool here = e->list != REQUESTS_RELAYED, in_time = e->deadline_ns > now;
    struct choice_step s;

    if (!c || d->ends || code == FL_CANCELLED)
        return false;
    c->code = code;
    s = here ? tell(d, e, c, (struct choice_answer){.failed = true, .crowded = is_load(code)}, now)
             : (struct choice_step){.what = CHOICE_WAIT};
    if (s.what != CHOICE_SERVE && !in_time)
        s = choice_hurry(d->choice, now, &c->choice);
    if (s.what == CHOICE_SERVE && c->kept[s.variant].here) {
        serve(d, e, c, &s, now);
        return true;
    }
    if (!here || !in_time || !((s.what == CHOICE_ASK && s.variant) || (s.what == CHOICE_WAIT && e->away))) {
        dispatch_end_course(d, e);
        return false;
    }
    dispatch_cancel(d, e, -1);
    put_by(d, e, c, now);
    follow(d, e, c, s, now);
    return true;
}
