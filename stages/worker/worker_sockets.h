/* worker_sockets.h - a stage worker's sockets
 *
 *   jobs     PULL, bound: from the broker or the stage before
 *   control  DEALER: to each broker and back      results  PUSH: to each broker
 *   next     PUSH, one for each replica of the next stage
 *   cache    DEALER: look-ups and verdicts
 *
 * Beside all but control there are lanes to processes of this host.
 */
#ifndef FREEZELINE_WORKER_SOCKETS_H
#define FREEZELINE_WORKER_SOCKETS_H

#include "near_cache.h"
#include "link/link.h"
#include "system/core_board.h"

struct worker_sockets {
    const struct pipeline *pipeline; /* borrowed */
    int stage, replica;
    void *context;
    int n_brokers;
    struct link control[PIPELINE_MAX_BROKERS], results[PIPELINE_MAX_BROKERS];
    struct lanes *lanes;     /* NULL: switched off */
    struct link jobs, cache; /* those that are not open have no socket */
    struct near_cache *near; /* what came over the lane to the cache service; NULL: not wanted */
    uint64_t near_lane;      /* over which one */
    int n_next;              /* the highest number of a replica of the next stage, and 1 */
    struct link next[PIPELINE_MAX_REPLICAS]; /* those of the file, and those that a broker told of */
    uint32_t reaches;                        /* of next, a bit for each that was connected when last looked */
    int cache_fd;
    struct core_board *board[PIPELINE_MAX_BROKERS]; /* that came from each broker of this host */
};

/* All but `jobs`. *s is zero but for what is borrowed and the place. `asks`: NULL where no cache is asked. On
 * failure close what there is. */
int worker_sockets_open(struct worker_sockets *s, const struct stage_setup *asks, struct error *e);
/* The endpoint for jobs. */
int worker_sockets_bind(struct worker_sockets *s, int max_batch, size_t input_bytes, struct error *e);
void worker_sockets_close(struct worker_sockets *s);
/* Where the brain's messages go: control, result, next, ask, reaches, connected. */
void worker_sockets_io(struct worker_sockets *s, struct stage_io *io);
/* A payload that goes to replica `to` of the next stage: in the lane to it, where there is one. As
 * zmq_msg_init_size. `arg`: struct worker_sockets. */
int worker_sockets_place(void *arg, int to, size_t bytes, zmq_msg_t *out);
/* Sleeps until a message comes, at most `ns`, or not at all where a socket is to be looked at once more. `fd`
 * (-1: none) is waited for too; `greets`: for the way to the brokers with a bit in it too. True: a link to
 * the next stage is there that was not. */
bool worker_sockets_wait(struct worker_sockets *s, int fd, bool *fd_came, uint32_t greets, uint64_t ns);
/* Without a lane to the cache service its verdicts come through the socket: it is looked at next, too. */
void worker_sockets_await_verdicts(struct worker_sockets *s);
/* Sleeps until verdicts may have come, at most `ns`. The cache link must just have been found empty: then its
 * descriptors tell. Nothing else wakes: it is not read meanwhile, so it would do so again and again. */
void worker_sockets_wait_cache(struct worker_sockets *s, uint64_t ns);
/* Makes lanes, lets go of those whose process is gone, takes shared caches that came, and tells the brain. */
void worker_sockets_turn(struct worker_sockets *s, struct stage_brain *brain, uint64_t now);

/* Where workers tell one another on which cores they compute. NULL: there is none, or this one computes with
 * several threads. */
struct core_board *worker_sockets_board(const struct worker_sockets *s);

/* A broker said something: it replies to each heartbeat, so its silence counts. */
void worker_sockets_heard(struct worker_sockets *s, int broker, uint64_t now);
/* Connects again where libzmq does not (mend.h). Call after what the brokers said was heard. */
void worker_sockets_mend(struct worker_sockets *s, uint64_t now);

#endif
