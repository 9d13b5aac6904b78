/* measured.h - what the simulation knows of a model on a machine, as a JSON file
 *
 * `freezeline simulate --measure` writes it; people may edit it. Nothing in it depends on how the model is
 * cut or where processes stand: times are those of the pieces between all cuts of the model, so one file
 * serves any number of stages and any cluster of such machines. A key of the file is the field's name; one
 * that ends with _us is in microseconds. "format" is freezeline-measured, "version" 1.
 */
#ifndef FREEZELINE_MEASURED_H
#define FREEZELINE_MEASURED_H

#include "base/digest.h"
#include "base/error.h"
#include "config/pipeline.h"
#include "deploy/data/dataset.h"

#define MEASURED_MAX_CUTS    512
#define MEASURED_MAX_RUNS    4096
#define MEASURED_MAX_BATCHES 8 /* sizes: 1, 2, 4, .. */
#define MEASURED_MAX_DRAWN   128
#define MEASURED_NAME_BYTES  128

#define MEASURED_ENVELOPE_BYTES 200 /* what a message has beside its payload, about */

struct measured_cut {
    char name[MEASURED_NAME_BYTES]; /* of the node it lies behind */
    double bytes;                   /* of one request's activation */
};

struct measured_batch {
    int batch, n_runs;
    double *us; /* [n_runs][n_cuts + 1]: one row per run, one column per piece. Owned */
};

struct measured_exit {
    char name[64], after[MEASURED_NAME_BYTES];
    double share; /* of all requests that it answered */
    double bytes; /* of a descriptor */
    double descriptor_us, lookup_us, lookup_row_us;
};

/* CPU time in us unless the name says otherwise. */
#define MEASURED_COSTS(X)                                                                                 \
    X(client_send)                                                                                        \
    X(client_receive)                                                                                     \
    X(client_watch)     /* before a request is due an open loop's client watches the clock for so long */ \
    X(background_cores) /* that processes and the client use without any request */                       \
    X(broker_request)                                                                                     \
    X(broker_result)                                                                                      \
    X(stage_receive)                                                                                      \
    X(stage_send)                                                                                         \
    X(stage_kilobyte) /* beside the fixed cost of a request that comes or goes: per 1000 bytes */         \
    X(stage_lookup)                                                                                       \
    X(stage_verdict)                                                                                      \
    X(stage_crowd_share) /* with all cores busy a batch computes so much / its rows longer, beside        \
                            all_busy: it waits for weights, once for all rows */                          \
    X(cache)             /* a look-up message and its verdict, beyond the cache itself */                 \
    X(io)                /* in the thread that moves bytes, at the sender and at the receiver: where      \
                            sockets do */                                                                 \
    X(io_kilobyte)                                                                                        \
    X(thread_switch) /* of a thread that was woken */                                                     \
    X(turn)          /* not CPU time: how long a thread that computes may have to wait for a core where   \
                        all are busy. Less than 100: none waits, they share */

struct measured_costs {
#define X(name) double name;
    MEASURED_COSTS(X)
#undef X
};

struct measured {
    char model[MEASURED_NAME_BYTES], machine[MEASURED_NAME_BYTES];
    char digest[DIGEST_TEXT_BYTES]; /* of the model's file */
    int threads, cores;
    double all_busy;     /* speed of each core when all compute, relative to one alone */
    double reference_us; /* one input through the whole model in one process, at the speed of this file */
    double input_bytes, answer_bytes;
    int n_cuts, n_batches, n_exits, n_wakes, n_colds;
    struct measured_cut cut[MEASURED_MAX_CUTS];
    struct measured_batch batch[MEASURED_MAX_BATCHES]; /* ascending, the first is 1 */
    struct measured_exit exit[PIPELINE_MAX_EXITS];
    struct measured_costs cost;
    double wake_us[MEASURED_MAX_DRAWN]; /* what waking one thread of an idle core takes, equally probable */
    double cold_share[MEASURED_MAX_DRAWN]; /* the first batch after a pause computes for so much longer */
};

/* Sends requests to the running pipeline p, so many in each phase, and times the model in this process,
 * `runs` times at each batch size. *out is owned by the caller. FL_UNAVAILABLE when p is not up here. */
int measured_make(struct measured **out, const struct pipeline *p, const struct dataset *data, int requests,
                  int runs, struct error *e);
/* Errors as json_file_load; FL_CONFIG with file and key when something is missing or makes no sense. */
int measured_load(struct measured **out, const char *path, struct error *e);
int measured_save(struct measured *m, const char *path, struct error *e);
/* Takes the exits' shares from a report of bench or eval (exits[] {name, share}); others answer nothing. */
int measured_take_shares(struct measured *m, const char *path, struct error *e);
void measured_free(struct measured *m);
/* Index of the cut behind the node of that name; -1: none. */
int measured_find_cut(const struct measured *m, const char *name);
/* What pieces first..last took in that run (modulo how many there are) of a batch, us. At a batch size that
 * was not measured: between the two nearest, or as the largest one per request. */
double measured_run_us(const struct measured *m, int rows, int run, int first, int last);
int measured_runs(const struct measured *m);                                      /* most of any batch size */
double measured_mean_us(const struct measured *m, int rows, int first, int last); /* of all runs */

#endif
