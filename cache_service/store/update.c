/* update.c - the record of an online update */
#include "update.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/floats.h"

#define MAGIC      "FLU1"
#define FIXED_SIZE (4 + 16 + 2 + 8 + 4 + 4) /* all but the name and the floats */

struct update *update_new(uint32_t dim)
{
    struct update *u;
    if (dim == 0 || dim > UPDATE_MAX_DIM)
        return NULL;
    u = malloc(sizeof *u + dim * sizeof(float));
    if (u) {
        memset(u, 0, sizeof *u);
        u->dim = dim;
    }
    return u;
}

void update_free(struct update *u)
{
    free(u);
}

size_t update_bytes(const struct update *u)
{
    return sizeof *u + u->dim * sizeof(float);
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

static const uint8_t *take(const uint8_t *at, void *bytes, size_t size)
{
    memcpy(bytes, at, size);
    return at + size;
}

void *update_encode(const struct update *u, size_t *size)
{
    size_t name = strlen(u->exit);
    uint16_t name_le = htole16((uint16_t)name);
    uint64_t request_le = htole64(u->request);
    uint32_t label_le = htole32((uint32_t)u->label), dim_le = htole32(u->dim);
    uint8_t *record, *at;

    *size = FIXED_SIZE + name + u->dim * sizeof(float);
    at = record = malloc(*size);
    if (!record)
        return NULL;
    at = put(at, MAGIC, 4);
    at = put(at, u->identity, 16);
    at = put(at, &name_le, 2);
    at = put(at, u->exit, name);
    at = put(at, &request_le, 8);
    at = put(at, &label_le, 4);
    at = put(at, &dim_le, 4);
    put(at, u->descriptor, u->dim * sizeof(float));
    return record;
}

int update_decode(struct update **out, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint8_t identity[16];
    uint16_t name;
    uint64_t request;
    uint32_t label, dim;
    struct update *u;

    if (size < FIXED_SIZE || memcmp(at, MAGIC, 4))
        return FL_CORRUPT;
    at = take(at + 4, identity, 16);
    at = take(at, &name, 2);
    name = le16toh(name);
    if (name == 0 || name >= sizeof u->exit || size < FIXED_SIZE + (size_t)name || memchr(at, 0, name))
        return FL_CORRUPT;
    take(at + name + 12, &dim, 4);
    dim = le32toh(dim);
    if (dim == 0 || dim > UPDATE_MAX_DIM || size != FIXED_SIZE + (size_t)name + dim * sizeof(float))
        return FL_CORRUPT;
    u = update_new(dim);
    if (!u)
        return FL_NOMEM;
    memcpy(u->identity, identity, 16);
    at = take(at, u->exit, name);
    at = take(at, &request, 8);
    at = take(at, &label, 4);
    take(at + 4, u->descriptor, dim * sizeof(float));
    u->request = le64toh(request);
    u->label = (int32_t)le32toh(label);
    if (!floats_finite(u->descriptor, dim)) {
        update_free(u);
        return FL_VALUE;
    }
    *out = u;
    return FL_OK;
}
