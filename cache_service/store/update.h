/* update.h - one online update: what the exits saw of a request, and what the request turned out to be
 *
 * As a record (in the stream): magic "FLU2", then little-endian identity[16], request u64, moment u64, label
 * i32, truth i32, flags u32, n u32; for each of the n exits origin u64 and dim u32; then the numbers of all
 * exits in that order, float16. Records come from a Redis that others can write to, so decoding checks
 * everything: sizes, that no exit is there twice, that numbers are finite and labels no smaller than -1.
 *
 * One of them may be UPDATE_SCORES: no exit, but the network's own scores, which `learned` caches imitate.
 * A record without exits is feedback: the true label of a request, told after the fact; or, as UPDATE_LOST,
 * that an audit which an exit answered is lost: nobody will know whether that answer was right.
 */
#ifndef FREEZELINE_UPDATE_H
#define FREEZELINE_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/pipeline.h"

#define UPDATE_MAX_DIM    (16 * 1024 * 1024) /* numbers of all exits together */
#define UPDATE_AUDIT      1u              /* all layers ran, and every exit that has a descriptor told it */
#define UPDATE_LOST       2u              /* an audit, of which nothing more will come */
#define UPDATE_MIN_RECORD 52              /* bytes of a record without exits */
#define UPDATE_SCORES     0x7365726f6373u /* the origin that stands for them: "scores" */

struct update_exit {
    uint64_t origin; /* manifest_exit.origin */
    uint32_t dim;
    uint16_t *half; /* [dim], in the update's own block */
};

struct update {
    uint8_t identity[16];
    uint64_t request;
    uint64_t moment_ms;   /* wall clock, when the outcome was known */
    int32_t label, truth; /* of the full answer; what is right; -1: not known */
    uint32_t flags;
    int n;
    struct update_exit exit[PIPELINE_MAX_EXITS];
};

/* One with room for n exits of dim[i] numbers each (not filled), truth -1, else zero; one allocation. NULL
 * when out of memory or over a limit. */
struct update *update_new(int n, const uint32_t *dim);
void update_free(struct update *u); /* NULL is fine */
size_t update_bytes(const struct update *u);
/* Fills exit i. Numbers beyond float16 become its largest. FL_VALUE: one is not finite. */
int update_fill(struct update *u, int i, uint64_t origin, const float *x);
/* One update with the exits of parts[0..n), which have one each, and the network's scores where n_scores > 0
 * and there is a place for them; the rest is the first's. NULL: no memory. */
struct update *update_join(struct update *const *parts, int n, const uint16_t *scores, int n_scores);
/* Which exit has this origin; -1: none. */
int update_find(const struct update *u, uint64_t origin);
/* True for half of all requests, chosen by their ids alone: their audits plan orders of thresholds before
 * they teach; those of the others teach at once. */
bool update_certifies(uint64_t request);

/* A record as bytes, malloc'ed. */
struct update_record {
    void *bytes;
    size_t size;
};
/* FL_NOMEM. */
int update_encode(const struct update *u, struct update_record *out);
/* FL_CORRUPT when it is no record, FL_VALUE when a number or a label in it is none, FL_NOMEM. */
int update_decode(struct update **out, const void *data, size_t size);

#endif
