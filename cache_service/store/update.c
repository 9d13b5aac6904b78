/* update.c - the record of an online update */
#include "update.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "index/half.h"

#define MAGIC      "FLU2"
#define FIXED_SIZE UPDATE_MIN_RECORD
#define EXIT_SIZE  (8 + 4) /* of each exit, beside its numbers */

_Static_assert(FIXED_SIZE == 4 + 16 + 8 + 8 + 4 * 4, "all but the exits");

/* -1: over the limit. */
static int64_t total_dim(int n, const uint32_t *dim)
{
    int64_t total = 0;
    if (n < 0 || n > PIPELINE_MAX_EXITS)
        return -1;
    for (int i = 0; i < n; i++) {
        if (dim[i] == 0 || dim[i] > UPDATE_MAX_DIM)
            return -1;
        total += dim[i];
    }
    return total > UPDATE_MAX_DIM ? -1 : total;
}

struct update *update_new(int n, const uint32_t *dim)
{
    int64_t total = total_dim(n, dim);
    struct update *u = total < 0 ? NULL : malloc(sizeof *u + (size_t)total * sizeof(uint16_t));
    uint16_t *at;
    if (!u)
        return NULL;
    memset(u, 0, sizeof *u);
    u->truth = -1;
    u->n = n;
    at = (uint16_t *)(u + 1);
    for (int i = 0; i < n; at += dim[i++])
        u->exit[i] = (struct update_exit){.dim = dim[i], .half = at};
    return u;
}

void update_free(struct update *u)
{
    free(u);
}

static size_t halves(const struct update *u)
{
    size_t total = 0;
    for (int i = 0; i < u->n; i++)
        total += u->exit[i].dim;
    return total;
}

size_t update_bytes(const struct update *u)
{
    return sizeof *u + halves(u) * sizeof(uint16_t);
}

int update_fill(struct update *u, int i, uint64_t origin, const float *x)
{
    uint16_t *to = u->exit[i].half;
    uint32_t dim = u->exit[i].dim;
    u->exit[i].origin = origin;
    if (!floats_finite(x, dim))
        return FL_VALUE;
    for (uint32_t k = 0; k < dim; k++)
        to[k] = half_from_float(x[k] > HALF_MAX ? HALF_MAX : x[k] < -HALF_MAX ? -HALF_MAX : x[k]);
    return half_all_finite(to, dim) ? FL_OK : FL_VALUE; /* who sent x may change it meanwhile */
}

struct update *update_join(struct update *const *parts, int n, const uint16_t *scores, int n_scores)
{
    uint32_t dim[PIPELINE_MAX_EXITS + 1] = {0};
    bool scored = n_scores > 0 && n < PIPELINE_MAX_EXITS && half_all_finite(scores, (size_t)n_scores);
    struct update *u;
    for (int i = 0; i < n; i++)
        dim[i] = parts[i]->exit[0].dim;
    dim[n] = (uint32_t)n_scores;
    if (!(u = update_new(n + scored, dim)))
        return NULL;
    memcpy(u, parts[0], offsetof(struct update, n));
    for (int i = 0; i < n; i++) {
        u->exit[i].origin = parts[i]->exit[0].origin;
        memcpy(u->exit[i].half, parts[i]->exit[0].half, dim[i] * sizeof(uint16_t));
    }
    if (scored) {
        u->exit[n].origin = UPDATE_SCORES;
        memcpy(u->exit[n].half, scores, dim[n] * sizeof(uint16_t));
    }
    return u;
}

int update_find(const struct update *u, uint64_t origin)
{
    for (int i = 0; i < u->n; i++)
        if (u->exit[i].origin == origin)
            return i;
    return -1;
}

/* The finalizer of splitmix64: ids that follow one another come out as if drawn. */
bool update_certifies(uint64_t request)
{
    uint64_t x = request + 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return (x ^ (x >> 31)) >> 63;
}

/* --- the record --- */

static uint8_t *put32(uint8_t *at, uint32_t x)
{
    x = htole32(x);
    memcpy(at, &x, sizeof x);
    return at + sizeof x;
}

static uint8_t *put64(uint8_t *at, uint64_t x)
{
    x = htole64(x);
    memcpy(at, &x, sizeof x);
    return at + sizeof x;
}

static uint32_t take32(const uint8_t **at)
{
    uint32_t x;
    memcpy(&x, *at, sizeof x);
    *at += sizeof x;
    return le32toh(x);
}

static uint64_t take64(const uint8_t **at)
{
    uint64_t x;
    memcpy(&x, *at, sizeof x);
    *at += sizeof x;
    return le64toh(x);
}

int update_encode(const struct update *u, struct update_record *out)
{
    uint8_t *at;
    out->size = FIXED_SIZE + (size_t)u->n * EXIT_SIZE + halves(u) * sizeof(uint16_t);
    if (!(at = out->bytes = malloc(out->size)))
        return FL_NOMEM;
    memcpy(at, MAGIC, 4);
    memcpy(at + 4, u->identity, 16);
    at = put64(at + 20, u->request);
    at = put64(at, u->moment_ms);
    at = put32(at, (uint32_t)u->label);
    at = put32(at, (uint32_t)u->truth);
    at = put32(at, u->flags);
    at = put32(at, (uint32_t)u->n);
    for (int i = 0; i < u->n; i++)
        at = put32(put64(at, u->exit[i].origin), u->exit[i].dim);
    for (int i = 0; i < u->n; i++)
        for (uint32_t k = 0; k < u->exit[i].dim; k++, at += 2) {
            uint16_t half = htole16(u->exit[i].half[k]);
            memcpy(at, &half, sizeof half);
        }
    return FL_OK;
}

/* The exits' dims and origins from where they lie; false: these can't be. */
static bool take_exits(const uint8_t *at, int n, uint32_t *dim, uint64_t *origin)
{
    for (int i = 0; i < n; i++) {
        origin[i] = take64(&at);
        dim[i] = take32(&at);
        for (int k = 0; k < i; k++)
            if (origin[k] == origin[i])
                return false;
    }
    return total_dim(n, dim) >= 0;
}

/* All after the exits' list. FL_VALUE. */
static int take_halves(struct update *u, const uint8_t *at)
{
    uint16_t *to = (uint16_t *)(u + 1);
    size_t n = halves(u);
    for (size_t i = 0; i < n; i++) {
        memcpy(&to[i], at + i * 2, 2);
        to[i] = le16toh(to[i]);
    }
    return u->label >= -1 && u->truth >= -1 && half_all_finite(to, n) ? FL_OK : FL_VALUE;
}

int update_decode(struct update **out, const void *data, size_t size)
{
    const uint8_t *bytes = data, *at = bytes + FIXED_SIZE - 4;
    uint32_t dim[PIPELINE_MAX_EXITS], n;
    uint64_t origin[PIPELINE_MAX_EXITS];
    struct update *u;
    int rc;
    if (size < FIXED_SIZE || memcmp(bytes, MAGIC, 4))
        return FL_CORRUPT;
    n = take32(&at);
    if (n > PIPELINE_MAX_EXITS || size < FIXED_SIZE + n * EXIT_SIZE || !take_exits(at, (int)n, dim, origin))
        return FL_CORRUPT;
    if (size != FIXED_SIZE + n * EXIT_SIZE + (size_t)total_dim((int)n, dim) * 2)
        return FL_CORRUPT;
    if (!(u = update_new((int)n, dim)))
        return FL_NOMEM;
    memcpy(u->identity, bytes + 4, 16);
    at = bytes + 20;
    u->request = take64(&at);
    u->moment_ms = take64(&at);
    u->label = (int32_t)take32(&at);
    u->truth = (int32_t)take32(&at);
    u->flags = take32(&at);
    for (uint32_t i = 0; i < n; i++)
        u->exit[i].origin = origin[i];
    if ((rc = take_halves(u, bytes + FIXED_SIZE + n * EXIT_SIZE))) {
        update_free(u);
        return rc;
    }
    *out = u;
    return FL_OK;
}
