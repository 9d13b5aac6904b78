/* status_sum.h - what several brokers say of themselves, put together as if they were one; pure
 *
 * Counts are added, and rates. A worker is as the first broker says that does not call it dead, with what all
 * have outstanding there. Each broker becomes a process of its own.
 */
#ifndef FREEZELINE_STATUS_SUM_H
#define FREEZELINE_STATUS_SUM_H

#include "wire/message.h"

/* Adds the reply of one more broker; *sum is zero before the first. */
void status_sum_add(struct status_reply *sum, const struct status_reply *s);

#endif
