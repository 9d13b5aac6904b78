/* pace.c - running estimates of times */
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

/* What was learned of late goes back to what was measured. */
static double of_late(const struct pace *p, double ns, uint64_t now)
{
    double s = now > p->learned_ns ? (double)(now - p->learned_ns) / NS_PER_S : 0;
    return p->measured_ns + (ns - p->measured_ns) * exp2(-s / FORGETS_S);
}

double pace_expects(const struct pace *p, uint64_t now, uint32_t ahead)
{
    return fmax(of_late(p, p->alone_ns, now), (ahead + 1.0) * of_late(p, p->place_ns, now));
}

void pace_learn(struct pace *p, uint64_t now, uint32_t ahead, double took_ns)
{
    double each = took_ns / (ahead + 1.0), was = of_late(p, p->place_ns, now);
    p->place_ns = was + (each - was) * (p->learned_ns ? WEIGHT : 1);
    p->alone_ns = of_late(p, p->alone_ns, now);
    p->learned_ns = now;
    if (!(p->alone_ns > 0) || took_ns < p->alone_ns)
        p->alone_ns = p->alone_ns > 0 ? fmax(took_ns, p->alone_ns * (1 - QUICK_DOWN)) : took_ns;
    else if (!ahead)
        p->alone_ns = fmin(took_ns, p->alone_ns * (1 + QUICK_UP));
}
