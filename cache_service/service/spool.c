/* spool.c - a ring under a lock */
#include "spool.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct spool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct update **ring; /* [max_count] */
    int max_count, first, count;
    size_t max_bytes, bytes;
    uint64_t dropped;
    bool woken;
};

int spool_new(struct spool **out, int max_count, size_t max_bytes)
{
    struct spool *s = calloc(1, sizeof *s);
    pthread_condattr_t attributes;
    *out = NULL;
    if (!s || !(s->ring = calloc((size_t)max_count, sizeof *s->ring))) {
        free(s);
        return FL_NOMEM;
    }
    s->max_count = max_count;
    s->max_bytes = max_bytes;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attributes);
    pthread_condattr_destroy(&attributes);
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
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}

void spool_push(struct spool *s, struct update *u)
{
    pthread_mutex_lock(&s->lock);
    while (s->count && (s->count == s->max_count || s->bytes + update_bytes(u) > s->max_bytes)) {
        update_free(pop_one(s));
        s->dropped++;
    }
    s->ring[(s->first + s->count++) % s->max_count] = u;
    s->bytes += update_bytes(u);
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
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

uint64_t spool_dropped(struct spool *s)
{
    uint64_t n;
    pthread_mutex_lock(&s->lock);
    n = s->dropped;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void spool_wait(struct spool *s, int timeout_ms, bool wait_for_updates)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000l;
    if (until.tv_nsec >= 1000000000l) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000l;
    }
    pthread_mutex_lock(&s->lock);
    while (!s->woken && !(wait_for_updates && s->count))
        if (pthread_cond_timedwait(&s->changed, &s->lock, &until))
            break;
    s->woken = false;
    pthread_mutex_unlock(&s->lock);
}

void spool_wake(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    s->woken = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}
