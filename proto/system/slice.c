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
#define LONG_NS  (4 * NS_PER_MS)   /* the usual is at most 3 */

/* struct sched_attr of linux/sched/types.h, which does not go together with older headers of libc. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static void slice_of(uint64_t ns)
{
    struct attributes a;
    memset(&a, 0, sizeof a);
    a.size = sizeof a;
    a.policy = SCHED_OTHER;
    a.nice = getpriority(PRIO_PROCESS, 0);
    a.runtime = ns; /* 0: the usual */
    if (sched_getscheduler(0) == SCHED_OTHER)
        syscall(SYS_sched_setattr, 0, &a, 0);
}

void slice_short(bool yes)
{
    slice_of(yes ? SHORT_NS : 0);
}

void slice_long(void)
{
    slice_of(LONG_NS);
}
