/* alarm.c - gamblers who begin anew at intervals of their own */
#include "alarm.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "betting.h"

#define RICHEST 1e300 /* wealth that is enough for any delta, and still a number */

/* One gambler. `score` is the most that any beginning would have brought him by now, from a stake of 1, and
 * `since` is that beginning (Page 1954): the likeliest time of a change, if he is the likeliest gambler. */
struct gambler {
    double factor[3], log_factor[3]; /* of an audit with d = -1, 0, 1 */
    double share, wealth;
    int64_t interval, next,
        starts; /* audits from one beginning to the next; the next one; beginnings so far */
    double score;
    int64_t since;
};

struct alarm {
    double enough;
    bool may_win, raised;
    int64_t seen, since;
    int n;
    struct gambler gambler[BETTING_MOST];
};

/* The part of the stake that is kept back for what comes after k beginnings. It falls to 0 so slowly that a
 * beginning after many others still gets nearly an equal part: k to the power of -1, and logarithms. */
static double kept_back(int64_t k)
{
    return 1 / (1 + 0.6 * log1p((double)k / 4));
}

/* Audits in which a gambler's wealth grows by a factor of e where the loss is what he bets on. */
static int64_t interval_of(const struct betting *b, int i, double budget)
{
    double loss = fmin(1, budget * exp(b->lost[i])),
           growth = loss * b->lost[i] + (loss < 1 ? (1 - loss) * b->same[i] : 0);
    return growth < 1 ? (int64_t)fmin(1 / growth, 1e9) : 1;
}

static void begin(struct gambler *g, const struct betting *b, int i, double budget)
{
    double shares = 0;
    const double log_factor[3] = {b->won[i], b->same[i], b->lost[i]};
    for (int j = 0; j < b->n; j++)
        shares += exp(b->share[j]);
    *g = (struct gambler){.share = exp(b->share[i]) / shares, .interval = interval_of(b, i, budget)};
    for (int j = 0; j < 3; j++) {
        g->log_factor[j] = log_factor[j];
        g->factor[j] = exp(log_factor[j]);
    }
}

int alarm_new(struct alarm **out, double budget, double delta, bool may_win)
{
    struct betting b;
    struct alarm *a;
    *out = NULL;
    if (!(budget > 0 && budget < 1) || !(delta > 0 && delta < 1))
        return FL_VALUE;
    if ((a = calloc(1, sizeof *a)) == NULL)
        return FL_NOMEM;
    betting_for_more(&b, budget, may_win);
    a->enough = 1 / delta;
    a->may_win = may_win;
    a->n = b.n;
    for (int i = 0; i < b.n; i++)
        begin(&a->gambler[i], &b, i, budget);
    *out = a;
    return FL_OK;
}

void alarm_free(struct alarm *a)
{
    free(a);
}

static void begin_anew(struct gambler *g)
{
    g->wealth += g->share * (kept_back(g->starts) - kept_back(g->starts + 1));
    g->starts++;
    g->next += g->interval;
}

static void bet(struct gambler *g, int d, int64_t number)
{
    if (number == g->next)
        begin_anew(g);
    if (g->score <= 0)
        g->since = number;
    g->wealth = fmin(g->wealth * g->factor[d + 1], RICHEST);
    g->score = fmax(g->score, 0) + g->log_factor[d + 1];
}

static double wealth_of(const struct alarm *a)
{
    double sum = 0;
    for (int i = 0; i < a->n; i++)
        sum += a->gambler[i].wealth + a->gambler[i].share * kept_back(a->gambler[i].starts);
    return sum;
}

static int64_t blamed(const struct alarm *a)
{
    const struct gambler *best = &a->gambler[0];
    for (int i = 1; i < a->n; i++)
        best = a->gambler[i].wealth > best->wealth ? &a->gambler[i] : best;
    return best->since;
}

void alarm_see(struct alarm *a, int d)
{
    d = d > 0 ? 1 : d < 0 && a->may_win ? -1 : 0;
    for (int i = 0; i < a->n; i++)
        bet(&a->gambler[i], d, a->seen);
    a->seen++;
    if (!a->raised && wealth_of(a) >= a->enough) {
        a->raised = true;
        a->since = blamed(a);
    }
}

double alarm_log_wealth(const struct alarm *a)
{
    return log(wealth_of(a));
}

bool alarm_raised(const struct alarm *a)
{
    return a->raised;
}

int64_t alarm_seen(const struct alarm *a)
{
    return a->seen;
}

int64_t alarm_since(const struct alarm *a)
{
    return a->raised ? a->since : a->n > 0 ? blamed(a) : 0;
}
