/* bench_csv.h - a bench document as CSV, in perf_analyzer's columns */
#ifndef FREEZELINE_BENCH_CSV_H
#define FREEZELINE_BENCH_CSV_H

#include <jansson.h>

#include "base/error.h"

/* A row for the document, or for each rate of its sweep. Durations in us. Client Send, Server Compute Input
 * and Client Recv are 0: nothing is measured apart there. Network+Server Send/Recv is client, broker, wire,
 * serialisation and residual; Server Compute Output is what look-ups add. Errors as output_write. */
int bench_csv_write(const json_t *document, const char *path, struct error *e);

#endif
