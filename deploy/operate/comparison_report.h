/* comparison_report.h - a comparison for people, and for programs */
#ifndef FREEZELINE_COMPARISON_REPORT_H
#define FREEZELINE_COMPARISON_REPORT_H

#include <jansson.h>

#include "pair_comparison.h"

void comparison_print(const struct comparison *c);
/* What is measured, each with its bounds and its limit. Owned. */
json_t *comparison_measures(const struct comparison *c);
/* Adds `pairs`, `now`, `next`, `agreed` and `measures` to a report. */
void comparison_report(const struct comparison *c, json_t *root);

#endif
