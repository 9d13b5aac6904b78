/* update.h - one online update: what an exit saw of a request, and what the request turned out to be
 *
 * As a record (in the stream): magic "FLU1", then little-endian identity[16], exit name length u16 and bytes,
 * request u64, label i32, dim u32, dim float32. Records come from a Redis that others can write to, so
 * decoding checks everything.
 */
#ifndef FREEZELINE_UPDATE_H
#define FREEZELINE_UPDATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define UPDATE_MAX_DIM (16 * 1024 * 1024)

struct update {
    uint8_t identity[16];
    char exit[64];
    uint64_t request;
    int32_t label; /* of the full answer */
    uint32_t dim;
    float descriptor[]; /* [dim] */
};

/* Allocates one with room for `dim` floats (not filled); NULL when out of memory or dim is over the limit. */
struct update *update_new(uint32_t dim);
void update_free(struct update *u); /* NULL is fine */
size_t update_bytes(const struct update *u);

/* The record, malloc'ed, owned by the caller; NULL when out of memory. */
void *update_encode(const struct update *u, size_t *size);
/* FL_CORRUPT when it is no record, FL_VALUE when a number in it is not finite, FL_NOMEM. */
int update_decode(struct update **out, const void *data, size_t size);

#endif
