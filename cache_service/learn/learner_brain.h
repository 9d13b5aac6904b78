/* learner_brain.h - what the learner decides: when to teach, what serves, when it is too much
 *
 * Pure: audits and moments in, decisions out; no clock, socket, file or thread. The body holds the caches of
 * each candidate by its number, asks them (`look`), teaches, publishes.
 *
 * A candidate is caches of all exits and an order of thresholds from timid to bold. What both are made of is
 * fixed before the first audit that certifies it comes. Every audit that comes after certifies every
 * candidate there is or is being made, and only then is it kept to teach or plan later ones: it trained
 * nothing of what it judges. Candidate j may err with probability betting_delta(certainty, j), so over the
 * life of a pipeline, however many candidates there are and however often one looks, some candidate serves
 * with more loss than the budget with probability 1 - certainty at most, as long as requests come from one
 * distribution. Where that changes, the alarm says so.
 *
 * States of what serves:
 *   LEARNER_COLD      nothing serves: every request is worth an audit
 *   LEARNER_SERVING   a certified row of a candidate (or what the build certified)
 *   LEARNER_TIGHTENED an alarm was raised: the exit that lost most answers only above what it lost
 *   LEARNER_OFF       a second alarm was raised, or one that blames audits which lose many times the budget:
 * no exit answers until a candidate is certified anew
 */
#ifndef FREEZELINE_LEARNER_BRAIN_H
#define FREEZELINE_LEARNER_BRAIN_H

#include "cache_service/promise/certificate.h"

#define LEARNER_CANDIDATES 4 /* that there are at once, the one that serves among them */

enum learner_state { LEARNER_COLD, LEARNER_SERVING, LEARNER_TIGHTENED, LEARNER_OFF };

struct learner_setup {
    int n_exits; /* as the manifest numbers them */
    struct {
        char name[64];
        double before, lookup; /* of the network's time: manifest_exit */
    } exit[PIPELINE_MAX_EXITS];
    struct promise_terms terms; /* what is left of the promise for early answers .. */
    double spent;               /* .. and what lower precision took of its budget */
    double audit, audit_most;   /* updates.audit, updates.audit_most */
    uint64_t interval_ns;       /* updates.interval_ms: commits are no closer */
    uint64_t candidate;         /* the largest number that was ever used; 0: none */
    bool frozen;                /* learns, but what serves stays */
    /* What serves at the start (candidate 0 of `look`): what a build or an earlier learner certified. */
    bool serves;
    bool placed[PIPELINE_MAX_EXITS];
    float threshold[PIPELINE_MAX_EXITS];
    /* Share of early answers that differ from the network's, when what serves was certified by true labels;
     * NAN: not known. Audits without truth are judged by it alone, for a promise of accuracy. */
    double differs;
};

/* What the caches of candidate `number` say about the audit in hand: label (negative: no verdict) and
 * confidence of each exit. FL_OK; otherwise the audit does not count for that candidate. */
typedef int learner_look(void *arg, uint64_t number, int32_t *label, float *confidence);

struct learner_brain;
int learner_brain_new(struct learner_brain **out, const struct learner_setup *setup, learner_look *look,
                      void *arg, uint64_t now);
void learner_brain_free(struct learner_brain *b); /* NULL is fine */

/* --- what happens --- */

struct learner_audit {
    uint64_t request;
    int32_t full, truth; /* truth -1: not known */
    uint64_t moment_ms;  /* of the record */
};
/* A whole audit, of either half, before it may teach. */
void learner_brain_audit(struct learner_brain *b, const struct learner_audit *a, uint64_t now);
/* An audit that an exit answered, of which nobody will know more. Only such can be lost, so those that are
 * left would show too little loss: it counts as lost by all that judge and watch. */
void learner_brain_audit_lost(struct learner_brain *b, uint64_t moment_ms, uint64_t now);
/* The truth about an audit that came earlier; one that is no longer known is passed over. */
void learner_brain_truth(struct learner_brain *b, uint64_t request, int32_t truth, uint64_t now);
/* How many requests teach and how many plan by now (reservoir_counts: seen since the last call does not
 * matter, only how many were taken ever). */
void learner_brain_grown(struct learner_brain *b, int64_t teaching, int64_t certifying, uint64_t now);
/* Cheap signals say that the traffic changed: look closer for a while. */
void learner_brain_signal(struct learner_brain *b, const char *what, uint64_t now);
void learner_brain_frozen(struct learner_brain *b, bool frozen, uint64_t now);
/* What LEARNER_TEACH or LEARNER_TUNE asked for is there, and is candidate `number` from now on: audits that
 * come judge it, and those that it is told of by learner_brain_recall. `order` is copied. Returns false when
 * it is not wanted any more (what it learned from is of before an alarm, or it promises nothing): forget its
 * caches. */
bool learner_brain_taught(struct learner_brain *b, uint64_t number, const struct promise_order *order,
                          int64_t points, uint64_t now);
/* An audit that came while candidate `number` was taught, after all that it depends on was fixed, and what
 * its caches say about it. In the order in which they came, before `look` knows the candidate: so each is
 * judged by once, and in that order. */
void learner_brain_recall(struct learner_brain *b, uint64_t number, const struct learner_audit *a,
                          const int32_t *label, const float *confidence);
/* Where the caches can't be asked any more about such an audit: it counts as lost in every row that may
 * answer early, which is never less than what is so. */
void learner_brain_recall_lost(struct learner_brain *b, uint64_t number, const struct learner_audit *a);
/* So many audits wait for their truth; 0 where none comes. */
int learner_brain_waits(const struct learner_brain *b);
/* It failed, or was cancelled. */
void learner_brain_not_taught(struct learner_brain *b, uint64_t number, const char *why, uint64_t now);
void learner_brain_tick(struct learner_brain *b, uint64_t now);

/* --- what to do --- */

enum learner_what {
    LEARNER_NUMBER, /* remember `number` as used (reservoir_set_candidate, and the manifest) before going on
                     */
    LEARNER_TEACH,  /* teach new caches and plan their order (teaching_run); `warm`: start at the caches of
                       `of`. What is in work may be called off: it is not wanted any more */
    LEARNER_TUNE,   /* candidate `number`: the caches of `of` as they are, in another order (teaching_plan) */
    LEARNER_FORGET, /* the caches of `number` are not needed any more, unless another candidate has them too
                     */
    LEARNER_SERVE,  /* publish `number` with these thresholds; an exit that is not placed gets no file */
    LEARNER_EVENT,  /* nothing to do but to tell `why` */
};

struct learner_decision {
    enum learner_what what;
    uint64_t number, of;
    bool warm;
    uint64_t since_ms, teach_since_ms; /* teaching.h */
    enum learner_state state;          /* SERVE: SERVING, TIGHTENED or OFF */
    bool placed[PIPELINE_MAX_EXITS];
    float threshold[PIPELINE_MAX_EXITS];
    int n_levels; /* that are certified (promise_level); the first has the thresholds above */
    float level[PROMISE_LEVELS][PIPELINE_MAX_EXITS];
    struct certificate_row certified; /* SERVE: counts.n is 0 where it was not certified by audits */
    char why[200];                    /* for log and history; "" where there is nothing to tell */
};
/* The next thing to do, in order; false: none. */
bool learner_brain_next(struct learner_brain *b, struct learner_decision *out);

/* --- what is so --- */

struct learner_view {
    enum learner_state state;
    double audit;             /* share of requests to audit now */
    uint64_t serving, number; /* candidate that serves; the largest number used */
    bool teaching, frozen;
    int candidates;
    int64_t audits, differ, lost, won; /* of what serves, since it serves: audits; answers that differed;
                                          worse and better than the network's */
    double loss_lower, loss_upper;     /* of them, at the certainty asked for; anytime-valid */
    int64_t judged; /* audits that the newest candidate has to its name; 0: it serves, or there is none */
    int64_t needed; /* so many would certify it if it lost nothing */
    double alarm;   /* 0 to 1: how far the evidence for "over the budget" is, in logarithms */
    struct {
        int64_t answered, differ, lost; /* of these audits */
    } exit[PIPELINE_MAX_EXITS];
};
struct learner_view learner_brain_view(const struct learner_brain *b);
/* When to call learner_brain_tick again at the latest; UINT64_MAX: whenever. */
uint64_t learner_brain_due(const struct learner_brain *b);

#endif
