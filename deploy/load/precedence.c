/* precedence.c - nice values and turns of threads (on Linux each thread has its own) */
#include "precedence.h"

#include <sys/resource.h>

#include "system/slice.h"

#define NICE_OF_SENDER (-10)

int precedence_raise(void)
{
    int before = getpriority(PRIO_PROCESS, 0);

    if (before > NICE_OF_SENDER)
        setpriority(PRIO_PROCESS, 0, NICE_OF_SENDER);
    slice_short(true);
    return before;
}

void precedence_restore(int before)
{
    setpriority(PRIO_PROCESS, 0, before);
    slice_short(false);
}
