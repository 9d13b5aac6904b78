/* tune.c - recipes against one another */
#include "tune.h"

#include <math.h>
#include <stdlib.h>

#define KEPT     3    /* one in so many goes on to the next round */
#define LEAST    4000 /* points (or as many seen again) that tell recipes apart: some 20 steps */
#define HELD_OUT 0.25f

struct trial {
    struct recipe recipe;
    double risk;
};

struct tuner {
    const struct net_training *t;
    struct trial trial[TUNE_RECIPES];
    int n;                   /* trials left, the best first */
    int64_t spent, to_spend; /* points shown, to be shown */
};

/* The middle one is what is known to do well elsewhere. */
static void list_recipes(struct tuner *u, const struct recipe *from)
{
    static const float rate[] = {1.0f / 3, 1, 3}, drop[] = {1, 0, 2};
    for (int i = 0; i < TUNE_RECIPES; i++) {
        struct trial *t = &u->trial[u->n++];
        t->recipe = *from;
        t->recipe.rate *= rate[i / 3];
        t->recipe.drop = fminf(0.8f, from->drop * drop[i % 3]);
        t->recipe.drop_input = fminf(0.8f, from->drop_input * drop[i % 3]);
        t->recipe.held_out = HELD_OUT;
    }
}

static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    const struct tuner *u = arg;
    (void)total;
    return u->t->progress != NULL &&
           u->t->progress(u->t->progress_arg, phase, u->spent + done, u->to_spend, number) != 0;
}

/* Teaches on `points`, some of them more than once where there are fewer. A recipe that diverges is the
 * worst.
 */
static int try_recipe(struct tuner *u, struct trial *trial, int64_t points, struct error *e)
{
    struct net_training t = *u->t;
    struct trained learned;
    int rc;
    t.limit = points < t.rows->rows ? points : t.rows->rows;
    t.recipe = trial->recipe;
    t.recipe.epochs = (int)((points + t.limit - 1) / t.limit);
    t.checkpoint = NULL;
    t.progress = on_progress;
    t.progress_arg = u;
    rc = net_train(&learned, &t, e);
    trial->risk = rc == FL_OK ? learned.held_out_risk : INFINITY;
    if (rc == FL_OK)
        trained_release(&learned);
    u->spent += points;
    return rc == FL_VALUE ? FL_OK : rc;
}

static int by_risk(const void *a, const void *b)
{
    double x = ((const struct trial *)a)->risk, y = ((const struct trial *)b)->risk;
    return x < y ? -1 : x > y;
}

static int run_round(struct tuner *u, int64_t points, struct error *e)
{
    int rc = FL_OK;
    for (int i = 0; i < u->n && rc == FL_OK; i++)
        rc = try_recipe(u, &u->trial[i], points, e);
    qsort(u->trial, (size_t)u->n, sizeof *u->trial, by_risk);
    return rc;
}

int tune(struct recipe *best, int *tried, const struct net_training *t, double share, struct error *e)
{
    struct tuner u = {.t = t};
    /* Both rounds show the same number of points. */
    int64_t points = (int64_t)(share * (double)t->rows->rows * best->epochs / 2 / TUNE_RECIPES);
    int rc;
    *tried = 0;
    if (points < LEAST)
        return FL_OK;
    list_recipes(&u, best);
    u.to_spend = 2 * TUNE_RECIPES * points;
    if ((rc = run_round(&u, points, e)) != FL_OK)
        return rc;
    u.n /= KEPT;
    if ((rc = run_round(&u, KEPT * points, e)) != FL_OK)
        return rc;
    *tried = TUNE_RECIPES;
    best->rate = u.trial[0].recipe.rate;
    best->drop = u.trial[0].recipe.drop;
    best->drop_input = u.trial[0].recipe.drop_input;
    return FL_OK;
}
