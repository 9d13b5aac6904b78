/* alarm.h - whether the epoch that serves has come to lose more than its budget (an e-detector: Shin, Ramdas
 * and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2023)
 *
 * A test against "E[d] <= budget" that began with the epoch would have to make up for all the good audits
 * before a change. So the gamblers of betting.h begin anew again and again, each time with a part of the
 * stake that is left: all these parts together are 1 at most, so the sum of all wealth is above 1/delta at
 * any time, ever, with probability delta at most as long as no audit's mean loss is over the budget. A
 * gambler with larger bets wins or loses sooner and begins anew oftener. Memory is the same after any number
 * of audits.
 *
 * Thresholds may change while it watches, as long as they are chosen from audits before: d is what the
 * thresholds that are in force lose. So one alarm goes with a candidate (certificate.h) and all its rows.
 *
 * Nothing is allocated per audit. Pure, not for several threads.
 */
#ifndef FREEZELINE_ALARM_H
#define FREEZELINE_ALARM_H

#include <stdbool.h>
#include <stdint.h>

struct alarm;

/* `may_win`: d = -1 can happen (accuracy, and the truth of some audits is known). Without it changes are
 * noticed sooner, and d = -1 counts as 0. FL_VALUE when budget or delta are not within 0 and 1; FL_NOMEM. */
int alarm_new(struct alarm **out, double budget, double delta, bool may_win);
void alarm_free(struct alarm *a);

/* The loss of the next audit (certificate_loss). */
void alarm_see(struct alarm *a, int d);
/* Logarithm of the wealth now. */
double alarm_log_wealth(const struct alarm *a);
/* Whether the wealth ever reached 1/delta. */
bool alarm_raised(const struct alarm *a);
int64_t alarm_seen(const struct alarm *a);
/* Where the change seems to have begun: the number of the first audit (0, 1, ..) of those that the wealthiest
 * gambler blames now; once the alarm is raised, as it was then. */
int64_t alarm_since(const struct alarm *a);

#endif
