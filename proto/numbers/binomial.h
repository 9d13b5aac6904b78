/* binomial.h - X of n independent tries that each succeed with probability p: exact. Pure. */
#ifndef FREEZELINE_BINOMIAL_H
#define FREEZELINE_BINOMIAL_H

/* P(X = k). 0 < p < 1. */
double binomial_mass(double n, double k, double p);
/* P(X >= k) of any k, from the side on which less is left. */
double binomial_tail(double n, double k, double p);
/* The largest p with which k or fewer successes are not less probable than delta (Clopper and Pearson 1934):
 * the true one is below it with certainty 1 - delta. 1 when k = n. */
double binomial_upper(double n, double k, double delta);
/* Likewise the smallest p; 0 when k = 0. */
double binomial_lower(double n, double k, double delta);

#endif
