/* harm.c - logistic regression of one variable */
#include "harm.h"

#include <math.h>
#include <stdbool.h>

#define NEWTON_STEPS 50

double harm_at(struct harm h, double x)
{
    return 1 / (1 + exp(-(h.a + h.b * x)));
}

static double log_loss(struct harm h, const double *x, const double *target, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double z = h.a + h.b * x[i];
        sum += (z > 0 ? z + log1p(exp(-z)) : log1p(exp(z))) - target[i] * z;
    }
    return sum;
}

/* One step of Newton's method, halved until the loss falls. False: it is at its minimum. */
static bool improve(struct harm *h, const double *x, const double *target, int64_t n)
{
    double ga = 0, gb = 0, haa = 1e-9, hab = 0, hbb = 1e-9, det, now = log_loss(*h, x, target, n);
    for (int64_t i = 0; i < n; i++) {
        double p = harm_at(*h, x[i]), r = p - target[i], w = p * (1 - p);
        ga += r;
        gb += r * x[i];
        haa += w;
        hab += w * x[i];
        hbb += w * x[i] * x[i];
    }
    det = haa * hbb - hab * hab;
    if (!(det > 0))
        return false;
    for (double step = 1; step > 1e-6; step /= 2) {
        struct harm next = {h->a - step * (hbb * ga - hab * gb) / det,
                            h->b - step * (haa * gb - hab * ga) / det};
        double loss = log_loss(next, x, target, n);
        if (loss < now - 1e-10) {
            *h = next;
            return true;
        }
    }
    return false;
}

struct harm harm_fit(const double *x, double *target, int64_t n)
{
    double harmful = 0, high, low;
    struct harm h = {0, 0};
    for (int64_t i = 0; i < n; i++)
        harmful += target[i];
    high = (harmful + 1) / (harmful + 2);
    low = 1 / ((double)n - harmful + 2);
    for (int64_t i = 0; i < n; i++)
        target[i] = target[i] > 0 ? high : low;
    h.a = log((harmful + 1) / ((double)n - harmful + 1));
    for (int k = 0; k < NEWTON_STEPS && improve(&h, x, target, n); k++)
        ;
    if (h.b > -1e-3)
        h.b = -1e-3;
    return h;
}
