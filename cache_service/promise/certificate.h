/* certificate.h - which thresholds of one candidate keep the promise, as audits come
 *
 * A candidate is fixed before the audits that it is shown: caches, and rows of thresholds from timid to bold.
 * Each row has the test of betting.h against "E[d] >= budget", so one may look after each audit. Rows are
 * tested in a fixed order (Learn then Test, Angelopoulos et al. 2021): a row holds when it and all rows
 * before it have reached 1/delta, so of all rows none that is over the budget ever holds, with probability 1
 * - delta. A row that held once holds, for the requests of that time: certificate_ready_row asks anew.
 *
 * `full` is what the network that serves answers. Where its precision is not that of the promise (evidence.h
 * `last`), its own loss is no part of d: terms->budget is then what promise_left_by_precision leaves
 * (promise.h).
 *
 * An audit costs a binary search per exit and one test: nothing is allocated. Pure, not for several threads.
 */
#ifndef FREEZELINE_CERTIFICATE_H
#define FREEZELINE_CERTIFICATE_H

#include "gap_bound.h"
#include "promise.h"

#define CERTIFICATE_ROWS 512 /* at most: more are thinned out evenly, first and last stay */

/* Smaller budgets may be certified beside terms->budget (promise_level), each by itself, by the same rows. */

struct certificate;

/* What audits say about one row. */
struct certificate_row {
    float threshold[PIPELINE_MAX_EXITS]; /* infinity: never answers */
    struct gap_counts counts;
    double upper; /* of E[d] at delta, at all times at once; the budget at most where the row holds */
    double share; /* answered early */
    int64_t answered[PIPELINE_MAX_EXITS];
};

/* Copies the order's rows, equal ones once. FL_VALUE when a threshold is NaN or a row is more timid than the
 * one before it, or terms and delta are out of range; FL_NOMEM. 0 < delta < 1. */
int certificate_new(struct certificate **out, const struct promise_order *order, int n_exits,
                    const struct promise_terms *terms, double delta);
/* One more budget, before the first audit: the next number from 1 on, at most PROMISE_LEVELS - 1 of them. */
void certificate_add_level(struct certificate *c, double budget);
void certificate_free(struct certificate *c);

/* One audit: what each exit said of it (label < 0 or a confidence that is NaN: no verdict), the network's
 * answer, and the truth (-1: not known). An audit without the network's answer (full < 0) is none. */
void certificate_see(struct certificate *c, const int32_t *label, const float *confidence, int32_t full,
                     int32_t truth);
/* The loss d of one audit that was answered with `served`. */
int certificate_loss(bool agreement, int32_t served, int32_t full, int32_t truth);

int64_t certificate_rows(const struct certificate *c);
int64_t certificate_seen(const struct certificate *c); /* audits */
/* The boldest row that holds; -1: none. Of a smaller budget: no bolder than that. */
int64_t certificate_row(const struct certificate *c);
int64_t certificate_level_row(const struct certificate *c, int level);
/* The boldest of these that may begin to serve: by all audits up to now its own test is at 1/delta, too.
 * Where requests are what they were that is the same but for chance; after a change, rows that held once may
 * lose too much by now. -1: none. */
int64_t certificate_ready_row(const struct certificate *c, int level);
/* row: 0 .. certificate_rows - 1. The bound is left out (NaN): betting_upper takes long. */
void certificate_counts(const struct certificate *c, int64_t row, struct certificate_row *out);
float certificate_threshold(const struct certificate *c, int64_t row, int exit);

#endif
