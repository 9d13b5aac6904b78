/* variants_report.h - what was measured of variants, as a table, as JSON and as a picture */
#ifndef FREEZELINE_VARIANTS_REPORT_H
#define FREEZELINE_VARIANTS_REPORT_H

#include "cascade.h"

/* figures: where they were written. */
int variants_print(const struct measurements *m, const struct cascade *c, const char *figures,
                   struct error *e);
int variants_json(const struct measurements *m, const struct cascade *c, const char *figures, int threads,
                  struct error *e);
/* Accuracy (without labels, agreement) against latency, with the Pareto front. */
int variants_plot(const struct measurements *m, const struct cascade *c, const char *path, struct error *e);

#endif
