/* pace.c - running estimates of times, and the load's pressure */
#include "pace.h"

#include <math.h>

#include "base/clock.h"

#define WEIGHT     (1.0 / 8)
#define QUICK_DOWN 0.05 /* alone_ns follows a low quantile */
#define QUICK_UP   0.005
#define FORGETS_S  1.0 /* half of what the load added */

void pace_init(struct pace *p, double measured_ns)
{
    *p = (struct pace){measured_ns, measured_ns, measured_ns, 0};
}

static double place(const struct pace *p, uint64_t now)
{
    double s = now > p->learned_ns ? (double)(now - p->learned_ns) / NS_PER_S : 0;
    return p->measured_ns + (p->place_ns - p->measured_ns) * exp2(-s / FORGETS_S);
}

double pace_expects(const struct pace *p, uint64_t now, uint32_t ahead)
{
    return fmax(p->alone_ns, (ahead + 1.0) * place(p, now));
}

void pace_learn(struct pace *p, uint64_t now, uint32_t ahead, double took_ns)
{
    double each = took_ns / (ahead + 1.0), was = place(p, now);
    p->place_ns = was + (each - was) * (p->learned_ns ? WEIGHT : 1);
    p->learned_ns = now;
    if (!(p->alone_ns > 0) || took_ns < p->alone_ns)
        p->alone_ns = p->alone_ns > 0 ? fmax(took_ns, p->alone_ns * (1 - QUICK_DOWN)) : took_ns;
    else
        p->alone_ns = fmin(took_ns, p->alone_ns * (1 + QUICK_UP));
}

double pressure_level(const struct pressure *p, uint64_t now)
{
    double s = now > p->at_ns ? (double)(now - p->at_ns) / NS_PER_S : 0;
    return fmax(0, p->level - s / PRESSURE_EASES_S);
}

void pressure_felt(struct pressure *p, uint64_t now, uint64_t began_ns)
{
    if (began_ns < p->raised_ns)
        return;
    p->level = fmin(p->most, pressure_level(p, now) + PRESSURE_STEP);
    p->raised_ns = p->at_ns = now;
}
