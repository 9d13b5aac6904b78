/* bench_file.h - a bench document on disk: as JSON, and as CSV in perf_analyzer's columns */
#ifndef FREEZELINE_BENCH_FILE_H
#define FREEZELINE_BENCH_FILE_H

#include <jansson.h>

#include "base/error.h"

#define BENCH_FILE_MOST 8 /* to check at once */

/* Both replace a regular file in one step, so nobody reads half a report; devices, pipes and what a
 * link leads to are written straight. FL_IO when that fails (a full disk): nothing is left then. FL_NOMEM. */
int bench_file_write(const json_t *document, const char *path, struct error *e);
/* A row for the document, or for each rate of its sweep. Durations in us. Client Send, Server Compute Input
 * and Client Recv are 0: nothing is measured apart there. Network+Server Send/Recv is client, broker, wire,
 * serialisation and residual; Server Compute Output is what look-ups add. */
int bench_file_csv(const json_t *document, const char *path, struct error *e);
/* Whether all these can be written (NULLs are passed over), before anything long is done for them. FL_IO with
 * the one that cannot; FL_USAGE when two are the same file: the later would replace the earlier. */
int bench_file_check(const char *const *path, int n, struct error *e);
/* Any text, in the same way. */
int bench_file_replace(const char *text, size_t size, const char *path, struct error *e);

#endif
