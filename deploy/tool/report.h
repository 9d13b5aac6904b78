/* report.h - what commands print with --json */
#ifndef FREEZELINE_REPORT_H
#define FREEZELINE_REPORT_H

#include <jansson.h>

#include "base/error.h"

/* A real; null where the number is not finite (JSON has none). */
json_t *report_number(double x);
/* Rounded to `digits` after the point: measured times need no seventeen digits. */
json_t *report_rounded(double x, int digits);
/* Adds blas_core, conv_engine and threads. */
void report_engine(json_t *object, int threads);
/* Prints `root` on stdout and drops it. FL_NOMEM when root is NULL, FL_IO when stdout is gone. */
int report_print(json_t *root, struct error *e);

#endif
