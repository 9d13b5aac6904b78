/* stage_load.c - windows of a stage worker's time */
#include "stage_load.h"

#include "base/clock.h"

#define WINDOW_NS (2 * NS_PER_S)

void stage_load_begin(struct stage_load *l, uint64_t now)
{
    l->mark_ns = now;
}

void stage_load_end(struct stage_load *l, uint64_t now)
{
    if (l->mark_ns)
        l->busy_ns += now - l->mark_ns;
    l->mark_ns = 0;
}

void stage_load_waited(struct stage_load *l, uint64_t ns)
{
    l->waited_ns += ns;
}

bool stage_load_due(const struct stage_load *l, uint64_t now)
{
    return now - l->since_ns >= WINDOW_NS;
}

static uint32_t thousandths(uint64_t ns, uint64_t of_ns)
{
    uint64_t n = ns / (of_ns / 1000);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

void stage_load_tell(struct stage_load *l, uint64_t idle_ns, uint64_t now, struct heartbeat *out)
{
    uint64_t window = now - l->since_ns, busy = l->busy_ns + (l->mark_ns ? now - l->mark_ns : 0);
    if (l->since_ns) {
        out->busy = thousandths(busy, window);
        out->waiting = thousandths(l->waited_ns, window);
        out->idle = idle_ns > l->idle_ns ? thousandths(idle_ns - l->idle_ns, window) : 0;
    }
    *l = (struct stage_load){.since_ns = now, .idle_ns = idle_ns, .mark_ns = l->mark_ns ? now : 0};
}
