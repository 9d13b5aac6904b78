/* harm.h - from an exit's confidence to the probability that its answer is worse than the full one
 *
 * Platt scaling (Platt 1999; Newton with backtracking as Lin, Lin and Weng 2007). Pure.
 */
#ifndef FREEZELINE_HARM_H
#define FREEZELINE_HARM_H

#include <stdint.h>

struct harm {
    double a, b; /* 1 / (1 + exp(-(a + b x))); b < 0: it never grows with confidence */
};

double harm_at(struct harm h, double x);
/* x: confidences of n answers, on the scale that harm_at is asked on. target: 1 = worse than the full answer,
 * 0 = not; overwritten by (N+ + 1)/(N+ + 2) and 1/(N- + 2), which keep few examples from certainty. */
struct harm harm_fit(const double *x, double *target, int64_t n);

#endif
