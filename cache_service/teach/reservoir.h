/* reservoir.h - requests that the learner keeps: descriptors of all exits, the network's answer, the true one
 *
 * One file of slots on the learner's own disk, so bytes are bounded and memory is flat however many records
 * come. A slot has one request with all its exits; records of several cache services that each know some
 * exits are joined by the request's id. Two parts:
 *   certifying: the newest audits whose id says so (update_certifies). They plan orders of thresholds.
 *   teaching: all others, among them older audits that have planned. Where it is full, the oldest of the most
 *   frequent class leaves first. What taught never plans again.
 *
 * Invariants: a record counts once, whatever comes twice (stream id, request and exit); what reservoir_sync
 * returned from is there after kill -9 or power failure, and what came later is as if it had never come:
 * acknowledge records after the sync. A slot that is half written is none.
 * Threads: all functions may be called by several; each holds the lock for one slot, reservoir_list longer.
 */
#ifndef FREEZELINE_RESERVOIR_H
#define FREEZELINE_RESERVOIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/pipeline.h"

struct update;
struct reservoir;

struct reservoir_setup {
    const char *path; /* the file; its folder exists */
    uint8_t identity[16];
    int classes; /* labels and truths are below */
    int n_exits; /* as the manifest numbers them */
    struct {
        uint64_t origin;
        uint32_t dim; /* 0: nothing is kept of this exit */
    } exit[PIPELINE_MAX_EXITS];
    bool scores; /* the network's are kept too, where records bring them (UPDATE_SCORES) */
    size_t most_bytes;
};
/* Stands for an exit: the network's scores [classes]. */
#define RESERVOIR_SCORES PIPELINE_MAX_EXITS

/* Opens what is there; a file of other exits, another network or size is started anew, and so is one that is
 * damaged. FL_CONFIG when most_bytes hold too few requests, FL_IO, FL_NOMEM. */
int reservoir_open(struct reservoir **out, const struct reservoir_setup *setup, struct error *e);
void reservoir_close(struct reservoir *r); /* without a sync; NULL is fine */

enum reservoir_what {
    RESERVOIR_KEPT,    /* the request is there, some of its exits are not known yet */
    RESERVOIR_WHOLE,   /* now all of its exits are known: once per request */
    RESERVOIR_TRUTH,   /* its true answer is known now */
    RESERVOIR_TWICE,   /* nothing new */
    RESERVOIR_LOST,    /* an audit that nobody will know more of: nothing is kept (UPDATE_LOST) */
    RESERVOIR_UNKNOWN, /* truth about a request that is not there */
    RESERVOIR_REFUSED, /* another network, a label that is no class, no exit that is known */
};
/* What is known of one request. */
struct reservoir_row {
    uint64_t request, moment_ms;
    int32_t label, truth;                 /* truth -1: not known */
    bool audit, certifies, whole, scored; /* scored: its scores are there */
    int32_t slot;
};
/* Takes record `u`, whose place in the stream is `id` ("MS-N"; ids ascend, one that is not above the last is
 * RESERVOIR_TWICE). `row` gets the request for KEPT, WHOLE and TRUTH, for LOST one without a slot (-1). FL_IO
 * (disk full, and so on: nothing was taken), FL_VALUE when `id` is none. */
int reservoir_add(struct reservoir *r, const struct update *u, const char *id, enum reservoir_what *what,
                  struct reservoir_row *row, struct error *e);
/* Returns when all that was added is on disk. FL_IO. */
int reservoir_sync(struct reservoir *r, struct error *e);

/* The largest candidate number that was ever used here: it survives like records do. */
uint64_t reservoir_candidate(const struct reservoir *r);
void reservoir_set_candidate(struct reservoir *r, uint64_t number);

struct reservoir_counts {
    int64_t seen;                 /* records ever, this process */
    int64_t refused;              /* of them */
    int64_t truths;               /* taken */
    int64_t teaching, certifying; /* requests that are there */
    size_t bytes;                 /* of the file */
};
struct reservoir_counts reservoir_counts(const struct reservoir *r);

/* Whole requests of one part from the moment since_ms on, in the order in which they came. *rows is
 * malloc'ed, the caller's; n requests. FL_NOMEM. */
int reservoir_list(struct reservoir *r, bool certifying, uint64_t since_ms, struct reservoir_row **rows,
                   int64_t *n);
/* The descriptor of `exit` (or the scores) as floats [dim]; false when the request is no longer there, or
 * never was. */
bool reservoir_read(struct reservoir *r, const struct reservoir_row *row, int exit, float *out);

#endif
