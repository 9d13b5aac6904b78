/* team.c - a few threads that share one loop
 *
 * A loop is announced by raising `round` under the lock. Threads look for a new round for a short while
 * before they sleep, because the layers of a network follow one another within microseconds. team_run returns
 * only when every thread has left the round, so the next one may overwrite task, arg and n.
 */
#include "team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"

#define LOOKS 2000 /* before sleeping: some tens of microseconds */

struct member {
    struct team *team;
    pthread_t thread;
    int number;
};

struct team {
    int n_members; /* started */
    struct member *member;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint round;
    atomic_int next;   /* index to take */
    atomic_int inside; /* members that have not left the round */
    bool stop;         /* under lock */
    team_task task;
    void *arg;
    int n;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_all(struct team *t, int number)
{
    int i;
    while ((i = atomic_fetch_add(&t->next, 1)) < t->n)
        t->task(t->arg, i, number);
}

static void leave(struct team *t)
{
    if (atomic_fetch_sub(&t->inside, 1) == 1) {
        pthread_mutex_lock(&t->lock);
        pthread_cond_signal(&t->done);
        pthread_mutex_unlock(&t->lock);
    }
}

/* Waits for a round other than `seen`; false when the team is sent home. */
static bool await_round(struct team *t, unsigned seen)
{
    bool go;
    for (int i = 0; i < LOOKS && atomic_load(&t->round) == seen; i++)
        relax();
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->round) == seen && !t->stop)
        pthread_cond_wait(&t->wake, &t->lock);
    go = !t->stop;
    pthread_mutex_unlock(&t->lock);
    return go;
}

static void *work(void *arg)
{
    struct member *w = arg;
    for (unsigned seen = 0; await_round(w->team, seen); seen++) {
        take_all(w->team, w->number);
        leave(w->team);
    }
    return NULL;
}

int team_new(struct team **out, int threads)
{
    struct team *t;
    *out = NULL;
    if (threads <= 1)
        return FL_OK;
    t = calloc(1, sizeof *t);
    if (!t)
        return FL_NOMEM;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->done, NULL);
    t->member = calloc((size_t)threads, sizeof *t->member);
    for (int i = 0; t->member && i < threads - 1; i++) {
        t->member[i] = (struct member){.team = t, .number = i + 1};
        if (pthread_create(&t->member[i].thread, NULL, work, &t->member[i]))
            break;
        t->n_members++;
    }
    if (t->n_members < threads - 1) {
        team_free(t);
        return FL_UNAVAILABLE;
    }
    *out = t;
    return FL_OK;
}

void team_free(struct team *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->n_members; i++)
        pthread_join(t->member[i].thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    pthread_cond_destroy(&t->done);
    free(t->member);
    free(t);
}

int team_threads(const struct team *t)
{
    return t ? t->n_members + 1 : 1;
}

void team_run(struct team *t, team_task task, void *arg, int n)
{
    if (!t || n <= 1) {
        for (int i = 0; i < n; i++)
            task(arg, i, 0);
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->task = task;
    t->arg = arg;
    t->n = n;
    atomic_store(&t->next, 0);
    atomic_store(&t->inside, t->n_members);
    atomic_fetch_add(&t->round, 1);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    take_all(t, 0);
    for (int i = 0; i < LOOKS && atomic_load(&t->inside); i++)
        relax();
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->inside))
        pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
