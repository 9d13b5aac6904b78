/* world_parts.h - what the files of the world share; private to world*.c
 *
 * world.c        hosts and processes: setting up, births and deaths, the loop
 * world_cpu.c    threads that share the cores of a host
 * world_wire.c   connections and packets
 * world_body.c   what a process does with its messages and time, around its brain; client and broker
 * world_stage.c  a stage worker
 * world_cache.c  a cache service
 */
#ifndef FREEZELINE_WORLD_PARTS_H
#define FREEZELINE_WORLD_PARTS_H

#include "numbers/shuffle.h"
#include "world_events.h"
#include "world.h"

#define NONE   (-1)
#define AWAKE  (-1.0)
#define NEVER  UINT64_MAX
#define PLACES 2 /* processes of one place */
#define DOORS  3 /* of a broker: clients, control, results */

enum event_kind {
    EVENT_USER,    /* user event `what` */
    EVENT_HOST,    /* a thread of host `what` may be done */
    EVENT_THREAD,  /* thread `what` of a host with a core for each is done */
    EVENT_TURN,    /* thread `what` has waited for a core for a whole turn */
    EVENT_DELIVER, /* packet `what` has crossed the network */
    EVENT_WAKE,    /* process `what` wants to be called */
    EVENT_CONNECT, /* connection `what` tries */
};

struct list {
    int first, last, n;
};

/* A message on its way. */
struct packet {
    int next, next_io;     /* in a connection's or an inbox's list; in a second thread's */
    uint32_t serial;       /* counts the uses of this place: an event that names an older one means nothing */
    int connection;        /* NONE: free */
    int way;               /* 0: from who has connected, 1: back */
    uint32_t session;      /* of the connection, when it was sent */
    bool by_socket;        /* second threads move it */
    uint64_t beside_ns;    /* it goes beside the lane that its connection has */
    bool in_io, moved;     /* in a second thread's hands; its sender's has moved it */
    bool lost;             /* while a second thread has it */
    size_t size, capacity; /* of `data`: the part of a struct message that is in use */
    void *data;
    zmq_msg_t payload;
    double bytes, wake_ns;
    uint64_t came_at;
};

/* One direction of a connection. */
struct way {
    struct list flying;  /* on their way, in order */
    struct list waiting; /* in the sender's socket: not connected, or the receiver's is full */
    int unread;          /* in the receiver's socket */
    int send_mark, receive_mark;
    /* when what was sent last arrives, by the connection and beside its lane: nothing overtakes it */
    uint64_t last_at, last_beside_at;
};

struct connection {
    enum world_port port;
    int from;                  /* process that connects */
    int endpoint;              /* to which */
    int to;                    /* process at the other end while `up` */
    bool up, immediate, tries; /* tries: the next try is scheduled */
    uint32_t session;          /* how often it was up: names the peer of a ROUTER */
    uint32_t version;          /* of the next try */
    uint64_t not_before;
    struct way way[2];
};

enum job_in_hand { WORK_NOTHING, WORK_MESSAGE, WORK_SEND, WORK_COMPUTE };

struct thread {
    int host;
    bool busy, done, queued; /* has work; it is done, which the loop has yet to see */
    int slot;                /* in its host's heap; NONE: not running */
    bool waits;              /* for a core, to use it for wants_ns more */
    double wants_ns;
    int next;         /* in its host's list of those that wait */
    uint32_t version; /* of EVENT_THREAD and EVENT_TURN */
    uint64_t stopped; /* when it last was done: in that moment it is still awake */
    double finish;    /* virtual time */
    double used, from, width;
    struct list moving; /* a second thread's packets */
};

struct cores {
    const struct world_host *spec;
    double virtual_ns, share_ns; /* progress and core time of each running thread */
    double width, busy;          /* cores asked for; core time used by all */
    int others;                  /* cores that something else asks for */
    uint64_t since;              /* when these were true */
    int n, *heap;                /* threads by finish */
    struct list waiting;         /* threads that wait for a core, in order */
    uint64_t event_at;
    uint32_t version;
    double out_free, in_free, out_bytes, in_bytes; /* when the interfaces are free; what passed */
};

struct process {
    struct world_process who;
    int place; /* its endpoint, or NONE */
    uint64_t pid;
    uint64_t stalled_until;
    struct list inbox[WORLD_PORTS];
    struct list outbox; /* sent by its brain, not yet paid for */
    uint64_t wake_at;   /* its brain's wish; NEVER: none */
    uint64_t armed_at;  /* of the event that is under way */
    bool linked;        /* one of its sockets was connected since its last tick */
    bool dirty;         /* its brain has heard something since its last tick */
    int read;           /* messages since then */
    bool woken;         /* is in the list of those that may have something to do */
    bool waits;         /* for the process that holds its place to end */
    int asked;          /* to end, so many times */
    double spent;       /* by the call of the brain that is under way */
    double debt;        /* for messages that came while it computed */
    double owes;        /* for what it has done itself: before anything of it leaves */
    enum job_in_hand work;
    int in_hand; /* packet; NONE */
    void *brain;
    int first, n; /* connections that it makes */
};

/* What a role does around its brain. */
struct body {
    int (*start)(struct world *w, struct process *p, struct error *e);
    void (*end)(struct world *w, struct process *p); /* frees the brain */
    void (*ask_to_end)(struct world *w, struct process *p);
    bool (*reads)(struct world *w, struct process *p, enum world_port port); /* NULL: always */
    void (*message)(struct world *w, struct process *p, enum world_port port, const struct packet *k,
                    const struct message *m, zmq_msg_t *payload);
    uint64_t (*tick)(struct world *w, struct process *p); /* the host's time of the next call */
    /* Nothing to read: true when there is more to do in this moment. NULL: computes nothing. */
    bool (*go_on)(struct world *w, struct process *p);
    void (*computed)(struct world *w, struct process *p);
    void (*takes_place)(struct world *w, struct process *p); /* it waited; its endpoint is bound now */
};

struct endpoint {
    enum world_port port;
    int stage, replica;
    int process; /* that has bound it; NONE */
};

struct world {
    struct world_spec spec;
    bool failed; /* out of memory */
    bool clearing;
    uint64_t now, steps;
    struct events events;
    struct shuffle random;
    int n_processes, n_connections, n_endpoints, n_packets, free_packet;
    int first_stage[PIPELINE_MAX_STAGES], first_cache, first_jobs[PIPELINE_MAX_STAGES], first_lookups;
    int max_processes, max_connections, max_endpoints, max_packets, max_hosts, max_heap;
    struct process *process; /* clients, broker, stages, caches; the last one: a stranger */
    struct thread *thread;   /* two of each process */
    struct connection *connection;
    struct endpoint *endpoint;
    struct packet *packet;
    struct cores *cores;
    int *heap_space;
    int *ready, first_ready, n_ready; /* ring of threads that are done */
    int *woken, first_woken, n_woken; /* ring of processes that may have something to do */
    uint64_t pids;
    struct message in; /* what is being read */
};

/* world.c */
void world_schedule(struct world *w, uint64_t at, enum event_kind kind, int what, uint32_t version);
uint64_t world_host_now(const struct world *w, const struct process *p);
void world_wake(struct world *w, int process);                /* it may have something to do */
void world_gone(struct world *w, int process, bool politely); /* it lives no more */
void world_introduce(const struct world *w, const struct process *p, struct hello *h); /* who it is */

/* world_cpu.c */
void cpu_start(struct world *w, int thread, double cpu_ns, double wake_ns, double width);
void cpu_stop(struct world *w, int thread); /* what it did is dropped */
void cpu_on_host(struct world *w, int host, uint32_t version);
void cpu_on_thread(struct world *w, int thread, uint32_t version);
void cpu_on_turn(struct world *w, int thread, uint32_t version);

/* world_wire.c */
int wire_new_connection(struct world *w, enum world_port port, int from, int endpoint);
int wire_send(struct world *w, struct process *sender, int connection, int way, const struct message *m,
              zmq_msg_t *payload);
/* Back to who is named: FL_UNAVAILABLE when it is gone. */
int wire_reply(struct world *w, struct process *sender, const struct peer *to, const struct message *m,
               zmq_msg_t *payload);
bool wire_takes(const struct world *w, int connection, int way); /* a send would not be FL_AGAIN */
void wire_peer(const struct packet *k, struct peer *out);
void wire_leave(struct world *w, int packet);                            /* from the outbox to the network */
int wire_read(struct world *w, struct process *p, enum world_port port); /* takes from the inbox; NONE */
void wire_free(struct world *w, int packet);
void wire_arrive(struct world *w, int packet, uint32_t serial);
void wire_moved(struct world *w, int thread); /* a second thread is done with a packet */
void wire_try(struct world *w, int connection, uint32_t version);
void wire_bind(struct world *w, int process, int endpoint);
void wire_begin(struct world *w, int connection, uint64_t ns); /* a new socket: it tries after so long */
void wire_forget(struct world *w, int connection);             /* all that is on it */
void wire_gone(struct world *w, int process, bool politely);   /* a process is no more */
void wire_renew(struct world *w, int connection);

/* world_stage.c, world_cache.c */
extern const struct body world_stage_body, world_cache_body;

/* world_body.c */
const struct body *body_of(const struct process *p);
void body_run(struct world *w, int process); /* all that it has to do in this moment */
void body_thread_done(struct world *w, int process);
/* Its brain wants to be called at this time of its host. */
void body_wake_at(struct world *w, struct process *p, uint64_t host_ns);
/* Its main thread computes; body->computed is called when it is done. */
void body_compute(struct world *w, struct process *p, double cpu_ns, double width);
void body_interrupt(struct world *w, struct process *p); /* it computes no more */

/* Endpoints of brokers come first. */
static inline int world_door(int broker, enum world_port port)
{
    return DOORS * broker + (int)port;
}

/* The broker at the other end of a connection to one of its doors. */
static inline int broker_at(const struct world *w, const struct packet *k)
{
    return w->endpoint[w->connection[k->connection].endpoint].replica;
}

static inline int main_thread(int process)
{
    return 2 * process;
}

static inline int io_thread(int process)
{
    return 2 * process + 1;
}

static inline int process_index(const struct world *w, const struct process *p)
{
    return (int)(p - w->process);
}

#endif
