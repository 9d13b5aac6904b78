/* comparison.h - what changed from one bench document to another, and whether it is more than noise */
#ifndef FREEZELINE_COMPARISON_H
#define FREEZELINE_COMPARISON_H

#include "significance.h"

#define COMPARISON_MAX      128
#define COMPARISON_WARNINGS 32
#define COMPARISON_LEVEL    0.05 /* of all tests together */

enum change_kind {
    CHANGE_RELATIVE, /* effect is after / before - 1 */
    CHANGE_SHARE,    /* effect is the difference of two shares */
    CHANGE_DISTANCE  /* effect is between two distributions; there is no before and after */
};

enum change_verdict { VERDICT_SAME, VERDICT_BETTER, VERDICT_WORSE, VERDICT_CHANGED, VERDICT_UNTESTED };

extern const char *const comparison_verdicts[]; /* their names */

struct change {
    char name[64];
    const char *unit, *test; /* test: NULL when it is one figure on each side, without a spread */
    enum change_kind kind;
    int better;              /* 1: more is better, -1: less is, 0: neither */
    double before, after, p; /* p: corrected for the number of tests */
    struct effect effect;
    enum change_verdict verdict;
};

struct comparison {
    int n, n_warnings;
    struct change change[COMPARISON_MAX];
    char warning[COMPARISON_WARNINGS][160];
};

/* Compares. Where the figures cannot be compared at all (one has no latencies): FL_VALUE. FL_CORRUPT,
 * FL_NOMEM. */
int comparison_make(struct comparison *out, const json_t *before, const json_t *after, struct error *e);

/* Worse, significantly, and where the change is relative by more than this share (0.05: five percent). */
bool comparison_fails(const struct change *c, double share);
/* "+12", "-0.32", "+165": percent, with so many digits but always all of those before the
 * point. Returns buf. */
char *comparison_percent(double share, int digits, char *buf, size_t size);

#endif
