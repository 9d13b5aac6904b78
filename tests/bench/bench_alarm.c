/* bench_alarm.c - when the alarm is raised on simulated streams of audits whose loss grows at some audit
 *
 *     bench_alarm [STREAMS]     of each kind (100); alarm_mapie.py has MAPIE's risk monitoring watch the same
 *
 * A line per stream: budget, delta, the audit of the change, the loss after it (before: 0.8 of the budget),
 * audits, the alarm's delay behind the change (-1: never raised; below 0 and not -1: before it), which audit
 * it blames, and
 * ":", and the numbers of the audits that lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "numbers/shuffle.h"
#include "cache_service/promise/alarm.h"

#define BUDGET 0.01
#define DELTA  0.05

static int watch(int64_t change, double after, uint64_t seed)
{
    int64_t audits = change + (int64_t)(800 / after), raised = -1, n_lost = 0,
            *lost = malloc((size_t)audits * sizeof *lost);
    struct shuffle s;
    struct alarm *a;
    if (lost == NULL || alarm_new(&a, BUDGET, DELTA, false) != 0)
        return 1;
    shuffle_seed(&s, seed, (uint64_t)change + (uint64_t)(1e6 * after));
    for (int64_t i = 0; i < audits; i++) {
        int d = shuffle_uniform(&s) < (i < change ? 0.8 * BUDGET : after);
        if (d)
            lost[n_lost++] = i;
        alarm_see(a, d);
        if (alarm_raised(a) && raised < 0)
            raised = i;
    }
    printf("%g %g %lld %g %lld %lld %lld :", BUDGET, DELTA, (long long)change, after, (long long)audits,
           (long long)(raised < 0 ? -1 : raised - change + 1), (long long)alarm_since(a));
    for (int64_t i = 0; i < n_lost; i++)
        printf(" %lld", (long long)lost[i]);
    printf("\n");
    alarm_free(a);
    free(lost);
    return 0;
}

int main(int argc, char **argv)
{
    static const int64_t changes[] = {0, 200, 1000, 5000, 20000};
    static const double after[] = {0.02, 0.03, 0.05, 0.1, 0.3};
    int streams = argc > 1 ? atoi(argv[1]) : 100, rc = 0;
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++)
            for (int s = 0; s < streams; s++)
                rc |= watch(changes[i], after[j], 1 + (uint64_t)s);
    return rc;
}
