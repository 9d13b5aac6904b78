/* bench_progress.h - how a measurement is doing while it runs: the current rate and p99 so far */
#ifndef FREEZELINE_BENCH_PROGRESS_H
#define FREEZELINE_BENCH_PROGRESS_H

#include "measurement.h"
#include "deploy/tool/progress.h"

struct bench_progress {
    struct progress bar;
    int64_t answered; /* when last looked, for the rate since then */
    double at_s, rate;
};

void bench_progress_open(struct bench_progress *p, FILE *to);
/* Shows the measurement as it is, `seconds` after it began. */
void bench_progress_show(struct bench_progress *p, const struct measurement *m, double seconds);
void bench_progress_close(struct bench_progress *p);

#endif
