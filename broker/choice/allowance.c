/* allowance.c - slots of a minute for the hour, a credit for bursts */
#include "allowance.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

#define MINUTE_NS (60 * NS_PER_S)
#define ROUNDING  1e-9

void allowance_init(struct allowance *a, double per_request)
{
    memset(a, 0, sizeof *a);
    a->per_request = per_request;
}

/* Sums anew, so that no error of rounding stays. */
static void move_on(struct allowance *a, uint64_t now)
{
    uint64_t minute = now / MINUTE_NS;
    if (minute <= a->minute)
        return;
    for (uint64_t m = a->minute + 1; m <= minute && m <= a->minute + ALLOWANCE_SLOTS; m++)
        memset(&a->slot[m % ALLOWANCE_SLOTS], 0, sizeof a->slot[0]);
    if (minute - a->minute > ALLOWANCE_SLOTS)
        memset(a->slot, 0, sizeof a->slot);
    a->minute = minute;
    memset(&a->sum, 0, sizeof a->sum);
    for (int i = 0; i < ALLOWANCE_SLOTS; i++) {
        a->sum.requests += a->slot[i].requests;
        a->sum.cost += a->slot[i].cost;
    }
}

static double accrues(const struct allowance *a)
{
    return a->per_request * (1 - ALLOWANCE_RESERVE);
}

bool allowance_permits(struct allowance *a, uint64_t now, double cost)
{
    if (cost <= 0 || isinf(a->per_request))
        return true;
    move_on(a, now);
    if (now < a->doubt_ns)
        return cost <= accrues(a);
    if (a->sum.cost + cost > a->per_request * (double)(a->sum.requests + 1) + ROUNDING)
        return false;
    return cost <= a->per_request || a->credit + accrues(a) >= cost;
}

void allowance_lend(struct allowance *a, double credit)
{
    double most = ALLOWANCE_RESERVE * a->per_request * (double)a->sum.requests;
    if (!isinf(a->per_request))
        a->credit = fmax(0, fmin(most, credit));
}

static void add(struct allowance *a, uint64_t now, int requests, double cost)
{
    move_on(a, now);
    a->slot[a->minute % ALLOWANCE_SLOTS].requests += requests;
    a->slot[a->minute % ALLOWANCE_SLOTS].cost += cost;
    a->sum.requests += requests;
    a->sum.cost += cost;
    allowance_lend(a, a->credit + requests * accrues(a) - cost);
}

void allowance_spend(struct allowance *a, uint64_t now, double cost)
{
    add(a, now, 1, cost);
}

void allowance_correct(struct allowance *a, uint64_t now, double more)
{
    add(a, now, 0, more);
}

void allowance_take_back(struct allowance *a, double cost)
{
    add(a, 0, -1, -cost);
}

void allowance_recall(struct allowance *a, uint64_t now, int ago, struct allowance_slot slot)
{
    move_on(a, now);
    a->slot[(a->minute + ALLOWANCE_SLOTS - (uint64_t)ago) % ALLOWANCE_SLOTS] = slot;
    a->sum.requests += slot.requests;
    a->sum.cost += slot.cost;
}

void allowance_doubt(struct allowance *a, uint64_t now)
{
    a->doubt_ns = now + 60 * MINUTE_NS;
}

struct allowance_slot allowance_minute(const struct allowance *a, uint64_t now, int ago)
{
    uint64_t minute = now / MINUTE_NS, gone = minute > a->minute ? minute - a->minute : 0;
    uint64_t back = (uint64_t)ago - gone; /* before the newest slot */
    if ((uint64_t)ago < gone || (uint64_t)ago >= ALLOWANCE_SLOTS)
        return (struct allowance_slot){0};
    return a->slot[(a->minute + ALLOWANCE_SLOTS - back) % ALLOWANCE_SLOTS];
}

static double of_hour(const struct allowance *a, uint64_t now, bool cost)
{
    double sum = 0;
    for (int ago = 0; ago < ALLOWANCE_SLOTS; ago++) {
        struct allowance_slot s = allowance_minute(a, now, ago);
        sum += cost ? s.cost : (double)s.requests;
    }
    return sum;
}

uint64_t allowance_requests(const struct allowance *a, uint64_t now)
{
    return (uint64_t)fmax(0, of_hour(a, now, false));
}

double allowance_mean(const struct allowance *a, uint64_t now)
{
    double n = of_hour(a, now, false);
    return n > 0 ? of_hour(a, now, true) / n : 0;
}
