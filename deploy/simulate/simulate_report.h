/* simulate_report.h - what `freezeline simulate` says */
#ifndef FREEZELINE_SIMULATE_REPORT_H
#define FREEZELINE_SIMULATE_REPORT_H

#include "simulate_search.h"

/* On stdout, and into the file `plot` as an SVG (NULL: no plot). FL_IO. */
int simulate_print(const struct search *s, const char *plot, bool json, struct error *e);

#endif
