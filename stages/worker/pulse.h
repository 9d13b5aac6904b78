/* pulse.h - a thread that keeps a process's heart beating while another one computes
 *
 * It shares a lock with the computing thread, which gives it up while it computes. It sleeps on a timer that
 * is set when computing begins, and comes to rest when nothing is computed any more. So it wakes nobody and
 * is woken by nobody: a batch costs at most one system call.
 */
#ifndef FREEZELINE_PULSE_H
#define FREEZELINE_PULSE_H

#include <pthread.h>
#include <stdint.h>

#include "base/error.h"

#define PULSE_REST UINT64_MAX

struct pulse;

/* `beat` is called by the thread, with `lock` held; it returns when to beat again (clock_ns), or PULSE_REST.
 * Borrows the lock. The thread takes no signals. */
int pulse_new(struct pulse **out, pthread_mutex_t *lock, uint64_t (*beat)(void *arg), void *arg,
              struct error *e);
/* Ends the thread. Without the lock. NULL is fine. */
void pulse_free(struct pulse *p);
/* With the lock held: computing begins, the first beat is at `ns`. Nothing when it does not rest. */
void pulse_begin(struct pulse *p, uint64_t ns);

#endif
