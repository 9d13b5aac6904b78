/* bench_table.h - a measurement on the terminal */
#ifndef FREEZELINE_BENCH_TABLE_H
#define FREEZELINE_BENCH_TABLE_H

#include "measurement.h"

/* What was sent and answered, latencies, exits, where the time went, and last whether it is valid. */
int bench_table_print(const struct measurement *m, struct error *e);

#endif
