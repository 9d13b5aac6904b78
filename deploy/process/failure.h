/* failure.h - why a start failed: what the logs and the broker say */
#ifndef FREEZELINE_FAILURE_H
#define FREEZELINE_FAILURE_H

#include <stdio.h>

#include "config/pipeline.h"

/* Prints the last `n` lines of a file, each after `prefix`. */
void failure_tail(const char *path, int n, const char *prefix, FILE *to);

/* What the log of a role gives as the last reason; "" when it has none. */
void failure_reason(const struct pipeline *p, const char *role, char *buf, size_t size);

/* The supervisor ended before the pipeline was ready: shows the last lines of the log of whoever was the
 * reason, and puts that reason into *e. Returns FL_UNAVAILABLE. */
int failure_explain(const struct pipeline *p, struct error *e);

/* Names the processes that are not ready, as the broker knows them: "stage1.0 is starting, ...". */
void failure_name_missing(const struct pipeline *p, char *buf, size_t size);

#endif
