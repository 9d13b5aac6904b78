/* http_counts.h - what HTTP itself counts; Triton's statistics of it. Pure but for the clock of exemplars. */
#ifndef FREEZELINE_HTTP_COUNTS_H
#define FREEZELINE_HTTP_COUNTS_H

#include "broker/page/metrics_text.h"
#include "broker/state/settings.h"
#include "http_call.h"

void metrics_count(struct http_counts *h, int status);
/* An inference has its reply after so long. */
void metrics_took(struct http_counts *h, const struct settings *s, const struct http_call *c, uint64_t ns);

/* Triton's statistics of the model: of what came over HTTP. */
void metrics_stats_text(struct json_text *out, const struct pipeline *p, const struct http_counts *h);

#endif
