/* exit_times.h - what an exit costs and what it saves on this machine, one request on one
 * thread */
#ifndef FREEZELINE_EXIT_TIMES_H
#define FREEZELINE_EXIT_TIMES_H

#include "deploy/tool/progress.h"
#include "index/cache.h"
#include "extract.h"

struct exit_times {
    double network_ms;
    double before[PIPELINE_MAX_EXITS]; /* layers up to there, of the network's time */
    double lookup[PIPELINE_MAX_EXITS]; /* descriptor and look-up, of the network's time; 0 without a cache */
};

/* The least time of several requests for each part, which run as requests do: what other processes do
 * meanwhile counts little. `data` NULL: there are no caches yet, and where the file wants one the descriptor
 * is timed alone. `progress` NULL: it is not shown. */
int exit_times_measure(struct exit_times *out, const struct pipeline *p, const struct graph *g,
                       const struct placement *place, struct cache *const *cache,
                       const struct extracted *data, struct progress *progress, struct error *e);

/* A file of them, for the first n exits. FL_NOT_FOUND when it cannot be read, or is not one of n exits. */
int exit_times_load(struct exit_times *out, const char *path, int n);
/* Atomically. */
int exit_times_save(const struct exit_times *t, const char *path, int n, struct error *e);

#endif
