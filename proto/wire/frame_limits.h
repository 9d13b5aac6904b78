/* frame_limits.h - the largest frames that sockets take, by what is sent there
 *
 * A frame that promises more ends its connection, which comes again at once. Where its length was changed on
 * the way, or its sender is hostile, the receiver would otherwise wait for all of that, and swallow what
 * comes instead. What an encrypted frame has beside its message is far within MESSAGE_MAX_ENCODED.
 */
#ifndef FREEZELINE_FRAME_LIMITS_H
#define FREEZELINE_FRAME_LIMITS_H

#include "message.h"

#define FRAME_SMALLEST_ANSWER 1.0       /* MiB that an answer may have in any case */
#define FRAME_MOST_CHANNELS   8192      /* of a layer whose activation is pooled to be looked up */
#define FRAME_CONTROL_BYTES   (1 << 20) /* what brokers, workers, caches and learners tell one another */

/* The scores of an answer: as large as a request. */
static inline int64_t frame_answer_bytes(const struct pipeline *p)
{
    double mb =
        p->broker.max_request_mb > FRAME_SMALLEST_ANSWER ? p->broker.max_request_mb : FRAME_SMALLEST_ANSWER;
    return (int64_t)(mb * (1 << 20));
}

/* A Lookup with the descriptors of a whole batch. */
static inline int64_t frame_lookup_bytes(const struct pipeline *p)
{
    const struct descriptor_config *d = &p->cache.descriptor;
    int64_t cells = 0, batch = 1, bytes;

    if (d->flatten)
        return MESSAGE_MAX_TENSOR_BYTES;
    for (int i = 0; i < d->n_grids; i++)
        cells += (int64_t)d->grid[i] * d->grid[i];
    for (int i = 0; i < p->n_stages; i++)
        batch = p->stage[i].max_batch > batch ? p->stage[i].max_batch : batch;
    bytes = batch * cells * FRAME_MOST_CHANNELS * (int64_t)sizeof(float) + MESSAGE_MAX_ENCODED;
    return bytes < MESSAGE_MAX_TENSOR_BYTES ? bytes : MESSAGE_MAX_TENSOR_BYTES;
}

#endif
