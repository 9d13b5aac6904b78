/* learner_watch.c - what audits say about what serves */
#include "learner_watch.h"

#include <math.h>
#include <string.h>

int watch_begin(struct learner_watch *w, const struct promise_terms *terms, double blind_budget, double delta)
{
    int rc;
    watch_end(w);
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

void watch_end(struct learner_watch *w)
{
    alarm_free(w->alarm);
    alarm_free(w->blind);
    w->alarm = w->blind = NULL;
}

void watch_thresholds(struct learner_watch *w, const bool *placed, const float *threshold)
{
    memcpy(w->placed, placed, sizeof w->placed);
    memcpy(w->threshold, threshold, sizeof w->threshold);
    w->counts = (struct gap_counts){.may_win = !w->agreement};
    w->differ = 0;
    memset(w->answered, 0, sizeof w->answered);
    memset(w->differs, 0, sizeof w->differs);
    memset(w->lost, 0, sizeof w->lost);
}

static int first_hit(const struct learner_watch *w, const int32_t *label, const float *confidence)
{
    for (int k = 0; k < w->n_exits; k++) {
        if (w->placed[k] && label[k] >= 0 && confidence[k] > w->threshold[k])
            return k;
    }
    return -1;
}

void watch_see(struct learner_watch *w, const int32_t *label, const float *confidence, int32_t full,
               int32_t truth, uint64_t moment_ms)
{
    int k = first_hit(w, label, confidence);
    int32_t served = k >= 0 ? label[k] : full;
    struct watched seen = {k, k >= 0 ? confidence[k] : 0, certificate_loss(w->agreement, served, full, truth),
                           moment_ms};
    w->recent[w->seen++ % WATCH_WINDOW] = seen;
    w->counts.n++;
    w->counts.lost += seen.d > 0;
    w->counts.won += seen.d < 0;
    w->differ += served != full;
    if (k >= 0) {
        w->answered[k]++;
        w->differs[k] += served != full;
        w->lost[k] += seen.d > 0;
    }
    if (w->blind != NULL && truth < 0)
        alarm_see(w->blind, seen.d);
    else if (w->alarm != NULL)
        alarm_see(w->alarm, seen.d);
}

static const struct alarm *nearer(const struct learner_watch *w)
{
    if (w->blind == NULL || w->alarm == NULL)
        return w->alarm;
    return alarm_raised(w->blind) || alarm_log_wealth(w->blind) > alarm_log_wealth(w->alarm) ? w->blind
                                                                                             : w->alarm;
}

double watch_alarm(const struct learner_watch *w)
{
    double share = nearer(w) != NULL ? alarm_log_wealth(nearer(w)) / -log(w->delta) : 0;
    return share > 1 || watch_raised(w) ? 1 : share > 0 ? share : 0;
}

bool watch_raised(const struct learner_watch *w)
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

uint64_t watch_since(const struct learner_watch *w)
{
    int64_t first = first_blamed(w);
    return first < w->seen ? w->recent[first % WATCH_WINDOW].moment_ms : 0;
}

int watch_blames(const struct learner_watch *w, float *above)
{
    int lost[PIPELINE_MAX_EXITS] = {0}, worst = -1;
    for (int64_t i = first_blamed(w); i < w->seen; i++) {
        const struct watched *s = &w->recent[i % WATCH_WINDOW];
        if (s->exit >= 0 && s->d > 0)
            lost[s->exit]++;
    }
    for (int k = 0; k < w->n_exits; k++) {
        if (lost[k] > 0 && (worst < 0 || lost[k] > lost[worst]))
            worst = k;
    }
    *above = worst >= 0 ? w->threshold[worst] : INFINITY;
    for (int64_t i = first_blamed(w); i < w->seen; i++) {
        const struct watched *s = &w->recent[i % WATCH_WINDOW];
        if (s->exit == worst && s->d > 0 && s->confidence > *above)
            *above = s->confidence;
    }
    return worst;
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
