/* choice_cascade.c - a small variant first, the best one for what it is unsure of */
#include "choice_inside.h"

#include <math.h>

int choice_last_of_cascade(const struct choice *c)
{
    return c->rank.by_quality[0];
}

int choice_next_of_cascade(const struct choice *c, uint32_t mask)
{
    int last = choice_last_of_cascade(c);
    for (int i = 0; i < c->n; i++) {
        int v = c->rank.by_time[i];
        if ((mask >> v & 1) && v != last && isfinite(c->variant[v].sure))
            return v;
    }
    return mask >> last & 1 ? last : -1;
}

/* Where there is time for the last one, but not for any other before it, it is asked at once. */
uint32_t choice_begin_cascade(struct choice *c, uint64_t now, const struct choice_load *load,
                              struct choice_course *x)
{
    uint32_t ready = choice_ready(c, load);
    int last = choice_last_of_cascade(c), first = choice_next_of_cascade(c, ready);

    paging_wished(&c->paging, now, (1u << c->n) - 1);
    if (first < 0)
        return 0;
    if ((ready >> last & 1) && choice_in_time(c, now, last, load, x) &&
        choice_expects(c, now, first, load) + choice_expects(c, now, last, load) > (double)x->time_ns)
        first = last;
    return 1u << first;
}

int choice_unsure(struct choice *c, uint64_t now, const struct choice_course *x)
{
    for (int i = 0; i < c->n; i++) {
        int v = c->rank.by_quality[i];
        if (x->came >> v & 1)
            return choice_permits(c, now, v, x) ? v : -1;
    }
    return -1;
}
