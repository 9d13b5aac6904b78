/* stage_rows.h - the requests that a stage worker has, each in exactly one place: free, waiting or in the
 * batch
 *
 * Room for three batches: one in hand and two that wait, so a batch never lacks a row. Shadows (JOB_SHADOW)
 * wait apart and have rows of their own, so they take nobody's room. Pure.
 */
#ifndef FREEZELINE_STAGE_ROWS_H
#define FREEZELINE_STAGE_ROWS_H

#include <zmq.h>

#include "wire/message.h"

#define STAGE_MAX_SHADOWS PIPELINE_MAX_REPLICAS /* one of each replica of stage 0 */
#define STAGE_MAX_ROWS    (3 * MESSAGE_MAX_BATCH + STAGE_MAX_SHADOWS)

enum row_state { ROW_RUNS, ROW_HIT, ROW_DROPPED, ROW_SENT };

/* One request on its way through this worker. */
struct stage_row {
    struct job job;
    zmq_msg_t payload; /* until it is copied into the batch; a shadow's until it ends */
    uint64_t wire_ns, received_ns, decode_ns; /* on its way; when it came, by this host's clock; decoding */
    enum row_state state;
    int32_t hit_exit; /* ROW_HIT: where, and when its look-up was sent */
    uint64_t hit_sent_ns;
    int told; /* a shadow's descriptors at the ends of so many segments were sent; it may come there again */
    int put_back; /* a shadow was so often, for others */
};

/* Rows that wait: a ring, oldest first. */
struct row_queue {
    int n, first, row[STAGE_MAX_ROWS];
};

struct stage_rows {
    int max_batch;
    struct stage_row *row;
    int n_free, free[STAGE_MAX_ROWS];
    struct row_queue waiting, shadows;
    int n_batch, batch[MESSAGE_MAX_BATCH]; /* in the engine's order */
};

int stage_rows_new(struct stage_rows *r, int max_batch); /* FL_NOMEM */
void stage_rows_free(struct stage_rows *r);              /* zeroed memory is fine */

/* How many can be taken now. */
int stage_rows_room(const struct stage_rows *r);
/* A free row, to be enqueued or released. There must be room. */
int stage_rows_take(struct stage_rows *r);
void stage_rows_enqueue(struct stage_rows *r, int row);
/* The row that has waited longest in a queue of r, which is not empty: to be put into the batch or released.
 */
int stage_rows_dequeue(struct row_queue *q);
/* The i-th of those that wait, shadows apart, oldest first. */
const struct stage_row *stage_rows_waiting(const struct stage_rows *r, int i);
/* The oldest shadow that waits; NULL: none does. */
struct stage_row *stage_rows_shadow(struct stage_rows *r);
/* The shadow that is the batch; NULL: others are, or there is none. */
struct stage_row *stage_rows_shadow_in_hand(struct stage_rows *r);
/* That one waits again. */
void stage_rows_put_back(struct stage_rows *r);
bool stage_row_is_shadow(const struct stage_row *r);
void stage_rows_release(struct stage_rows *r, int row);
/* It takes part in look-ups. */
bool stage_row_asks(const struct stage_row *r);
/* A verdict can still end it here. */
bool stage_row_can_hit(const struct stage_row *r);
/* The row at this place of the batch. */
struct stage_row *stage_rows_at(struct stage_rows *r, int place);
/* Of the batch, those that run. */
int stage_rows_running(const struct stage_rows *r);
/* Releases all of the batch but the n rows at places keep[0..n), ascending. */
void stage_rows_keep(struct stage_rows *r, const int *keep, int n);

#endif
