/* ranking.h - variants by their measured figures: which is better in what, and whether any meets a budget
 */
#ifndef FREEZELINE_RANKING_H
#define FREEZELINE_RANKING_H

#include "choice.h"

struct ranking {
    int by_quality[CHOICE_MAX]; /* the most accurate first, those that others surpass in everything last */
    int by_time[CHOICE_MAX];    /* the quickest first */
    int n_useful;               /* how many no other one surpasses in everything */
};

/* Figures and names in their ranges. FL_VALUE. */
int ranking_check(const struct choice_variant *v, int n, struct error *e);
void ranking_make(struct ranking *out, const struct choice_variant *v, int n);
/* Some variant is within each bound, and one within those of accuracy and latency together. FL_VALUE. */
int ranking_meets(const struct ranking *r, const struct choice_variant *v, int n,
                  const struct choice_budget *b, struct error *e);

#endif
