/* stage_talk.h - a stage worker's talk with the brokers: hello, heartbeats, links, their clocks, leaving
 *
 * Each of the pipeline's brokers is told the same and counts on its own. A request belongs to the broker that
 * gave it its id: its times are by that one's clock. What one broker decides holds for all: a worker that one
 * sends away leaves the others, so that the pipeline does not split. Pure: sends through struct stage_io,
 * gets time as an argument.
 */
#ifndef FREEZELINE_STAGE_TALK_H
#define FREEZELINE_STAGE_TALK_H

#include "base/offset.h"
#include "stage_brain.h"

/* What this worker and one broker have said. */
struct stage_line {
    uint64_t hello_ns;     /* when last sent; 0 = it has yet to be */
    bool unheard;          /* the broker has not answered it: it may be lost with a connection */
    uint64_t heartbeat_ns; /* when the last regular one was sent */
    uint64_t broker;       /* its incarnation; 0 = none has said hello */
    uint64_t heard_ns;     /* when it last said anything */
    bool waits;            /* it lets this worker wait: another plan serves */
    bool remote;           /* its host has another clock */
    struct offset offset;  /* of that */
    bool exits_told;       /* it told at which exits caches stand */
    uint32_t exits;        /* a bit for each */
    uint32_t learns;       /* and where descriptors are wanted although none stands */
    bool sent_away;        /* it does not want this worker, or, when it leaves, any more */
    uint64_t taken;        /* the newest of its requests that left the queue for a batch */
    uint32_t others;       /* requests here that are other brokers': the owner keeps it up to date */
};

struct stage_talk {
    const struct pipeline *pipeline; /* borrowed, as are io and out */
    const struct stage_io *io;
    struct message *out;   /* scratch for what is being sent */
    struct hello self;     /* `ready`: jobs can reach it */
    struct heartbeat beat; /* what the next heartbeat tells: the owner keeps its counts up to date */
    int n_next;            /* replicas of the next stage */
    uint64_t reached_ns;   /* when their links were last looked at; 0 = look now */
    bool leaving;          /* takes no new requests, finishes what it has */
    uint64_t leave_by_ns;  /* for so long */
    int n_lines;
    struct stage_line line[PIPELINE_MAX_BROKERS]; /* by the brokers' numbers */
};

uint64_t stage_talk_moment(const struct stage_talk *t); /* now */
/* By the clock of the broker that owns a request. */
uint64_t stage_talk_time(const struct stage_talk *t, uint64_t request, uint64_t local_ns);
/* To all brokers that have not sent it away. */
void stage_talk_hello(struct stage_talk *t, bool ready);
/* A request has left the queue for a batch. */
void stage_talk_taken(struct stage_talk *t, uint64_t request);
/* A heartbeat out of turn to the broker that owns a request. */
void stage_talk_beat(struct stage_talk *t, uint64_t request);
/* When a regular heartbeat to a broker is due; UINT64_MAX: hello comes first. */
uint64_t stage_talk_due(const struct stage_talk *t, int broker);
/* A bit for each broker to which a hello could not be sent yet. */
uint32_t stage_talk_must_greet(const struct stage_talk *t);
/* Sends what is due. Returns when to call again at the latest. */
uint64_t stage_talk_tick(struct stage_talk *t, uint64_t now);
/* A broker's hello, or its echo of a heartbeat. */
void stage_talk_on_hello(struct stage_talk *t, int broker, const struct hello *h);
void stage_talk_on_heartbeat(struct stage_talk *t, int broker, const struct heartbeat *h, uint64_t now);
/* How many brokers are connected, and not silent for long. */
int stage_talk_hears(const struct stage_talk *t, uint64_t now);
/* Some broker has sent it away; all that it hears have. */
bool stage_talk_dismissed(const struct stage_talk *t);
bool stage_talk_over(const struct stage_talk *t, uint64_t now);
/* Some broker lets it wait, since another plan serves. */
bool stage_talk_waits(const struct stage_talk *t);
void stage_talk_leave(struct stage_talk *t, uint64_t now);
/* Descriptors are wanted there although no cache stands; no cache stands there; both as far as the brokers
 * told. */
bool stage_talk_learns_at(const struct stage_talk *t, int exit);
bool stage_talk_no_cache_at(const struct stage_talk *t, int exit);
/* The brokers know of the cache service, or there is none to know. */
bool stage_talk_cache_known(const struct stage_talk *t);

#endif
