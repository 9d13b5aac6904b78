/* certificate.c - counts per row as differences between rows, and for each budget the test of the first row
 * that does not hold yet
 *
 * Rows go from timid to bold, so an exit answers from some row on, and an audit splits the rows into as many
 * runs as exits answer. Only the ends of runs are written; the counts of `next` are kept summed up.
 */
#include "certificate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "betting.h"

struct walk {
    struct betting betting;
    int64_t next;             /* rows before it hold */
    struct gap_counts counts; /* of `next` */
};

struct certificate {
    int n_exits, n_walks;
    struct promise_terms terms;
    double delta;
    struct walk walk[PROMISE_LEVELS]; /* the first is of all the budget */
    int64_t rows;
    float *threshold;    /* [n_exits][rows]: an exit's never ascend */
    int64_t *lost, *won; /* [rows + 1]: more than at the row before */
    int64_t *answered;   /* [n_exits][rows + 1]: likewise */
};

/* --- rows --- */

static bool same_row(const struct promise_order *o, int n_exits, int64_t a, int64_t b)
{
    return memcmp(o->threshold + a * n_exits, o->threshold + b * n_exits, (size_t)n_exits * sizeof(float)) ==
           0;
}

/* The number of different rows; 0 with *ordered false: they do not go from timid to bold. */
static int64_t count_rows(const struct promise_order *o, int n_exits, bool *ordered)
{
    int64_t rows = 0;
    *ordered = true;
    for (int64_t row = 0; row < o->rows; row++) {
        const float *t = o->threshold + row * n_exits;
        for (int k = 0; k < n_exits; k++)
            *ordered = *ordered && !isnan(t[k]) && (row == 0 || t[k] <= t[k - n_exits]);
        rows += row == 0 || !same_row(o, n_exits, row, row - 1);
    }
    return rows;
}

/* Of `different` rows, those at equal distances. */
static void take_rows(struct certificate *c, const struct promise_order *o, int64_t different)
{
    int64_t taken = 0, found = -1;
    for (int64_t row = 0; row < o->rows && taken < c->rows; row++) {
        if (row > 0 && same_row(o, c->n_exits, row, row - 1))
            continue;
        if (++found < (c->rows > 1 ? taken * (different - 1) / (c->rows - 1) : 0))
            continue;
        for (int k = 0; k < c->n_exits; k++)
            c->threshold[k * c->rows + taken] = o->threshold[row * c->n_exits + k];
        taken++;
    }
}

int certificate_new(struct certificate **out, const struct promise_order *order, int n_exits,
                    const struct promise_terms *terms, double delta)
{
    bool ordered;
    struct certificate *c;
    int64_t different;
    size_t exits = (size_t)n_exits, rows;
    *out = NULL;
    if (!(delta > 0 && delta < 1) || !(terms->budget > 0 && terms->budget < 1) || n_exits < 0 ||
        n_exits > PIPELINE_MAX_EXITS)
        return FL_VALUE;
    different = count_rows(order, n_exits, &ordered);
    if (!ordered)
        return FL_VALUE;
    if ((c = calloc(1, sizeof *c)) == NULL)
        return FL_NOMEM;
    c->n_exits = n_exits;
    c->terms = *terms;
    c->delta = delta;
    certificate_add_level(c, terms->budget);
    c->rows = different < CERTIFICATE_ROWS ? different : CERTIFICATE_ROWS;
    rows = (size_t)c->rows + 1;
    c->threshold = calloc(rows * (exits + 1), sizeof *c->threshold);
    c->lost = calloc(rows * (exits + 2), sizeof *c->lost);
    if (c->threshold == NULL || c->lost == NULL) {
        certificate_free(c);
        return FL_NOMEM;
    }
    c->won = c->lost + rows;
    c->answered = c->won + rows;
    take_rows(c, order, different);
    *out = c;
    return FL_OK;
}

void certificate_add_level(struct certificate *c, double budget)
{
    struct walk *w = &c->walk[c->n_walks++];
    w->counts.may_win = !c->terms.agreement;
    betting_for_less(&w->betting, budget);
}

void certificate_free(struct certificate *c)
{
    if (c == NULL)
        return;
    free(c->threshold);
    free(c->lost);
    free(c);
}

/* --- audits --- */

int certificate_loss(bool agreement, int32_t served, int32_t full, int32_t truth)
{
    return agreement || truth < 0 ? served != full : (full == truth) - (served == truth);
}

/* The first row in which exit k answers with this confidence; c->rows: none. */
static int64_t first_row(const struct certificate *c, int k, float confidence)
{
    const float *threshold = c->threshold + k * c->rows;
    int64_t low = 0, high = c->rows;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (confidence > threshold[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Rows from `first` to `end` answer at exit k, with loss d. */
static void count_run(struct certificate *c, int64_t first, int64_t end, int k, int d)
{
    int64_t *count = d > 0 ? c->lost : c->won, *answered = c->answered + k * (c->rows + 1);
    answered[first]++;
    answered[end]--;
    if (d == 0)
        return;
    count[first]++;
    count[end]--;
    for (struct walk *w = c->walk; w < c->walk + c->n_walks; w++) {
        if (w->next < first || w->next >= end)
            continue;
        w->counts.lost += d > 0;
        w->counts.won += d < 0;
    }
}

static void go_on(const struct certificate *c, struct walk *w)
{
    while (w->next < c->rows && betting_reaches(&w->betting, &w->counts, log(1 / c->delta))) {
        w->next++;
        w->counts.lost += c->lost[w->next];
        w->counts.won += c->won[w->next];
    }
}

void certificate_see(struct certificate *c, const int32_t *label, const float *confidence, int32_t full,
                     int32_t truth)
{
    int64_t end = c->rows;
    if (full < 0)
        return;
    for (int i = 0; i < c->n_walks; i++)
        c->walk[i].counts.n++;
    for (int k = 0; k < c->n_exits && end > 0; k++) {
        int64_t first = label[k] >= 0 ? first_row(c, k, confidence[k]) : end;
        if (first >= end)
            continue;
        count_run(c, first, end, k, certificate_loss(c->terms.agreement, label[k], full, truth));
        end = first;
    }
    for (int i = 0; i < c->n_walks; i++)
        go_on(c, &c->walk[i]);
}

/* --- what they say --- */

int64_t certificate_rows(const struct certificate *c)
{
    return c->rows;
}

int64_t certificate_seen(const struct certificate *c)
{
    return c->walk[0].counts.n;
}

int64_t certificate_row(const struct certificate *c)
{
    return c->walk[0].next - 1;
}

int64_t certificate_level_row(const struct certificate *c, int level)
{
    int64_t next = level < c->n_walks ? c->walk[level].next : 0;
    return next < c->walk[0].next ? next - 1 : c->walk[0].next - 1;
}

int64_t certificate_ready_row(const struct certificate *c, int level)
{
    const struct walk *w = &c->walk[level < c->n_walks ? level : 0];
    struct gap_counts counts = w->counts;
    int64_t held = certificate_level_row(c, level);
    double enough = log(1 / c->delta);
    for (int64_t row = w->next - 1; row >= 0; row--) {
        counts.lost -= c->lost[row + 1];
        counts.won -= c->won[row + 1];
        if (row <= held && betting_reaches(&w->betting, &counts, enough))
            return row;
    }
    return -1;
}

float certificate_threshold(const struct certificate *c, int64_t row, int exit)
{
    return c->threshold[exit * c->rows + row];
}

static int64_t sum_to(const int64_t *change, int64_t row)
{
    int64_t sum = 0;
    for (int64_t i = 0; i <= row; i++)
        sum += change[i];
    return sum;
}

void certificate_counts(const struct certificate *c, int64_t row, struct certificate_row *out)
{
    int64_t answered = 0;
    *out = (struct certificate_row){.counts = c->walk[0].counts, .upper = NAN};
    out->counts.lost = sum_to(c->lost, row);
    out->counts.won = sum_to(c->won, row);
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++) {
        out->threshold[k] = k < c->n_exits ? certificate_threshold(c, row, k) : INFINITY;
        out->answered[k] = k < c->n_exits ? sum_to(c->answered + k * (c->rows + 1), row) : 0;
        answered += out->answered[k];
    }
    out->share = out->counts.n > 0 ? (double)answered / (double)out->counts.n : 0;
}
