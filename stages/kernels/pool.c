/* pool.c - a few threads that share one loop
 *
 * A loop is announced by raising `round` under the lock. Threads look for a new round for a short while
 * before they sleep, because the layers of a network follow one another within microseconds. pool_run returns
 * only when every thread has left the round, so the next one may overwrite task, arg and n.
 */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"

#define LOOKS 2000 /* before sleeping: some tens of microseconds */

struct worker {
    struct pool *pool;
    pthread_t thread;
    int number;
};

struct pool {
    int n_workers; /* started */
    struct worker *worker;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint round;
    atomic_int next;   /* index to take */
    atomic_int inside; /* workers that have not left the round */
    bool stop;         /* under lock */
    pool_task task;
    void *arg;
    int n;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_all(struct pool *p, int number)
{
    int i;
    while ((i = atomic_fetch_add(&p->next, 1)) < p->n)
        p->task(p->arg, i, number);
}

static void leave(struct pool *p)
{
    if (atomic_fetch_sub(&p->inside, 1) == 1) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

/* Waits for a round other than `seen`; false when the pool stops. */
static bool await_round(struct pool *p, unsigned seen)
{
    bool go;
    for (int i = 0; i < LOOKS && atomic_load(&p->round) == seen; i++)
        relax();
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->round) == seen && !p->stop)
        pthread_cond_wait(&p->wake, &p->lock);
    go = !p->stop;
    pthread_mutex_unlock(&p->lock);
    return go;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (unsigned seen = 0; await_round(w->pool, seen); seen++) {
        take_all(w->pool, w->number);
        leave(w->pool);
    }
    return NULL;
}

int pool_new(struct pool **out, int threads)
{
    struct pool *p;
    *out = NULL;
    if (threads <= 1)
        return FL_OK;
    p = calloc(1, sizeof *p);
    if (!p)
        return FL_NOMEM;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    p->worker = calloc((size_t)threads, sizeof *p->worker);
    for (int i = 0; p->worker && i < threads - 1; i++) {
        p->worker[i] = (struct worker){.pool = p, .number = i + 1};
        if (pthread_create(&p->worker[i].thread, NULL, work, &p->worker[i]))
            break;
        p->n_workers++;
    }
    if (p->n_workers < threads - 1) {
        pool_free(p);
        return FL_UNAVAILABLE;
    }
    *out = p;
    return FL_OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_workers; i++)
        pthread_join(p->worker[i].thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    free(p->worker);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p ? p->n_workers + 1 : 1;
}

void pool_run(struct pool *p, pool_task task, void *arg, int n)
{
    if (!p || n <= 1) {
        for (int i = 0; i < n; i++)
            task(arg, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->task = task;
    p->arg = arg;
    p->n = n;
    atomic_store(&p->next, 0);
    atomic_store(&p->inside, p->n_workers);
    atomic_fetch_add(&p->round, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    take_all(p, 0);
    for (int i = 0; i < LOOKS && atomic_load(&p->inside); i++)
        relax();
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->inside))
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
