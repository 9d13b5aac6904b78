/* bandit.h - weights of variants by feedback, apart for each context of a request
 *
 * To pick one (Exp3): each is drawn with its weight, and with BANDIT_EXPLORE of the draws at random; a wrong
 * answer, or none, multiplies its weight by exp(-rate / its chance). To weigh a vote (Exp4): each that
 * answered wrongly loses exp(-rate). After each label, a small share of all weight goes to all alike, as in
 * Exp3.S, so that one which was bad can come back when the others break. Auer, Cesa-Bianchi, Freund and
 * Schapire, "The nonstochastic multiarmed bandit problem" (SIAM J. Comput. 2002); in serving: Clipper (NSDI
 * 2017), section 5.
 *
 * A context that is new begins with what was learned in all of them. Bounded: the context of its set that was
 * used least recently makes room. Pure.
 */
#ifndef FREEZELINE_BANDIT_H
#define FREEZELINE_BANDIT_H

#include <stdbool.h>
#include <stdint.h>

#define BANDIT_MAX      8 /* variants */
#define BANDIT_SETS     64
#define BANDIT_WAYS     4 /* so 256 contexts */
#define BANDIT_EXPLORE  0.02
#define BANDIT_RATE     0.02 /* of draws */
#define BANDIT_VOTERATE 0.05 /* of votes */
#define BANDIT_SHARE    0.0002

struct bandit_context {
    uint64_t hash, used;       /* used: count of the bandit when it was last asked for; 0: free */
    double weight[BANDIT_MAX]; /* sum 1 */
};

struct bandit {
    int n;
    uint64_t count;
    struct bandit_context all; /* of all contexts together, and of requests without one */
    struct bandit_context one[BANDIT_SETS][BANDIT_WAYS];
};

void bandit_init(struct bandit *b, int n);
/* The chance of each of `mask` (not 0) to be drawn: their sum is 1, that of others 0. */
void bandit_chances(struct bandit *b, uint64_t context, uint32_t mask, double chance[BANDIT_MAX]);
/* What was drawn with that chance was right or wrong. */
void bandit_drew(struct bandit *b, uint64_t context, int variant, double chance, bool right);
/* Who of a vote was wrong. */
void bandit_voted(struct bandit *b, uint64_t context, uint32_t wrong);
/* A vote of those that `came` (not 0) of those that were `asked`; `open` may still come. */
struct bandit_vote {
    int speaker;  /* the heaviest of those who gave the heaviest label */
    double share; /* of the weight of all that were asked: who gave that label */
    bool settled; /* whatever those say that are open */
};
struct bandit_vote bandit_count_votes(struct bandit *b, uint64_t context, uint32_t asked, uint32_t came,
                                      uint32_t open, const int32_t *label);

#endif
