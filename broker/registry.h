/* registry.h - the workers and cache services that have said hello, and whether they live
 *
 * A worker is a stage and replica (caches: an index) together with an incarnation, a random number per
 * process start. The incarnation that said hello last holds the place; the one before is ousted and told so
 * whenever it shows up. All living stage workers have the same plan (Hello.plan, with model and identity):
 * the first one sets it, one with another has to wait (succession.h). Pure: time and messages come in as
 * arguments. One thread.
 */
#ifndef FREEZELINE_REGISTRY_H
#define FREEZELINE_REGISTRY_H

#include "wire/frames.h"

/* Given no requests until then; the next time for longer. */
struct rest {
    uint64_t until_ns;
    uint64_t for_ns; /* 0 = has never rested, or did well since */
};

struct worker {
    bool known; /* has said hello at least once; the fields below are of the last that did */
    bool alive; /* said goodbye or fell silent when false */
    struct hello hello;
    struct peer peer;
    struct heartbeat last; /* clock error: 0 with the broker's clock, else UINT64_MAX until it tells */
    uint64_t heard_ns;
    uint32_t outstanding;  /* unanswered requests whose route goes through it */
    struct rest unreached; /* several workers of the stage before could not reach it (trust.h) */
    struct rest aside;     /* it failed several requests in a row */
    uint32_t failures;     /* in a row */
    uint64_t trial;        /* the request that it was given while put aside; 0 = none */
    struct cancel cancel;  /* to be told, collected */
};

#define REGISTRY_OUSTED 64

struct registry {
    int n_stages;
    int n_replicas[PIPELINE_MAX_STAGES];
    int n_caches;
    uint64_t dead_after_ns;
    char boot_id[MESSAGE_NAME_BYTES]; /* the broker's own: whose clock is the same */
    uint64_t recover_ns;              /* how long a stage without a ready worker is expected to come back */
    struct worker stage[PIPELINE_MAX_STAGES][PIPELINE_MAX_REPLICAS];
    struct worker cache[PIPELINE_MAX_CACHES];
    uint64_t last_ready_ns[PIPELINE_MAX_STAGES]; /* when the stage last had a ready worker; 0 = never */
    uint64_t ousted[REGISTRY_OUSTED];            /* ring of incarnations that are not wanted any more */
    unsigned n_ousted;
    struct rest link[PIPELINE_MAX_STAGES][PIPELINE_MAX_REPLICAS]
                    [PIPELINE_MAX_REPLICAS]; /* [stage][from][to] */
    uint64_t links_rest_until_ns;            /* no link rests after */
};

enum registry_event {
    REGISTRY_REFUSED,  /* not of this pipeline: *e says why */
    REGISTRY_JOINED,   /* a place that was empty or whose holder was dead */
    REGISTRY_REPLACED, /* the holder was alive: its requests are in doubt */
    REGISTRY_UPDATED,  /* the holder itself: ready or address changed */
    REGISTRY_LEFT,     /* the holder says goodbye (ready no more) */
    REGISTRY_KNOWN,    /* heartbeat of the holder */
    REGISTRY_REVIVED,  /* heartbeat of a holder that was given up */
    REGISTRY_STRANGER, /* heartbeat of one that never said hello (to this broker) */
    REGISTRY_UNWANTED, /* one that was ousted */
    REGISTRY_WAITS,    /* a stage worker of another plan than those that live: *e says which */
};

/* *r is zeroed: most places are never taken, and their memory never touched. */
void registry_init(struct registry *r, const struct pipeline *p);

/* *out (may be NULL) is the worker concerned, NULL when there is none. */
enum registry_event registry_hello(struct registry *r, const struct hello *h, const struct peer *peer,
                                   uint64_t now, struct worker **out, struct error *e);
enum registry_event registry_heartbeat(struct registry *r, const struct heartbeat *h, const struct peer *peer,
                                       uint64_t now, struct worker **out);
/* The next worker that is alive and has been silent for longer than dead_after: marked dead and returned;
 * NULL: none. */
struct worker *registry_expire(struct registry *r, uint64_t now);

/* What the stage workers that live serve; NULL: none lives. */
const uint8_t *registry_identity(const struct registry *r);
/* It is not wanted any more, and is told so whenever it shows up. */
void registry_oust(struct registry *r, uint64_t incarnation);
/* It is sent away: it counts as dead, and is unwanted when it shows up again. */
void registry_retire(struct registry *r, struct worker *w);
/* What h has and `other` has not, of what all stages must have in common; NULL: nothing. */
const char *registry_difference(const struct hello *h, const struct hello *other);
/* A living stage worker other than `self` that does not agree with h; NULL: none. */
const struct worker *registry_other_plan(const struct registry *r, const struct hello *h,
                                         const struct worker *self);

/* Takes requests: alive, ready, not about to leave, and it knows the broker's clock, by which deadlines
 * count. */
bool worker_ready(const struct worker *w);
/* Replicas of the next stage that it is connected to; all when it does not tell. */
uint16_t worker_reaches(const struct worker *w);
bool registry_stage_ready(const struct registry *r, int stage);
/* True while it makes sense to hold a request for a stage that has no ready worker: one is starting, or was
 * there shortly ago. */
bool registry_stage_recovering(const struct registry *r, int stage, uint64_t now);

#endif
