/* spool.c - a ring under a lock */
#include "spool.h"

#include <pthread.h>
#include <stdlib.h>

struct spool {
    pthread_mutex_t lock;
    struct update **ring; /* [max_count] */
    int max_count, first, count;
    size_t max_bytes, bytes;
    uint64_t dropped;
};

int spool_new(struct spool **out, int max_count, size_t max_bytes)
{
    struct spool *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s || !(s->ring = calloc((size_t)max_count, sizeof *s->ring))) {
        free(s);
        return FL_NOMEM;
    }
    s->max_count = max_count;
    s->max_bytes = max_bytes;
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return FL_OK;
}

static struct update *pop_one(struct spool *s)
{
    struct update *u = s->ring[s->first];
    s->first = (s->first + 1) % s->max_count;
    s->count--;
    s->bytes -= update_bytes(u);
    return u;
}

void spool_free(struct spool *s)
{
    if (!s)
        return;
    while (s->count)
        update_free(pop_one(s));
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}

bool spool_push(struct spool *s, struct update *u)
{
    bool first;
    pthread_mutex_lock(&s->lock);
    while (s->count && (s->count == s->max_count || s->bytes + update_bytes(u) > s->max_bytes)) {
        update_free(pop_one(s));
        s->dropped++;
    }
    s->ring[(s->first + s->count++) % s->max_count] = u;
    s->bytes += update_bytes(u);
    first = s->count == 1;
    pthread_mutex_unlock(&s->lock);
    return first;
}

int spool_pop(struct spool *s, struct update **out, int n)
{
    int taken = 0;
    pthread_mutex_lock(&s->lock);
    while (taken < n && s->count)
        out[taken++] = pop_one(s);
    pthread_mutex_unlock(&s->lock);
    return taken;
}

int spool_count(struct spool *s)
{
    int n;
    pthread_mutex_lock(&s->lock);
    n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool spool_fills(struct spool *s)
{
    bool fills;
    pthread_mutex_lock(&s->lock);
    fills = s->count > s->max_count / 2 || s->bytes > s->max_bytes / 2;
    pthread_mutex_unlock(&s->lock);
    return fills;
}

uint64_t spool_dropped(struct spool *s)
{
    uint64_t n;
    pthread_mutex_lock(&s->lock);
    n = s->dropped;
    pthread_mutex_unlock(&s->lock);
    return n;
}
