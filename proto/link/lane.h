/* lane.h - the memory of one lane, and messages through it: a ring each way (ring.h)
 *
 * What is received lies in the ring until its payload is closed, which any thread may do. The memory lives
 * until then, also after lane_release.
 */
#ifndef FREEZELINE_LANE_H
#define FREEZELINE_LANE_H

#include <zmq.h>

#include "wire/message.h"
#include "ring.h"

#define LANE_RING_LEAST (64u << 10)
#define LANE_RING_MOST  (16u << 20)

struct lane_memory;

/* The size of a ring for so many bytes: a power of two within the bounds above. */
size_t lane_ring_size(size_t bytes);
bool lane_is_ring_size(uint64_t bytes);

/* New memory with both rings, for the one that reads `in`, and its descriptor, which is the caller's. It
 * can't shrink. NULL: out of memory or of descriptors. */
struct lane_memory *lane_make(size_t in_bytes, size_t out_bytes, int *fd);
/* The same memory for the other process. NULL: it is not what it should be, or out of memory. */
struct lane_memory *lane_map(int fd, size_t in_bytes, size_t out_bytes);
void lane_release(struct lane_memory *lane);

struct ring *lane_in(struct lane_memory *lane);
/* The other process has written what it can't have, or read so. */
bool lane_is_broken(const struct lane_memory *lane);

/* Memory for a payload that is sent next; false: there is no room in the ring. */
bool lane_payload(struct lane_memory *lane, size_t bytes, zmq_msg_t *out);
/* The reader sleeps and is to be woken before there is a message: ring_rouse. */
bool lane_rouse(struct lane_memory *lane);
/* As frames_send. *wake: the reader sleeps. Where there is no room, up to `most` messages wait for it here,
 * in order; FL_AGAIN: beyond these. */
int lane_send(struct lane_memory *lane, const struct message *m, zmq_msg_t *payload, int most, bool *wake);
/* Sends those that wait, as far as there is room. True: some still wait. */
bool lane_flush(struct lane_memory *lane, bool *wake);
/* As frames_receive, of the record *r that was read from lane_in. `copy`: the payload leaves the ring. */
int lane_take(struct lane_memory *lane, const struct ring_record *r, bool copy, struct message *m,
              zmq_msg_t *payload, struct error *e);

#endif
