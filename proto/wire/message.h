/* message.h - every message that two freezeline processes exchange, as plain C structs
 *
 * On the wire a message is one protobuf frame (freezeline.proto, Envelope) and, where it carries numbers, one
 * raw frame beside it. Only the codec (message_encode.c, message_decode.c) sees generated code. Decoding
 * checks every bound below; what exceeds one is FL_PROTOCOL or FL_TOO_LARGE. proto/README.md is the contract.
 *
 * Times in `*_ns` fields that are points in time are CLOCK_MONOTONIC of the broker's host ("broker time", see
 * clock.h).
 */
#ifndef FREEZELINE_MESSAGE_H
#define FREEZELINE_MESSAGE_H

#include "base/digest.h"
#include "base/error.h"
#include "numbers/time_buckets.h"
#include "config/pipeline.h"
#include "tensor.h"

#define MESSAGE_VERSION   1
#define MESSAGE_MAX_BATCH 64
/* An id of a broker's: its number in the two highest bits, below them what it counts. */
#define REQUEST_BROKER_SHIFT 62
#define MESSAGE_MAX_LABEL    (1 << 24) /* labels are -1 .. this */
#define MESSAGE_MAX_SCORES   1024      /* in an Outcome */
#define MESSAGE_NAME_BYTES   128
#define EXIT_NAME_BYTES      64
#define MESSAGE_TEXT_BYTES   256
#define MESSAGE_MAX_RELAYS   8
#define MESSAGE_MAX_LEVELS   4
#define RELAY_NAME_BYTES     32
#define RELAY_MOST_SLOWER    1000.0
/* Largest raw frame that a tensor or a look-up may announce. */
#define MESSAGE_MAX_TENSOR_BYTES (256ll * 1024 * 1024)

/* The broker that gave a request its id. */
static inline int request_broker(uint64_t id)
{
    return (int)(id >> REQUEST_BROKER_SHIFT);
}

enum message_type {
    MESSAGE_REQUEST = 1, /* client -> broker            + input tensor */
    MESSAGE_ANSWER,      /* broker -> client            + scores (absent for a hit without scores) */
    MESSAGE_JOB,         /* broker -> stage 0, stage -> stage  + activation */
    MESSAGE_LOOKUP,      /* stage -> cache              + n x dim descriptors */
    MESSAGE_VERDICT,     /* cache -> stage */
    MESSAGE_RESULT,      /* cache or stage -> broker    + scores */
    MESSAGE_HELLO,       /* worker -> broker, first on the control socket */
    MESSAGE_HEARTBEAT,   /* worker -> broker, and its echo */
    MESSAGE_CANCEL,  /* broker -> stages: these requests are answered; client -> broker: nobody waits for them
                      */
    MESSAGE_OUTCOME, /* broker -> caches: what a sampled request turned out to be */
    MESSAGE_STATUS,  /* client -> broker: how are you */
    MESSAGE_STATUS_REPLY,
    MESSAGE_DRAIN,    /* operator -> broker: admit no more for a while; broker -> worker: end */
    MESSAGE_SPANS,    /* worker -> broker: spans of traced requests; client -> broker, empty: give them to me;
                         and back */
    MESSAGE_FEEDBACK, /* client -> broker -> cache: true labels; and back to the client: what was taken */
    MESSAGE_TIMES,    /* client -> broker, empty: how long did it take? and back */
    MESSAGE_RELAYS,   /* operator -> broker: which other pipelines answer a part of the requests */
};

/* A learner is a member beside the cache services: it tells the broker how many audits it wants. */
enum message_role { ROLE_BROKER = 1, ROLE_STAGE, ROLE_CACHE, ROLE_CLIENT, ROLE_LEARNER };

enum job_flags {
    JOB_NO_CACHE = 1, /* no look-ups: the full answer is wanted */
    JOB_AUDIT = 2,    /* look-ups happen and are noted; a hit does not end the request */
    JOB_SAMPLED = 4,  /* the cache service keeps its descriptors until it is told the outcome */
    JOB_TRACE = 8,    /* every process that it passes notes what it does for it, and when (spans) */
    JOB_TELL = 16,    /* broker to stage 0: say when it leaves the queue (heartbeat.taken) */
    JOB_SHADOW = 32,  /* nobody waits for it: stages compute it when they have nothing else to do */
    JOB_KEY = 64,     /* drawn from its stream: runs to its end, and later frames are compared with it */
};

/* Where one request's time went in one stage, one part after the other (hidden_ns alone runs beside them);
 * all durations. proto/README.md, "Where the time goes". */
struct stage_time {
    uint32_t stage, replica, batch;
    uint64_t wire_ns;      /* sent by the one before .. in this stage's hands */
    uint64_t queue_ns;     /* .. batch formed */
    uint64_t compute_ns;   /* the layers */
    uint64_t lookup_ns;    /* look-ups, the exposed part: making and sending them, held back for a verdict */
    uint64_t serialise_ns; /* decoding, copying in and out of the batch, sending what went before it */
    uint64_t hidden_ns;    /* look-ups, the hidden part: on their way while layers were computed */
};

struct trace {
    int n;
    struct stage_time stage[PIPELINE_MAX_STAGES];
};

/* dtype and dims of the raw frame that follows; dtype TENSOR_NONE when there is none. data is not used. */

struct request {
    uint64_t id;          /* the client's own, echoed */
    uint32_t deadline_ms; /* 0 = the pipeline's default */
    uint32_t flags;       /* job_flags */
    struct tensor input;
    uint64_t sent_ns, clock;    /* by the client's clock, and which that is (clock_id); 0 = not told */
    uint64_t key_low, key_high; /* the same each time that this request is sent, and no other's; 0 = none */
    uint32_t priority;          /* 1 (first) .. REQUEST_PRIORITIES (last); 0 = REQUEST_ORDINARY */
    uint32_t loss_allowed;      /* 1 + millionths of accuracy; 0: what the pipeline promises */
    /* the trace that it is part of: its id, the caller's span, the span that this request is; 0 = none */
    uint64_t trace_high, trace_low, parent, span;
    uint64_t context; /* hash of its kind: variants learn from labels apart for each (choice.h); 0 = none */
    uint64_t stream;  /* hash of the video that it is a frame of; 0 = none */
};

#define REQUEST_PRIORITIES 9
#define REQUEST_ORDINARY   5

struct answer {
    uint64_t id;
    uint32_t error; /* enum fl_code */
    char text[MESSAGE_TEXT_BYTES];
    struct tensor scores;
    int32_t label;
    int32_t exit; /* index of the exit that answered, -1 = the whole network */
    float confidence;
    uint64_t epoch; /* of the cache that answered; 0 for a full answer */
    uint32_t attempts;
    struct trace trace;
    /* the answering look-up: stage .. in the cache service's hands .. its turn .. result sent */
    uint64_t lookup_wire_ns, lookup_queue_ns, lookup_ns;
    uint64_t return_ns; /* result sent .. in the broker's hands */
    uint64_t broker_ns; /* received .. this attempt's job sent, plus result in hand .. answer sent */
    uint64_t total_ns;  /* received by the broker .. answer sent */
    /* how far the clocks of the processes that it passed may be apart; 0 = one clock */
    uint64_t clock_error_ns;
    uint64_t request; /* the broker's id */
    /* of an error because of load: in how long the requests ahead are done; else 0 */
    uint32_t retry_after_ms;
    bool known;                     /* the answer of an earlier request with the same input */
    uint32_t loss_promised;         /* 1 + millionths, for its `loss_allowed`; 0: as the pipeline promises */
    char variant[RELAY_NAME_BYTES]; /* the pipeline that answered, where several do (struct relay); "": one
                                       does */
};

struct job {
    uint64_t request; /* the broker's id, unique over its life */
    uint32_t attempt; /* 1, 2, ..: answers of older attempts are still good, the first one wins */
    uint32_t flags;
    uint64_t deadline_ns;
    uint64_t sent_ns;
    int n_route;
    uint8_t route[PIPELINE_MAX_STAGES]; /* replica of each stage */
    uint64_t plan;         /* digest_short of the plan of the stages that it is for; 0: not told */
    uint32_t loss_allowed; /* as in a request: caches answer by their thresholds for that */
    uint64_t stream;       /* as in a request */
    struct trace trace;
    struct tensor activation; /* one request's: dim[0] = 1 */
    int n_rest;
    uint32_t rest_us[PIPELINE_MAX_STAGES]; /* [s]: the least time from stage s's batch to the answer */
};

struct lookup_item {
    uint64_t request;
    uint32_t attempt;
    uint32_t flags;
    uint32_t loss_allowed; /* as in a job */
    uint64_t stream;       /* as in a request */
    uint64_t deadline_ns;
    struct trace trace; /* up to and including this stage so far */
};

struct lookup {
    uint32_t exit;
    uint64_t sequence; /* echoed in the verdict */
    uint64_t sent_ns;  /* as the items' deadlines: by the clock of the first item's broker */
    uint64_t origin;   /* digest of layer and layout that the descriptors come from; 0 = not told */
    uint32_t dim;
    bool told; /* the stage had its verdicts from a near cache and wants none: only to learn from */
    uint32_t answered,
        hits; /* `told`: requests that the near cache has decided since such a look-up before */
    int n;
    struct lookup_item item[MESSAGE_MAX_BATCH];
};

struct verdict_item {
    uint64_t request;
    uint32_t attempt;
    int32_t label;
    float confidence;
    bool hit;
};

struct verdict {
    uint32_t exit;
    uint64_t sequence;
    uint64_t epoch;
    uint64_t lookup_ns; /* time in the cache service, for all items together */
    bool absent;        /* no cache stands at this exit: no need to ask again soon */
    int n;
    struct verdict_item item[MESSAGE_MAX_BATCH];
};

struct result {
    uint64_t request;
    uint32_t attempt;
    uint32_t error; /* FL_OK, or why this attempt failed (FL_UNAVAILABLE, FL_VALUE, FL_DEADLINE, ...) */
    char text[MESSAGE_TEXT_BYTES];
    int32_t label;
    int32_t exit; /* -1 = the whole network */
    float confidence;
    uint64_t epoch;
    uint64_t lookup_wire_ns, lookup_queue_ns, lookup_ns; /* as in struct answer; of a hit */
    uint64_t sent_ns;
    struct trace trace;
    struct tensor scores;
};

/* The promise under which a cache service's caches were built. */
struct caches_promise {
    bool made;      /* false: there is none, and the rest is zero */
    bool agreement; /* with the full answer; otherwise of accuracy */
    double max_loss, certainty;
    uint64_t planning_points, certifying_points;
    double loss, loss_upper; /* of the certifying points; NAN: no bound */
    /* Losses that the caches have thresholds for, from the most to the least: the whole promise first. */
    int n_levels;
    uint32_t level_ppm[MESSAGE_MAX_LEVELS];
};

/* What a cache service answers from. All zero: it has no caches, or is no cache service. */
struct caches_told {
    uint8_t build[DIGEST_BYTES]; /* names the build */
    uint32_t built, loaded;      /* caches that the build made; how many of these it answers from */
    struct caches_promise promise;
};

/* What a model takes or gives: the name in its file, element type and dims of one request (dim[0] = 1).
 * dtype TENSOR_NONE: not told. */
struct port {
    char name[MESSAGE_NAME_BYTES];
    struct tensor tensor;
};

/* The exits at which one stage looks up; `layers`: with weights on the longest path, up to there. */
struct exits_told {
    int n;
    struct exit_told {
        uint32_t index, layers;
        char name[EXIT_NAME_BYTES];
    } exit[PIPELINE_MAX_EXITS];
};

struct hello {
    uint32_t role; /* enum message_role */
    uint32_t stage, replica;
    uint64_t incarnation; /* random per process start */
    uint64_t pid;
    char host[MESSAGE_NAME_BYTES];
    char boot_id[MESSAGE_NAME_BYTES]; /* same as the broker's: same clock */
    uint8_t model[DIGEST_BYTES];      /* graph digest; zero for a cache service, which has no model */
    uint8_t identity[DIGEST_BYTES]; /* config/identity.h: what it serves, or what its caches were built for */
    uint8_t plan[DIGEST_BYTES];     /* of a stage: what all stages must agree on (placement_digest) */
    struct caches_told caches;
    char engine[MESSAGE_NAME_BYTES]; /* BLAS core, convolution engine, threads: one line */
    bool ready;
    bool leaving;     /* takes no new requests, finishes what it has; told to end when nothing is left */
    uint32_t reaches; /* as in a heartbeat */
    /* Of a stage worker: where it takes jobs, for processes of its host and for others ("": the same). */
    char endpoint[MESSAGE_NAME_BYTES], remote[MESSAGE_NAME_BYTES];
    uint32_t asks; /* of a stage worker: 1 + the cache service that it asks; 0: none, or not told */
    struct port input, output; /* of the model: of its first stage, of its last one */
    struct exits_told exits;   /* of a stage */
    uint32_t layers;           /* of the whole model, counted as its exits count them; of a stage */
};

/* `reaches` has a bit for each replica of the next stage to which a stage worker is connected, and this bit
 * when it tells them at all. */
#define REACHES_TOLD (1u << 31)

/* How a cache service learns from what it sees. */
enum learning_state {
    LEARNING_UNKNOWN,   /* not told */
    LEARNING_NO_CACHES, /* it has no caches that could learn */
    LEARNING_PROMISED,  /* caches under a promise stay as they were certified: no Redis, or updates.learn off
                         */
    LEARNING_ALONE,     /* without Redis: for itself */
    LEARNING_SHARED,    /* through Redis, with the others */
    LEARNING_NO_REDIS,  /* Redis does not answer: updates wait */
    LEARNING_REFUSED,   /* Redis refuses a command: updates wait */
    LEARNING_DAMAGED,   /* the caches in Redis can't be used here */
    LEARNING_ASIDE,     /* Redis holds another build than this host */
    LEARNING_CERTIFIED, /* under a promise: a learner's process teaches through Redis */
    LEARNING_UNTAUGHT,  /* under a promise: the build does not say how to teach its caches */
    LEARNING_STATES
};

/* Look-ups that could end a request, and those that did; audits whose look-up would have been a hit, and
 * those of them whose label was that of the full answer. */
struct lookup_tally {
    uint64_t lookups, hits, audit_hits, audit_right;
};

struct learning {
    uint32_t state;    /* enum learning_state; others come from other versions */
    uint64_t accepted; /* updates that count now: in Redis's stream, or taken for learning without it */
    uint64_t rejected; /* updates that no cache can take */
    uint8_t redis_build[DIGEST_BYTES]; /* LEARNING_ASIDE: what Redis holds; zero: not known */
    struct lookup_tally built,
        learned; /* in the caches as they were built, and since something was learned */
};

/* What serves, as a learner sees it. */
enum epoch_state {
    EPOCH_NOT,       /* this process is not the learner, or not at work */
    EPOCH_COLD,      /* nothing serves yet */
    EPOCH_SERVING,   /* certified caches serve */
    EPOCH_TIGHTENED, /* after an alarm: more timid than they were */
    EPOCH_OFF,       /* after an alarm: no exit answers */
    EPOCH_STATES
};

/* What a learner tells of its work. Of the audits since this epoch serves: how many answers differed from the
 * network's, were worse, were better, and between which bounds the mean loss lies at the promise's certainty,
 * however often one looks; NAN where there is none. */
struct epoch_told {
    uint32_t state;        /* enum epoch_state; others come from other versions */
    bool teaching, frozen; /* teaches a candidate now; an operator stopped it */
    uint64_t serial;       /* of the epoch that serves; 0: as built */
    uint64_t age_ms;       /* since this learner has seen it serve */
    uint64_t candidate;    /* the last that was begun; 0: none */
    uint64_t judged;       /* audits that it has to its name; 0: it serves, or there is none */
    uint64_t needed;       /* so many certify one that loses nothing: others take more */
    uint64_t audits, differ, lost, won;
    double lower, upper;
    double alarm;    /* 0 to 1: how far the evidence for a broken promise is */
    uint64_t lag_ms; /* from an answer to the learner's disk, of the newest update */
    uint64_t kept;   /* requests that it keeps to learn from */
    int n_exits;
    float threshold[PIPELINE_MAX_EXITS];    /* infinity: no cache stands there, or it answers nothing */
    uint64_t answered[PIPELINE_MAX_EXITS];  /* of the audits */
    uint64_t exit_lost[PIPELINE_MAX_EXITS]; /* of these */
};

struct heartbeat {
    uint64_t incarnation;
    uint64_t worker_ns; /* worker's clock when sent */
    uint64_t broker_ns; /* filled in the echo */
    uint64_t jobs, lookups, hits, batches, dropped;
    uint64_t resident_bytes, shared_bytes, cpu_ms; /* limits_use */
    uint64_t epoch; /* newest of its caches (cache service); of its near caches (stage); 0: none */
    uint32_t queued;
    bool redis_up;           /* cache service only */
    bool cache_open;         /* stage only: look-ups are not bypassed */
    uint64_t clock_error_ns; /* how wrong its estimate of broker time may be: offset_error_ns */
    uint32_t caches; /* how many it answers from (cache service); how often its near caches changed (stage) */
    /* stage only: the newest request that left its queue for a batch; those before it have too */
    uint64_t taken;
    uint32_t batch;   /* stage only: as many as it takes into one now */
    uint32_t reaches; /* stage only: REACHES_TOLD | replicas of the next stage */
    uint32_t exits; /* bit per exit at which it has a cache (stage: looks up itself); in the echo to a stage:
                       of that stage's cache service */
    bool exits_told;
    /* stage only, over two seconds, in thousandths: how long it had a batch in hand; how many requests waited
     * for one; how many of the cores that it may use idled */
    uint32_t busy, waiting, idle;
    /* bit per exit whose descriptors are wanted of sampled and audited requests even where no cache stands
     * (of a cache service); in the echo to a stage: those of that stage's cache service */
    uint32_t learns;
    uint32_t others, brokers; /* stage only: requests here that other brokers sent; brokers that it hears */
    bool ready;               /* stage only, as in its hello: that may have been lost */
    uint32_t audit_ppm; /* learner only: the share of requests that it wants audited; 0: as configured */
    struct learning learning; /* cache service only */
    struct epoch_told told;   /* learner only */
};

#define SHARE_PPM 1000000 /* all */

struct cancel {
    int n;
    uint64_t request[MESSAGE_MAX_BATCH];
    int n_ask; /* of these no answer came: a stage that had a hit verdict for one sends its result itself */
    uint64_t ask[MESSAGE_MAX_BATCH];
};

struct outcome {
    uint64_t request;
    int32_t label;    /* of the full answer; -1: nothing was learned */
    int32_t hit_exit; /* -1 */
    bool audit; /* it was drawn as an audit and saw all exits: a fair sample of the traffic. With label -1 it
                   is lost: an exit answered it, and what is right will not be known */
    /* An audit that an exit answered was repeated in the background as `request`; this is the first one's id.
     * 0: it is itself. */
    uint64_t original;
    /* The network's scores as float16, where it told them (a full answer, not too many classes). */
    int n_scores;
    uint16_t scores[MESSAGE_MAX_SCORES];
};

/* Nothing is admitted until the lease runs out. Whoever wants a longer drain asks again before, so a drain
 * ends when its asker is gone. */
struct drain {
    uint32_t lease_ms; /* 0 = DRAIN_LEASE_MS */
    bool undo;         /* admit again, at once */
};

#define DRAIN_LEASE_MS     2000
#define DRAIN_MAX_LEASE_MS 600000

/* Other pipelines that answer the same question, each by its broker: a part of the requests is handed on to
 * them. This is all of them, in place of those before; they are let go when the lease runs out. */
struct relays {
    int n;
    struct relay {
        char name[RELAY_NAME_BYTES];
        char endpoint[MESSAGE_NAME_BYTES]; /* its `broker.requests` */
        uint32_t share_ppm;                /* of the requests: it answers them */
        uint32_t mirror_ppm;               /* of the requests: it is asked too, and only compared */
    } relay[MESSAGE_MAX_RELAYS];
    uint32_t lease_ms; /* 0 = DRAIN_LEASE_MS; as a drain's */
    double slower;     /* 0.25: an answer counts as slower when it took over 1.25 times as long */
};

/* What one of them has done. */
struct relay_status {
    char name[RELAY_NAME_BYTES];
    char state[32];               /* "ready", "resting" (it failed), "away" (not connected) */
    char why[MESSAGE_TEXT_BYTES]; /* it failed last; "": it never did */
    uint32_t share_ppm, mirror_ppm;
    uint32_t outstanding;
    uint64_t sent;        /* requests that it was to answer, */
    uint64_t turned;      /* and those that could not be handed to it, */
    uint64_t failed;      /* or that it failed or was late with: these are answered otherwise, */
    uint64_t failed_both; /* or not at all */
    uint64_t answered, early, answered_ns; /* by it; how many by an exit; how long they took in sum */
    /* Pairs: requests that both were asked. Failed by one alone; answered by both, of these with the same
     * label; of both that measured a time, those in which it was the slower one. */
    uint64_t pairs, failed_now, failed_next, both, agreed, timed, slower;
};

/* What a process did for one traced request. */
enum span_kind {
    SPAN_REQUEST = 1, /* broker: read .. answered */
    SPAN_WAIT,        /* broker: for a worker that can take it */
    SPAN_WIRE,        /* all: on its way here */
    SPAN_QUEUE,       /* all: here, waiting for its turn */
    SPAN_SERIALISE,   /* stage: decoded, copied into the batch, within it, out of it */
    SPAN_COMPUTE,     /* stage: layers, up to `exit` or to the stage's end */
    SPAN_ASK,         /* stage: descriptor made, look-up sent */
    SPAN_HELD,        /* stage: nothing to compute, held back for a verdict */
    SPAN_LOOKUP,      /* stage: beside the others, look-up sent .. verdict read; or made here */
    SPAN_SPECULATION, /* stage: past the exit that answered, until it left the batch */
    SPAN_DROPPED,     /* stage: came .. dropped, since it is answered already or its time is over */
    SPAN_HIT,         /* cache: looked up, ends there */
    SPAN_MISS,        /* cache: looked up, goes on */
    SPAN_KINDS
};

struct span {
    uint64_t request; /* the broker's id */
    uint32_t attempt;
    uint32_t kind;                                /* enum span_kind; others come from other versions */
    uint32_t role, stage, replica;                /* of the process that noted it; enum message_role */
    int32_t exit;                                 /* -1 = none */
    uint64_t start_ns, end_ns;                    /* broker time */
    uint64_t trace_high, trace_low, parent, span; /* SPAN_REQUEST: as its request said */
};

#define MESSAGE_MAX_SPANS 256

struct spans {
    int n;
    struct span span[MESSAGE_MAX_SPANS];
    uint64_t lost; /* spans for which there was no room, since the last message that told of some */
    uint32_t left; /* broker to client: how many are still there */
};

#define MESSAGE_MAX_FEEDBACK 256

/* True labels, told after the fact. In the reply no items, but how many were taken and how many were not:
 * early (not answered yet), foreign (not of this broker, or not of this start of it), wrong (a label that is
 * none), later (the last ones, for which there was no time: send them again). */
struct feedback {
    uint64_t sequence; /* the asker's own, in the reply too */
    int n;
    struct feedback_item {
        uint64_t request; /* answer.request */
        int32_t label;
    } item[MESSAGE_MAX_FEEDBACK];
    uint32_t taken, early, foreign, wrong, later;
    uint32_t error; /* enum fl_code: why nothing is taken. FL_UNSUPPORTED: nothing learns here */
};

struct process_status {
    uint32_t role, stage, replica;
    uint64_t pid, incarnation;
    char host[MESSAGE_NAME_BYTES];
    char state[32]; /* "ready", "starting", "dead" */
    char engine[MESSAGE_NAME_BYTES];
    /* as its hello said; zero when not known */
    uint8_t model[DIGEST_BYTES], identity[DIGEST_BYTES], plan[DIGEST_BYTES];
    struct caches_told caches;
    struct port input, output; /* as in its hello */
    struct exits_told exits;   /* likewise */
    uint32_t layers;
    struct heartbeat last;
    uint64_t age_ns; /* since the last heartbeat */
    uint32_t outstanding;
};

struct exit_status {
    uint64_t answered;
};

#define STATUS_MAX_PROCESSES (PIPELINE_MAX_STAGES * PIPELINE_MAX_REPLICAS / 4)

struct status_reply {
    bool ready;              /* every stage has a ready replica and one request has run through */
    bool draining, unloaded; /* nothing is admitted: for a while; until it is loaded again */
    uint64_t admitted, answered, hits, failed, overloaded, expired, retried, duplicates, in_flight,
        started_ns, now_ns;
    int n_exits;
    struct exit_status exit[PIPELINE_MAX_EXITS];
    uint64_t known;          /* of those answered: as an earlier request with the same input was */
    uint64_t response_bytes; /* that are kept for it */
    uint64_t waiting;        /* of those in flight: not sent to a stage yet */
    uint64_t room;           /* how many may be sent and unanswered */
    uint64_t gap_ns;         /* between answers while there was always more to do; 0: not known */
    /* audits: drawn, of these ended with an outcome, and given up; the rest is under way */
    uint64_t audits_drawn, audits_done, audits_dropped;
    uint64_t feedback_taken, feedback_refused;
    uint32_t broker, brokers; /* which of the pipeline's brokers this is, of how many; 0 brokers: not told */
    uint64_t repeated;  /* requests that came again with their key: answered as before, or once for both */
    uint64_t cancelled; /* of those failed: by their clients */
    /* refused at once; of those overloaded: too many in flight, too late already, too often; beside them:
     * while draining, while unloaded, without a worker, for what they were. The others overloaded could not
     * be in time. */
    uint64_t refused_full, refused_late, refused_rate, refused_draining, refused_unloaded, refused_absent,
        refused_wrong;
    uint64_t pid; /* the broker's own */
    char host[MESSAGE_NAME_BYTES];
    int n_relays;
    struct relay_status relay[MESSAGE_MAX_RELAYS];
    /* Variants, the first one is the pipeline itself; 0: it has none. Over the last hour: the share of the
     * requests that each answered, the mean loss of accuracy in points and what it may be; and how far now
     * from full quality (0) to the cheapest one (n_variants - 1). */
    int n_variants;
    struct variant_share {
        char name[RELAY_NAME_BYTES];
        double share;
        bool wanted; /* in memory, as far as budget.memory_mb goes */
    } variant[MESSAGE_MAX_RELAYS];
    double loss, loss_budget, level;
    int n_processes;
    struct process_status process[STATUS_MAX_PROCESSES]; /* large: in use up to n_processes */
};

/* A part of where the time of answers goes (proto/README.md); all but the first are of one stage. */
enum times_part { TIMES_REQUEST, TIMES_WIRE, TIMES_QUEUE, TIMES_COMPUTE, TIMES_LOOKUP, TIMES_PARTS };

#define TIMES_MAX (1 + (TIMES_PARTS - 1) * PIPELINE_MAX_STAGES)

/* Durations of all answers since the broker's start, counted; none in the question. */
struct times {
    int n;
    struct times_of {
        uint32_t part, stage;
        uint64_t sum_ns;
        uint64_t count[TIME_BUCKETS];
    } of[TIMES_MAX];
};

struct message {
    enum message_type type;
    union {
        struct request request;
        struct answer answer;
        struct job job;
        struct lookup lookup;
        struct verdict verdict;
        struct result result;
        struct hello hello;
        struct heartbeat heartbeat;
        struct cancel cancel;
        struct outcome outcome;
        struct status_reply status_reply;
        struct drain drain;
        struct spans spans;
        struct feedback feedback;
        struct times times;
        struct relays relays;
    };
};

/* Bytes of the raw frame that m announces: of its tensor, or n x dim floats of a look-up; 0 = no frame. -1
 * when overflowing. */
int64_t message_payload_bytes(const struct message *m);

/* True when the job cannot be answered in time any more if `stage` takes it into a batch at `now` (broker
 * time): what is left to do takes longer than it has. */
bool job_is_late(const struct job *j, int stage, uint64_t now);

/* Encodes into buf; *size is its length. FL_TOO_LARGE when `capacity` is not enough. Allocates nothing. */
int message_encode(const struct message *m, uint8_t *buf, size_t capacity, size_t *size);
#define MESSAGE_MAX_ENCODED (256 * 1024)

/* Decodes and checks every bound. FL_PROTOCOL, FL_TOO_LARGE; the text says what. Allocates nothing after the
 * first call of a thread (a per-thread scratch of fixed size serves the protobuf decoder). */
int message_decode(struct message *m, const uint8_t *buf, size_t size, struct error *e);

#endif
