/* warmup.h - when has a server warmed up? Found from its latencies
 *
 * Latencies are put into windows of at least 32 requests and 100 ms. It is warm when the medians of three
 * windows in a row differ by no more than their noise: each pair's 95% intervals (order statistics) overlap,
 * or the medians are within 5% of one another. Pure: time comes in as an argument.
 */
#ifndef FREEZELINE_WARMUP_H
#define FREEZELINE_WARMUP_H

#include <stdbool.h>
#include <stdint.h>

#define WARMUP_WINDOWS     3
#define WARMUP_MAX_SAMPLES 4096 /* of a window: a full one ends */

struct warmup {
    struct warmup_window {
        double median, low, high;
    } window[WARMUP_WINDOWS]; /* the last ones, by number modulo WARMUP_WINDOWS */
    int64_t windows;
    uint64_t began_ns; /* of the window that is being filled */
    int n;
    double sample[WARMUP_MAX_SAMPLES];
};

/* Zeroed memory is a warm-up that has seen nothing. Notes one latency at a time (any clock that starts at or
 * after 0); true when the server is warm. */
bool warmup_note(struct warmup *w, uint64_t now_ns, uint64_t latency_ns);
/* True when enough was seen to tell, and the latency still changes. */
bool warmup_drifts(const struct warmup *w);

#endif
