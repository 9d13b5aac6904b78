/* responses.h - answers that are known for an input: the response cache
 *
 * A request whose input, byte for byte, was answered before gets that answer again; one whose input is being
 * computed waits for that result. The key is a 128-bit hash of the input under a secret of this process. Each
 * entry has a stamp of whatever else decides the answer: when that has changed, the entry counts no more.
 *
 * Bounded in bytes, its own tables included. What stays is decided by S3-FIFO (Yang et al., SOSP 2023): an
 * entry that nobody asks for again leaves a small queue soon, so a scan does not flush the others. One
 * thread.
 */
#ifndef FREEZELINE_RESPONSES_H
#define FREEZELINE_RESPONSES_H

#include "wire/tensor.h"

struct responses;

struct response_key {
    uint64_t low, high;
};

/* What an answer depends on beside its input: of the whole network, and of an early one. */
struct response_stamp {
    uint64_t network, caches;
};

struct response {
    int32_t label, exit; /* exit: -1 = the whole network */
    float confidence;
    uint64_t epoch;
    struct tensor scores; /* dtype TENSOR_NONE: there are none */
    uint8_t variant;      /* of which pipeline: the caller's; 0: this one */
};

enum response_state { RESPONSE_NEW, RESPONSE_UNDER_WAY, RESPONSE_KNOWN };

/* `max_bytes` > 0. FL_NOMEM; FL_IO: no random numbers for the secret. */
int responses_new(struct responses **out, size_t max_bytes);
void responses_free(struct responses *r);

struct response_key responses_key(const struct responses *r, const struct tensor *input, const void *bytes,
                                  size_t size, uint32_t flags);
/* KNOWN: *out is the answer, its data borrowed until the next call. UNDER_WAY: *request computes it under the
 * same stamp, unless it has ended meanwhile. NEW: neither. */
enum response_state responses_ask(struct responses *r, struct response_key key, struct response_stamp stamp,
                                  struct response *out, uint64_t *request);
/* From now on `request` computes it, begun under this stamp. */
void responses_take(struct responses *r, struct response_key key, struct response_stamp stamp,
                    uint64_t request);
/* `request` was answered with a, whose scores' data are copied, by what `stamp` says. Without effect where
 * another computes it. */
void responses_keep(struct responses *r, struct response_key key, struct response_stamp stamp,
                    uint64_t request, const struct response *a);

size_t responses_bytes(const struct responses *r);

#endif
