/* precedence.c - policies, nice values and turns of threads (on Linux each thread has its own) */
#include "precedence.h"

#include <sched.h>
#include <sys/resource.h>

#include "system/slice.h"

#define NICE_OF_SENDER     (-10)
#define PRIORITY_OF_SENDER 1 /* of the real-time ones the least: before all that are not */

static void set_policy(int policy, int priority)
{
    struct sched_param p = {.sched_priority = priority};
    sched_setscheduler(0, policy, &p);
}

int precedence_raise(void)
{
    int before = getpriority(PRIO_PROCESS, 0);

    if (before > NICE_OF_SENDER)
        setpriority(PRIO_PROCESS, 0, NICE_OF_SENDER);
    slice_short(true);
    set_policy(SCHED_FIFO, PRIORITY_OF_SENDER);
    return before;
}

void precedence_restore(int before)
{
    set_policy(SCHED_OTHER, 0);
    setpriority(PRIO_PROCESS, 0, before);
    slice_short(false);
}
