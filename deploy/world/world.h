/* world.h - the processes of a pipeline on described hosts, in virtual time
 *
 * Each process runs its real brain: the broker's is broker/dispatch.h, and so on. What is written here stands
 * for the machine below it: clocks, cores, threads, sockets, links, births and deaths.
 *
 * - A process takes one message after the other, as its body does. What that costs (user.cost) its main
 * thread spends on its host's cores, which all threads of a host share; a second thread moves bytes, as
 * ZeroMQ's does (costs.io_ns). Where nothing costs anything, all that a process has to do is done in one
 * moment.
 * - A connection keeps its messages in order, but for those that go beside a lane (user.beside), which keep
 * an order of their own, and holds as many as its high-water marks say. What a dead
 * process had not sent or not read is lost; so is the end of what was on its way when a link breaks. Who has
 * connected tries again after 20 to 100 ms, as sockets do here. A PUSH or DEALER with ZMQ_IMMEDIATE takes
 * nothing while it is not connected, others keep what they were given.
 * - Each host has a clock of its own. Times of a host are what its brains see; the world's own start at 0.
 *
 * Pure: no clock, no I/O; the same calls and seed give the same result. Memory grows with what is under way
 * and is kept by world_reset. One thread.
 */
#ifndef FREEZELINE_WORLD_H
#define FREEZELINE_WORLD_H

#include "broker/dispatch.h"
#include "cache_service/service/cache_brain.h"
#include "stages/brain/stage_brain.h"

#define WORLD_MAX_CLIENTS 4
#define WORLD_MAX_HOSTS   4096
#define WORLD_NOBODY      (-1)

struct world_host {
    int cores;           /* 0: one for every thread */
    double speed;        /* of one core, relative to the one that costs were measured on */
    double all_busy;     /* speed of each core when all compute, relative to one that does alone: 0..1 */
    double bytes_per_ns; /* of its network interface, each way; 0: no limit */
    double latency_ns;   /* to its switch */
    uint64_t clock_ns; /* what its clock says at the world's 0. Another than the broker's: another boot id */
};

enum world_port { WORLD_CLIENTS, WORLD_CONTROL, WORLD_RESULTS, WORLD_JOBS, WORLD_LOOKUPS, WORLD_PORTS };

/* Who a process is. A place has two: one that serves and one that comes to take over. */
struct world_process {
    int index;
    enum message_role role;
    int stage, replica; /* replica: also a cache service's or client's number */
    int host;
    bool lives;
    uint32_t life; /* how often it was started */
    uint64_t incarnation;
};

enum world_work { WORLD_RECEIVES, WORLD_SENDS };

/* What stands for the network, the load and the measurements. Any may be NULL. */
struct world_user {
    void *arg;
    /* world_at's moment has come. */
    void (*event)(void *arg, int what, uint32_t value);
    /* A message of a broker came to a client; it may take the payload. */
    void (*answer)(void *arg, int client, int broker, const struct message *m, zmq_msg_t *payload);
    /* How long a message is on its way beside its hosts' latency, ns. NULL: no time. */
    uint64_t (*delay)(void *arg, const struct world_process *from, const struct world_process *to);
    /* Within a host a message goes through a lane (proto/link/lanes.h), or through the socket beside it where
     * that is full or has just come or gone: how much longer that takes, ns. What is sent later may come
     * before it, and who answers answers another peer. NULL, or 0: through the lane. */
    uint64_t (*beside)(void *arg, const struct world_process *from, const struct world_process *to);
    /* CPU time that p's main thread takes for a message that it receives or sends, ns. NULL: none. Less than
     * 0: none, and the thread need not wake for it. */
    double (*cost)(void *arg, const struct world_process *p, enum world_work work, const struct message *m,
                   double bytes);
    /* --- stage workers: needed where one is started --- */
    /* Fills in what is not filled in yet: digests, segments, the input, the largest batch; and the layers. */
    void (*stage)(void *arg, const struct world_process *p, struct stage_setup *s, struct stage_engine *e);
    /* CPU time of computing a segment for so many rows, ns. *rc: how it ends, FL_OK unless it is set. */
    double (*compute)(void *arg, const struct world_process *p, int segment, int rows, int *rc);
    /* --- cache services: needed where one is started --- */
    /* May fill in its limits; *first (NULL: none) is what it answers from, one reference, which it takes. */
    void (*cache)(void *arg, const struct world_process *p, struct cache_setup *s, struct snapshot **first);
    /* What a snapshot says of descriptors: lookups_look. `p`: a cache service, or a stage worker that looks
     * up itself. */
    int (*look)(void *arg, const struct world_process *p, const struct snapshot *s, const struct lookup *in,
                const float *descriptors, struct cache_verdict *found);
    /* CPU time of a look-up that a stage worker makes itself, ns. NULL: none. */
    double (*look_ns)(void *arg, const struct world_process *p, const struct lookup *in);
    /* Takes u: a descriptor and its full answer. NULL: it is dropped. */
    void (*update)(void *arg, const struct world_process *p, struct update *u);
    /* What waking a sleeping core takes for this message, ns. NULL: none. */
    double (*wake)(void *arg);
    /* p sends a message to who is bound at a port: a replica of a stage, a cache service, the broker. */
    void (*sent)(void *arg, const struct world_process *p, enum world_port port, int stage, int replica,
                 const struct message *m, zmq_msg_t *payload);
    /* What a receiver makes of a message: it may change it. False: it can't be read and is dropped. */
    bool (*read)(void *arg, const struct world_process *p, struct message *m);
    /* p lives no more: it was killed, asked to end, or sent away. */
    void (*ended)(void *arg, const struct world_process *p);
    /* `process` has done all that it had to do in this moment. */
    void (*settled)(void *arg, int process);
};

struct world_costs {
    double io_ns, io_byte_ns; /* in the thread that moves bytes: at the sender, and at the receiver */
    double switch_ns;         /* of a thread that was woken */
    double turn_ns;      /* where all cores are busy a thread waits at most so long; 0: they share them */
    double header_bytes; /* what every message carries beside its payload */
};

struct world_spec {
    const struct pipeline *pipeline; /* borrowed */
    int n_hosts;
    const struct world_host *host; /* borrowed */
    int broker_host[PIPELINE_MAX_BROKERS];
    int n_clients, client_host[WORLD_MAX_CLIENTS];
    int stage_host[PIPELINE_MAX_STAGES][PIPELINE_MAX_REPLICAS], cache_host[PIPELINE_MAX_CACHES];
    struct world_costs costs;
    struct world_user user;
    bool near; /* stage workers look up in the caches of a service on their host */
    uint64_t seed;
    uint64_t max_steps; /* after so many it runs no more; 0: no limit */
};

struct world;

/* FL_NOMEM, FL_VALUE: a host that is not there. No process lives yet. Borrows what spec points at. */
int world_new(struct world **out, const struct world_spec *spec, struct error *e);
int world_reset(struct world *w, const struct world_spec *spec,
                struct error *e); /* as new, in the same memory */
void world_free(struct world *w);

/* --- time --- */

uint64_t world_now(const struct world *w);
/* user.event is called at `at`. */
void world_at(struct world *w, uint64_t at, int what, uint32_t value);
/* What happens until then. False: out of memory, or of steps. */
bool world_run(struct world *w, uint64_t until);
/* The next thing that happens; false: nothing will. */
bool world_step(struct world *w);
uint64_t world_steps(const struct world *w); /* that have happened */
/* A host's own clock. */
uint64_t world_clock(const struct world *w, int host, uint64_t at);
/* What its machine is called: hosts with the same clock have the same. Returns buf. */
char *world_boot_id(const struct world *w, int host, char *buf, size_t size);

/* --- processes --- */

int world_processes(const struct world *w);
const struct world_process *world_process(const struct world *w, int process);
int world_client(const struct world *w, int client);
int world_broker(const struct world *w, int broker);
int world_stage(const struct world *w, int stage, int replica,
                int which); /* which: 0 or 1 of the place's two */
int world_cache(const struct world *w, int cache, int which);

/* Starts a process that does not live, under a new incarnation. FL_NOMEM, or what its brain says. */
int world_start(struct world *w, int process, struct error *e);
void world_kill(struct world *w, int process);                  /* at once, without a word */
void world_end(struct world *w, int process);                   /* asked to end, politely */
void world_stall(struct world *w, int process, uint64_t until); /* it does nothing until then */
/* A broker's brain, to be looked at; NULL while it does not live. */
struct dispatch *world_dispatch(const struct world *w, int broker);
/* A stage worker's. NULL while it does not live. */
const struct stage_brain *world_stage_brain(const struct world *w, int process);
/* A cache service's; swap a snapshot in, or look at its counters. NULL while it does not live. */
struct cache_brain *world_cache_brain(const struct world *w, int process);

/* --- messages --- */

/* A client, or (from WORLD_NOBODY) a stranger, sends to who is bound at a port: a broker (by `replica`), a
 * replica of a stage, a cache service. The payload is taken on success. FL_AGAIN. */
int world_send(struct world *w, int from, enum world_port port, int stage, int replica,
               const struct message *m, zmq_msg_t *payload);

/* Its connection there takes messages. */
bool world_takes(const struct world *w, int from, enum world_port port, int stage, int replica);

/* Messages from living processes that are on their way to who is bound there, or wait unread: of one sender
 * at most. */
int world_queued(const struct world *w, enum world_port port, int stage, int replica);

/* Connections between two hosts: nothing passes until then, in order
 * afterwards. */
void world_hold(struct world *w, int host_a, int host_b, uint64_t until);
/* They break: the end of what is on its way is lost, and nobody connects again before then. */
void world_break(struct world *w, int host_a, int host_b, uint64_t until);

/* --- load --- */

void world_busy(struct world *w, int host, int more); /* cores that something else asks for */
double world_crowd(const struct world *w, int host);  /* of the other cores, the share that is busy: 0..1 */
/* Core time that its two threads have used, ns. */
void world_used(struct world *w, int process, double *main_ns, double *io_ns);
struct world_traffic {
    double busy_ns, out_bytes, in_bytes; /* core time of all; through its network interface */
};
struct world_traffic world_traffic(struct world *w, int host);

#endif
