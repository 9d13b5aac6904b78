/* worker_parts.h - what the files of the stage worker share; private to worker*.c
 *
 * worker.c        loading, the loop
 * worker_batch.c  jobs in: queue, checks, forming of a batch; running it segment by segment
 * worker_lookup.c look-ups out, verdicts in
 * worker_send.c   activations and results out
 * worker_links.c  sockets, hello, heartbeat, cancellations
 * worker_trace.c  spans of traced requests
 */
#ifndef FREEZELINE_WORKER_PARTS_H
#define FREEZELINE_WORKER_PARTS_H

#include "base/arrival.h"
#include "base/clock.h"
#include "base/offset.h"
#include "breaker.h"
#include "cancel_set.h"
#include "hit_log.h"
#include "stages/exec/exec.h"
#include "stages/place/placement.h"
#include "wire/frames.h"
#include "wire/span_log.h"
#include "worker.h"

#define WORKER_MAX_ROWS (3 * MESSAGE_MAX_BATCH)
#define WORKER_SPANS    4096 /* of traced requests, until the next heartbeat */

enum row_state { ROW_RUNS, ROW_HIT, ROW_DROPPED, ROW_SENT };

/* One request on its way through this worker. */
struct row {
    struct job job;
    zmq_msg_t payload;                        /* until it is copied into the batch */
    uint64_t wire_ns, received_ns, decode_ns; /* on its way; when it came, by this host's clock; decoding */
    enum row_state state;
    int32_t hit_exit; /* ROW_HIT: where, and when its look-up was sent */
    uint64_t hit_sent_ns;
};

/* Nodes that run without a stop; then a look-up at `exit` unless that is -1. */
struct segment {
    int first, last;
    int exit;
    uint64_t origin; /* of the descriptors there */
};

struct pending_lookup {
    uint64_t sequence;
    uint64_t sent_ns;
    int exit;
    bool answered;
    bool over; /* its batch is done: the verdict only tells that the service lives */
};

struct worker_counts {
    uint64_t jobs, lookups, hits, batches, dropped, garbage;
};

struct stage_worker {
    const struct pipeline *pipeline; /* borrowed */
    const struct stage_config *stage_config;
    const struct replica_config *config;
    int stage, replica, max_batch;
    bool last_stage, ready;
    bool sent_away;       /* the broker does not want this worker, or, when it leaves, any more */
    int after_fd;         /* pidfd of the process whose place is waited for; -1 = none */
    bool waits;           /* the broker lets it wait: another plan serves */
    bool leaving;         /* asked to end: takes no new requests, finishes what it has */
    uint64_t leave_by_ns; /* for so long */

    /* model */
    struct exec *exec;
    uint8_t model[DIGEST_BYTES], identity[DIGEST_BYTES], plan[DIGEST_BYTES]; /* as hello tells them */
    struct tensor expects; /* one request's input: dim[0] = 1 */
    int n_segments;
    struct segment segment[PIPELINE_MAX_EXITS + 1];
    float *descriptors; /* [max_batch][descriptor floats] */
    char engine[MESSAGE_NAME_BYTES];

    /* sockets */
    void *context, *jobs, *control, *results, *cache;
    int cache_fd;
    int n_next;
    void *next[PIPELINE_MAX_REPLICAS];
    uint32_t reaches;    /* of them, as last told: REACHES_TOLD | a bit for each that is connected */
    uint64_t reached_ns; /* when last looked; 0 = look now */
    uint64_t incarnation, hello_ns, heartbeat_ns, polled_ns; /* when last sent; polled */
    uint64_t kept_ns;                                        /* when the file of `jobs` was looked at */
    uint64_t jobs_empty_ns;                                  /* when no job waited in the socket */
    bool remote;                                             /* the broker's host has another clock */
    struct offset offset;
    uint64_t broker;   /* its incarnation; 0 = none has said hello */
    uint64_t heard_ns; /* when it last said anything */

    /* jobs */
    int n_free, free_row[WORKER_MAX_ROWS];
    int n_waiting, first_waiting, waiting[WORKER_MAX_ROWS]; /* ring of rows, oldest first */
    int n_batch, batch[MESSAGE_MAX_BATCH];                  /* rows, in the executor's order */
    struct cancel_set cancelled;
    uint64_t taken;          /* the newest request that left the queue */
    uint64_t resident_bytes; /* when there last was a regular heartbeat */

    /* the batch in hand: its parts follow one another without a gap (worker_lap) */
    int formed;      /* rows that it was formed with */
    uint64_t lap_ns; /* when the last part ended */
    uint64_t formed_ns, compute_ns, lookup_ns, serialise_ns;
    int traced; /* rows whose spans are noted; 0 costs nothing more */
    struct span_log spans;
    uint64_t hidden_ns, hidden_until_ns; /* look-ups on their way beside computing; counted up to */

    /* look-ups */
    uint64_t sequence;
    int n_pending;
    struct pending_lookup pending[PIPELINE_MAX_EXITS];
    struct breaker breaker;
    struct hit_log hits;
    uint64_t absent_until_ns[PIPELINE_MAX_EXITS]; /* a verdict said that no cache stands there */
    bool exits_told;                              /* the broker told at which exits caches stand */
    uint32_t exits;                               /* a bit for each */

    struct worker_counts counts;
    struct message in, out; /* scratch: what came, what goes */
    zmq_msg_t payload;      /* scratch: what came with `in` */
    struct row row[WORKER_MAX_ROWS];
};

/* worker_links.c */
int worker_open_links(struct stage_worker *w, pid_t after,
                      struct error *e); /* binds where nobody is waited for */
int worker_bind(struct stage_worker *w, struct error *e);
void worker_close_links(struct stage_worker *w);
void worker_say_hello(struct stage_worker *w, bool ready);
void worker_leave(struct stage_worker *w);
bool worker_hears_broker(const struct stage_worker *w, uint64_t now); /* connected, and not silent for long */
/* Reads control messages, sends heartbeats that are due. */
void worker_poll_control(struct stage_worker *w, uint64_t now);
uint64_t worker_next_heartbeat(const struct stage_worker *w); /* when one is due */
void worker_tell_taken(struct stage_worker *w);               /* a heartbeat out of turn */
uint64_t worker_broker_time(const struct stage_worker *w, uint64_t local_ns);
void worker_garbage(struct stage_worker *w, const char *socket, const struct error *e);

/* worker_batch.c */
void worker_init_rows(struct stage_worker *w);
void worker_release_rows(struct stage_worker *w);
void worker_receive_jobs(
    struct stage_worker *w);                    /* moves waiting messages into the queue while it has room */
bool worker_form_batch(struct stage_worker *w); /* false: nothing to do */
int worker_run_batch(struct stage_worker *w, struct error *e);
/* Ends a part of the batch's time: adds what has passed since the last one ended to the part that `kind`
 * belongs to, and notes it for the traced rows that run. Returns the time. */
uint64_t worker_lap(struct stage_worker *w, enum span_kind kind, int exit);

/* worker_lookup.c */
void worker_send_lookup(struct stage_worker *w, const struct segment *s);
void worker_receive_verdicts(struct stage_worker *w);
void worker_end_hiding(struct stage_worker *w);     /* nothing is computed any more beside look-ups */
void worker_await_verdicts(struct stage_worker *w); /* holds the batch back, at most cache.wait_us */
void worker_settle_lookups(struct stage_worker *w); /* the batch is done: what is unanswered was a miss */

/* worker_trace.c: spans of traced requests; all do nothing for others. Times are this host's. */
void worker_note(struct stage_worker *w, const struct row *r, enum span_kind kind, int exit,
                 uint64_t start_ns, uint64_t end_ns);
void worker_note_batch(struct stage_worker *w, enum span_kind kind, int exit, uint64_t start_ns,
                       uint64_t end_ns);                /* every row that runs */
void worker_note_formed(struct stage_worker *w);        /* counts the traced rows; how they came here */
void worker_note_left(struct stage_worker *w, int row); /* a row that is done leaves the batch */
void worker_send_spans(struct stage_worker *w);         /* to the broker */

/* worker_send.c */
void worker_fill_time(const struct stage_worker *w, const struct row *r, struct trace *t);
void worker_send_hit(struct stage_worker *w, const struct told_hit *h); /* one that the broker asked for */
void worker_send_error(struct stage_worker *w, const struct row *r, enum fl_code code, const char *text);
void worker_send_outputs(struct stage_worker *w);

#endif
