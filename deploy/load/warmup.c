/* warmup.c - medians of windows, compared */
#include "warmup.h"

#include <math.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "deploy/tool/statistics.h"

#define WINDOW_REQUESTS 32
#define WINDOW_NS       (100 * NS_PER_MS)
#define TOLERANCE       0.05

static void end_window(struct warmup *w, uint64_t now_ns)
{
    struct warmup_window *of = &w->window[w->windows++ % WARMUP_WINDOWS];
    int64_t low, high;

    samples_sort(w->sample, w->n);
    statistics_quantile_ranks(w->n, 0.5, &low, &high);
    of->median = w->sample[(w->n - 1) / 2];
    of->low = w->sample[low > 0 ? low - 1 : 0];
    of->high = w->sample[high <= w->n ? high - 1 : w->n - 1];
    w->n = 0;
    w->began_ns = now_ns;
}

static bool same(const struct warmup_window *a, const struct warmup_window *b)
{
    return (a->low <= b->high && b->low <= a->high) ||
           fabs(a->median - b->median) <= TOLERANCE * fmin(a->median, b->median);
}

static bool steady(const struct warmup *w)
{
    for (int i = 0; i < WARMUP_WINDOWS; i++)
        if (!same(&w->window[i], &w->window[(i + 1) % WARMUP_WINDOWS]))
            return false;
    return true;
}

bool warmup_note(struct warmup *w, uint64_t now_ns, uint64_t latency_ns)
{
    if (!w->n && !w->windows)
        w->began_ns = now_ns;
    w->sample[w->n++] = (double)latency_ns;
    if (w->n < WARMUP_MAX_SAMPLES && (w->n < WINDOW_REQUESTS || now_ns < w->began_ns + WINDOW_NS))
        return false;
    end_window(w, now_ns);
    return w->windows >= WARMUP_WINDOWS && steady(w);
}

bool warmup_drifts(const struct warmup *w)
{
    return w->windows >= WARMUP_WINDOWS && !steady(w);
}
