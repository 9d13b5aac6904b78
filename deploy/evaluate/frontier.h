/* frontier.h - what each kind of cache could trade: accuracy lost against time, and against answers by half
 * of the depth
 *
 * `build` keeps what the caches of each kind said about calibration data. From that comes one order of
 * thresholds from timid to bold for all exits together (promise_path). Other requests then go through the
 * model once and through every cache, and each step of the order is judged on them: how far to go is read off
 * these very requests, so a frontier shows what is in reach; what may be relied on is what a promise says.
 */
#ifndef FREEZELINE_FRONTIER_H
#define FREEZELINE_FRONTIER_H

#include <jansson.h>

#include "deploy/data/dataset.h"
#include "deploy/extract/extract.h"
#include "deploy/build/kinds.h"
#include "stages/place/placement.h"

#define FRONTIER_LOSSES 5

extern const double frontier_loss[FRONTIER_LOSSES]; /* at most so much: 0 to 0.02 */

/* Shares of the requests; loss of accuracy, or of agreement where the data have no labels. */
struct frontier_point {
    double loss, agreement, early, by_half;
    double time; /* mean, look-ups included, of the network's alone */
};

/* From no early answers to all that the order has. */
struct frontier_curve {
    int64_t n;
    struct frontier_point *point;
};

struct frontier_series {
    char name[16];                    /* a kind, or "as built": the kinds that the build chose */
    char skip[192];                   /* why there are no points; "" otherwise */
    struct frontier_curve fast, half; /* all exits that pay; those within half of the depth alone */
    double oracle;                    /* some cache within half of the depth has the full answer */
};

struct frontier {
    bool labelled;
    int classes; /* of the network: tells whose published figures stand beside it */
    int64_t requests;
    int n;
    struct frontier_series series[KINDS + 1];
    double network_ms;            /* for the report; NaN: not known */
    struct frontier_point served; /* with the thresholds of the build, as `eval` measured it */
};

struct frontier_input {
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct placement *placement;
    const struct dataset *data;
    int threads;
    rows_progress progress;
    void *progress_arg;
};

/* FL_NOT_FOUND when there is no evidence of a build, FL_STALE when it is another model's alone. */
int frontier_make(struct frontier *out, const struct frontier_input *in, struct error *e);
void frontier_release(struct frontier *f);
/* Of the points that lose at most `loss` the fastest; with `half` the one with most answers by half. */
const struct frontier_point *frontier_at(const struct frontier_curve *c, double loss, bool half);

int frontier_print(const struct frontier *f, struct error *e);
json_t *frontier_json(const struct frontier *f);
/* Two pictures in one SVG at `path`, whole or not at all. */
int frontier_plot(const struct frontier *f, const char *path, struct error *e);

#endif
