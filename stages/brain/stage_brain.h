/* stage_brain.h - the stage worker's brain: what to do with each message and each moment
 *
 * Jobs wait in a queue, form batches, and run segment by segment (a segment is the nodes between two exits).
 * The brain says what to compute next (stage_brain_next) and is told when it has ended
 * (stage_brain_computed). Meanwhile it may be told of anything else: verdicts, cancellations, jobs, the
 * passing of time.
 *
 * Invariants:
 * - A job is in exactly one place: waiting, in the batch, or gone. At most 3 batches of them are here.
 * - A job ends in at most one message: a result, a failure, or a job for the next stage; none when it was a
 * hit that the cache service tells of, or needs no answer any more. A hit that can't be told is none.
 * - At most one batch is in hand. It is held back for verdicts for at most cache.wait_us after a segment.
 * - A shadow (JOB_SHADOW: nobody waits for it) is a batch of its own, formed when no other job is here, and
 * is put back when one comes. After some times of that it runs to its end.
 *
 * Pure: messages and moments come in as arguments, messages go out through struct stage_io, and layers are
 * reached through struct stage_engine. No socket, no clock, no thread; callers take turns. Nothing is
 * allocated after stage_brain_new, but for the payloads that the engine makes.
 */
#ifndef FREEZELINE_STAGE_BRAIN_H
#define FREEZELINE_STAGE_BRAIN_H

#include <zmq.h>

#include "wire/message.h"

/* What is computed without a stop; then a look-up at `exit`, unless that is -1. */
struct stage_segment {
    int exit;
    int dim;         /* floats of one descriptor there */
    uint64_t origin; /* of the descriptors there */
    int nodes;       /* that it has; 0: it can be stopped at any time */
};

struct stage_setup {
    const struct pipeline *pipeline; /* borrowed */
    struct hello self;     /* who this worker is, as its hello tells; `ready`: its endpoint is bound */
    int max_batch;         /* at most MESSAGE_MAX_BATCH */
    double share;          /* of the model's work that this stage does; 0: as much as each other stage */
    struct tensor expects; /* one request's input: dim[0] = 1; no data */
    int n_segments;
    struct stage_segment segment[PIPELINE_MAX_EXITS + 1];
};

/* Where messages go. Each returns FL_OK, FL_AGAIN (nobody is connected, or the queue is full), or another
 * error. `payload` as in frames_send: moved on success, left on failure. */
struct stage_io {
    void *arg;
    int (*control)(void *arg, int broker, const struct message *m);
    /* to the broker whose request it is; payload may be NULL */
    int (*result)(void *arg, const struct message *m, zmq_msg_t *payload);
    int (*next)(void *arg, int replica, const struct message *m, zmq_msg_t *payload);
    int (*ask)(void *arg, const struct message *m, zmq_msg_t *payload); /* the cache service */
    uint32_t (*reaches)(void *arg); /* a bit for each replica of the next stage that is connected */
    bool (*connected)(void *arg, int broker);
    uint64_t (*moment)(void *arg); /* ns; a step that calls the engine tells how long that took */
    void (*use)(void *arg, struct heartbeat *beat); /* fills in what the process uses; NULL: not known */
    uint64_t (*idle_ns)(void *arg); /* of the cores that it may use, all together; NULL: not known */
    /* Verdicts from the caches that it holds itself (stage_brain_holds), all but lookup_ns. FL_NOMEM. */
    int (*look)(void *arg, const struct lookup *in, const float *descriptors, uint64_t broker_now,
                struct verdict *out);
    /* Connects to a replica of the next stage that the pipeline file may not have, unless it is connected
     * already. */
    int (*meet)(void *arg, int replica, const char *endpoint);
};

/* The layers. `row`, `rows`: places in the batch in hand, 0 .. n - 1. */
struct stage_engine {
    void *arg;
    /* Copies one request's input into place `row`. FL_VALUE: an element is not finite (looked at in stage 0).
     */
    int (*load)(void *arg, int row, const void *input, struct error *e);
    /* Only these n rows, ascending, go on after this segment; they become rows 0 .. n - 1. */
    int (*keep)(void *arg, int segment, const int *rows, int n, struct error *e);
    /* Makes *out (not initialised), the descriptors of n of the batch's `batch` rows where this segment ends.
     * On failure *out is untouched. */
    int (*describe)(void *arg, int segment, int batch, const int *rows, int n, zmq_msg_t *out);
    /* Makes *out (not initialised), what the stage has computed for place `row` of `batch`, and its shape; in
     * the last stage also the label and its confidence. It goes to replica `to` of the next stage (-1: to the
     * broker) before another one is made, so it may be made in memory of that way. On failure *out is
     * untouched. FL_NOMEM; FL_VALUE: scores are not numbers. */
    int (*output)(void *arg, int row, int batch, int to, struct tensor *shape, int32_t *label,
                  float *confidence, zmq_msg_t *out, struct error *e);
};

struct stage_brain;

/* Borrows s->pipeline, copies the rest. Sends nothing yet. FL_NOMEM. */
int stage_brain_new(struct stage_brain **out, const struct stage_setup *s, const struct stage_io *io,
                    const struct stage_engine *engine);
void stage_brain_free(struct stage_brain *b); /* NULL is fine */

/* --- messages in; what does not belong there counts as garbage --- */

/* Read at `now` from the endpoint for jobs, which was last seen empty at empty_ns and was asked for this one
 * at taken_ns. `payload` is taken or left; the caller closes it. There must be room. */
void stage_brain_job(struct stage_brain *b, const struct message *m, zmq_msg_t *payload, uint64_t empty_ns,
                     uint64_t taken_ns, uint64_t now);
int stage_brain_room(const struct stage_brain *b); /* jobs that it takes now */
void stage_brain_verdict(struct stage_brain *b, const struct message *m, uint64_t now);
/* From a broker, by its number, which is one of the pipeline's. Before a cancellation that asks for hits
 * (n_ask), tell all verdicts that have come. */
void stage_brain_control(struct stage_brain *b, int broker, const struct message *m, uint64_t now);
/* It can look up itself from now on, by stage_io.look, at the exits with a bit; 0: nowhere any more. */
void stage_brain_holds(struct stage_brain *b, uint64_t epoch, uint32_t exits, uint64_t now);
/* The cache service is there, as far as this host can see. Caches without one are used for a while only. */
void stage_brain_cache_lives(struct stage_brain *b, uint64_t now);
/* A message that could not be read; `where` says where: "jobs socket". */
void stage_brain_garbage(struct stage_brain *b, const char *where, const struct error *e, uint64_t now);

/* --- moments in --- */

/* Says hello, sends heartbeats that are due, tells of links that came or broke. Call after each round of
 * messages. Returns when to call again at the latest. */
uint64_t stage_brain_tick(struct stage_brain *b, uint64_t now);
/* A bit for each broker to which its hello could not be sent yet: call tick when the way there opens. */
uint32_t stage_brain_must_greet(const struct stage_brain *b);
/* A link to the next stage came: the next tick looks. */
void stage_brain_look(struct stage_brain *b);
/* Its endpoint is bound now (setup.self.ready was false): the broker is told. */
void stage_brain_ready(struct stage_brain *b);
/* Asked to end, so many times: takes no more requests and finishes what it has; asked again, it ends at once.
 */
void stage_brain_stop(struct stage_brain *b, int times);

/* --- computing --- */

enum stage_what {
    STAGE_WAIT,    /* for a message, or until_ns, which may be now: then read what has come, and ask again */
    STAGE_COMPUTE, /* `segment` for n rows; then call stage_brain_computed */
    STAGE_HOLD, /* a batch is held back until its verdicts come, or until_ns: a moment, so sleep on them alone
                 */
    STAGE_END   /* see stage_brain_reason */
};

struct stage_wish {
    enum stage_what what;
    int segment, n;
    uint64_t until_ns;
};

/* What to do now. Forms a batch when none is in hand: read the messages that have come before. */
struct stage_wish stage_brain_next(struct stage_brain *b, uint64_t now);
/* The segment that it wished for has ended (FL_OK), was stopped since nobody needed it (FL_CANCELLED), or
 * failed. Asks the cache service, drops rows that are done; after the last segment stage_brain_next hands out
 * what there is. */
void stage_brain_computed(struct stage_brain *b, int rc, const char *text, uint64_t now);
/* A batch is in hand. */
bool stage_brain_busy(const struct stage_brain *b);
/* False: no row needs the segment that is being computed any more, or it has to give way; stop it. */
bool stage_brain_needs(struct stage_brain *b);
/* Jobs wait, beside the batch in hand. */
bool stage_brain_waiting(const struct stage_brain *b);
/* What is being computed gives way to jobs that come: read them between nodes. */
bool stage_brain_gives_way(const struct stage_brain *b);
/* Look-ups are unanswered: read verdicts between nodes. */
bool stage_brain_asking(const struct stage_brain *b);

/* Why it ends: FL_OK (it was asked to), or FL_STALE (the broker sent it away), with a text. */
int stage_brain_reason(const struct stage_brain *b, struct error *e);
/* Tells the broker that it is gone, unless that has sent it away. The last call. */
void stage_brain_goodbye(struct stage_brain *b);

#endif
