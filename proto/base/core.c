/* core.c - affinity, for a moment */
#include "core.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#define MOST_CPUS 4096

static void allow(pid_t thread, int cpu)
{
    cpu_set_t set[MOST_CPUS / CPU_SETSIZE];
    memset(set, cpu < 0 ? 0xff : 0, sizeof set);
    if (cpu >= 0)
        CPU_SET_S((size_t)cpu, sizeof set, set);
    sched_setaffinity(thread, sizeof set, set);
}

bool core_is_free(void)
{
    cpu_set_t set[MOST_CPUS / CPU_SETSIZE];
    memset(set, 0, sizeof set);
    return gettid() == getpid() && !sched_getaffinity(0, sizeof set, set) &&
           CPU_COUNT_S(sizeof set, set) == sysconf(_SC_NPROCESSORS_ONLN);
}

void core_pull(pid_t thread)
{
    int cpu = sched_getcpu();
    if (cpu >= 0)
        allow(thread, cpu);
}

void core_release(void)
{
    allow(0, -1);
}
