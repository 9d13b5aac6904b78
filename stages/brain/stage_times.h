/* stage_times.h - where the time of the batch in hand goes, and what is noted of its traced requests
 *
 * The parts of a batch's time follow one another without a gap. Pure.
 */
#ifndef FREEZELINE_STAGE_TIMES_H
#define FREEZELINE_STAGE_TIMES_H

#include "stage_rows.h"
#include "stage_talk.h"
#include "wire/span_log.h"

struct stage_times {
    const struct stage_talk *talk; /* borrowed: whose clock spans are noted in, who this is */
    int formed;                    /* rows that the batch was formed with */
    uint64_t formed_ns;
    uint64_t lap_ns; /* when the last part ended */
    uint64_t compute_ns, lookup_ns, serialise_ns;
    int traced;                                  /* rows whose spans are noted; 0 costs nothing more */
    struct span_log spans[PIPELINE_MAX_BROKERS]; /* of the requests of each broker */
};

void stage_times_init(struct stage_times *t, const struct stage_talk *talk);
void stage_times_free(struct stage_times *t); /* zeroed memory is fine */

/* A batch was formed at `now`. */
void stage_times_begin(struct stage_times *t, struct stage_rows *rows, uint64_t now);
/* Ends a part at `now`: the time since the last one ended goes to the part that `kind` belongs to, and is
 * noted for traced rows that run. */
uint64_t stage_times_lap(struct stage_times *t, struct stage_rows *rows, enum span_kind kind, int exit,
                         uint64_t now);
/* Into *out: the way of r so far, with this stage's entry up to the last lap. */
void stage_times_fill(const struct stage_times *t, const struct stage_row *r, uint64_t hidden_ns,
                      struct trace *out);

/* These do nothing for rows that are not traced. Times are this host's. */
void stage_times_note(struct stage_times *t, const struct stage_row *r, enum span_kind kind, int exit,
                      uint64_t start_ns, uint64_t end_ns);
/* For every row that runs. */
void stage_times_note_batch(struct stage_times *t, struct stage_rows *rows, enum span_kind kind, int exit,
                            uint64_t start_ns, uint64_t end_ns);
/* The row leaves the batch: what was computed for it after its hit. */
void stage_times_note_left(struct stage_times *t, const struct stage_row *r, uint64_t now);

#endif
