/* simulation_parts.h - what the files of the simulation share; private to simulation*.c */
#ifndef FREEZELINE_SIMULATION_PARTS_H
#define FREEZELINE_SIMULATION_PARTS_H

#include "numbers/shuffle.h"
#include "simulation.h"

enum simulation_event { EVENT_ARRIVAL, EVENT_WATCH, EVENT_AGAIN, EVENT_FAIL, EVENT_BURY, EVENT_REPAIR };

/* The one with the number id stands at id % n_slots. Numbers whose place is taken are left out. */
struct request_slot {
    uint64_t id, due;
    bool open, counted;
};

struct simulating {
    const struct simulation *s;
    struct world_spec spec;
    struct world *world;
    struct simulation_result *result;
    int failed; /* enum fl_code */
    struct shuffle arrivals, times, failures;
    bool down[WORLD_MAX_HOSTS];

    /* the client */
    struct request_slot *slot;
    uint64_t n_slots, next_id, unsent; /* unsent: the first number that was not sent yet */
    bool watching;                     /* the clock */
    void *zeros;                       /* as long as the longest payload */
    uint64_t clock;                    /* which one its host has */
    struct message out;

    /* the network */
    struct stage_of {
        const struct simulating *g;
        int stage;
    } stage_of[PIPELINE_MAX_STAGES];
    uint64_t first_request; /* the broker's number of the first one; 0: none yet */
    /* Of a stage worker: it slept since its last batch; what the batch in hand takes longer for that. */
    bool slept[PIPELINE_MAX_STAGES][PIPELINE_MAX_REPLICAS];
    double cold[PIPELINE_MAX_STAGES][PIPELINE_MAX_REPLICAS];

    /* counting */
    bool counting, is_over;
    uint64_t counted_from, area_since;
    int64_t in_system, answers, passed[PIPELINE_MAX_STAGES];
    double area;
};

void simulation_lose(struct simulating *g); /* all that is under way goes with the broker */

/* What the world asks of the network. */
void network_user(struct world_user *u);
/* Makes *out, so many bytes (1 at least) that nobody looks at; returns their shape. */
struct tensor network_payload(const struct simulating *g, zmq_msg_t *out, double bytes);

void failures_start(struct simulating *g);
void failures_event(struct simulating *g, enum simulation_event what, int who);

#endif
