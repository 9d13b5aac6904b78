/* bench_progress.c - a measurement as a progress bar */
#include "bench_progress.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

#define TENTHS(seconds) ((int64_t)(10 * (seconds)))

static void count_seconds(struct progress *p)
{
    p->unit = "s";
    p->parts = 10;
}

static void count_requests(struct progress *p)
{
    p->unit = "requests";
    p->parts = 0;
}

void bench_progress_open(struct bench_progress *p, FILE *to)
{
    memset(p, 0, sizeof *p);
    progress_open(&p->bar, to);
}

void bench_progress_close(struct bench_progress *p)
{
    progress_close(&p->bar);
}

/* Answers per second since the last look at least a second ago. */
static void look(struct bench_progress *p, const struct tally *t, double seconds)
{
    if (seconds < p->at_s || t->answered < p->answered) { /* another measurement has begun */
        p->answered = 0;
        p->at_s = 0;
    }
    if (seconds < p->at_s + 1)
        return;
    p->rate = (double)(t->answered - p->answered) / (seconds - p->at_s);
    p->answered = t->answered;
    p->at_s = seconds;
}

/* The last answers are waited for at the end, and a trace does not say when it ends: then it is not done. */
static void show_load(struct bench_progress *p, const struct measurement *m, const char *phase)
{
    const struct measurement_options *o = &m->options;
    const struct tally *t = m->tally;
    int64_t done = o->requests > 0 ? t->sent : TENTHS(t->sending_seconds),
            total = o->requests > 0 ? o->requests : TENTHS(o->duration_s);
    double p99 = (double)histogram_quantile(&t->latency, 0.99) / NS_PER_MS;

    if (o->requests > 0)
        count_requests(&p->bar);
    else
        count_seconds(&p->bar);
    snprintf(p->bar.note, sizeof p->bar.note, "%.1f/s, p99 %.*f ms", p->rate, p99 < 10 ? 2 : 0, p99);
    progress_update(&p->bar, phase, done, total > done ? total : done + 1, 0);
}

void bench_progress_show(struct bench_progress *p, const struct measurement *m, double seconds)
{
    const char *phase = m->options.phase;
    char text[96];

    look(p, m->tally, seconds);
    if (m->tally->sent) {
        show_load(p, m, *phase ? phase : "load");
        return;
    }
    p->bar.note[0] = 0;
    count_seconds(&p->bar);
    snprintf(text, sizeof text, "%s%swarm-up", phase, *phase ? ", " : "");
    progress_update(&p->bar, text, TENTHS(seconds), TENTHS(fmax(m->options.warmup_s, seconds) + 0.1), 0);
}
