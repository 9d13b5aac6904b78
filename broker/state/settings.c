/* settings.c - see settings.h */
#include "settings.h"

#include "sampling.h"

void settings_init(struct settings *s, const struct pipeline *p)
{
    struct trace_settings traces = settings_traces_of(p);
    atomic_init(&s->unloaded, false);
    settings_set_traces(s, &traces);
}

struct trace_settings settings_traces_of(const struct pipeline *p)
{
    return (struct trace_settings){p->traces.to != NULL, p->traces.share, -1};
}

struct trace_settings settings_traces(const struct settings *s)
{
    return (struct trace_settings){atomic_load(&s->traces), atomic_load(&s->trace_share),
                                   atomic_load(&s->traces_left)};
}

void settings_set_traces(struct settings *s, const struct trace_settings *t)
{
    atomic_store(&s->traces, t->on);
    atomic_store(&s->trace_share, t->share);
    atomic_store(&s->traces_left, t->left);
}

bool settings_draw_trace(struct settings *s, uint64_t id)
{
    int64_t left;
    if (!atomic_load(&s->traces) || !sampling_traces(id, atomic_load(&s->trace_share)))
        return false;
    left = atomic_load(&s->traces_left);
    while (left > 0 && !atomic_compare_exchange_weak(&s->traces_left, &left, left - 1))
        continue;
    return left != 0;
}
