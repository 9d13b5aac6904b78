/* classroom.c - a thread that teaches */
#include "classroom.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct classroom {
    void (*wake)(void *arg);
    void *arg;
    pthread_t thread;
    bool begun, plan;
    atomic_bool off, fixed, over;
    struct teaching teaching;
    struct classroom_result result;
};

int classroom_new(struct classroom **out, void (*wake)(void *arg), void *arg)
{
    struct classroom *c = calloc(1, sizeof *c);
    if (!c)
        return FL_NOMEM;
    c->wake = wake;
    c->arg = arg;
    *out = c;
    return FL_OK;
}

static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    (void)phase;
    (void)done;
    (void)total;
    (void)number;
    return atomic_load(&((struct classroom *)arg)->off);
}

static void on_fixed(void *arg)
{
    atomic_store(&((struct classroom *)arg)->fixed, true);
}

static void *run(void *arg)
{
    struct classroom *c = arg;
    uint64_t began = clock_ns();
    struct classroom_result *r = &c->result;
    pthread_setname_np(pthread_self(), "teacher");
    r->rc = (c->plan ? teaching_plan : teaching_run)(&r->taught, &c->teaching, &r->error);
    r->seconds = (double)(clock_ns() - began) / NS_PER_S;
    atomic_store(&c->over, true);
    c->wake(c->arg);
    return NULL;
}

static void hold(struct teaching *t, void (*change)(struct cache *c))
{
    for (int i = 0; i < t->n_exits; i++)
        if (t->exit[i].cache)
            change(t->exit[i].cache);
}

int classroom_begin(struct classroom *c, const struct teaching *t, bool plan, struct error *e)
{
    c->teaching = *t;
    c->teaching.progress = on_progress;
    c->teaching.progress_arg = c;
    c->teaching.fixed = on_fixed;
    c->plan = plan;
    atomic_store(&c->off, false);
    atomic_store(&c->fixed, false);
    atomic_store(&c->over, false);
    memset(&c->result, 0, sizeof c->result);
    c->result.number = t->number;
    if (pthread_create(&c->thread, NULL, run, c))
        return error_set(e, FL_NOMEM, "no thread for teaching");
    hold(&c->teaching, cache_retain);
    c->begun = true;
    return FL_OK;
}

bool classroom_busy(const struct classroom *c)
{
    return c->begun;
}

bool classroom_fixed(const struct classroom *c)
{
    return c->begun && atomic_load(&c->fixed);
}

static void end(struct classroom *c)
{
    pthread_join(c->thread, NULL);
    hold(&c->teaching, cache_free);
    c->begun = false;
}

void classroom_call_off(struct classroom *c)
{
    if (!c->begun)
        return;
    atomic_store(&c->off, true);
    end(c);
    taught_release(&c->result.taught);
}

bool classroom_take(struct classroom *c, struct classroom_result *out)
{
    if (!c->begun || !atomic_load(&c->over))
        return false;
    end(c);
    *out = c->result;
    return true;
}

void classroom_free(struct classroom *c)
{
    if (!c)
        return;
    classroom_call_off(c);
    free(c);
}
