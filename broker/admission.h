/* admission.h - how many requests may be under way, and whether one more would be answered in time
 *
 * With n requests ahead a request is answered after (n + 1) x gap (Little's law), where the gap between
 * answers is measured while the pipeline has about as much as it takes. Batches, early exits, crowded cores
 * and dead replicas are in it. From this come
 * - the room: how many may be sent and unanswered. All that is beyond waits in the broker, where it can still
 * be refused, expire or go another way at no cost;
 * - what is refused when it comes: a request that would wait for too much of its time;
 * - what is dropped while it waits: a request that what is under way leaves too little time.
 * And from the times of answered requests, less what they waited: what each stage drops before it computes.
 *
 * No estimate can shut the pipeline: where nothing is under way all of this is for the caller to ignore, and
 * an estimate that makes stages drop requests shrinks with each of them. Pure; one thread.
 */
#ifndef FREEZELINE_ADMISSION_H
#define FREEZELINE_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "config/pipeline.h"

/* How one request passed a stage: on its way there, waiting for its batch, in the batch of so many. */
struct passed {
    int stage, batch;
    double wire_ns, queue_ns, own_ns;
};

struct admission {
    double target_ns; /* no request is to be expected to take longer; 0: its deadline decides */
    double gap_ns;    /* measured; 0: not known yet */
    double tight_ns;  /* the shortest time that requests had of late */
    double quick_ns;  /* one in ten took no longer from sent to answered, waiting in queues left out; 0: not
                         known */
    double rest_ns[PIPELINE_MAX_STAGES]; /* the same from the batch of each stage on */
    double work_ns[PIPELINE_MAX_STAGES]; /* of each stage, for one answer */
    int replicas[PIPELINE_MAX_STAGES];   /* that are ready; the caller keeps it */
    bool learned;
    double trust;       /* in these figures, 0 .. 1: falls when what was sent comes too late */
    uint64_t missed_ns; /* when it last fell */
    bool busy;
    int counted; /* answers since since_ns, while busy */
    uint64_t since_ns;
};

void admission_init(struct admission *a, uint64_t target_ns);

/* A request came that has so much time. */
void admission_asked(struct admission *a, uint64_t time_ns);
/* An answer came at `now`, however late. */
void admission_answered(struct admission *a, uint64_t now);
/* The answer to a request that is here, of the attempt that was sent last, took so long by the broker's own
 * clock: no clock of others can make it longer. p are the stages that it passed, in their order. */
void admission_learn(struct admission *a, int n, const struct passed *p, uint64_t took_ns);
/* What was sent has not come in time: its deadline passed, or (stage >= 0) that stage dropped it before. */
void admission_missed(struct admission *a, int stage, uint64_t now);
/* Whether the pipeline has as much as it takes. Call after each round. */
void admission_note(struct admission *a, bool busy);

/* At most `most`, at least 1; between them by time; `start` while nothing is known. */
int admission_room(const struct admission *a, int start, int most);
/* How long a request takes that finds `ahead` others: as was measured, or at least. 0: not known. */
uint64_t admission_expects(const struct admission *a, int ahead);
uint64_t admission_takes(const struct admission *a, int ahead);
/* The longest that a request may be expected to take that has so much time and has to wait for room. */
uint64_t admission_allows(const struct admission *a, uint64_t time_ns);
/* Is a request that finds `ahead` others to be refused when it comes? What finds no room may wait for a part
 * of its time only; where nothing is ahead, no estimate counts. */
bool admission_refuses(const struct admission *a, int ahead, int room, uint64_t time_ns);
/* Would it come too late if it were sent now, with so many under way and so much time left? */
bool admission_is_late(const struct admission *a, int under_way, uint64_t left_ns);
/* How many a replica of stage 0 may have in its queue: two batches, and no more than its part of the room
 * where each stage has a batch in hand, lest all move on as one batch while other stages idle. */
int admission_queue(int room, int n_stages, int replicas, int batch);
/* When what is ahead now is done; at least 1. */
uint32_t admission_retry_ms(const struct admission *a, int ahead);
/* Of each stage: what hardly any request was answered in from its batch on. */
void admission_rest(const struct admission *a, int n_stages, uint32_t *rest_us);

#endif
