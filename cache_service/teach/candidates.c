/* candidates.c - a few sets of caches */
#include "candidates.h"

#include <stdlib.h>
#include <string.h>

#define MOST 16

struct candidate {
    uint64_t number;
    struct cache *cache[PIPELINE_MAX_EXITS];
};

struct candidates {
    int n, n_exits;
    struct candidate candidate[MOST];
    struct cache_scratch *scratch;
    int dim[PIPELINE_MAX_EXITS];
    /* the request in hand */
    struct reservoir *reservoir;
    struct reservoir_row row;
    float *descriptor[PIPELINE_MAX_EXITS]; /* [dim] */
    bool read[PIPELINE_MAX_EXITS];
};

int candidates_new(struct candidates **out, const struct manifest *m)
{
    struct candidates *c = calloc(1, sizeof *c);
    bool ok = c && !cache_scratch_new(&c->scratch, 1);
    *out = c;
    for (int i = 0; ok && i < m->n_exits; i++) {
        c->n_exits = i + 1;
        c->dim[i] = manifest_teaches_exit(m, i) ? m->exit[i].dim : 0;
        ok = !c->dim[i] || (c->descriptor[i] = malloc(sizeof(float) * (size_t)c->dim[i]));
    }
    if (ok)
        return FL_OK;
    candidates_free(c);
    *out = NULL;
    return FL_NOMEM;
}

static void release(struct candidate *x)
{
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        cache_free(x->cache[i]);
}

void candidates_free(struct candidates *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++)
        release(&c->candidate[i]);
    for (int i = 0; i < c->n_exits; i++)
        free(c->descriptor[i]);
    cache_scratch_free(c->scratch);
    free(c);
}

static struct candidate *find(const struct candidates *c, uint64_t number)
{
    for (int i = 0; i < c->n; i++)
        if (c->candidate[i].number == number)
            return (struct candidate *)&c->candidate[i];
    return NULL;
}

int candidates_put(struct candidates *c, uint64_t number, struct cache *const *caches)
{
    struct candidate new = {.number = number}, *x = find(c, number);
    if (!x && c->n == MOST)
        return FL_NOMEM;
    for (int i = 0; i < c->n_exits; i++)
        if ((new.cache[i] = caches[i]))
            cache_retain(caches[i]);
    if (x)
        release(x);
    else
        x = &c->candidate[c->n++];
    *x = new;
    return FL_OK;
}

void candidates_drop(struct candidates *c, uint64_t number)
{
    struct candidate *x = find(c, number);
    if (!x)
        return;
    release(x);
    *x = c->candidate[--c->n];
}

struct cache *const *candidates_caches(const struct candidates *c, uint64_t number)
{
    const struct candidate *x = find(c, number);
    return x ? x->cache : NULL;
}

void candidates_take(struct candidates *c, struct reservoir *r, const struct reservoir_row *row)
{
    c->reservoir = r;
    c->row = *row;
    memset(c->read, 0, sizeof c->read);
}

static bool has_descriptor(struct candidates *c, int i, int dim)
{
    if (dim != c->dim[i])
        return false;
    if (!c->read[i])
        c->read[i] = reservoir_read(c->reservoir, &c->row, i, c->descriptor[i]);
    return c->read[i];
}

const float *candidates_first(struct candidates *c, int *dim)
{
    int i = 0;
    while (i < c->n_exits && !c->dim[i])
        i++;
    *dim = i < c->n_exits ? c->dim[i] : 0;
    return *dim && has_descriptor(c, i, *dim) ? c->descriptor[i] : NULL;
}

int candidates_look(struct candidates *c, uint64_t number, int32_t *label, float *confidence)
{
    const struct candidate *x = find(c, number);
    for (int i = 0; i < c->n_exits; i++) {
        struct cache_verdict v = {.label = -1};
        struct cache *cache = x ? x->cache[i] : NULL;
        if (!x || (cache && !has_descriptor(c, i, cache_info(cache).dim)))
            return FL_NOT_FOUND;
        if (cache && cache_lookup(cache, c->scratch, c->descriptor[i], 1, &v))
            return FL_NOMEM;
        label[i] = v.label;
        confidence[i] = v.confidence;
    }
    return FL_OK;
}
