/* shift.c - see shift.h */
#include "shift.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/progress.h"

#define NAME     "rollout"
#define LEASE_MS 6000
#define ASK_MS   3000
#define LOOK_MS  200
#define TRIES    10   /* of asking the broker, which may just start again */
#define QUIET_MS 3000 /* what was handed on has so long to come back at the end */
#define MORE     1.5  /* the verdict is asked for when there is so much more to judge by */

struct at_work {
    struct shift *s;
    const struct shift_steps *steps;
    struct client *client;
    struct relays relays;
    struct relay_status last; /* what the broker said last */
    struct comparison before; /* of a broker that has started again since */
    int64_t handed_on_before, failed_before;
    int64_t judged;        /* so many requests were there when the verdict was last asked for, .. */
    int64_t judged_failed; /* .. of which so many had failed */
    struct status_reply *reply;
};

int shift_parse(struct shift_steps *s, const char *text, struct error *e)
{
    const char *at = text;
    char *end;

    s->n = 0;
    if (!strcmp(text, "none"))
        return FL_OK;
    for (; s->n < SHIFT_STEPS_MAX; at = end + 1) {
        double p = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !(p > 0 && p <= 100) || (s->n && p <= s->percent[s->n - 1]))
            break;
        s->percent[s->n++] = p;
        if (!*end)
            return FL_OK;
    }
    return error_set(e, FL_USAGE, "--steps %s: up to %d growing percentages, as 1,10,50; or none", text,
                     SHIFT_STEPS_MAX);
}

/* ---- what is known ---- */

/* A request that the new one failed was answered by the one that serves, or by neither. */
static void count(struct at_work *w)
{
    const struct relay_status *r = &w->last;
    const struct comparison *b = &w->before;
    struct comparison *c = &w->s->total;

    w->s->handed_on = w->handed_on_before + (int64_t)(r->sent + r->turned);
    w->s->failed = w->failed_before + (int64_t)(r->failed + r->turned);
    c->pairs = b->pairs + (int64_t)(r->pairs + r->sent + r->turned);
    c->failed_next = b->failed_next + (int64_t)(r->failed_next + r->failed + r->turned - r->failed_both);
    c->failed_now = b->failed_now + (int64_t)r->failed_now;
    c->both = b->both + (int64_t)r->both;
    c->agreed = b->agreed + (int64_t)r->agreed;
    c->timed = b->timed + (int64_t)r->timed;
    c->slower = b->slower + (int64_t)r->slower;
}

static const struct relay_status *find(const struct status_reply *s)
{
    for (int i = 0; i < s->n_relays; i++)
        if (!strcmp(s->relay[i].name, NAME))
            return &s->relay[i];
    return NULL;
}

/* Tells the broker of the shares as they are to be, and takes what it says. */
static int tell(struct at_work *w, struct error *e)
{
    const struct relay_status *r;
    int rc = FL_OK;

    for (int i = 0; i < TRIES; i++)
        if (!(rc = client_relays(w->client, &w->relays, ASK_MS, w->reply, e)) || interrupt_seen())
            break;
    if (rc)
        return rc;
    if (!w->relays.n)
        return FL_OK;
    if (!(r = find(w->reply)))
        return error_set(e, FL_UNAVAILABLE,
                         "the broker that serves cannot connect to %s: `freezeline logs broker` says why",
                         w->relays.relay[0].endpoint);
    if (r->sent + r->turned + r->pairs < w->last.sent + w->last.turned + w->last.pairs) {
        w->before = w->s->total; /* it has started again, and counts anew */
        w->handed_on_before = w->s->handed_on;
        w->failed_before = w->s->failed;
    }
    w->last = *r;
    count(w);
    return FL_OK;
}

/* ---- judging ---- */

/* Looks are few, so that chance alone seldom ends it: when a request has failed, and when there is half as
 * much again to judge by. */
static bool is_worse(struct at_work *w, bool end, char *why, size_t size)
{
    struct comparison *c = &w->s->total;
    bool due = end || c->failed_next > w->judged_failed || (double)c->pairs > MORE * (double)w->judged;

    if (!due)
        return false;
    w->judged = c->pairs;
    w->judged_failed = c->failed_next;
    return comparison_is_worse(c, end && c->both, why, size);
}

/* ---- steps ---- */

static void set_share(struct at_work *w, double percent)
{
    double mirror = fmin(w->steps->mirror_percent, 100 - percent);
    w->relays.relay[0].share_ppm = (uint32_t)(percent / 100 * SHARE_PPM);
    w->relays.relay[0].mirror_ppm = percent > 0 ? (uint32_t)(mirror / 100 * SHARE_PPM) : 0;
}

static void show(struct progress *p, const struct at_work *w, int step, uint64_t since_ns)
{
    char phase[sizeof p->phase];
    int64_t s = (int64_t)((clock_ns() - since_ns) / NS_PER_S);

    snprintf(phase, sizeof phase, "%g%% of the requests go to the new one", w->steps->percent[step]);
    snprintf(p->note, sizeof p->note, "%lld handed on, %lld failed there, %lld compared",
             (long long)w->s->handed_on, (long long)w->s->failed, (long long)w->s->total.both);
    progress_update(p, phase, s < w->steps->seconds ? s : w->steps->seconds, w->steps->seconds, NAN);
}

/* True when it is worse. */
static int take_step(struct at_work *w, int step, struct progress *p, bool *worse, char *why, size_t size,
                     struct error *e)
{
    uint64_t since_ns = clock_ns(), ns = (uint64_t)w->steps->seconds * NS_PER_S;
    int64_t handed_on = w->s->handed_on, both = w->s->total.both, enough = w->steps->enough;
    int rc;

    set_share(w, w->steps->percent[step]);
    for (;;) {
        if ((rc = tell(w, e)))
            return rc;
        if (p)
            show(p, w, step, since_ns);
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "called off: the pipeline serves what it did");
        if ((*worse = is_worse(w, false, why, size)))
            return FL_OK;
        if (clock_ns() - since_ns >= ns ||
            (w->s->handed_on - handed_on >= enough &&
             (w->s->total.both - both >= enough || !w->relays.relay[0].mirror_ppm)))
            break;
        poll(NULL, 0, LOOK_MS);
    }
    *worse = is_worse(w, true, why, size);
    w->s->done += !*worse;
    return FL_OK;
}

/* All requests go to what serves; those that were handed on may still be answered there. */
static int end(struct at_work *w, struct error *e)
{
    uint64_t until_ns = clock_ns() + QUIET_MS * NS_PER_MS;
    int rc;

    set_share(w, 0);
    while (!(rc = tell(w, e)) && w->last.outstanding && clock_ns() < until_ns)
        poll(NULL, 0, LOOK_MS / 4);
    w->relays.n = 0;
    if (!rc)
        rc = tell(w, e);
    return rc;
}

int shift_run(struct shift *s, const struct shift_steps *steps, struct client *c, const char *endpoint,
              bool quiet, char *why, size_t size, struct error *e)
{
    struct at_work w = {.s = s, .steps = steps, .client = c};
    struct progress progress = {0};
    struct error ignored;
    bool worse = false;
    int rc = FL_OK;

    if (!steps->n)
        return FL_OK;
    if (!(w.reply = malloc(sizeof *w.reply)))
        return error_set(e, FL_NOMEM, "no memory");
    w.before.limits = s->total.limits;
    w.relays = (struct relays){.n = 1, .lease_ms = LEASE_MS, .slower = s->total.limits.slower};
    snprintf(w.relays.relay[0].name, sizeof w.relays.relay[0].name, NAME);
    snprintf(w.relays.relay[0].endpoint, sizeof w.relays.relay[0].endpoint, "%s", endpoint);
    if (!quiet)
        progress_open(&progress, stderr);
    progress.unit = "s";
    for (int i = 0; i < steps->n && !rc && !worse; i++)
        rc = take_step(&w, i, quiet ? NULL : &progress, &worse, why, size, e);
    if (!quiet)
        progress_close(&progress);
    if (rc || worse)
        end(&w, &ignored);
    else
        rc = end(&w, e);
    free(w.reply);
    return rc;
}
