/* admission.c - gap, quick times, and the bounds that follow from them */
#include "admission.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

#define ROOM_SHARE   0.9 /* share of a request's time that it may spend sent and unanswered */
#define COUNT        16  /* one measurement of the gap takes so many answers, .. */
#define COUNT_FEW    4   /* .. or, where answers are slow, so many within the time below */
#define COUNT_NS     ((double)NS_PER_S)
#define WEIGHT       0.25 /* of the newest measurement in the running mean */
#define QUICK        0.1  /* the quantile that quick_ns and rest_ns are */
#define QUICK_STEP   0.05
#define WORK_WEIGHT  (1.0 / 64)
#define DROP_STEP    0.02
#define TRUST_DOWN   0.1
#define TRUST_UP     0.002
#define TIGHT_WEIGHT (1.0 / 64)
#define LONGEST_NS   (3600.0 * NS_PER_S)

void admission_init(struct admission *a, uint64_t target_ns)
{
    memset(a, 0, sizeof *a);
    a->target_ns = (double)target_ns;
    a->trust = 1;
}

void admission_asked(struct admission *a, uint64_t time_ns)
{
    double ns = (double)time_ns;
    if (ns < a->quick_ns)
        return; /* even the smallest room is too large for it */
    if (!(a->tight_ns > 0) || ns < a->tight_ns)
        a->tight_ns = ns;
    else
        a->tight_ns += (ns - a->tight_ns) * TIGHT_WEIGHT;
}

/* Moves *quantile so that a tenth of all samples lie below it. */
static void follow(double *quantile, double sample)
{
    sample = fmax(sample, 1); /* a wrong clock may give zero or less */
    if (!(*quantile > 0))
        *quantile = sample;
    else if (sample > *quantile)
        *quantile = fmin(sample, *quantile * (1 + QUICK_STEP * QUICK));
    else
        *quantile = fmax(sample, *quantile * (1 - QUICK_STEP * (1 - QUICK)));
}

void admission_learn(struct admission *a, int n, const struct passed *p, uint64_t took_ns)
{
    double left = (double)took_ns, queued = 0, work[PIPELINE_MAX_STAGES] = {0};
    if (!n)
        return;
    for (int i = 0; i < n; i++)
        queued += p[i].queue_ns;
    follow(&a->quick_ns, left - queued);
    for (int i = 0; i < n; i++) {
        left -= p[i].wire_ns + p[i].queue_ns;
        queued -= p[i].queue_ns;
        follow(&a->rest_ns[p[i].stage], left - queued);
        left -= p[i].own_ns;
        work[p[i].stage] = fmin(p[i].own_ns, (double)took_ns) / (p[i].batch ? p[i].batch : 1);
    }
    for (int s = 0; s < PIPELINE_MAX_STAGES; s++)
        a->work_ns[s] += (work[s] - a->work_ns[s]) * (a->learned ? WORK_WEIGHT : 1);
    a->learned = true;
}

void admission_answered(struct admission *a, uint64_t now)
{
    double ns, gap;
    a->trust = fmin(1, a->trust + TRUST_UP);
    if (!a->busy)
        return;
    if (!a->since_ns) { /* the first answer only starts the count */
        a->since_ns = now;
        return;
    }
    a->counted++;
    ns = (double)(now - a->since_ns);
    if (a->counted < COUNT && (a->counted < COUNT_FEW || ns < COUNT_NS))
        return;
    gap = fmax(1, ns / a->counted);
    a->gap_ns = a->gap_ns > 0 ? a->gap_ns + (gap - a->gap_ns) * WEIGHT : gap;
    a->since_ns = now;
    a->counted = 0;
}

void admission_missed(struct admission *a, int stage, uint64_t now)
{
    if (stage >= 0)
        a->rest_ns[stage] *= 1 - DROP_STEP;
    if ((double)(now - a->missed_ns) < a->quick_ns)
        return; /* it was sent before the last miss was known: one miss is enough */
    a->missed_ns = now;
    a->trust *= 1 - TRUST_DOWN;
}

void admission_note(struct admission *a, bool busy)
{
    a->busy = busy;
    if (busy)
        return;
    a->since_ns = 0;
    a->counted = 0;
}

/* The shortest time between two answers that is possible: the measured one, or what the busiest stage
 * computes for one request. */
static double least_gap(const struct admission *a)
{
    double ns = 0;
    for (int s = 0; s < PIPELINE_MAX_STAGES; s++)
        ns = fmax(ns, a->work_ns[s] / (a->replicas[s] > 0 ? a->replicas[s] : 1));
    return a->gap_ns > 0 ? fmin(ns, a->gap_ns) : ns;
}

/* The longest expected time with which a request that has `time` is still taken. Less trust in the figures
 * makes it shorter. */
static double most_of(const struct admission *a, double time, double trust)
{
    double ns = time;
    if (time > a->quick_ns)
        ns = a->quick_ns + trust * PIPELINE_WAIT_SHARE * (time - a->quick_ns);
    return a->target_ns > 0 ? fmin(ns, fmax(a->target_ns, a->quick_ns)) : ns;
}

int admission_room(const struct admission *a, int start, int most)
{
    double gap = least_gap(a), n = start;
    if (gap > 0 && a->tight_ns > 0)
        n = ROOM_SHARE * most_of(a, a->tight_ns, 1) / gap;
    n = fmin(n * a->trust, most);
    return n > 1 ? (int)n : 1;
}

static uint64_t time_for(const struct admission *a, int n, double gap)
{
    return (uint64_t)fmin(LONGEST_NS, fmax(a->quick_ns, n * gap));
}

/* How long a request takes that finds `ahead` others, as was measured; 0: not known. */
static uint64_t expects(const struct admission *a, int ahead)
{
    return time_for(a, ahead + 1, a->gap_ns > 0 ? a->gap_ns : least_gap(a));
}

/* How long it takes at least. */
static uint64_t takes(const struct admission *a, int ahead)
{
    return time_for(a, ahead + 1, least_gap(a));
}

/* A request that has time_ns and finds no room is taken when it is expected to take no longer than this. */
static uint64_t allows(const struct admission *a, uint64_t time_ns)
{
    return (uint64_t)most_of(a, (double)time_ns, a->trust);
}

bool admission_refuses(const struct admission *a, int ahead, int room, uint64_t time_ns)
{
    if (!ahead)
        return false;
    return ahead < room ? takes(a, ahead) > time_ns : expects(a, ahead) > allows(a, time_ns);
}

bool admission_is_late(const struct admission *a, int under_way, uint64_t left_ns)
{
    return under_way && takes(a, under_way) > left_ns;
}

int admission_queue(int room, int n_stages, int replicas, int batch)
{
    int part = room / ((n_stages + 1) * (replicas > 1 ? replicas : 1));
    int most = part < 2 * batch ? part : 2 * batch;
    return most > 1 ? most : 1;
}

uint32_t admission_retry_ms(const struct admission *a, int ahead)
{
    double ms = ceil((double)expects(a, ahead) / NS_PER_MS);
    return ms > 1 ? (uint32_t)ms : 1;
}

void admission_rest(const struct admission *a, int n_stages, uint32_t *rest_us)
{
    for (int s = 0; s < n_stages; s++)
        rest_us[s] = (uint32_t)fmin(UINT32_MAX, a->rest_ns[s] / NS_PER_US);
}
