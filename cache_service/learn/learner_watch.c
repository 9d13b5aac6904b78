/* learner_watch.c - what audits say about what serves */
#include "learner_watch.h"

#include <math.h>
#include <string.h>

int learner_watch_begin(struct learner_watch *w, const struct promise_terms *terms, double blind_budget,
                        double delta)
{
    int rc;
    learner_watch_end(w);
    w->agreement = terms->agreement;
    w->budget = terms->budget;
    w->blind_budget = blind_budget;
    w->delta = delta;
    if (terms->agreement)
        return alarm_new(&w->alarm, terms->budget, delta, false);
    rc = alarm_new(&w->alarm, terms->budget, delta / 2, true);
    if (rc == FL_OK)
        rc = alarm_new(&w->blind, blind_budget, delta / 2, false);
    return rc;
}

void learner_watch_end(struct learner_watch *w)
{
    alarm_free(w->alarm);
    alarm_free(w->blind);
    w->alarm = w->blind = NULL;
}

void learner_watch_thresholds(struct learner_watch *w, const bool *placed, const float *threshold)
{
    memcpy(w->placed, placed, sizeof w->placed);
    memcpy(w->threshold, threshold, sizeof w->threshold);
    w->counts = (struct gap_counts){.may_win = !w->agreement};
    w->differ = 0;
    memset(w->answered, 0, sizeof w->answered);
    memset(w->differs, 0, sizeof w->differs);
    memset(w->lost, 0, sizeof w->lost);
}

/* The exit that would answer; -1: none. */
static int first_hit(int n_exits, const bool *placed, const float *threshold, const int32_t *label,
                     const float *confidence)
{
    for (int k = 0; k < n_exits; k++) {
        if (placed[k] && label[k] >= 0 && confidence[k] > threshold[k])
            return k;
    }
    return -1;
}

static void remember(struct learner_watch *w, const int32_t *label, const float *confidence, int32_t full,
                     int32_t truth, uint64_t moment_ms)
{
    struct watched *s = &w->recent[w->seen++ % WATCH_WINDOW];
    s->full = full;
    s->truth = truth;
    s->moment_ms = moment_ms;
    memcpy(s->label, label, (size_t)w->n_exits * sizeof *label);
    memcpy(s->confidence, confidence, (size_t)w->n_exits * sizeof *confidence);
}

static void count(struct learner_watch *w, int d, int32_t truth)
{
    w->counts.n++;
    w->counts.lost += d > 0;
    w->counts.won += d < 0;
    if (w->blind != NULL && truth < 0)
        alarm_see(w->blind, d);
    else if (w->alarm != NULL)
        alarm_see(w->alarm, d);
}

void learner_watch_see(struct learner_watch *w, const int32_t *label, const float *confidence, int32_t full,
                       int32_t truth, uint64_t moment_ms)
{
    int k = first_hit(w->n_exits, w->placed, w->threshold, label, confidence), d;
    int32_t served = k >= 0 ? label[k] : full;
    d = certificate_loss(w->agreement, served, full, truth);
    remember(w, label, confidence, full, truth, moment_ms);
    count(w, d, truth);
    w->differ += served != full;
    if (k >= 0) {
        w->answered[k]++;
        w->differs[k] += served != full;
        w->lost[k] += d > 0;
    }
}

void learner_watch_lost(struct learner_watch *w, uint64_t moment_ms)
{
    int32_t none[PIPELINE_MAX_EXITS];
    const float unsure[PIPELINE_MAX_EXITS] = {0};
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        none[k] = -1; /* no threshold can be raised for it */
    remember(w, none, unsure, 0, -1, moment_ms);
    count(w, 1, -1);
}

double learner_watch_early(const struct learner_watch *w, int last)
{
    int early = 0;
    if (w->seen < last)
        return 1;
    for (int64_t i = w->seen - last; i < w->seen; i++) {
        const struct watched *s = &w->recent[i % WATCH_WINDOW];
        early += first_hit(w->n_exits, w->placed, w->threshold, s->label, s->confidence) >= 0;
    }
    return (double)early / last;
}

static const struct alarm *nearer(const struct learner_watch *w)
{
    if (w->blind == NULL || w->alarm == NULL)
        return w->alarm;
    return alarm_raised(w->blind) || alarm_log_wealth(w->blind) > alarm_log_wealth(w->alarm) ? w->blind
                                                                                             : w->alarm;
}

double learner_watch_alarm(const struct learner_watch *w)
{
    double share = nearer(w) != NULL ? alarm_log_wealth(nearer(w)) / -log(w->delta) : 0;
    return share > 1 || learner_watch_raised(w) ? 1 : share > 0 ? share : 0;
}

bool learner_watch_raised(const struct learner_watch *w)
{
    return (w->alarm != NULL && alarm_raised(w->alarm)) || (w->blind != NULL && alarm_raised(w->blind));
}

/* The first of the remembered audits that the alarm blames. An alarm that saw only some of the audits blames
 * as many of the last ones. */
static int64_t first_blamed(const struct learner_watch *w)
{
    const struct alarm *a = nearer(w);
    int64_t blamed = a != NULL ? alarm_seen(a) - alarm_since(a) : 0;
    blamed = blamed < WATCH_WINDOW ? blamed : WATCH_WINDOW;
    return blamed < w->seen ? w->seen - blamed : 0;
}

uint64_t learner_watch_since(const struct learner_watch *w)
{
    int64_t first = first_blamed(w);
    return first < w->seen ? w->recent[first % WATCH_WINDOW].moment_ms : 0;
}

/* Which exit loses remembered audit i; -1: none does. */
static int loser(const struct learner_watch *w, int64_t i, const bool *placed, const float *threshold)
{
    const struct watched *s = &w->recent[i % WATCH_WINDOW];
    int k = first_hit(w->n_exits, placed, threshold, s->label, s->confidence);
    return k >= 0 && certificate_loss(w->agreement, s->label[k], s->full, s->truth) > 0 ? k : -1;
}

bool learner_watch_loses(const struct learner_watch *w, const bool *placed, const float *threshold)
{
    for (int64_t i = first_blamed(w); i < w->seen; i++) {
        if (loser(w, i, placed, threshold) >= 0)
            return true;
    }
    return false;
}

double learner_watch_blamed_loss(const struct learner_watch *w)
{
    int64_t first = first_blamed(w), lost = 0;
    for (int64_t i = first; i < w->seen; i++)
        lost += loser(w, i, w->placed, w->threshold) >= 0;
    return w->seen > first ? (double)lost / (double)(w->seen - first) : 0;
}

void learner_watch_raise(const struct learner_watch *w, const bool *placed, float *threshold)
{
    bool lost = true;
    while (lost) { /* an audit that one exit lets go may be lost by a later one */
        lost = false;
        for (int64_t i = first_blamed(w); i < w->seen; i++) {
            int k = loser(w, i, placed, threshold);
            if (k >= 0)
                threshold[k] = w->recent[i % WATCH_WINDOW].confidence[k];
            lost = lost || k >= 0;
        }
    }
}

double serving_time(int n_exits, const double *before, const double *lookup, const bool *placed,
                    const int64_t *answered, int64_t n)
{
    double time = 0, lookups = 0, left = 1;
    for (int k = 0; k < n_exits; k++) {
        double share = n > 0 ? (double)answered[k] / (double)n : 0;
        lookups += placed[k] ? lookup[k] : 0;
        time += share * (before[k] + lookups);
        left -= share;
    }
    return time + left * (1 + lookups);
}
