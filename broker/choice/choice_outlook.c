/* choice_outlook.c - what a variant would cost a request: time, accuracy, processors */
#include "choice_inside.h"

#include <math.h>

#include "base/clock.h"

#define TIME_SHARE 0.8 /* of a request's time that it may be expected to take */

double choice_expects(const struct choice *c, uint64_t now, int v, const struct choice_load *load)
{
    if (load[v].expects_ns)
        return (double)load[v].expects_ns;
    return pace_expects(&c->pace[v], now, load[v].ahead);
}

bool choice_in_time(const struct choice *c, uint64_t now, int v, const struct choice_load *load,
                    const struct choice_course *x)
{
    uint64_t end = x->began_ns + x->time_ns;
    return end > now && choice_expects(c, now, v, load) <= TIME_SHARE * (double)(end - now);
}

bool choice_strained(const struct choice *c, int v, const struct choice_course *x, double took_ns)
{
    double may = (double)x->time_ns;
    return took_ns > may && c->variant[v].ms * NS_PER_MS <= TIME_SHARE * may;
}

double choice_costs(const struct choice *c, int v)
{
    return fmax(0, c->variant[v].loss_upper);
}

bool choice_permits(struct choice *c, uint64_t now, int v, const struct choice_course *x)
{
    if (x->max_loss >= 0 && choice_costs(c, v) > x->max_loss)
        return false;
    return allowance_permits(&c->loss, now, choice_costs(c, v));
}

double choice_cpu_of(const struct choice *c, int v)
{
    const struct choice_variant *of = &c->variant[v];
    if (c->elsewhere >> v & 1)
        return 0;
    return of->cpu_s > 0 ? of->cpu_s : of->ms / 1e3;
}

uint32_t choice_ready(const struct choice *c, const struct choice_load *load)
{
    uint32_t mask = 0;
    for (int i = 0; i < c->n; i++)
        mask |= (uint32_t)load[i].ready << i;
    return mask;
}
