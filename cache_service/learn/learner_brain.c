/* learner_brain.c - when to teach, what serves, when it is too much
 *
 * Three parts: audits come in (truth may be waited for), what serves is watched and the best certified row
 * takes its place, teaching is asked for as requests grow in number.
 */
#include "learner_brain.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/promise/betting.h"
#include "learner_lessons.h"
#include "learner_pool.h"
#include "learner_watch.h"

#define QUEUE           32
#define FEWEST          100  /* audits, before a candidate serves */
#define GAIN            0.01 /* of the network's time: what a commit is worth */
#define FIRST_GAIN      0.05 /* likewise, where nothing serves: an audit costs nothing then */
#define HOPE            0.01 /* likewise: what is to be gained for more audits than usual */
#define SIGNAL_AUDITS   300  /* to look at after a signal or an alarm */
#define WAITING         512  /* audits that wait for their truth, where truths come */
#define TRUTHS_COME     1000 /* a truth about one of so many of the last audits */
#define SETTLED_AUDITS  1000 /* after a change: until then, signals are taken for the same one */
#define BRAKE           0.05 /* how surely what serves after an alarm has to lose too much before it is off */
#define COLLAPSE        10   /* times the budget lost where the alarm blames: thresholds won't mend that */
#define RECOVERY_AUDITS 20000 /* after a change: until then, more than usual are spent to recover */

/* An audit and what each candidate said. */
struct heard {
    struct learner_audit audit;
    int n;
    uint64_t number[LEARNER_CANDIDATES + 1];
    int32_t label[LEARNER_CANDIDATES + 1][PIPELINE_MAX_EXITS];
    float confidence[LEARNER_CANDIDATES + 1][PIPELINE_MAX_EXITS];
};

struct learner_brain {
    struct learner_setup setup;
    learner_look *look;
    void *arg;
    enum learner_state state;
    struct learner_pool pool;
    struct learner_watch watch;
    uint64_t serving, number; /* candidates: that serves; used last */
    int64_t row;              /* of the one that serves */
    int levels;               /* of it that are certified */
    uint64_t now, committed;  /* moments */
    bool frozen, told_frozen;
    int64_t audits, looking_until; /* audits: seen; until which to look closer */
    /* teaching */
    uint64_t teaching; /* number in work; 0: none */
    struct learner_lessons lessons;
    int64_t settled;    /* audits: until then, signals are of the last change */
    int64_t recovering; /* audits: until then, what serves is to become as fast as it was, .. */
    double time_before; /* .. before the change */
    uint64_t moment_ms; /* of the last audit */
    double hope;        /* when caches were last taught: how fast those before them might become */
    /* audits whose truth may still come */
    struct heard *waiting;                      /* [WAITING], a ring */
    int64_t first_waiting, n_waiting, truth_at; /* truth_at: audits when the last truth came */
    struct heard now_heard;
    struct learner_decision queue[QUEUE];
    int first, queued;
};

/* --- decisions --- */

static struct learner_decision *decide(struct learner_brain *b, enum learner_what what, uint64_t number)
{
    struct learner_decision *d = &b->queue[(b->first + b->queued) % QUEUE];
    if (b->queued < QUEUE)
        b->queued++;
    *d = (struct learner_decision){.what = what, .number = number, .state = b->state};
    return d;
}

static void __attribute__((format(printf, 2, 3))) say(struct learner_decision *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(d->why, sizeof d->why, format, args);
    va_end(args);
}

bool learner_brain_next(struct learner_brain *b, struct learner_decision *out)
{
    if (b->queued == 0)
        return false;
    *out = b->queue[b->first];
    b->first = (b->first + 1) % QUEUE;
    b->queued--;
    return true;
}

/* --- what serves --- */

/* An alarm bets on losses some tenths above its budget (betting.c): above 0.86 on none. */
#define MOST_BLIND 0.75

/* Alarms have a series of their own, of false alarms; what served at the start has a place in it, too. */
static double alarm_delta(const struct learner_brain *b, uint64_t number)
{
    return betting_delta(b->setup.terms.certainty, number + 1);
}

static void watch_anew(struct learner_brain *b, uint64_t number)
{
    double blind = b->setup.terms.budget;
    if (number == 0 && !isnan(b->setup.differs))
        blind = fmin(1.5 * b->setup.differs + b->setup.terms.budget, MOST_BLIND);
    learner_watch_begin(&b->watch, &b->setup.terms, blind,
                        alarm_delta(b, number > 0 ? number : b->setup.candidate));
}

static void serve(struct learner_brain *b, enum learner_state state, uint64_t number, const bool *placed,
                  const float *threshold, struct learner_decision *d)
{
    b->state = state;
    b->committed = b->now;
    learner_watch_thresholds(&b->watch, placed, threshold);
    d->state = state;
    d->of = b->serving;
    memcpy(d->placed, placed, sizeof d->placed);
    memcpy(d->threshold, threshold, sizeof d->threshold);
    b->serving = number;
}

/* By all audits that its candidate has seen, which are more than those since the last commit; or else by
 * those. */
static double time_now(const struct learner_brain *b)
{
    const struct learner_watch *w = &b->watch;
    double time = pool_time(&b->pool, b->serving, b->row, FEWEST);
    if (b->state == LEARNER_COLD || b->state == LEARNER_OFF)
        return 1;
    if (b->state == LEARNER_SERVING && !isnan(time))
        return time;
    return serving_time(b->setup.n_exits, b->pool.before, b->pool.lookup, w->placed, w->answered,
                        w->counts.n);
}

/* Candidates that are older than what serves never will. */
static void forget_older(struct learner_brain *b, uint64_t number)
{
    for (int i = b->pool.n - 1; i >= 0; i--) {
        uint64_t old = b->pool.candidate[i].number;
        if (old >= number)
            continue;
        pool_remove(&b->pool, old);
        decide(b, LEARNER_FORGET, old);
    }
}

static void commit(struct learner_brain *b, const struct pool_row *r, double time)
{
    struct learner_decision *d;
    bool same = r->number == b->serving && b->state == LEARNER_SERVING;
    if (b->frozen) {
        if (!b->told_frozen)
            say(decide(b, LEARNER_EVENT, r->number), "candidate %llu is certified, but the caches are frozen",
                (unsigned long long)r->number);
        b->told_frozen = true;
        return;
    }
    if (!same)
        watch_anew(b, r->number);
    d = decide(b, LEARNER_SERVE, r->number);
    d->certified = r->row;
    serve(b, LEARNER_SERVING, r->number, r->placed, r->row.threshold, d);
    b->row = r->index;
    b->levels = d->n_levels = pool_levels(&b->pool, r->number, r->index, d->level);
    learner_lessons_serve(&b->lessons);
    say(d, "%s: %.1f%% answered early, loss at most %.2f points by %lld audits, time %.3f instead of %.3f",
        same ? "bolder, or for less loss too, as more audits certify it" : "certified", 100 * r->row.share,
        100 * r->row.upper, (long long)r->row.counts.n, r->time, time);
    if (!same)
        forget_older(b, r->number);
}

/* What serves is certified for less loss than it is used for: requests may ask for that. */
static bool certifies_more(struct learner_brain *b, const struct pool_row *r)
{
    return b->state == LEARNER_SERVING && r->number == b->serving && r->index >= b->row &&
           pool_levels(&b->pool, r->number, r->index, NULL) > b->levels;
}

static void consider(struct learner_brain *b)
{
    bool nothing = b->state == LEARNER_COLD || b->state == LEARNER_OFF;
    double time, gain = nothing ? FIRST_GAIN : GAIN;
    struct pool_row r;
    if (!nothing && b->now - b->committed < b->setup.interval_ns)
        return;
    if (!pool_best(&b->pool, FEWEST, &r))
        return;
    time = time_now(b);
    if (b->state == LEARNER_TIGHTENED)
        gain = 0;
    if (!nothing && pool_find(&b->pool, b->serving) == NULL && b->watch.counts.n < FEWEST)
        return; /* how fast it is, is not known yet */
    if (r.time >= time - gain && !certifies_more(b, &r))
        return;
    r.row.upper = fmin(b->setup.terms.budget,
                       betting_upper(&r.row.counts, betting_delta(b->setup.terms.certainty, r.number)));
    commit(b, &r, time);
}

/* --- alarm --- */

static uint64_t use_number(struct learner_brain *b)
{
    decide(b, LEARNER_NUMBER, ++b->number);
    return b->number;
}

/* The next candidates learn and plan from requests since `since_ms`. */
static void mark_change(struct learner_brain *b, uint64_t since_ms)
{
    if (b->audits >= b->recovering)
        b->time_before = time_now(b);
    b->recovering = b->audits + RECOVERY_AUDITS;
    learner_lessons_change(&b->lessons, since_ms);
    b->looking_until = b->audits + SIGNAL_AUDITS;
    b->settled = b->audits + SETTLED_AUDITS;
    b->hope = 1;
    b->teaching = 0; /* what is in work knows nothing of the change */
}

/* What was certified was so under traffic that is no more: candidates are forgotten. */
static void start_over(struct learner_brain *b, uint64_t since_ms)
{
    mark_change(b, since_ms);
    while (b->pool.n > 0) {
        uint64_t gone = b->pool.candidate[0].number;
        pool_remove(&b->pool, gone);
        if (gone != b->serving)
            decide(b, LEARNER_FORGET, gone);
    }
    b->n_waiting = 0;
}

/* To a row that is certified and would have lost none of what the alarm blames; where there is no certificate
 * (of a build, of before a restart), thresholds rise until none of that is lost. */
static void tighten(struct learner_brain *b)
{
    struct pool_row r;
    struct learner_decision *d;
    bool held = pool_tightened(&b->pool, b->serving, &b->watch, &r);
    if (!held) {
        memcpy(r.placed, b->watch.placed, sizeof r.placed);
        memcpy(r.row.threshold, b->watch.threshold, sizeof r.row.threshold);
        learner_watch_raise(&b->watch, r.placed, r.row.threshold);
    }
    start_over(b, learner_watch_since(&b->watch));
    learner_lessons_alarm(&b->lessons, false);
    d = decide(b, LEARNER_SERVE, b->serving);
    say(d, "alarm: audits lose more than %.2f points; thresholds rise until none of those lost would be",
        100 * b->setup.terms.budget);
    serve(b, LEARNER_TIGHTENED, b->serving, r.placed, r.row.threshold, d);
    learner_watch_begin(&b->watch, &b->setup.terms, b->watch.blind_budget, BRAKE);
}

static void switch_off(struct learner_brain *b, bool again)
{
    const bool none[PIPELINE_MAX_EXITS] = {false};
    float never[PIPELINE_MAX_EXITS];
    struct learner_decision *d;
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        never[k] = INFINITY;
    start_over(b, learner_watch_since(&b->watch));
    d = decide(b, LEARNER_SERVE, b->serving);
    say(d, "alarm%s: audits lose %smore than %.2f points; no exit answers until one is certified anew",
        again ? " again" : "", again ? "" : "far ", 100 * b->setup.terms.budget);
    serve(b, LEARNER_OFF, b->serving, none, never, d);
    learner_watch_end(&b->watch);
    learner_lessons_alarm(&b->lessons, again);
}

static void heed_alarm(struct learner_brain *b)
{
    if (b->state != LEARNER_SERVING && b->state != LEARNER_TIGHTENED)
        return;
    if (!learner_watch_raised(&b->watch))
        return;
    if (b->frozen) {
        say(decide(b, LEARNER_EVENT, b->serving),
            "alarm: audits lose more than %.2f points, but the caches are frozen",
            100 * b->setup.terms.budget);
        watch_anew(b, use_number(b));
    } else if (b->state == LEARNER_TIGHTENED) {
        switch_off(b, true);
    } else if (learner_watch_blamed_loss(&b->watch) >= COLLAPSE * b->setup.terms.budget) {
        switch_off(b, false);
    } else {
        tighten(b);
    }
}

/* --- audits --- */

static void hear(struct learner_brain *b, struct heard *h, uint64_t number)
{
    if (b->look(b->arg, number, h->label[h->n], h->confidence[h->n]) == FL_OK)
        h->number[h->n++] = number;
}

static void judge(struct learner_brain *b, const struct heard *h)
{
    const struct learner_audit *a = &h->audit;
    for (int i = 0; i < h->n; i++) {
        pool_see(&b->pool, h->number[i], h->label[i], h->confidence[i], a->full, a->truth);
        if (h->number[i] == b->serving && (b->state == LEARNER_SERVING || b->state == LEARNER_TIGHTENED))
            learner_watch_see(&b->watch, h->label[i], h->confidence[i], a->full, a->truth, a->moment_ms);
    }
    heed_alarm(b);
    consider(b);
}

static void judge_oldest(struct learner_brain *b)
{
    const struct heard *h = &b->waiting[b->first_waiting];
    b->first_waiting = (b->first_waiting + 1) % WAITING;
    b->n_waiting--;
    judge(b, h);
}

int learner_brain_waits(const struct learner_brain *b)
{
    return b->waiting != NULL && b->truth_at > 0 && b->audits - b->truth_at < TRUTHS_COME ? WAITING : 0;
}

void learner_brain_audit(struct learner_brain *b, const struct learner_audit *a, uint64_t now)
{
    bool waits = a->truth < 0 && learner_brain_waits(b) > 0;
    struct heard *h = &b->now_heard;
    b->now = now;
    b->audits++;
    b->moment_ms = a->moment_ms;
    if (a->truth >= 0)
        b->truth_at = b->audits;
    if (waits && b->n_waiting == WAITING)
        judge_oldest(b);
    if (waits)
        h = &b->waiting[(b->first_waiting + b->n_waiting) % WAITING];
    h->audit = *a;
    h->n = 0;
    if (b->state == LEARNER_SERVING || b->state == LEARNER_TIGHTENED)
        hear(b, h, b->serving);
    for (int i = 0; i < b->pool.n; i++) {
        if (h->n == 0 || h->number[0] != b->pool.candidate[i].number)
            hear(b, h, b->pool.candidate[i].number);
    }
    if (waits)
        b->n_waiting++;
    else
        judge(b, h);
}

void learner_brain_audit_lost(struct learner_brain *b, uint64_t moment_ms, uint64_t now)
{
    const struct learner_audit a = {.full = 0, .truth = -1, .moment_ms = moment_ms};
    b->now = now;
    b->audits++;
    b->moment_ms = moment_ms;
    for (int i = 0; i < b->pool.n; i++)
        learner_brain_recall_lost(b, b->pool.candidate[i].number, &a);
    if (b->state == LEARNER_SERVING || b->state == LEARNER_TIGHTENED)
        learner_watch_lost(&b->watch, moment_ms);
    heed_alarm(b);
    consider(b);
}

void learner_brain_truth(struct learner_brain *b, uint64_t request, int32_t truth, uint64_t now)
{
    b->now = now;
    b->truth_at = b->audits > 0 ? b->audits : 1;
    for (int64_t i = 0; i < b->n_waiting; i++) {
        struct heard *h = &b->waiting[(b->first_waiting + i) % WAITING];
        if (h->audit.request == request && h->audit.truth < 0)
            h->audit.truth = truth;
    }
    while (b->n_waiting > 0 && b->waiting[b->first_waiting].audit.truth >= 0)
        judge_oldest(b);
}

/* --- teaching --- */

static bool has_caches(const struct learner_brain *b)
{
    return b->setup.serves || b->serving > 0;
}

static void consider_teaching(struct learner_brain *b)
{
    bool tune = has_caches(b) && pool_find(&b->pool, b->serving) == NULL;
    struct learner_decision *d;
    enum learner_what what;
    if (b->teaching != 0 || !learner_lessons_due(&b->lessons, tune, &what))
        return;
    b->teaching = use_number(b);
    if (what == LEARNER_TEACH)
        b->hope = pool_hope(&b->pool);
    d = decide(b, what, b->teaching);
    d->of = what == LEARNER_TEACH && b->pool.n > 0 ? b->pool.candidate[b->pool.n - 1].number : b->serving;
    learner_lessons_begin(&b->lessons, d, has_caches(b) || b->pool.n > 0);
}

void learner_brain_grown(struct learner_brain *b, int64_t teaching, int64_t certifying, uint64_t now)
{
    b->now = now;
    b->lessons.now = (struct requests_seen){teaching, certifying};
    consider_teaching(b);
}

bool learner_brain_taught(struct learner_brain *b, uint64_t number, const struct promise_order *order,
                          int64_t points, uint64_t now)
{
    uint64_t gone;
    bool wanted = number == b->teaching && order->rows > 0;
    b->now = now;
    if (number == b->teaching)
        b->teaching = 0;
    if (wanted)
        wanted = pool_add(&b->pool, number, order, points, b->serving, &gone) == FL_OK;
    if (wanted && gone != 0)
        decide(b, LEARNER_FORGET, gone);
    return wanted;
}

void learner_brain_recall(struct learner_brain *b, uint64_t number, const struct learner_audit *a,
                          const int32_t *label, const float *confidence)
{
    pool_see(&b->pool, number, label, confidence, a->full, a->truth);
}

void learner_brain_recall_lost(struct learner_brain *b, uint64_t number, const struct learner_audit *a)
{
    int32_t label[PIPELINE_MAX_EXITS];
    float confidence[PIPELINE_MAX_EXITS];
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++) {
        label[k] = INT32_MAX; /* neither the network's answer nor the true one */
        confidence[k] = INFINITY;
    }
    learner_brain_recall(b, number, a, label, confidence);
}

void learner_brain_not_taught(struct learner_brain *b, uint64_t number, const char *why, uint64_t now)
{
    b->now = now;
    if (number != b->teaching)
        return;
    b->teaching = 0;
    say(decide(b, LEARNER_EVENT, number), "candidate %llu was not made: %.120s", (unsigned long long)number,
        why);
}

/* --- the rest --- */

void learner_brain_signal(struct learner_brain *b, const char *what, uint64_t now)
{
    b->now = now;
    b->looking_until = b->audits + SIGNAL_AUDITS;
    if (b->audits < b->settled || b->state != LEARNER_SERVING)
        return;
    say(decide(b, LEARNER_EVENT, b->serving), "looks closer, and learns anew: %.140s", what);
    mark_change(b, b->moment_ms);
}

void learner_brain_frozen(struct learner_brain *b, bool frozen, uint64_t now)
{
    b->now = now;
    b->frozen = frozen;
    b->told_frozen = false;
}

void learner_brain_tick(struct learner_brain *b, uint64_t now)
{
    b->now = now;
    consider(b);
    consider_teaching(b);
}

uint64_t learner_brain_due(const struct learner_brain *b)
{
    return b->committed + b->setup.interval_ns > b->now ? b->committed + b->setup.interval_ns : UINT64_MAX;
}

/* The newest caches are better than those before them, or nobody knows yet: then requests to learn from may
 * make better ones. As half of the audits teach, those of a while suffice for that. */
static bool still_improves(const struct learner_brain *b)
{
    int64_t points, seen = pool_newest(&b->pool, &points);
    if (b->teaching != 0 || seen < 3 * FEWEST)
        return true;
    return seen < points && pool_hope(&b->pool) < b->hope - HOPE;
}

/* An audit costs a second run only where an exit answers: the fewer do, the more audits cost as much. */
static double most_audits(const struct learner_brain *b)
{
    double most = b->setup.audit_most / fmax(learner_watch_early(&b->watch, FEWEST), b->setup.audit_most);
    return fmax(most, b->setup.audit);
}

static double audit_wanted(const struct learner_brain *b)
{
    if (b->state == LEARNER_COLD || b->state == LEARNER_OFF)
        return 1;
    if (b->state == LEARNER_TIGHTENED || b->audits < b->looking_until)
        return most_audits(b);
    if (b->audits < b->recovering && time_now(b) > b->time_before + HOPE)
        return most_audits(b);
    return pool_hope(&b->pool) < time_now(b) - HOPE || still_improves(b) ? most_audits(b) : b->setup.audit;
}

/* So many audits certify candidate `number` if none of them loses: others take more. */
static int64_t needed(const struct learner_brain *b, uint64_t number)
{
    double wealth = -log(betting_delta(b->setup.terms.certainty, number ? number : 1));
    int64_t low = 0, high = 1 << 24;
    while (low + 1 < high) {
        struct gap_counts c = {.n = (low + high) / 2, .may_win = b->watch.counts.may_win};
        if (betting_below(&c, b->setup.terms.budget) >= wealth)
            high = c.n;
        else
            low = c.n;
    }
    return high;
}

struct learner_view learner_brain_view(const struct learner_brain *b)
{
    const struct learner_watch *w = &b->watch;
    int64_t points;
    struct learner_view v = {.state = b->state,
                             .audit = audit_wanted(b),
                             .serving = b->serving,
                             .number = b->number,
                             .teaching = b->teaching != 0,
                             .frozen = b->frozen,
                             .candidates = b->pool.n,
                             .audits = w->counts.n,
                             .differ = w->differ,
                             .lost = w->counts.lost,
                             .won = w->counts.won,
                             .loss_lower = betting_lower(&w->counts, 1 - b->setup.terms.certainty),
                             .loss_upper = betting_upper(&w->counts, 1 - b->setup.terms.certainty),
                             .alarm = learner_watch_alarm(w)};
    if (b->pool.n > 0 && b->pool.candidate[b->pool.n - 1].number != b->serving) {
        v.judged = pool_newest(&b->pool, &points);
        v.needed = needed(b, b->pool.candidate[b->pool.n - 1].number);
    }
    for (int k = 0; k < b->setup.n_exits; k++) {
        v.exit[k].answered = w->answered[k];
        v.exit[k].differ = w->differs[k];
        v.exit[k].lost = w->lost[k];
    }
    return v;
}

int learner_brain_new(struct learner_brain **out, const struct learner_setup *setup, learner_look *look,
                      void *arg, uint64_t now)
{
    struct learner_brain *b = calloc(1, sizeof *b);
    if (b == NULL)
        return FL_NOMEM;
    b->setup = *setup;
    b->look = look;
    b->arg = arg;
    b->now = b->committed = now;
    b->number = setup->candidate;
    b->frozen = setup->frozen;
    b->state = setup->serves ? LEARNER_SERVING : LEARNER_COLD;
    b->pool.n_exits = b->watch.n_exits = setup->n_exits;
    b->pool.terms = setup->terms;
    b->pool.spent = setup->spent;
    b->watch.agreement = setup->terms.agreement;
    for (int k = 0; k < setup->n_exits; k++) {
        b->pool.before[k] = setup->exit[k].before;
        b->pool.lookup[k] = setup->exit[k].lookup;
    }
    learner_watch_thresholds(&b->watch, setup->placed, setup->threshold);
    if (!setup->terms.agreement)
        b->waiting = malloc(WAITING * sizeof *b->waiting);
    if (setup->serves)
        watch_anew(b, 0);
    if (!setup->terms.agreement && b->waiting == NULL) {
        learner_brain_free(b);
        return FL_NOMEM;
    }
    *out = b;
    return FL_OK;
}

void learner_brain_free(struct learner_brain *b)
{
    if (b == NULL)
        return;
    pool_clear(&b->pool);
    learner_watch_end(&b->watch);
    free(b->waiting);
    free(b);
}
