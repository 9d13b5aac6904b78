/* members.h - predictors of one exit that were taught apart, as one
 *
 * Each begins elsewhere and sees the points in another order, so each errs elsewhere: the mean of their
 * scores is surer than any of them (Hansen and Salamon 1990). What is kept is a predictor like any other, as
 * wide as all of them together; where they are convolutions, each is a group of the map (index/map.h).
 */
#ifndef FREEZELINE_MEMBERS_H
#define FREEZELINE_MEMBERS_H

#include "net_train.h"

/* `of`: n of the same shape, about the same mean and scale. The scores of *out are the means of theirs;
 * shares of the held-out points are those of the first. FL_NOMEM. */
int members_join(struct trained *out, const struct trained *of, int n);

#endif
