/* evidence.h - what the caches said about calibration points, and what is true of them: STATE/build/evidence,
 * and for verify-promise beside the caches that it is about
 *
 * All that choosing thresholds (promise.h) and checking a promise need, without descriptors or network.
 * Points are in random order, so any part of them is a sample of the whole.
 */
#ifndef FREEZELINE_EVIDENCE_H
#define FREEZELINE_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/pipeline.h"

struct evidence_exit {
    char name[64], kind[16];
    bool placed;       /* false: found not to pay, it answers nothing and costs nothing */
    bool ruled_out;    /* by an earlier plan: not to be considered again; not kept in files */
    bool by_half;      /* within half of the depth */
    double before;     /* time until a request is here, of the whole network's; without look-ups */
    double lookup;     /* time of descriptor and look-up, of the whole network's */
    int32_t *label;    /* [points]; negative: no verdict */
    float *confidence; /* [points] */
};

struct evidence {
    uint8_t identity[16];
    int n_exits; /* those with a cache, in the order of the network */
    int64_t points;
    double network_ms; /* the whole network on this machine; 0: not measured; not kept in files */
    struct evidence_exit exit[PIPELINE_MAX_EXITS];
    int32_t *full;  /* [points]: the model's own answers, in float32 */
    int32_t *last;  /* [points]: those of the network that serves in a lower precision; NULL: the same */
    int32_t *truth; /* [points]; NULL: the data have no labels */
};

/* Room for n_exits and points, all zero. FL_NOMEM. */
int evidence_new(struct evidence *out, int n_exits, int64_t points, bool truth);
/* Adds room for `last`. FL_NOMEM. */
int evidence_add_last(struct evidence *ev);
void evidence_release(struct evidence *ev);
/* Rows row[0..n) of `from`, which may repeat. FL_NOMEM. */
int evidence_take(struct evidence *out, const struct evidence *from, const int32_t *row, int64_t n);

/* XXH3-64 of all of it as a file. FL_NOMEM. */
int evidence_digest(const struct evidence *ev, uint64_t *out);
/* Atomically, with a checksum. */
int evidence_save(const struct evidence *ev, const char *path, struct error *e);
/* FL_NOT_FOUND, FL_CORRUPT, FL_STALE (another version; or identity where `identity` is not NULL), FL_NOMEM.
 */
int evidence_load(struct evidence *out, const char *path, const uint8_t *identity, struct error *e);

#endif
