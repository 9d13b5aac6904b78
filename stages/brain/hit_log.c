/* hit_log.c - a ring of hits */
#include "hit_log.h"

struct told_hit *hit_log_add(struct hit_log *l)
{
    return &l->hit[l->n++ % HIT_LOG];
}

const struct told_hit *hit_log_find(const struct hit_log *l, uint64_t request)
{
    for (unsigned k = 1; k <= HIT_LOG && k <= l->n; k++)
        if (l->hit[(l->n - k) % HIT_LOG].request == request)
            return &l->hit[(l->n - k) % HIT_LOG];
    return NULL;
}
