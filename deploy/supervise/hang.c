/* hang.c - silence, step by step */
#include "hang.h"

bool hang_look(struct hang *h, int64_t pid, bool silent, uint64_t now, uint64_t limit_ns)
{
    uint64_t step = now > h->looked_ns ? now - h->looked_ns : 0;
    bool goes_on = silent && h->looked_ns && h->pid == pid;

    h->silent_ns = goes_on ? h->silent_ns + (step < HANG_STEP_NS ? step : HANG_STEP_NS) : 0;
    h->looked_ns = silent ? now : 0;
    h->pid = pid;
    return silent && h->silent_ns >= limit_ns;
}
