/* measurement.h - one load on one configuration, and what came of it */
#ifndef FREEZELINE_MEASUREMENT_H
#define FREEZELINE_MEASUREMENT_H

#include "configuration.h"
#include "deploy/load/load.h"
#include "watch.h"

#define MEASUREMENT_DOUBTS  12
#define MEASUREMENT_WARM_UP 10.0 /* s, at most */

struct measurement;

struct measurement_options {
    const struct dataset *data;
    const char *data_spec;
    const char *traffic;      /* as traffic_new takes it */
    struct traffic *going_on; /* NULL: one of its own, by `traffic` and `seed`. Borrowed */
    const char *arrivals;     /* as arrivals_new takes it; NULL: closed loop */
    double rate;
    int closed, group;
    double duration_s;
    int64_t requests;
    double warmup_s;
    int deadline_ms;
    uint64_t seed;
    const char *scenario; /* its name; NULL or "": none */
    bool watch;           /* look at the pipeline's processes */
    FILE *labels;         /* of the answers that count, for `feedback`; NULL: none. Borrowed */
    double trace_share;   /* of the requests that count: traced */
    char phase[64];       /* for who watches */
    /* A few times a second; non-zero stops it. NULL: none. */
    int (*tick)(void *arg, const struct measurement *so_far, double seconds);
    void *arg;
};

struct measurement {
    const struct configuration *of;
    struct measurement_options options;
    char started[32]; /* "2026-01-02T03:04:05Z" */
    char traffic[32], arrivals[16];
    double zipf_s, rate; /* rate: as offered by plan; 0 in a closed loop */
    struct tally *tally;
    struct load_outcome outcome;
    struct watch *watch;         /* stopped; NULL: there was none */
    bool reloaded;               /* the pipeline was, while it counted */
    double server_cpu_s, joules; /* of the server while counting; NaN: not known */
    int n_doubts;
    char doubt[MEASUREMENT_DOUBTS][160]; /* why the figures are not to be trusted */
};

/* Runs it. Borrows `of` and what the options point to. Close after a failure too. */
int measurement_run(struct measurement *m, const struct configuration *of,
                    const struct measurement_options *o, struct error *e);
void measurement_close(struct measurement *m);
/* Adds what another run of the same configuration counted, time line and processes apart; judges anew. */
void measurement_merge(struct measurement *to, const struct measurement *from);

/* Requests per second that were due (NaN in a closed loop, where none is due, and where all were at once),
 * and that were answered while they were sent and waited for. */
double measurement_offered(const struct measurement *m);
double measurement_achieved(const struct measurement *m);
/* Of these, those within the deadline. */
double measurement_goodput(const struct measurement *m);

/* Fills doubt[]: looks at tally, outcome and what was loaded. */
void measurement_judge(struct measurement *m);

/* {"mean", "min", "p50", ..., "max", "interval": {"p50": [low, high], ...}} in ms; null where nothing was
 * recorded, and for a side of an interval that so few samples do not bound. */
json_t *measurement_latency(const struct histogram *h);
/* [{"t", "text"}]: what happened to the pipeline's processes, and when errors began, in s after what counts
 * did.
 */
json_t *measurement_events(const struct measurement *m);
/* The document of deploy/report/DOCUMENT.md. NULL without memory. */
json_t *measurement_document(const struct measurement *m);

#endif
