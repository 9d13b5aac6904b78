/* background.c - the least share of the processors, by process and by session */
#include "background.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "slice.h"

/* By sched(7): a session at 10 has a tenth of the weight of one at 0. At 19 it would have a seventieth: on a
 * host whose cores are never idle nothing would be learned, though it is there that early answers help most.
 */
#define PROCESS_NICE 19
#define SESSION_NICE 10

void background_enter(void)
{
    FILE *session = getsid(0) == getpid() ? fopen("/proc/self/autogroup", "we") : NULL;

    setpriority(PRIO_PROCESS, 0, PROCESS_NICE);
    slice_long();
    if (!session)
        return;
    fprintf(session, "%d", SESSION_NICE);
    fclose(session);
}
