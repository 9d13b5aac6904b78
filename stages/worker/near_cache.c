/* near_cache.c - taking, checking and using blocks of caches */
#include "near_cache.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mishap.h"
#include "system/slice.h"
#include "index/cache_set.h"
#include "index/verdicts.h"
#include "system/quiet_thread.h"

struct near_cache {
    int n_segments;
    struct stage_segment segment[PIPELINE_MAX_EXITS + 1];
    uint32_t wanted;       /* a bit for each exit of this stage */
    struct cache_set *set; /* in use; NULL: none */
    struct cache_scratch *scratch;
    struct cache_verdict found[MESSAGE_MAX_BATCH];
    int next; /* the newest block that nobody has looked at, or -1 */
    struct mishap refused, unfit;

    /* the thread that checks one */
    bool checks;
    pthread_t thread;
    int fd;
    struct cache_set *fresh;
    int rc;
    struct error error;
    atomic_bool done;
};

int near_cache_new(struct near_cache **out, const struct stage_setup *s)
{
    struct near_cache *n = calloc(1, sizeof *n);
    if (!n || cache_scratch_new(&n->scratch, s->max_batch)) {
        free(n);
        return FL_NOMEM;
    }
    n->n_segments = s->n_segments;
    for (int i = 0; i < s->n_segments; i++) {
        n->segment[i] = s->segment[i];
        if (s->segment[i].exit >= 0)
            n->wanted |= 1u << s->segment[i].exit;
    }
    n->next = -1;
    *out = n;
    return FL_OK;
}

/* Each block may be as bad as the one before. */
static void complain(struct mishap *m, const char *why)
{
    mishap(m, LOG_LEVEL_WARN, "shared caches are not used, the cache service is asked", why, clock_ns());
}

/* --- checking --- */

static void *check(void *arg)
{
    struct near_cache *n = arg;
    slice_short(false); /* it reads megabytes, and nobody waits for it */
    n->rc = cache_set_map(&n->fresh, n->fd, n->wanted, &n->error);
    atomic_store(&n->done, true);
    return NULL;
}

/* Of one thread at a time. */
static void begin(struct near_cache *n)
{
    n->fd = n->next;
    n->next = -1;
    n->fresh = NULL;
    atomic_store(&n->done, false);
    n->checks = !quiet_thread(&n->thread, check, n);
    if (n->checks)
        return;
    close(n->fd);
    complain(&n->refused, "no thread to check them");
}

static void end(struct near_cache *n)
{
    pthread_join(n->thread, NULL);
    close(n->fd);
    n->checks = false;
}

void near_cache_free(struct near_cache *n)
{
    if (!n)
        return;
    if (n->checks) {
        end(n);
        cache_set_free(n->fresh);
    }
    if (n->next >= 0)
        close(n->next);
    cache_set_free(n->set);
    cache_scratch_free(n->scratch);
    free(n);
}

void near_cache_take(struct near_cache *n, int fd)
{
    if (n->next >= 0)
        close(n->next);
    n->next = fd;
}

/* --- using --- */

/* The exits whose caches are for the descriptors that this stage makes there. */
static uint32_t fitting(struct near_cache *n)
{
    uint32_t exits = 0;
    for (int i = 0; n->set && i < n->n_segments; i++) {
        const struct stage_segment *at = &n->segment[i];
        const struct cache_set_exit *x = at->exit < 0 ? NULL : &n->set->exit[at->exit];
        if (!x || at->exit >= n->set->n_exits || !x->cache)
            continue;
        if (x->origin == at->origin && cache_info(x->cache).dim == at->dim)
            exits |= 1u << at->exit;
        else
            complain(&n->unfit, "the service's is of another model, layer or grids");
    }
    return exits;
}

bool near_cache_turn(struct near_cache *n, uint64_t *epoch, uint32_t *exits)
{
    bool other = n->checks && atomic_load(&n->done);
    if (other) {
        bool first = !n->set;
        end(n);
        cache_set_free(n->set);
        n->set = n->rc ? NULL : n->fresh;
        if (n->rc)
            complain(&n->refused, n->error.text);
        *exits = fitting(n);
        *epoch = n->set ? n->set->epoch : 0;
        if (*exits)
            log_at(first ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, 0,
                   "looks up in the cache service's memory, epoch %" PRIu64, *epoch);
    }
    if (!n->checks && n->next >= 0)
        begin(n);
    return other;
}

int near_cache_look(struct near_cache *n, const struct lookup *in, const float *descriptors,
                    uint64_t broker_now, struct verdict *out)
{
    const struct cache *c = n->set->exit[in->exit].cache;
    struct cache_info i = cache_info(c);
    int rc = cache_lookup(c, n->scratch, descriptors, in->n, n->found);
    if (!rc)
        verdicts_fill(out, in, n->found, &i.levels, i.epoch, broker_now);
    return rc;
}
