/* simulate_report.h - what `freezeline simulate` says */
#ifndef FREEZELINE_SIMULATE_REPORT_H
#define FREEZELINE_SIMULATE_REPORT_H

#include "simulate_search.h"

struct simulate_report {
    const struct search *search;
    double target_ms; /* of a search; 0: none */
    const char *plot; /* SVG; NULL: none */
    bool json;
};

int simulate_print(const struct simulate_report *r, struct error *e);

#endif
