/* learner_watch.h - what audits say about what serves: counts, the alarm, which exit is to blame. Pure. */
#ifndef FREEZELINE_LEARNER_WATCH_H
#define FREEZELINE_LEARNER_WATCH_H

#include "cache_service/promise/alarm.h"
#include "cache_service/promise/certificate.h"

#define WATCH_WINDOW 512 /* audits that are remembered, for who is to blame */

struct watched {
    int32_t full, truth, label[PIPELINE_MAX_EXITS];
    float confidence[PIPELINE_MAX_EXITS];
    uint64_t moment_ms;
};

struct learner_watch {
    int n_exits;
    bool agreement, may_win;
    bool placed[PIPELINE_MAX_EXITS];
    float threshold[PIPELINE_MAX_EXITS];
    struct alarm *alarm; /* of d; NULL: no memory, or nothing serves */
    struct alarm
        *blind; /* for a promise of accuracy: of audits whose truth is not known, which d overstates */
    double budget, blind_budget, delta;
    int64_t seen; /* audits, by all thresholds of this watch */
    struct gap_counts counts;
    int64_t differ, answered[PIPELINE_MAX_EXITS], differs[PIPELINE_MAX_EXITS], lost[PIPELINE_MAX_EXITS];
    struct watched recent[WATCH_WINDOW]; /* audit i of this watch is at i % WATCH_WINDOW */
};

/* A new alarm. For a promise of accuracy, audits without truth have one of their own, at blind_budget. */
int learner_watch_begin(struct learner_watch *w, const struct promise_terms *terms, double blind_budget,
                        double delta);
void learner_watch_end(struct learner_watch *w);
/* Other thresholds of the same candidate: counts begin anew, the alarm goes on. */
void learner_watch_thresholds(struct learner_watch *w, const bool *placed, const float *threshold);
void learner_watch_see(struct learner_watch *w, const int32_t *label, const float *confidence, int32_t full,
                       int32_t truth, uint64_t moment_ms);
/* An audit that was answered early; whether rightly, nobody will know. It counts as lost. */
void learner_watch_lost(struct learner_watch *w, uint64_t moment_ms);
/* Share of the last `last` audits that an exit answers with these thresholds; 1 while there are fewer. */
double learner_watch_early(const struct learner_watch *w, int last);
/* Log wealth of the alarm that is nearer to being raised, as a share of what raises it, 0 to 1. */
double learner_watch_alarm(const struct learner_watch *w);
bool learner_watch_raised(const struct learner_watch *w);
/* When the change seems to have begun: moment of the first audit that the alarm blames. */
uint64_t learner_watch_since(const struct learner_watch *w);
/* Whether these thresholds lose any of the audits that the alarm blames. */
bool learner_watch_loses(const struct learner_watch *w, const bool *placed, const float *threshold);
/* Share of the audits that the alarm blames which an exit that serves is known to lose. */
double learner_watch_blamed_loss(const struct learner_watch *w);
/* Raises thresholds that lose any of those, one exit after the other, until none is lost. */
void learner_watch_raise(const struct learner_watch *w, const bool *placed, float *threshold);
/* Mean time of what serves, of the network's, by these audits. */
double serving_time(int n_exits, const double *before, const double *lookup, const bool *placed,
                    const int64_t *answered, int64_t n);

#endif
