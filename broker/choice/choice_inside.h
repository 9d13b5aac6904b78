/* choice_inside.h - the insides of the choice, for the choice*.c files alone
 *
 * The files stand here lowest first: each calls only those above it, and choice.c calls all of them.
 */
#ifndef FREEZELINE_CHOICE_INSIDE_H
#define FREEZELINE_CHOICE_INSIDE_H

#include "allowance.h"
#include "bandit.h"
#include "choice.h"
#include "numbers/shuffle.h"
#include "pace.h"
#include "paging.h"
#include "processors.h"
#include "ranking.h"
#include "recollection.h"

struct counted {
    uint64_t asked, served, failed, late;
    struct allowance hour; /* how many it served; they cost nothing here */
};

struct choice {
    int n;
    struct choice_variant variant[CHOICE_MAX];
    struct choice_budget budget;
    struct shuffle draw;
    struct ranking rank;
    struct allowance loss;
    struct pace pace[CHOICE_MAX];
    struct processors processors;
    uint32_t elsewhere; /* mask of variants that do not run on these */
    double between;     /* of two levels of quality: carries over what a whole step left */
    double cpu_s;       /* that may be used now */
    uint64_t cpu_ns;
    struct paging paging;
    struct bandit bandit;
    struct counted counted[CHOICE_MAX];
    uint64_t feedback_taken, feedback_unknown;
    struct recollection remembered[RECOLLECTION_MOST];
};

/* choice_outlook.c: what a variant would cost a request, in time and in accuracy */

/* How long one more is expected to take, ns. */
double choice_expects(const struct choice *c, uint64_t now, int v, const struct choice_load *load);
/* .. which leaves enough of x's time. */
bool choice_in_time(const struct choice *c, uint64_t now, int v, const struct choice_load *load,
                    const struct choice_course *x);
/* It took, or would take, so long, though alone it would have been in time. */
bool choice_strained(const struct choice *c, int v, const struct choice_course *x, double took_ns);
/* Points of accuracy that an answer of v costs at most. */
double choice_costs(const struct choice *c, int v);
/* The request allows that, and what is left of the hour's budget does. */
bool choice_permits(struct choice *c, uint64_t now, int v, const struct choice_course *x);
/* Seconds of the processors that the variants share. */
double choice_cpu_of(const struct choice *c, int v);
uint32_t choice_ready(const struct choice *c, const struct choice_load *load);

/* choice_budget.c: under budgets */

/* Of those of `ready` that are permitted, from rank `from` on: the most accurate one that is in time, else
 * the quickest. Where there is none and `any`, the cheapest of those passed over; else the most accurate:
 * accuracy goes first. -1: none. */
int choice_pick(struct choice *c, uint64_t now, uint32_t ready, const struct choice_load *load,
                const struct choice_course *x, int from, bool any);
uint32_t choice_begin_by_budget(struct choice *c, uint64_t now, const struct choice_load *load,
                                struct choice_course *x);
/* Processor time comes; v takes some. */
void choice_cpu_comes(struct choice *c, uint64_t now);
void choice_cpu_goes(struct choice *c, uint64_t now, int v);

/* choice_cascade.c: the quickest first, the next one where it is unsure */

int choice_last_of_cascade(const struct choice *c);
/* The next one of the cascade, the quickest first, of `mask`. -1: none. */
int choice_next_of_cascade(const struct choice *c, uint32_t mask);
uint32_t choice_begin_cascade(struct choice *c, uint64_t now, const struct choice_load *load,
                              struct choice_course *x);
/* Whose unsure answer is the best of those that are there, where the budget permits it. -1: none. */
int choice_unsure(struct choice *c, uint64_t now, const struct choice_course *x);

/* choice_feedback.c: by true labels */

/* Those ready ones that can answer in time; if none can, the quickest. */
uint32_t choice_timely(const struct choice *c, uint64_t now, const struct choice_load *load,
                       const struct choice_course *x);
/* One of the mask. */
uint32_t choice_draw(struct choice *c, uint64_t now, uint32_t mask, struct choice_course *x);

#endif
