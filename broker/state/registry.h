/* registry.h - the stage workers, cache services and learners that have said hello, and whether they live
 *
 * A member is one process in its place: a replica of a stage, a cache service or a learner. Its incarnation
 * is a random number per process start. The incarnation that said hello last holds the place; the one before
 * is ousted and told so whenever it shows up. All living stage workers have the same plan (Hello.plan, with
 * model and identity): the first one sets it, one with another has to wait (succession.h). Pure: time and
 * messages come in as arguments. One thread.
 */
#ifndef FREEZELINE_REGISTRY_H
#define FREEZELINE_REGISTRY_H

#include "wire/frames.h"

/* A pause in which something is given no requests. The next pause is longer. */
struct rest {
    uint64_t until_ns;
    uint64_t for_ns; /* length of the last pause; 0: there was none, or it did well since */
};

/* `stage` of members that are none; `replica` is their index. Learners have places whatever the file says. */
#define MEMBER_CACHE      (-1)
#define MEMBER_LEARNER    (-2)
#define REGISTRY_LEARNERS PIPELINE_MAX_CACHES

struct member {
    int stage, replica; /* its place, which it keeps */
    bool known;         /* has said hello at least once; the fields below are of the last that did */
    bool alive;         /* false: it said goodbye, or was silent for too long */
    struct peer peer;
    uint64_t heard_ns;
    uint64_t asked_ns;    /* for a heartbeat that is overdue */
    uint32_t outstanding; /* unanswered requests whose route goes through it */
    uint64_t pace_ns;     /* how long a request takes there, on average over the last few; 0: not known */
    uint32_t passed_over; /* requests that other replicas took since it had one (router.h) */

    /* what trust.h holds against it */
    uint32_t failures;                       /* requests in a row that failed there */
    struct rest aside;                       /* it failed several requests in a row */
    uint64_t trial;                          /* the request that tries it while it is put aside; 0: none */
    struct rest link[PIPELINE_MAX_REPLICAS]; /* [i]: replica i of the stage before could not reach it */
    struct rest unreached;                   /* several of them could not */

    struct heartbeat last; /* clock_error_ns: 0 with the broker's clock, else UINT64_MAX until it tells */
    struct hello hello;    /* not cleared before it is known, nor is what follows */
    struct cancel cancel;  /* cancellations to be sent to it */
};

struct registry;

/* Empty places: as many replicas of each stage as there can be, and the cache services of the pipeline file.
 * A stage has those replicas that the file gives it, and more when they say hello. `boot_id`: the broker's
 * own; members with the same one share its clock. FL_NOMEM. */
int registry_new(struct registry **out, const struct pipeline *p, const char *boot_id);
void registry_free(struct registry *r);

int registry_stages(const struct registry *r);
int registry_replicas(const struct registry *r, int stage);
int registry_caches(const struct registry *r);
/* The member in a place, which the registry owns; `known` may be false. */
struct member *registry_worker(const struct registry *r, int stage, int replica);
struct member *registry_cache(const struct registry *r, int index);   /* NULL: the file has no such */
struct member *registry_learner(const struct registry *r, int index); /* index < REGISTRY_LEARNERS */
/* The members that are known, 0 .. registry_known(r) - 1: the stages' in order, the cache services', the
 * learners'. */
int registry_known(const struct registry *r);
struct member *registry_member(const struct registry *r, int i);
/* The place that h claims; NULL: there is none such, and *e says so. */
struct member *registry_place(const struct registry *r, const struct hello *h, struct error *e);

enum registry_event {
    REGISTRY_REFUSED,  /* not of this pipeline: *e says why */
    REGISTRY_JOINED,   /* a place that was empty or whose holder was dead */
    REGISTRY_REPLACED, /* the holder was alive: its requests are in doubt */
    REGISTRY_UPDATED,  /* the holder itself: ready or address changed */
    REGISTRY_LEFT,     /* the holder says goodbye (ready no more) */
    REGISTRY_KNOWN,    /* heartbeat of the holder */
    REGISTRY_REVIVED,  /* heartbeat of a holder that was given up */
    REGISTRY_STRANGER, /* heartbeat of one that never said hello (to this broker), or not that it is ready */
    REGISTRY_UNWANTED, /* one that was ousted */
    REGISTRY_WAITS,    /* a stage worker of another plan than those that live, or one that comes after the
                          holder of its place: *e says which */
};

/* *out (may be NULL) is the member concerned, NULL when there is none. */
enum registry_event registry_hello(struct registry *r, const struct hello *h, const struct peer *peer,
                                   uint64_t now, struct member **out, struct error *e);
enum registry_event registry_heartbeat(struct registry *r, const struct heartbeat *h, const struct peer *peer,
                                       uint64_t now, struct member **out);
/* The next member that is alive and has been silent for longer than broker.dead_after_ms: marked dead and
 * returned; NULL: none. */
struct member *registry_expire(struct registry *r, uint64_t now);

/* What the stage workers that live serve; NULL: none lives. */
const uint8_t *registry_identity(const struct registry *r);
/* It is not wanted any more, and is told so whenever it shows up. */
void registry_oust(struct registry *r, uint64_t incarnation);
/* It is sent away: it counts as dead, and is unwanted when it shows up again. */
void registry_retire(struct registry *r, struct member *m);
/* What differs between the plans of two stage workers ("another model"); NULL: nothing. */
const char *registry_difference(const struct hello *h, const struct hello *other);
/* A living stage worker other than `self` that does not agree with h; NULL: none. */
const struct member *registry_other_plan(const struct registry *r, const struct hello *h,
                                         const struct member *self);

/* Takes requests: alive, ready, not about to leave, and it knows the broker's clock, by which deadlines
 * count. */
bool member_ready(const struct member *m);
/* Replicas of the next stage that it is connected to; all when it does not tell. */
uint16_t member_reaches(const struct member *m);

bool registry_stage_ready(const struct registry *r, int stage);
bool registry_stage_empty(const struct registry *r, int stage); /* nobody of it lives */
/* For how long it has had no ready worker; UINT64_MAX: it never had one. */
uint64_t registry_stage_missing_ns(const struct registry *r, int stage, uint64_t now);
/* True while it makes sense to hold a request for a stage that has no ready worker: one is starting, or was
 * there shortly ago. */
bool registry_stage_recovering(const struct registry *r, int stage, uint64_t now);

#endif
