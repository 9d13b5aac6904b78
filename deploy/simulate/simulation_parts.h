/* simulation_parts.h - what the files of the simulation share; private to simulation*.c
 *
 * simulation.c          checking, setting up, the loop, the result
 * simulation_events.c   random numbers
 * simulation_cpu.c      threads that share the cores of a host
 * simulation_wire.c     messages from process to process
 * simulation_broker.c   the client and the broker: a request's life
 * simulation_stage.c    stage workers and cache services
 * simulation_failures.c deaths and repairs
 */
#ifndef FREEZELINE_SIMULATION_PARTS_H
#define FREEZELINE_SIMULATION_PARTS_H

#include <stddef.h>

#include "events.h"
#include "simulation.h"
#include "broker/admission.h"
#include "stages/worker/breaker.h"

#define NONE  (-1)
#define LATE  (-2)
#define AWAKE (-1.0)

enum event_kind {
    EVENT_ARRIVAL,
    EVENT_WATCH,    /* the client starts watching the clock */
    EVENT_HOST,     /* a thread of host `what` may be done */
    EVENT_DELIVER,  /* message `what` has crossed the network */
    EVENT_PATIENCE, /* worker `what` waits no longer */
    EVENT_DEADLINE,
    EVENT_FAIL,   /* process `what`, or host `what - n_processes` */
    EVENT_REPAIR, /* likewise */
    EVENT_DETECT  /* the broker misses worker `what` */
};

struct random {
    uint64_t state;
};

struct thread {
    int host, process;
    bool busy;         /* has something in hand */
    int slot;          /* in its host's heap; NONE: not running */
    uint64_t stopped;  /* when it last was done: in that moment it is still awake */
    int in_hand;       /* message; NONE for workers */
    int first, last;   /* messages that wait */
    double finish;     /* virtual time */
    double used, from; /* core time, of the counted time; its host's clock of core time when it began */
    double width;
};

struct cores {
    const struct simulation_host *spec;
    double virtual_ns, share_ns; /* progress and core time of each running thread */
    double width, busy;          /* cores asked for; core time used by all */
    int others;                  /* cores that something else asks for, which is never done by itself */
    uint64_t since;              /* when these were true */
    int n, *heap;                /* threads by finish */
    uint64_t event_at;
    uint32_t version;
    double out_free, in_free, out_bytes, in_bytes; /* when the interfaces are free */
    bool down;
};

enum message_kind { SUBMIT, REQUEST, JOB, LOOKUP, VERDICT, RESULT, ANSWER };

struct parcel {
    enum message_kind kind;
    int next, from, to; /* processes */
    int request;
    uint32_t serial;
    int exit;              /* RESULT: which exit answered, n_exits: the network, NONE: it failed, LATE */
    int lookup;            /* LOOKUP, VERDICT */
    bool moved;            /* by its sender's second thread */
    double bytes, wake_ns; /* wake_ns: what waking each thread on its way takes */
    uint64_t since;        /* when it got where it is */
};

struct asked {
    int request;
    uint32_t serial;
    bool hit;
};

struct lookup {
    int next, worker, exit, n;
    uint64_t sequence;
    struct asked item[SIMULATION_MAX_BATCH];
};

enum request_state { REQUEST_FREE, REQUEST_SUBMITTED, REQUEST_WAITING, REQUEST_SENT, REQUEST_DONE };

struct request {
    enum request_state state;
    uint32_t serial;
    int next, before, after; /* free or waiting list; admitted ones by age */
    int first_hit, failures, outcome;
    bool counted;
    uint64_t due, deadline, sent;
    int route[PIPELINE_MAX_STAGES];
    /* stages that this attempt has passed, or the last of them is passing since `formed` */
    int n_passed;
    uint64_t formed;
    struct {
        float queue_ns, own_ns;
        int batch;
    } passed[PIPELINE_MAX_STAGES];
};

/* Outcomes that are no exit. */
enum { OUTCOME_REFUSED = -2, OUTCOME_EXPIRED = -3, OUTCOME_FAILED = -4, OUTCOME_LOST = -5 };

struct process {
    enum simulation_role role;
    int host, stage, replica;
    bool dead;
    uint32_t life;
};

enum worker_state { WORKER_IDLE, WORKER_WAKES, WORKER_COMPUTES, WORKER_WAITS, WORKER_SENDS };
enum row_state { ROW_RUNS, ROW_HIT, ROW_DROPPED };

struct row {
    int request;
    uint32_t serial;
    enum row_state state;
};

struct pending {
    uint64_t sequence, sent;
    bool answered, over;
};

struct worker {
    int stage, replica, process, cache; /* cache: process, or NONE */
    enum worker_state state;
    int first, last; /* jobs that wait */
    int n_batch, segment, sent;
    uint64_t formed; /* when the batch was */
    struct row row[SIMULATION_MAX_BATCH];
    bool cold;   /* it was idle before this batch */
    double debt; /* CPU time of verdicts, paid with the next task */
    uint64_t sequence;
    int n_pending;
    struct pending pending[PIPELINE_MAX_EXITS];
    struct breaker breaker;
    uint32_t batch; /* which one */
    /* the broker's books */
    int outstanding, queued;
    bool known_dead;
};

/* Growing arrays with a free list through `next`. */
struct pool {
    int free, n, capacity;
};

struct state {
    const struct simulation *s;
    struct simulation_result *result;
    struct error *error;
    int failed; /* enum fl_code: out of memory */
    uint64_t now;
    struct events events;
    struct random arrivals, exits, times, failures;
    int n_processes, n_threads, n_workers;
    struct process *process; /* client, broker, caches, workers */
    struct thread *thread;   /* two of each process */
    struct cores *cores;
    int *heap_space;
    int *ready, n_ready, first_ready; /* ring of threads that are done */
    struct worker *worker;
    int first_worker[PIPELINE_MAX_STAGES + 1];
    struct pool parcels, lookups, requests;
    struct parcel *parcel;
    struct lookup *lookup;
    struct request *request;
    bool watching; /* the client does, the clock */
    /* broker */
    struct admission admission;
    int room, under_way; /* sent and unanswered */
    int admitted, oldest, newest, first_waiting, last_waiting;
    unsigned turn;
    uint64_t deadline_event;
    /* counting */
    bool counting, closed_window;
    uint64_t counted_from, area_since;
    int64_t in_system, answers;
    struct simulation_stage_result afterwards; /* of stages, when no longer counted */
    double area;
};

/* simulation_events.c */
double random_uniform(struct random *r); /* (0, 1] */
double random_exponential(struct random *r, double mean);
double random_time(struct random *r, const struct simulation_times *t);

/* simulation.c */
void state_schedule(struct state *s, uint64_t at, enum event_kind kind, int what, uint32_t version);
/* An index into *items, whose items of `size` bytes have a free list through the int at `next`. NONE: no
 * memory. */
int pool_take(struct state *s, struct pool *p, void **items, size_t size, size_t next);

/* simulation_cpu.c: `thread` is an index */
/* wake_ns: of a thread that was idle, if a core is; AWAKE: it was not. */
void cpu_start(struct state *s, int thread, double cpu_ns, double wake_ns, double width);
void cpu_stop(struct state *s, int thread); /* what it did is dropped */
void cpu_others(struct state *s, int host, int more);
/* Of the other cores of a host, the share that is busy: 0..1. */
double cpu_crowd(const struct state *s, int host);
void cpu_on_event(struct state *s, int host, uint32_t version);
void cpu_settle(struct state *s); /* brings all books up to now */

/* simulation_wire.c */
int parcel_new(struct state *s, enum message_kind kind, int from, int to, double bytes);
void parcel_free(struct state *s, int parcel);
void wire_send(struct state *s, int parcel);
void wire_put(struct state *s, int thread, int parcel); /* into a thread's inbox */
void wire_arrive(struct state *s, int parcel);          /* from the network */
void wire_thread_done(struct state *s, int thread);
void wire_drop_inbox(struct state *s, int thread);

/* simulation_broker.c */
void client_arrival(struct state *s);
void client_start(struct state *s);
void client_watch(struct state *s);
double broker_cost(const struct state *s, const struct parcel *p); /* and the client's */
void broker_handle(struct state *s, int parcel);                   /* likewise */
void broker_find_room(struct state *s);
void broker_send_waiting(struct state *s);
void broker_on_deadline(struct state *s);
void broker_lost_worker(struct state *s, int worker);
void broker_died(struct state *s);
void broker_bounced(struct state *s, int parcel); /* its receiver is dead */
void broker_dropped(struct state *s, int parcel); /* who held it died */
bool request_is_over(const struct state *s, int request, uint32_t serial);
bool request_is_late(const struct state *s, int request,
                     int stage); /* left alone, it would not be done in time */

/* simulation_stage.c */
void worker_take(struct state *s, int worker, int parcel);
void worker_done(struct state *s, int worker);
void worker_patience(struct state *s, int worker, uint32_t batch);
void worker_reset(struct state *s, int worker);
double cache_cost(const struct state *s, const struct parcel *p);
void cache_handle(struct state *s, int parcel);

/* simulation_failures.c */
void failures_start(struct state *s);
void failures_fail(struct state *s, int what);
void failures_repair(struct state *s, int what);
void failures_detect(struct state *s, int worker, uint32_t life);

static inline int main_thread(int process)
{
    return 2 * process;
}

static inline int io_thread(int process)
{
    return 2 * process + 1;
}

enum { CLIENT_PROCESS, BROKER_PROCESS, FIRST_CACHE };

static inline int worker_process(const struct state *s, int worker)
{
    return FIRST_CACHE + s->s->n_caches + worker;
}

#endif
