/* codec.h - what message_encode.c and message_decode.c share: a bump allocator of fixed size per thread
 *
 * Private to the codec. The scratch is allocated at a thread's first message and freed when the thread ends;
 * every encode and decode starts it afresh, so nothing in it outlives the call.
 */
#ifndef FREEZELINE_CODEC_H
#define FREEZELINE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "message.h"

#define SCRATCH_BYTES (1024 * 1024)

struct scratch {
    size_t used;
    _Alignas(16) uint8_t bytes[SCRATCH_BYTES];
    uint8_t envelope[MESSAGE_MAX_ENCODED]; /* frames.c encodes here; scratch_start leaves it alone */
};

/* This thread's scratch, empty; NULL when out of memory. */
struct scratch *scratch_start(void);
/* 16-byte aligned, not zeroed; NULL when it is full. */
void *scratch_take(struct scratch *s, size_t size);

#endif
