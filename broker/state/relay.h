/* relay.h - other pipelines to which a part of the requests is handed on: who they are, what they did
 *
 * Each has a place, by which the body knows its connection. A request's id decides whether it is handed on
 * (its share), or asked of both and compared (a pair). One that fails TRUST_FAILURES requests in a row rests,
 * and then gets one request on trial. Bounded; pure; one thread.
 */
#ifndef FREEZELINE_RELAY_H
#define FREEZELINE_RELAY_H

#include "registry.h"

#define RELAY_PAIRS 256 /* that wait for one of their answers */

struct relay_place {
    struct relay told; /* name "": nobody has this place */
    bool fixed;        /* a variant of the pipeline file: no operator's */
    bool away;         /* it is not connected */
    bool met;          /* it has been, once */
    uint64_t heard_ns; /* when it last said anything */
    uint32_t failures; /* in a row */
    struct rest aside;
    uint64_t trial;           /* the request that tries it after a rest; 0: none */
    struct relay_status done; /* the counts alone */
};

/* How one of the two answered. */
struct relay_view {
    bool here, failed;
    int32_t label;
    uint64_t ns; /* since the request came; 0: tells nothing */
};

struct relay_pair {
    uint64_t request; /* 0: free */
    int place;
    uint64_t began_ns, until_ns;
    struct relay_view now, next;
};

struct relay_table {
    struct relay_place place[MESSAGE_MAX_RELAYS];
    uint64_t until_ns; /* the lease's end; 0: there is none */
    double slower;
    struct relay_pair pair[RELAY_PAIRS];
};

/* Is that slower, by a share (0.25: over 1.25 times as long) and by half a millisecond? So much the way
 * through another broker, and processes that serve seldom, may cost a pipeline that is its equal. */
bool relay_is_slower(uint64_t next_ns, uint64_t now_ns, double share);

/* Whose a request is by its share, and who is asked beside; -1: nobody. */
int relay_of(const struct relay_table *t, uint64_t request);
int relay_mirror_of(const struct relay_table *t, uint64_t request);
/* It takes requests now. */
bool relay_takes(const struct relay_place *p, uint64_t now);

/* A request was sent there; it was answered; it failed there, or is late. */
void relay_sent(struct relay_place *p, uint64_t request, uint64_t now);
void relay_answered(struct relay_place *p, uint64_t ns, bool early);
/* `blame`: it is to blame for that, and may have to rest. */
void relay_failed(struct relay_place *p, uint64_t request, const char *why, bool blame, uint64_t now);
/* It is its turn no more, whatever comes of it. */
void relay_released(struct relay_place *p, uint64_t request);

/* There is room for a pair. */
bool relay_pair_fits(const struct relay_table *t, uint64_t request);
void relay_pair_begin(struct relay_table *t, uint64_t request, int place, uint64_t until_ns, uint64_t now);
/* One of the two has answered. False: no such pair waits for it. */
bool relay_pair_now(struct relay_table *t, uint64_t request, bool failed, int32_t label, uint64_t now);
bool relay_pair_next(struct relay_table *t, uint64_t request, int place, bool failed, int32_t label,
                     uint64_t now);
/* Pairs whose time is over: who has not answered has failed. */
void relay_pairs_expire(struct relay_table *t, uint64_t now);
/* Nobody has this place any more, and its pairs tell nothing. */
void relay_clear(struct relay_table *t, int place);

void relay_describe(const struct relay_place *p, struct relay_status *out, uint64_t now);

#endif
