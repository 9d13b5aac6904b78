/* learner_pool.c - the candidates that are being certified */
#include "learner_pool.h"

#include <math.h>
#include <string.h>

#include "cache_service/promise/betting.h"

#define HOPED 0.75 /* of the budget: what a row loses that can be certified by not too many audits */

struct candidate *pool_find(struct learner_pool *p, uint64_t number)
{
    for (int i = 0; i < p->n; i++) {
        if (p->candidate[i].number == number)
            return &p->candidate[i];
    }
    return NULL;
}

void pool_remove(struct learner_pool *p, uint64_t number)
{
    struct candidate *c = pool_find(p, number);
    if (c == NULL)
        return;
    certificate_free(c->certificate);
    p->n--;
    memmove(c, c + 1, (size_t)(p->candidate + p->n - c) * sizeof *c);
}

void pool_clear(struct learner_pool *p)
{
    while (p->n > 0)
        pool_remove(p, p->candidate[0].number);
}

int pool_add(struct learner_pool *p, uint64_t number, const struct promise_order *order, int64_t points,
             uint64_t serving, uint64_t *gone)
{
    struct candidate c = {number, NULL, points};
    int rc = certificate_new(&c.certificate, order, p->n_exits, &p->terms,
                             betting_delta(p->terms.certainty, number));
    *gone = 0;
    if (rc != FL_OK)
        return rc;
    for (int i = 1; i < PROMISE_LEVELS; i++) {
        double budget = promise_level(i) * (p->terms.budget + p->spent) - p->spent;
        if (budget > 0)
            certificate_add_level(c.certificate, budget);
    }
    if (p->n == LEARNER_CANDIDATES) {
        *gone = p->candidate[p->candidate[0].number == serving].number;
        pool_remove(p, *gone);
    }
    p->candidate[p->n++] = c;
    return FL_OK;
}

void pool_see(struct learner_pool *p, uint64_t number, const int32_t *label, const float *confidence,
              int32_t full, int32_t truth)
{
    struct candidate *c = pool_find(p, number);
    if (c != NULL)
        certificate_see(c->certificate, label, confidence, full, truth);
}

/* --- rows --- */

static void row_of(const struct learner_pool *p, const struct candidate *c, int64_t row, struct pool_row *out)
{
    out->number = c->number;
    out->index = row;
    certificate_counts(c->certificate, row, &out->row);
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        out->placed[k] = k < p->n_exits && out->row.threshold[k] < INFINITY;
    out->time =
        serving_time(p->n_exits, p->before, p->lookup, out->placed, out->row.answered, out->row.counts.n);
}

double pool_time(const struct learner_pool *p, uint64_t number, int64_t index, int64_t fewest)
{
    for (int i = 0; i < p->n; i++) {
        const struct candidate *c = &p->candidate[i];
        struct pool_row r;
        if (c->number != number || certificate_seen(c->certificate) < fewest || index < 0)
            continue;
        row_of(p, c, index, &r);
        return r.time;
    }
    return NAN;
}

bool pool_best(const struct learner_pool *p, int64_t fewest, struct pool_row *out)
{
    bool found = false;
    for (int i = 0; i < p->n; i++) {
        const struct candidate *c = &p->candidate[i];
        int64_t row = certificate_ready_row(c->certificate, 0);
        struct pool_row here;
        if (row < 0 || certificate_seen(c->certificate) < fewest)
            continue;
        row_of(p, c, row, &here);
        if (found && here.time >= out->time)
            continue;
        *out = here;
        found = true;
    }
    return found;
}

int pool_levels(struct learner_pool *p, uint64_t number, int64_t index,
                float out[PROMISE_LEVELS][PIPELINE_MAX_EXITS])
{
    const struct candidate *c = pool_find(p, number);
    int n = 0;
    for (; c != NULL && n < PROMISE_LEVELS; n++) {
        int64_t row = certificate_ready_row(c->certificate, n);
        row = row < index ? row : index;
        if (row < 0)
            break;
        for (int k = 0; out != NULL && k < PIPELINE_MAX_EXITS; k++)
            out[n][k] = k < p->n_exits ? certificate_threshold(c->certificate, row, k) : INFINITY;
    }
    return n;
}

bool pool_tightened(const struct learner_pool *p, uint64_t number, const struct learner_watch *w,
                    struct pool_row *out)
{
    for (int i = 0; i < p->n; i++) {
        const struct candidate *c = &p->candidate[i];
        int64_t row = c->number == number ? certificate_row(c->certificate) : -1;
        for (; row >= 0; row--) {
            row_of(p, c, row, out);
            if (!learner_watch_loses(w, out->placed, out->row.threshold))
                return true;
        }
    }
    return false;
}

static double hope_of(const struct learner_pool *p, const struct candidate *c)
{
    int64_t low = certificate_ready_row(c->certificate, 0), high = certificate_rows(c->certificate);
    struct pool_row r;
    if (certificate_seen(c->certificate) == 0)
        return 1;
    while (high - low >
           1) { /* bolder rows lose more, so the last one that loses little enough is found by halves */
        int64_t middle = low + (high - low) / 2;
        row_of(p, c, middle, &r);
        if ((double)(r.row.counts.lost - r.row.counts.won) <=
            HOPED * p->terms.budget * (double)r.row.counts.n)
            low = middle;
        else
            high = middle;
    }
    if (low < 0)
        return 1;
    row_of(p, c, low, &r);
    return r.time;
}

double pool_hope(const struct learner_pool *p)
{
    double best = 1;
    for (int i = 0; i < p->n; i++) {
        double time = hope_of(p, &p->candidate[i]);
        best = time < best ? time : best;
    }
    return best;
}

int64_t pool_newest(const struct learner_pool *p, int64_t *points)
{
    *points = p->n > 0 ? p->candidate[p->n - 1].points : 0;
    return p->n > 0 ? certificate_seen(p->candidate[p->n - 1].certificate) : 0;
}
