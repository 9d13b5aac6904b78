/* slice.c - the scheduler's turns */
#include "slice.h"

#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define SHORT_NS (100 * NS_PER_US) /* the least that the kernel takes */

/* struct sched_attr of linux/sched/types.h, which does not go together with older headers of libc. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

void slice_short(bool yes)
{
    struct attributes a;
    memset(&a, 0, sizeof a);
    a.size = sizeof a;
    a.policy = SCHED_OTHER;
    a.nice = getpriority(PRIO_PROCESS, 0);
    a.runtime = yes ? SHORT_NS : 0; /* 0: the usual */
    if (sched_getscheduler(0) == SCHED_OTHER)
        syscall(SYS_sched_setattr, 0, &a, 0);
}
