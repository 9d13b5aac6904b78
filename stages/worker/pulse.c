/* pulse.c - a thread on a timer */
#include "pulse.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/quiet_thread.h"
#include "wire/codec.h"

struct pulse {
    pthread_t thread;
    pthread_mutex_t *lock; /* borrowed; guards what follows */
    int timer;
    bool beats; /* the timer is set */
    bool stop;
    uint64_t (*beat)(void *arg);
    void *arg;
};

static void set(struct pulse *p, uint64_t ns)
{
    struct itimerspec at = {.it_value = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)}};
    timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &at, NULL);
    p->beats = true;
}

static void *beat_on(void *arg)
{
    struct pulse *p = arg;
    uint64_t expired, next;
    bool stop = false;
    scratch_start(); /* now, not at the first beat: that comes when the host is busy */
    while (!stop && read(p->timer, &expired, sizeof expired) == sizeof expired) {
        pthread_mutex_lock(p->lock);
        p->beats = false;
        if (!p->stop && (next = p->beat(p->arg)) != PULSE_REST)
            set(p, next);
        stop = p->stop;
        pthread_mutex_unlock(p->lock);
    }
    return NULL;
}

static int start(struct pulse *p)
{
    return quiet_thread(&p->thread, beat_on, p);
}

int pulse_new(struct pulse **out, pthread_mutex_t *lock, uint64_t (*beat)(void *arg), void *arg,
              struct error *e)
{
    struct pulse *p = calloc(1, sizeof *p);
    int rc;
    if (!p)
        return error_set(e, FL_NOMEM, "out of memory");
    p->lock = lock;
    p->beat = beat;
    p->arg = arg;
    if ((p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) < 0)
        rc = error_set(e, FL_UNAVAILABLE, "no timer: %s", strerror(errno));
    else if ((rc = start(p)))
        rc = error_set(e, FL_UNAVAILABLE, "no thread for the pulse: %s", strerror(rc));
    if (rc) {
        if (p->timer >= 0)
            close(p->timer);
        free(p);
        return rc;
    }
    *out = p;
    return FL_OK;
}

void pulse_free(struct pulse *p)
{
    if (!p)
        return;
    pthread_mutex_lock(p->lock);
    p->stop = true;
    set(p, 1);
    pthread_mutex_unlock(p->lock);
    pthread_join(p->thread, NULL);
    close(p->timer);
    free(p);
}

void pulse_begin(struct pulse *p, uint64_t ns)
{
    if (!p->beats)
        set(p, ns);
}
