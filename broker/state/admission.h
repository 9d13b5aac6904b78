/* admission.h - how many requests may be under way, and whether one more would be answered in time
 *
 * With n requests ahead, a request is answered after (n + 1) x gap (Little's law). The gap is the time
 * between two answers, measured while the pipeline is busy; so batches, early exits, crowded cores and dead
 * replicas are in it. Three decisions follow from it:
 * - the room: how many requests may be sent and unanswered. The others wait in the broker, where they can
 *   still be refused, expire or go another way at no cost;
 * - which requests are refused when they come: those that would have to wait for too much of their time;
 * - which are dropped while they wait: those for which what is under way leaves too little time.
 * A fourth follows from the times of answered requests, less their waiting: what each stage drops before it
 * computes.
 *
 * No estimate can shut the pipeline. While nothing is under way, the caller ignores all of this; and each
 * request that a stage drops makes that stage's estimate smaller. Pure; one thread.
 */
#ifndef FREEZELINE_ADMISSION_H
#define FREEZELINE_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "config/pipeline.h"

/* How one request passed a stage: its way there, its wait for a batch, its time in the batch and that batch's
 * size. */
struct passed {
    int stage, batch;
    double wire_ns, queue_ns, own_ns;
};

struct admission {
    double target_ns; /* broker.latency_target_ms: no request may be expected to take longer; 0: its deadline
                         decides */
    double gap_ns;    /* between two answers; 0: not known yet */
    double tight_ns;  /* the shortest time that recent requests had until their deadline */
    double quick_ns;  /* a tenth of the requests took no longer from sent to answered, queues left out; 0: not
                         known */
    double rest_ns[PIPELINE_MAX_STAGES]; /* the same, counted from the batch of each stage */
    double work_ns[PIPELINE_MAX_STAGES]; /* what each stage computes for one answer */
    int replicas[PIPELINE_MAX_STAGES];   /* ready ones of each stage; the caller keeps these up to date */
    bool learned;
    double trust; /* in these figures, 0 .. 1: falls when a request that was sent is answered too late */
    uint64_t missed_ns; /* when trust last fell */
    bool busy;
    int counted; /* answers since since_ns, while busy */
    uint64_t since_ns;
};

void admission_init(struct admission *a, uint64_t target_ns);

/* A request came; it has time_ns until its deadline. */
void admission_asked(struct admission *a, uint64_t time_ns);
/* An answer came at `now`, however late. */
void admission_answered(struct admission *a, uint64_t now);
/* An answer to the newest attempt of a request came took_ns after it was sent, by the broker's own clock. p:
 * the n stages that it passed, in their order, by the stages' clocks; parts longer than the whole count as
 * the whole. */
void admission_learn(struct admission *a, int n, const struct passed *p, uint64_t took_ns);
/* A request that was sent missed its deadline (stage -1), or that stage dropped it because it would have. */
void admission_missed(struct admission *a, int stage, uint64_t now);
/* `busy`: the pipeline has as much to do as it can take. Call after each round of messages. */
void admission_note(struct admission *a, bool busy);

/* How many may be sent and unanswered: 1 to `most`, as time allows; `start` while nothing is measured. */
int admission_room(const struct admission *a, int start, int most);
/* Is a request to be refused that finds `ahead` others? One that finds no room may wait for a part of its
 * time only. Where nothing is ahead it is always taken. */
bool admission_refuses(const struct admission *a, int ahead, int room, uint64_t time_ns);
/* Would a request be late if it were sent now, with so many under way and left_ns until its deadline? */
bool admission_is_late(const struct admission *a, int under_way, uint64_t left_ns);
/* How many jobs a replica of stage 0 may have in its queue: two batches, and no more than its share of the
 * room when each stage has its part. With more, all would move through the stages as one batch while other
 * stages idle. */
int admission_queue(int room, int n_stages, int replicas, int batch);
/* In how many ms `ahead` requests will be done; at least 1. */
uint32_t admission_retry_ms(const struct admission *a, int ahead);
/* Of each stage: counted from its batch, hardly any request was answered sooner than this. */
void admission_rest(const struct admission *a, int n_stages, uint32_t *rest_us);

#endif
