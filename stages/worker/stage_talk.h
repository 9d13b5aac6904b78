/* stage_talk.h - a stage worker's talk with the broker: hello, heartbeats, links, the broker's clock, leaving
 *
 * Pure: sends through struct stage_io, gets time as an argument.
 */
#ifndef FREEZELINE_STAGE_TALK_H
#define FREEZELINE_STAGE_TALK_H

#include "base/offset.h"
#include "stage_brain.h"

struct stage_talk {
    const struct pipeline *pipeline; /* borrowed, as are io and out */
    const struct stage_io *io;
    struct message *out;   /* scratch for what is being sent */
    struct hello self;     /* `ready`: jobs can reach it */
    struct heartbeat beat; /* what the next heartbeat tells: the owner keeps its counts up to date */
    uint64_t hello_ns;     /* when last sent; 0 = it has yet to be */
    bool unheard;          /* the broker has not answered it: it may be lost with a connection */
    uint64_t heartbeat_ns; /* when the last regular one was sent */
    int n_next;            /* replicas of the next stage */
    uint64_t reached_ns;   /* when their links were last looked at; 0 = look now */
    uint64_t broker;       /* its incarnation; 0 = none has said hello */
    uint64_t heard_ns;     /* when it last said anything */
    bool waits;            /* it lets this worker wait: another plan serves */
    bool remote;           /* its host has another clock */
    struct offset offset;  /* of that */
    bool exits_told;       /* it told at which exits caches stand */
    uint32_t exits;        /* a bit for each */
    uint32_t learns;       /* and where descriptors are wanted although none stands */
    bool sent_away;        /* it does not want this worker, or, when it leaves, any more */
    bool leaving;          /* asked to end: takes no new requests, finishes what it has */
    uint64_t leave_by_ns;  /* for so long */
};

uint64_t stage_talk_moment(const struct stage_talk *t); /* now */
/* Broker time. */
uint64_t stage_talk_time(const struct stage_talk *t, uint64_t local_ns);
void stage_talk_hello(struct stage_talk *t, bool ready);
/* A heartbeat out of turn. */
void stage_talk_beat(struct stage_talk *t);
/* When a regular heartbeat is due; UINT64_MAX: hello comes first. */
uint64_t stage_talk_due(const struct stage_talk *t);
/* Sends what is due. Returns when to call again at the latest. */
uint64_t stage_talk_tick(struct stage_talk *t, uint64_t now);
/* The broker's hello, or its echo of a heartbeat. */
void stage_talk_on_hello(struct stage_talk *t, const struct hello *h);
void stage_talk_on_heartbeat(struct stage_talk *t, const struct heartbeat *h, uint64_t now);
/* Connected, and not silent for long. */
bool stage_talk_hears(const struct stage_talk *t, uint64_t now);
void stage_talk_leave(struct stage_talk *t, uint64_t now);
/* No cache stands there, as far as the broker told. */
bool stage_talk_learns_at(const struct stage_talk *t, int exit);
bool stage_talk_no_cache_at(const struct stage_talk *t, int exit);

#endif
