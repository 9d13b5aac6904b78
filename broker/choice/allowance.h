/* allowance.h - what requests may cost, as a mean over any hour, where they come unevenly and cost unevenly
 *
 * Two bounds. Over the hour that ends now the mean is never above `per_request`. And what earlier requests
 * left over may be spent at once only as far as those of an hour can make good: ALLOWANCE_RESERVE of what an
 * hour with as many requests as the last one may cost (the estimate of future use in MCDNN, section 5). So an
 * hour that begins with a burst of dear requests is within the bound, too, where no fewer requests come than
 * before.
 *
 * Pure. Times never go back; one that does counts as the latest one.
 */
#ifndef FREEZELINE_ALLOWANCE_H
#define FREEZELINE_ALLOWANCE_H

#include <stdbool.h>
#include <stdint.h>

#define ALLOWANCE_RESERVE 0.1
#define ALLOWANCE_SLOTS   61 /* minutes: a whole hour, and the one that has begun */

struct allowance_slot {
    int64_t requests; /* below 0 where more were taken back than came */
    double cost;
};

struct allowance {
    double per_request; /* infinity: no bound */
    double credit;
    uint64_t doubt_ns; /* until then nothing is borrowed */
    uint64_t minute;   /* the newest slot's */
    struct allowance_slot slot[ALLOWANCE_SLOTS], sum;
};

void allowance_init(struct allowance *a, double per_request);
/* May one more request cost that much? */
bool allowance_permits(struct allowance *a, uint64_t now, double cost);
/* A request costs that much. */
void allowance_spend(struct allowance *a, uint64_t now, double cost);
/* One that was counted costs so much more, or less (below 0). */
void allowance_correct(struct allowance *a, uint64_t now, double more);
/* One that was counted at that cost was none. */
void allowance_take_back(struct allowance *a, double cost);
/* What the minute cost that was so many before now's; what it had cost when another process counted (`a` is
 * new), and the credit of then. */
struct allowance_slot allowance_minute(const struct allowance *a, uint64_t now, int ago);
void allowance_recall(struct allowance *a, uint64_t now, int ago, struct allowance_slot slot);
void allowance_lend(struct allowance *a, double credit);
/* What the last hour has cost is not known: for an hour no request may cost more than the mean. */
void allowance_doubt(struct allowance *a, uint64_t now);
/* Of the hour that ends now: requests, and their mean cost (0 without requests). */
uint64_t allowance_requests(const struct allowance *a, uint64_t now);
double allowance_mean(const struct allowance *a, uint64_t now);

#endif
