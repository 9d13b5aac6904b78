/* tune.h - which recipe suits these points: several are tried on some of them
 *
 * Successive halving (Jamieson and Talwalkar 2016): all recipes teach on a few points, the better third on
 * three times as many. They are judged by points held out, by the area under the risk-coverage curve: what a
 * cache is for is to be right where it is sure.
 *
 * The budget is a share of the work of the training that follows, not of the clock, so that the same input
 * and seed choose the same recipe on every machine.
 */
#ifndef FREEZELINE_TUNE_H
#define FREEZELINE_TUNE_H

#include "net_train.h"

#define TUNE_RECIPES 9

/* Starts at `best` and replaces it. `t` is the training that the recipe is for; its own recipe, checkpoint
 * and phase's total do not count, progress tells how far the tuning is. `share` of that training's work is
 * spent, or less. *tried: recipes; 0 when the share is too small to tell them apart, and then `best` stays as
 * it was. FL_CANCELLED, FL_NOMEM. */
int tune(struct recipe *best, int *tried, const struct net_training *t, double share, struct error *e);

#endif
