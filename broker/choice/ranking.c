/* ranking.c - variants in order, and a budget held against them */
#include "ranking.h"

#include <math.h>
#include <string.h>

/* Another one is better in something and worse in nothing. */
static bool is_surpassed(const struct choice_variant *all, int n, int v)
{
    const struct choice_variant *a = &all[v], *b = all;
    for (int i = 0; i < n; i++, b++)
        if (i != v && b->loss_upper <= a->loss_upper && b->ms <= a->ms && b->cpu_s <= a->cpu_s &&
            (b->loss_upper < a->loss_upper || b->ms < a->ms || b->cpu_s < a->cpu_s || i < v))
            return true;
    return false;
}

static bool comes_later(const struct choice_variant *all, int n, int v, int than, bool time)
{
    const struct choice_variant *a = &all[v], *b = &all[than];
    if (time)
        return a->ms > b->ms;
    if (is_surpassed(all, n, v) != is_surpassed(all, n, than))
        return is_surpassed(all, n, v);
    return a->loss_upper > b->loss_upper;
}

static void order(int *out, const struct choice_variant *all, int n, bool time)
{
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at && comes_later(all, n, out[at - 1], i, time); at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
}

void ranking_make(struct ranking *out, const struct choice_variant *v, int n)
{
    memset(out, 0, sizeof *out);
    order(out->by_quality, v, n, false);
    order(out->by_time, v, n, true);
    for (int i = 0; i < n; i++)
        out->n_useful += !is_surpassed(v, n, i);
}

static int check_variant(const struct choice_variant *v, int i, struct error *e)
{
    const struct choice_variant *of = &v[i];
    if (!of->name[0] || !memchr(of->name, 0, sizeof of->name))
        return error_set(e, FL_VALUE, "variant %d has no name", i + 1);
    for (int k = 0; k < i; k++)
        if (!strcmp(v[k].name, of->name))
            return error_set(e, FL_VALUE, "two variants are called %s", of->name);
    if (isnan(of->loss) || isnan(of->loss_upper) || !(of->ms >= 0 && of->ms < 1e9) ||
        !(of->cpu_s >= 0 && of->cpu_s < 1e6) || isnan(of->sure))
        return error_set(e, FL_VALUE, "the figures of variant %s are out of range: measure them again",
                         of->name);
    return FL_OK;
}

int ranking_check(const struct choice_variant *v, int n, struct error *e)
{
    int rc = FL_OK;
    if (n < 1 || n > CHOICE_MAX)
        return error_set(e, FL_VALUE, "%d variants: 1 to %d are possible", n, CHOICE_MAX);
    for (int i = 0; !rc && i < n; i++)
        rc = check_variant(v, i, e);
    return rc;
}

int ranking_meets(const struct ranking *r, const struct choice_variant *v, int n,
                  const struct choice_budget *b, struct error *e)
{
    const struct choice_variant *quickest = &v[r->by_time[0]], *within = NULL;
    double least = INFINITY;

    if (isnan(b->max_accuracy_loss) || b->max_accuracy_loss < 0 || !(b->latency_ms >= 0) ||
        !(b->cpu_seconds_per_second >= 0) || !(b->cascade_loss >= 0))
        return error_set(e, FL_VALUE, "the budget is out of range");
    if (b->memory && v[0].bytes > b->memory)
        return error_set(e, FL_VALUE, "budget.memory_mb is %.1f, and variant %s alone takes %.1f",
                         (double)b->memory / 1e6, v[0].name, (double)v[0].bytes / 1e6);
    if (b->how != CHOOSE_BUDGET || !(b->latency_ms > 0))
        return FL_OK;
    for (int i = 0; i < n; i++) {
        bool may = v[i].loss_upper <= b->max_accuracy_loss;
        within = may && (!within || v[i].ms < within->ms) ? &v[i] : within;
        least = fmin(least, v[i].loss_upper);
    }
    if (!within)
        return error_set(
            e, FL_VALUE,
            "no variant loses at most %g points (budget.max_accuracy_loss): the most accurate one "
            "loses up to %.2f",
            b->max_accuracy_loss, least);
    if (within->ms > b->latency_ms)
        return error_set(
            e, FL_VALUE,
            "no variant answers within %g ms (budget.latency_ms) and loses at most %g points: %s "
            "takes %.2f ms; the quickest, %s, takes %.2f ms and loses up to %.2f points",
            b->latency_ms, b->max_accuracy_loss, within->name, within->ms, quickest->name, quickest->ms,
            quickest->loss_upper);
    return FL_OK;
}
