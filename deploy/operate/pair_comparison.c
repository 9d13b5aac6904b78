/* pair_comparison.c - see pair_comparison.h */
#include "pair_comparison.h"

#include <math.h>
#include <stdio.h>

#include "broker/state/relay.h"
#include "numbers/binomial.h"

#define DOUBT 0.01 /* of each bound */

const char *const measure_names[MEASURES] = {"errors", "accuracy", "agreement", "latency"};

static void count(struct comparison_side *s, const struct observed *o, int32_t label)
{
    s->errors += o->error != 0;
    if (o->error)
        return;
    s->answered++;
    s->early += o->early;
    s->right += label >= 0 && o->label == label;
    if (!o->known)
        histogram_record(&s->latency, o->ns);
}

void comparison_add(struct comparison *c, const struct observed *now, const struct observed *next,
                    int32_t label)
{
    c->pairs++;
    count(&c->now, now, label);
    count(&c->next, next, label);
    c->failed_now += now->error && !next->error;
    c->failed_next += next->error && !now->error;
    if (now->error || next->error)
        return;
    c->both++;
    c->agreed += now->label == next->label;
    c->labelled += label >= 0;
    c->lost += label >= 0 && now->label == label && next->label != label;
    c->won += label >= 0 && now->label != label && next->label == label;
    if (!now->known && !next->known) {
        c->timed++;
        c->slower += relay_is_slower(next->ns, now->ns, c->limits.slower);
    }
}

/* k of n, less `off` of n. */
static void fill(struct measure *m, int64_t n, int64_t k, int64_t off, double limit)
{
    double less = n ? (double)off / (double)n : 0;

    *m = (struct measure){.n = n, .limit = limit};
    if (!n)
        return;
    m->low = binomial_lower((double)n, (double)k, DOUBT) - less;
    m->share = (double)k / (double)n - less;
    m->high = binomial_upper((double)n, (double)k, DOUBT) - less;
}

void comparison_measure(const struct comparison *c, enum measure_kind kind, struct measure *out)
{
    double points = c->limits.points;

    if (kind == MEASURE_ERRORS)
        fill(out, c->pairs, c->failed_next, c->failed_now, points);
    else if (kind == MEASURE_ACCURACY)
        fill(out, c->labelled, c->lost, c->won, points);
    else if (kind == MEASURE_AGREEMENT)
        fill(out, c->labelled ? 0 : c->both, c->both - c->agreed, 0, points);
    else
        fill(out, c->timed, c->slower, 0, 0.5);
}

static void say(const struct comparison *c, enum measure_kind kind, const struct measure *m, char *text,
                size_t size)
{
    static const char *const format[MEASURES] = {
        "%.2f%% more of the requests fail (%.2f%% to %.2f%%; %.2f%% are tolerated)",
        "%.2f points of accuracy are lost (%.2f to %.2f; %.2f are tolerated)",
        "%.2f%% of the answers are others (%.2f%% to %.2f%%; %.2f%% are tolerated)"};

    if (kind == MEASURE_LATENCY)
        snprintf(text, size,
                 "%.0f%% of the answers took over %.2f times as long (%.0f%% to %.0f%%; half are tolerated; "
                 "`--slower` tolerates more)",
                 100 * m->share, 1 + c->limits.slower, 100 * m->low, 100 * m->high);
    else
        snprintf(text, size, format[kind], 100 * m->share, 100 * fmax(m->low, -1), 100 * m->high,
                 100 * m->limit);
}

bool comparison_is_worse(const struct comparison *c, bool end, char *text, size_t size)
{
    for (int k = 0; k < MEASURES; k++) {
        struct measure m;
        comparison_measure(c, (enum measure_kind)k, &m);
        if (!m.n || (end ? m.share : m.low) <= m.limit)
            continue;
        say(c, (enum measure_kind)k, &m, text, size);
        return true;
    }
    if (!end || c->both)
        return false;
    snprintf(text, size, "no request was answered by both");
    return true;
}
