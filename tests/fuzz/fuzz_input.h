/* fuzz_input.h - a fuzzer's bytes as choices, numbers and messages; each number costs as few bytes as it can
 *
 * Zeroes when the bytes are used up. A message is filled in as a struct, encoded, perhaps damaged, and
 * decoded again: so what reaches a brain is what its process could have read from a socket.
 */
#ifndef FREEZELINE_FUZZ_INPUT_H
#define FREEZELINE_FUZZ_INPUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "wire/message.h"

struct fuzz_input {
    const uint8_t *at, *end;
};

/* A broken invariant: says which and ends. */
#define FUZZ_CHECK(condition)                                                       \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* 0 .. n - 1 */
static inline uint32_t fuzz_below(struct fuzz_input *in, uint32_t n)
{
    return fuzz_byte(in) % n;
}

/* Mostly small; now and then an end of the range, or anything. */
static inline uint64_t fuzz_number(struct fuzz_input *in)
{
    uint8_t kind = fuzz_byte(in);
    uint64_t n = 0;
    if (kind < 200)
        return kind & 15;
    if (kind < 220)
        return UINT64_MAX - (kind - 200);
    if (kind < 240)
        return (1ull << (3 * (kind - 220))) - 1;
    for (int i = 0; i < 8; i++)
        n = n << 8 | fuzz_byte(in);
    return n;
}

/* How many bytes of a message one of that type has. */
static inline size_t fuzz_extent(enum message_type type)
{
#define FUZZ_BODY(TYPE, body) \
    case TYPE:                \
        return offsetof(struct message, body) + sizeof(((struct message *)0)->body);
    switch (type) {
        FUZZ_BODY(MESSAGE_REQUEST, request)
        FUZZ_BODY(MESSAGE_ANSWER, answer)
        FUZZ_BODY(MESSAGE_JOB, job)
        FUZZ_BODY(MESSAGE_LOOKUP, lookup)
        FUZZ_BODY(MESSAGE_VERDICT, verdict)
        FUZZ_BODY(MESSAGE_RESULT, result)
        FUZZ_BODY(MESSAGE_HELLO, hello)
        FUZZ_BODY(MESSAGE_HEARTBEAT, heartbeat)
        FUZZ_BODY(MESSAGE_CANCEL, cancel)
        FUZZ_BODY(MESSAGE_OUTCOME, outcome)
        FUZZ_BODY(MESSAGE_STATUS_REPLY, status_reply)
        FUZZ_BODY(MESSAGE_DRAIN, drain)
        FUZZ_BODY(MESSAGE_SPANS, spans)
        FUZZ_BODY(MESSAGE_FEEDBACK, feedback)
        FUZZ_BODY(MESSAGE_TIMES, times)
        FUZZ_BODY(MESSAGE_RELAYS, relays)
    default: /* without a body, or none that is known */
        return offsetof(struct message, request);
    }
#undef FUZZ_BODY
}

/* The largest bodies are not cleared whole for every message. */
#define FUZZ_CLEARED_BYTES 2048

static inline void fuzz_trace(struct fuzz_input *in, struct trace *t)
{
    t->n = (int)fuzz_below(in, PIPELINE_MAX_STAGES + 1);
    for (int i = 0; i < t->n; i++)
        t->stage[i] = (struct stage_time){.stage = (uint32_t)fuzz_number(in),
                                          .replica = (uint32_t)fuzz_number(in),
                                          .batch = (uint32_t)fuzz_number(in),
                                          .wire_ns = fuzz_number(in)};
}

static inline void fuzz_tensor(struct fuzz_input *in, struct tensor *t)
{
    *t = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 4}};
    if (fuzz_below(in, 8))
        return;
    t->dtype = (enum tensor_dtype)fuzz_below(in, 16);
    t->rank = (int)fuzz_below(in, TENSOR_MAX_RANK + 1);
    for (int i = 0; i < t->rank; i++)
        t->dim[i] = (int64_t)fuzz_number(in);
}

/* What arrives of `m` when it is sent through a wire that may damage it. False: nothing that can be decoded.
 */
static inline bool fuzz_travel(struct fuzz_input *in, struct message *m)
{
    static uint8_t bytes[MESSAGE_MAX_ENCODED];
    struct error e;
    size_t size;
    if (message_encode(m, bytes, sizeof bytes, &size))
        return false;
    for (int hits = (int)fuzz_below(in, 16) - 13; hits > 0 && size; hits--)
        bytes[((size_t)fuzz_byte(in) << 8 | fuzz_byte(in)) % size] = fuzz_byte(in);
    return message_decode(m, bytes, size, &e) == FL_OK;
}

/* Any bytes as an envelope. */
static inline bool fuzz_raw(struct fuzz_input *in, struct message *m)
{
    size_t left = (size_t)(in->end - in->at), size = fuzz_byte(in);
    struct error e;
    const uint8_t *from = in->at;
    left -= left > 0;
    size = size < left ? size : left;
    in->at += size;
    return message_decode(m, from, size, &e) == FL_OK;
}

#define FUZZ_PAYLOAD_BYTES (1 << 12)

/* The payload that m announces, zeroed; false when it is larger than a fuzzer wants to carry. */
static inline bool fuzz_payload(const struct message *m, zmq_msg_t *payload)
{
    int64_t bytes = message_payload_bytes(m);
    if (bytes < 0 || bytes > FUZZ_PAYLOAD_BYTES || zmq_msg_init_size(payload, (size_t)bytes))
        return false;
    memset(zmq_msg_data(payload), 0, (size_t)bytes);
    return true;
}

/* What a process sends must be what its peers take. */
static inline void fuzz_check_sent(const struct message *m)
{
    static uint8_t bytes[MESSAGE_MAX_ENCODED];
    static struct message back;
    struct error e;
    size_t size;
    FUZZ_CHECK(message_encode(m, bytes, sizeof bytes, &size) == FL_OK);
    FUZZ_CHECK(message_decode(&back, bytes, size, &e) == FL_OK);
}

#endif
