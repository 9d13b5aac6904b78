/* validation.h - what real processes did and what the simulation said they would, load by load */
#ifndef FREEZELINE_VALIDATION_H
#define FREEZELINE_VALIDATION_H

#include <stdbool.h>

#define VALIDATION_WAYS   12 /* of serving */
#define VALIDATION_LOADS  3
#define VALIDATION_PASSES 2 /* every load is served that often, the second time after all others */

/* One load in one pass. Pairs are measured, predicted. */
struct point {
    bool done;
    double rate;         /* 0: saturation */
    double offered;      /* what the drawn arrivals came to */
    double reference_ms; /* the model alone just before and after: the machine's speed */
    double p50[2], p99[2], throughput[2];
};

/* The same load in all passes. */
struct load {
    const char *shape;
    bool caches;
    struct point pass[VALIDATION_PASSES];
};

#define VALIDATION_POINTS (VALIDATION_WAYS * VALIDATION_LOADS)

/* A row for each load, means over its passes; then the median errors, and what a load differs from itself
 * from pass to pass, below which no prediction can be judged. To the terminal. Ends the program without
 * memory. */
void validation_print(const struct load load[VALIDATION_POINTS]);
/* Predicted over measured, all passes: p50 and p99, or the saturation throughput. Writes the file at `path`.
 */
void validation_draw(const struct load load[VALIDATION_POINTS], bool latency, const char *path);

#endif
