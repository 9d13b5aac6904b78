/* quiet_thread.h - a thread that no signal interrupts: signals are for the main thread */
#ifndef FREEZELINE_QUIET_THREAD_H
#define FREEZELINE_QUIET_THREAD_H

#include <pthread.h>

/* As pthread_create with default attributes: 0 or an errno. */
int quiet_thread(pthread_t *out, void *(*run)(void *), void *arg);

#endif
